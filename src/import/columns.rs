//! Which column of the file is which field.

use std::collections::HashSet;

use super::file::{FileError, Format, Layout};
use super::options::Options;
use crate::domain::phone::Phone;
use crate::domain::user::MAX_NAME;

/// Where the cells of a column go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The number by which a person is known.
    Phone,
    /// `opt_in`, `yes`, `no`, `stop`, ….
    Consent,
    /// Names of topics, behind commas, semicolons or bars.
    Topics,
    /// An IANA name such as `Asia/Colombo`, kept as the attribute `timezone`.
    Timezone,
    /// The attribute of this name.
    Attribute(String),
    /// Nowhere.
    Ignored,
}

/// Names under which people keep numbers, the clearest first, as [`normalise`] writes them.
const PHONE_NAMES: &[&str] = &[
    "phone",
    "phone_number",
    "phone_no",
    "phone_nr",
    "phonenumber",
    "phoneno",
    "msisdn",
    "e164",
    "whatsapp",
    "whatsapp_number",
    "whatsapp_no",
    "mobile",
    "mobile_phone",
    "mobile_number",
    "mobile_no",
    "mobilenumber",
    "cell",
    "cell_phone",
    "cellphone",
    "cell_number",
    "handy",
    "handynummer",
    "handy_nr",
    "mobil",
    "mobilnummer",
    "mobiltelefon",
    "celular",
    "móvil",
    "movil",
    "portable",
    "gsm",
    "telephone",
    "telephone_number",
    "telephone_no",
    "tel",
    "tel_no",
    "tel_nr",
    "telefon",
    "telefonnummer",
    "telefono",
    "teléfono",
    "telefone",
    "téléphone",
    "número_de_teléfono",
    "numero_de_telefono",
    "número",
    "numero",
    "contact_number",
    "contact_no",
    "phone_1",
];

/// The name of a header as an attribute that templates and segments can say: letters and digits in lower
/// case, everything else one `_`. `First Name` becomes `first_name`, `2nd line` `_2nd_line`.
pub(super) fn normalise(header: &str) -> String {
    let mut name = String::new();
    for c in header.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    let lead = if name.starts_with(|c: char| !c.is_alphabetic()) { "_" } else { "" };
    lead.chars().chain(name.chars()).take(MAX_NAME).collect()
}

/// The field of each column.
///
/// # Errors
/// No column holds the phone, or the mapping names a column that the file does not have.
pub(super) fn assign(layout: &Layout, options: &Options) -> Result<Vec<Field>, FileError> {
    let mut fields: Vec<Option<Field>> = vec![None; layout.header.len()];
    for (column, target) in &options.mapping {
        let at = position(&layout.header, column).ok_or_else(|| {
            FileError::Refused(format!(
                "The mapping names the column “{column}”, which the file does not have. {}",
                found(&layout.header)
            ))
        })?;
        if let Some(field) = fields.get_mut(at) {
            *field = Some(target.as_deref().map_or(Field::Ignored, told));
        }
    }
    let names: Vec<String> = layout.header.iter().map(|name| normalise(name)).collect();
    if !fields.contains(&Some(Field::Phone)) {
        let at = PHONE_NAMES.iter().find_map(|phone| {
            names.iter().zip(&fields).position(|(name, field)| field.is_none() && name == phone)
        });
        match at.and_then(|at| fields.get_mut(at)) {
            Some(field) => *field = Some(Field::Phone),
            None => return Err(no_phone(layout)),
        }
    }
    take_known(&names, &mut fields);
    Ok(name_attributes(layout, &names, fields))
}

/// The fields of a file about which nothing was told, but for a guess where its numbers are.
pub(super) fn guess(layout: &Layout, phone: Option<usize>) -> Vec<Field> {
    let mut fields: Vec<Option<Field>> = vec![None; layout.header.len()];
    if let Some(field) = phone.and_then(|at| fields.get_mut(at)) {
        *field = Some(Field::Phone);
    }
    let names: Vec<String> = layout.header.iter().map(|name| normalise(name)).collect();
    take_known(&names, &mut fields);
    name_attributes(layout, &names, fields)
}

/// The column that by its name holds the numbers.
pub(super) fn phone_by_name(header: &[String]) -> Option<usize> {
    let names: Vec<String> = header.iter().map(|name| normalise(name)).collect();
    PHONE_NAMES.iter().find_map(|phone| names.iter().position(|name| name == phone))
}

/// Columns with the names of fields that are not taken yet.
fn take_known(names: &[String], fields: &mut [Option<Field>]) {
    for (field, known) in [
        (Field::Consent, &["consent"][..]),
        (Field::Topics, &["topics", "topic"]),
        (Field::Timezone, &["timezone", "time_zone", "tz"]),
    ] {
        if fields.contains(&Some(field.clone())) {
            continue;
        }
        let at = names
            .iter()
            .zip(fields.iter())
            .position(|(name, had)| had.is_none() && known.contains(&name.as_str()));
        if let Some(place) = at.and_then(|at| fields.get_mut(at)) {
            *place = Some(field);
        }
    }
}

/// The rest are attributes. Keys of JSON are names already; headers are made into names, each once.
fn name_attributes(layout: &Layout, names: &[String], fields: Vec<Option<Field>>) -> Vec<Field> {
    let keeps_names = matches!(layout.format, Format::Json | Format::Ndjson);
    let mut taken: HashSet<String> = fields
        .iter()
        .filter_map(|field| match field {
            Some(Field::Attribute(name)) => Some(name.clone()),
            Some(Field::Timezone) => Some("timezone".to_owned()),
            _ => None,
        })
        .collect();
    let mut assigned = Vec::with_capacity(fields.len());
    for (at, field) in fields.into_iter().enumerate() {
        let field = field.unwrap_or_else(|| {
            let header = layout.header.get(at).map_or("", String::as_str).trim();
            let name = if keeps_names { header } else { names.get(at).map_or("", String::as_str) };
            let name = if name.is_empty() { format!("column_{}", at + 1) } else { name.to_owned() };
            let mut unique = name.clone();
            let mut count = 1;
            while !taken.insert(unique.clone()) {
                count += 1;
                unique = format!("{name}_{count}");
            }
            Field::Attribute(unique)
        });
        assigned.push(field);
    }
    assigned
}

fn told(target: &str) -> Field {
    match target {
        "phone" => Field::Phone,
        "consent" => Field::Consent,
        "topics" => Field::Topics,
        "timezone" => Field::Timezone,
        name => Field::Attribute(name.to_owned()),
    }
}

fn position(header: &[String], column: &str) -> Option<usize> {
    let exact = header.iter().position(|name| name.trim() == column);
    exact.or_else(|| header.iter().position(|name| name.trim().to_lowercase() == column.to_lowercase()))
}

fn no_phone(layout: &Layout) -> FileError {
    let looks_like_data = layout.header.iter().any(|name| {
        Phone::parse(name, None).is_ok() || name.chars().filter(char::is_ascii_digit).count() > 7
    });
    let advice = if looks_like_data {
        "The first row must hold the names of the columns."
    } else {
        "Name one of them “phone”, or say by the mapping which one it is."
    };
    FileError::Refused(format!("No column holds the phone number. {} {advice}", found(&layout.header)))
}

fn found(header: &[String]) -> String {
    const SHOWN: usize = 20;
    let named: Vec<String> = header
        .iter()
        .filter(|name| !name.trim().is_empty())
        .take(SHOWN)
        .map(|name| format!("“{}”", name.chars().take(40).collect::<String>()))
        .collect();
    let more = if header.len() > SHOWN { ", …" } else { "" };
    format!("Columns found: {}{more}.", named.join(", "))
}
