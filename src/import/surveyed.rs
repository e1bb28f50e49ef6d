//! What an uploaded file looks like before anything was told about it: its columns with examples, and what each
//! is taken for. Kept beside the file, because examples are people's words.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::columns::{self, Field};
use super::file::{self, Cell, FileError, Layout, RawRow};
use super::rejected::WHY;
use super::samples::shown_cell;
use crate::domain::consent::Consent;
use crate::domain::phone::{Phone, PhoneError};

/// Rows that are looked at.
const LOOKED_AT: usize = 500;
/// Examples of one column.
const EXAMPLES: usize = 3;

/// Names under which people keep who may be written to. A column of this name is offered as consent only when
/// its cells are clear.
const CONSENT_NAMES: &[&str] = &[
    "opt_in",
    "optin",
    "opted_in",
    "newsletter",
    "subscribed",
    "subscription",
    "permission",
    "marketing",
    "marketing_consent",
    "sms_consent",
    "whatsapp_consent",
    "whatsapp_opt_in",
    "sms_opt_in",
    "einwilligung",
    "consentimiento",
    "consentement",
];

/// What the cells of a column look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No cell that was looked at has anything in it.
    Empty,
    /// Phone numbers.
    Phone,
    /// Numbers.
    Number,
    /// Days or moments.
    Date,
    /// Yes and no.
    YesNo,
    /// Lists and objects of JSON.
    Nested,
    /// Anything else.
    Text,
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// As the file names it.
    pub name: String,
    /// Some of its cells, each another.
    pub examples: Vec<String>,
    /// What they look like.
    pub kind: Kind,
    /// How many of the rows looked at have something there.
    pub filled: usize,
    /// What it is taken for: `phone`, `consent`, `topics`, `timezone`, the name of an attribute, or `None` to
    /// leave it out.
    pub guess: Option<String>,
}

/// The country of numbers without a country code, as the other numbers of the file tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionGuess {
    /// ISO 3166 alpha-2; `None`: nothing tells it.
    pub region: Option<String>,
    /// Numbers without a country code, of the rows looked at.
    pub national: usize,
}

/// What a file looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// `csv`, `xlsx`, `json`, `ndjson`.
    pub format: String,
    /// Of text formats.
    pub encoding: Option<String>,
    /// Of a workbook: the sheet that is read.
    pub sheet: Option<String>,
    /// Rows below the header that are not blank.
    pub rows: u64,
    /// Rows that were looked at.
    pub looked_at: usize,
    /// In the order of the file.
    pub columns: Vec<Column>,
    /// Set when some numbers have no country code.
    pub region: Option<RegionGuess>,
}

impl Survey {
    /// The same for files with the same columns, in whatever order.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut names: Vec<String> = self.columns.iter().map(|c| c.name.trim().to_lowercase()).collect();
        names.sort();
        let mut digest = Sha256::new();
        for name in names {
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name);
        }
        digest.finalize().into()
    }

    /// The options that are offered: the guess of every column, and the country that the file tells.
    pub fn offered(&self) -> Value {
        let mapping: serde_json::Map<String, Value> = self
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.guess.clone().map_or(Value::Null, Value::from)))
            .collect();
        let region = self.region.as_ref().and_then(|region| region.region.clone());
        serde_json::json!({"mapping": mapping, "default_region": region})
    }
}

/// Reads the file once, and looks at its first rows. `regions` are countries that the house writes to: the first
/// ones to try for numbers without a country code.
///
/// # Errors
/// [`FileError`] says in words what is wrong with the file.
pub fn survey_file(path: &Path, encoding: Option<&str>, regions: &[String]) -> Result<Survey, FileError> {
    let layout = file::survey(path, encoding)?;
    refuse_data_as_header(&layout)?;
    if layout.rows == 0 {
        return Err(FileError::Refused(
            "The file has names of columns, but no row of people below them.".to_owned(),
        ));
    }
    let rows = first_rows(path, &layout)?;
    let cells =
        |at: usize| rows.iter().filter_map(move |row| row.cells.get(at)).filter(|c| **c != Cell::Blank);
    let phone = columns::phone_by_name(&layout.header)
        .or_else(|| (0..layout.header.len()).find(|at| kind_of(cells(*at)) == Kind::Phone));
    let fields = columns::guess(&layout, phone);
    let has_consent = fields.contains(&Field::Consent);
    let mut found: Vec<Column> = Vec::with_capacity(fields.len());
    for (at, (name, field)) in layout.header.iter().zip(fields).enumerate() {
        let kind = kind_of(cells(at));
        let is_consent = CONSENT_NAMES.contains(&columns::normalise(name).as_str()) && is_clear(cells(at));
        let guess = match field {
            Field::Attribute(_) if kind == Kind::Empty || name == WHY => None,
            Field::Attribute(_)
                if is_consent
                    && !has_consent
                    && !found.iter().any(|c| c.guess.as_deref() == Some("consent")) =>
            {
                Some("consent".to_owned())
            }
            field => named(field),
        };
        let (examples, filled) = (examples_of(cells(at)), cells(at).count());
        found.push(Column { name: name.clone(), examples, kind, filled, guess });
    }
    let region = phone.and_then(|at| region_of(cells(at), regions));
    Ok(Survey {
        format: layout.format.as_str().to_owned(),
        encoding: layout.encoding.map(str::to_owned),
        sheet: layout.sheet.clone(),
        rows: layout.rows,
        looked_at: rows.len(),
        columns: found,
        region,
    })
}

/// The name of a field as a mapping says it.
pub(super) fn named(field: Field) -> Option<String> {
    match field {
        Field::Phone => Some("phone".to_owned()),
        Field::Consent => Some("consent".to_owned()),
        Field::Topics => Some("topics".to_owned()),
        Field::Timezone => Some("timezone".to_owned()),
        Field::Attribute(name) => Some(name),
        Field::Ignored => None,
    }
}

/// A number as the name of a column is a row of people where names should be.
fn refuse_data_as_header(layout: &Layout) -> Result<(), FileError> {
    let is_number = |name: &&String| {
        let digits = name.chars().filter(char::is_ascii_digit).count();
        digits >= 7 && !name.chars().any(char::is_alphabetic)
    };
    match layout.header.iter().find(is_number) {
        None => Ok(()),
        Some(name) => Err(FileError::Refused(format!(
            "The first row holds data (“{name}”), not names of columns. Add a row with names on top, such as phone, name, city, and choose the file again."
        ))),
    }
}

fn first_rows(path: &Path, layout: &Layout) -> Result<Vec<RawRow>, FileError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    file::each_row(path, layout, &mut |row| {
        bytes += row.bytes();
        rows.push(row);
        if rows.len() < LOOKED_AT && bytes < (8 << 20) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    })?;
    Ok(rows)
}

fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Blank => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Json(Value::String(text)) => text.clone(),
        Cell::Json(value) => value.to_string(),
    }
}

fn is_clear<'a>(cells: impl Iterator<Item = &'a Cell>) -> bool {
    let (mut clear, mut all) = (0, 0);
    for cell in cells {
        all += 1;
        clear += usize::from(Consent::from_cell(&text_of(cell)).is_some());
    }
    all > 0 && clear * 10 >= all * 7
}

/// What nine of ten cells look like.
fn kind_of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Kind {
    let mut counts: BTreeMap<u8, (Kind, usize)> = BTreeMap::new();
    let mut all = 0;
    for cell in cells {
        let kind = kind_of_cell(cell);
        counts.entry(kind as u8).or_insert((kind, 0)).1 += 1;
        all += 1;
    }
    let most = counts.into_values().max_by_key(|(_, count)| *count);
    match most {
        None => Kind::Empty,
        Some((kind, count)) if count * 10 >= all * 9 => kind,
        Some(_) => Kind::Text,
    }
}

fn kind_of_cell(cell: &Cell) -> Kind {
    let text = match cell {
        Cell::Json(Value::Array(_) | Value::Object(_)) => return Kind::Nested,
        Cell::Json(Value::Bool(_)) => return Kind::YesNo,
        other => text_of(other),
    };
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let has_plus = text.starts_with('+') || text.starts_with("00");
    if has_plus && digits >= 7 && Phone::parse(&text, None).is_ok() {
        return Kind::Phone;
    }
    if ["yes", "no", "true", "false"].contains(&text.to_lowercase().as_str()) {
        return Kind::YesNo;
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Kind::Number;
    }
    let day = text.get(..10).unwrap_or_default();
    if day.parse::<jiff::civil::Date>().is_ok()
        && text.chars().all(|c| !c.is_alphabetic() || "TZ".contains(c))
    {
        return Kind::Date;
    }
    Kind::Text
}

fn examples_of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    for shown in cells.filter_map(shown_cell) {
        if !examples.contains(&shown) {
            examples.push(shown);
        }
        if examples.len() == EXAMPLES {
            break;
        }
    }
    examples
}

/// The country in which most of the numbers without a country code are numbers.
fn region_of<'a>(cells: impl Iterator<Item = &'a Cell>, regions: &[String]) -> Option<RegionGuess> {
    let (mut abroad, mut national) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for cell in cells {
        let text = text_of(cell);
        match Phone::parse_with_country(&text, None) {
            Ok((_, Some(country))) => *abroad.entry(country).or_default() += 1,
            Err(PhoneError::NoCountry(_)) => national.push(text),
            _ => {}
        }
    }
    if national.is_empty() {
        return None;
    }
    let mut tried: Vec<(&str, usize)> = abroad.into_iter().collect();
    tried.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let candidates =
        tried.iter().map(|(region, _)| *region).chain(regions.iter().map(String::as_str)).take(8);
    let fits = |region: &str| national.iter().filter(|n| Phone::parse(n, Some(region)).is_ok()).count();
    let mut best: Option<(&str, usize)> = None;
    for region in candidates {
        let count = fits(region);
        if count > best.map_or(0, |(_, most)| most) {
            best = Some((region, count));
        }
    }
    let region = best.filter(|(_, count)| count * 2 > national.len()).map(|(region, _)| region.to_owned());
    Some(RegionGuess { region, national: national.len() })
}

/// Where the survey of a draft lies.
pub(super) fn beside(spooled: &Path) -> PathBuf {
    let mut name = spooled.as_os_str().to_owned();
    name.push(".survey");
    PathBuf::from(name)
}

/// Keeps a survey beside its file.
pub(super) fn keep(spooled: &Path, survey: &Survey) -> std::io::Result<()> {
    let dir = spooled.parent().unwrap_or(Path::new(""));
    let mut file = tempfile::Builder::new().prefix("upload-").tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, &serde_json::to_vec(survey)?)?;
    file.persist(beside(spooled)).map_err(|error| error.error)?;
    Ok(())
}

/// The survey of a draft: as it was kept, or made again.
///
/// # Errors
/// [`FileError`] when the file is gone or can't be read any more.
pub fn load_survey(spooled: &Path, encoding: Option<&str>, regions: &[String]) -> Result<Survey, FileError> {
    let kept = std::fs::read(beside(spooled)).ok();
    match kept.and_then(|text| serde_json::from_slice(&text).ok()) {
        Some(survey) if spooled.exists() => Ok(survey),
        _ => survey_file(spooled, encoding, regions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surveyed(text: &str) -> Result<Survey, FileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        survey_file(file.path(), None, &["LK".to_owned()])
    }

    fn guesses(survey: &Survey) -> Vec<(&str, Option<&str>, Kind)> {
        survey.columns.iter().map(|c| (c.name.as_str(), c.guess.as_deref(), c.kind)).collect()
    }

    #[test]
    fn columns_are_told_by_name_and_by_what_they_hold() {
        let survey = surveyed(
            "Kontakt;Vorname;Newsletter;Alter;Seit;Kontakt;Leer\n\
             +94771100001;Ana;yes;31;2026-09-02;x;\n\
             +94771100002;Bo;no;32;2026-09-03;x;\n\
             +94771100003;Bo;maybe;;;y;\n\
             +94771100004;Cy;yes;33;2026-09-03;z;\n",
        )
        .unwrap();
        assert_eq!(
            guesses(&survey),
            [
                ("Kontakt", Some("phone"), Kind::Phone),
                ("Vorname", Some("vorname"), Kind::Text),
                ("Newsletter", Some("consent"), Kind::Text),
                ("Alter", Some("alter"), Kind::Number),
                ("Seit", Some("seit"), Kind::Date),
                ("Kontakt 2", Some("kontakt_2"), Kind::Text),
                ("Leer", None, Kind::Empty),
            ]
        );
        assert_eq!(survey.columns[1].examples, ["Ana", "Bo", "Cy"]);
        assert_eq!((survey.rows, survey.looked_at, survey.columns[3].filled), (4, 4, 3));
        assert_eq!(survey.region, None);
    }

    #[test]
    fn a_column_with_a_promising_name_and_unclear_cells_is_no_consent() {
        let survey = surveyed("phone,newsletter\n+94771100001,2024-05\n+94771100002,monthly\n").unwrap();
        assert_eq!(survey.columns[1].guess.as_deref(), Some("newsletter"));
    }

    #[test]
    fn the_country_is_told_by_the_other_numbers_or_by_the_house() {
        let told = surveyed("phone\n+4915112345678\n0151 12345679\n0151 12345670\n").unwrap();
        assert_eq!(told.region, Some(RegionGuess { region: Some("DE".to_owned()), national: 2 }));
        let house = surveyed("phone\n0771100001\n").unwrap();
        assert_eq!(house.region, Some(RegionGuess { region: Some("LK".to_owned()), national: 1 }));
    }

    #[test]
    fn files_with_the_same_columns_are_known_by_them() {
        let one = surveyed("phone,name\n+94771100001,a\n").unwrap().fingerprint();
        let other = surveyed("Name,Phone \nb,+94771100001\n").unwrap().fingerprint();
        let third = surveyed("phone,nam,e\n+94771100001,a,b\n").unwrap().fingerprint();
        assert!(one == other && one != third);
    }

    #[test]
    fn a_file_without_names_or_without_people_is_refused_in_words() {
        let error = surveyed("+94771100001,Ana\n+94771100002,Bo\n").unwrap_err().to_string();
        assert!(error.starts_with("The first row holds data (“+94771100001”)"), "{error}");
        let error = surveyed("phone,name\n").unwrap_err().to_string();
        assert!(error.contains("no row of people"), "{error}");
    }
}
