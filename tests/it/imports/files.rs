//! Files as people have them: encodings, delimiters, formats, and what is wrong with some.

use super::*;

fn utf_16(text: &str, is_little: bool, has_mark: bool) -> Vec<u8> {
    let mark = has_mark.then_some(0xFEFF_u16);
    mark.into_iter()
        .chain(text.encode_utf16())
        .flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() })
        .collect()
}

fn windows_1252(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[tokio::test]
async fn csv_is_read_in_the_encodings_and_dialects_of_real_spreadsheets() {
    let text = "Phone;Größe;Straße\r\n+94771100001;groß;Café\r\n";
    let long =
        format!("Phone;Straße\r\n{}+94771100001;Zürich Südstraße\r\n", "+94771100002;Köln\r\n".repeat(50));
    for (file, encoding, attributes) in [
        (text.as_bytes().to_vec(), "UTF-8", json!({"größe": "groß", "straße": "Café"})),
        (format!("\u{feff}{text}").into_bytes(), "UTF-8", json!({"größe": "groß", "straße": "Café"})),
        (utf_16(text, true, true), "UTF-16LE", json!({"größe": "groß", "straße": "Café"})),
        (utf_16(text, false, true), "UTF-16BE", json!({"größe": "groß", "straße": "Café"})),
        (utf_16(text, true, false), "UTF-16LE", json!({"größe": "groß", "straße": "Café"})),
        (utf_16(text, false, false), "UTF-16BE", json!({"größe": "groß", "straße": "Café"})),
        (windows_1252(&long), "windows-1252", json!({"straße": "Zürich Südstraße"})),
        (b"phone,a b\n+94771100001,x\n".to_vec(), "UTF-8", json!({"a_b": "x"})),
        (b"phone\ta\r+94771100001\tx\r".to_vec(), "UTF-8", json!({"a": "x"})),
        (b"phone|a|b\n+94771100001|x,y;z|1".to_vec(), "UTF-8", json!({"a": "x,y;z", "b": "1"})),
        (b"sep=;\r\nphone;a\r\n+94771100001;1,2\r\n".to_vec(), "UTF-8", json!({"a": "1,2"})),
        (b"phone,a\n+94771100001,\"x\r\ny \"\"z\"\"\"\n".to_vec(), "UTF-8", json!({"a": "x\ny \"z\""})),
        (b"phone;a;;\n+94771100001;x;;\n;;;\n".to_vec(), "UTF-8", json!({"a": "x"})),
        (b"phone\n+94771100001\n".to_vec(), "UTF-8", json!({})),
    ] {
        let shop = Shop::new();
        let shown = String::from_utf8_lossy(&file).into_owned();
        let row = shop.import(file, json!({})).await;
        assert_eq!(row.state, ImportState::Finished, "{shown:?}: {:?}", row.error);
        assert_eq!(
            (row.format.as_deref(), row.encoding.as_deref()),
            (Some("csv"), Some(encoding)),
            "{shown:?}"
        );
        assert_eq!(shop.attributes("+94771100001").await, attributes, "{shown:?}");
        assert_eq!(row.tally.rejected, 0, "{shown:?}");
    }
}

#[tokio::test]
async fn the_encoding_can_be_told() {
    let shop = Shop::new();
    let file = b"phone,name\n+94771100001,\xE9\n";
    shop.import(file, json!({"encoding": "windows-1251"})).await;
    assert_eq!(shop.attributes("+94771100001").await, json!({"name": "й"}));
    let row = shop.import(file, json!({"encoding": "utf-8"})).await;
    assert_eq!(row.state, ImportState::Failed);
    assert!(row.error.as_deref().unwrap().contains("not all UTF-8"), "{:?}", row.error);
}

#[tokio::test]
async fn rows_are_numbered_as_a_spreadsheet_counts() {
    let shop = Shop::new();
    let file =
        "\nphone,note\n\n\n+94771100001,\"two\nlines\"\nbad,x\r\n\r\n,\nworse,\"a\r\nb\"\n,,\r\nworst,y";
    let row = shop.import(file, json!({})).await;
    let rows: Vec<i64> = shop.issues(row.id).await.iter().map(|issue| issue.row).collect();
    assert_eq!(rows, [6, 9, 11]);
    assert_eq!((row.tally.rows, row.tally.created), (4, 1));
}

#[tokio::test]
async fn xlsx_numbers_dates_and_truths_keep_their_types() {
    let shop = Shop::new();
    let rows = r#"
      <row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2" t="s"><v>1</v></c><c r="C2" t="s"><v>2</v></c><c r="D2" t="s"><v>3</v></c><c r="E2" t="s"><v>4</v></c></row>
      <row r="3"><c r="A3"><v>94771100001</v></c><c r="B3"><v>42</v></c><c r="C3" s="1"><v>45943</v></c><c r="D3" t="b"><v>1</v></c><c r="E3"><v>1.5</v></c></row>
      <row r="5"><c r="A5"><v>9.4771100002E10</v></c><c r="E5" t="e"><v>#N/A</v></c></row>
      <row r="6"><c r="A6" t="s"><v>5</v></c></row>
      <row r="7"><c r="A7"><v>9.4771E+14</v></c></row>
      <row r="8"><c r="A8"><v>1.2345678901E+2</v></c></row>
      <row r="9"><c r="B9"><v>1</v></c></row>"#;
    let texts = ["Mobile No.", "Points", "Born", "Member", "Score", "9.47711E+10"];
    let row = shop.import(workbook(rows, &texts), json!({"default_region": "LK"})).await;
    assert_eq!(row.error, None);
    assert_eq!((row.format.as_deref(), row.encoding.as_deref()), (Some("xlsx"), None));
    assert_eq!(
        shop.attributes("+94771100001").await,
        json!({"points": 42, "born": "2025-10-13", "member": true, "score": 1.5})
    );
    assert_eq!(shop.attributes("+94771100002").await, json!({}));
    let reasons = shop.reasons(row.id).await;
    let named = |row: i64, reason: &str| (row, reason.to_owned());
    assert_eq!(
        reasons,
        [
            named(6, "scientific_notation"),
            named(7, "invalid_phone"),
            named(8, "scientific_notation"),
            named(9, "phone_missing")
        ]
    );
}

#[tokio::test]
async fn json_and_ndjson_keep_their_types() {
    let person = r#"{"phone":"+94771100001","age":41,"tags":["a"],"home":{"city":"Galle"},"gone":null,"First Name":"Ana"}"#;
    let expected = json!({"age": 41, "tags": ["a"], "home": {"city": "Galle"}, "First Name": "Ana"});
    for (file, format) in [
        (format!("[{person},\n {{\"phone\":94771100002}}]\n"), "json"),
        (format!("\u{feff} [ {person} , {{\"phone\":94771100002}} ] "), "json"),
        (format!("{person}\r\n\n{{\"phone\":94771100002}}"), "ndjson"),
    ] {
        let shop = Shop::new();
        let row = shop.import(&file, json!({"default_region": "LK"})).await;
        assert_eq!((row.error.as_deref(), row.format.as_deref()), (None, Some(format)), "{file}");
        assert_eq!(row.tally.created, 2, "{file}");
        assert_eq!(shop.attributes("+94771100001").await, expected, "{file}");
        assert_eq!(shop.attributes("+94771100002").await, json!({}), "{file}");
    }
}

#[tokio::test]
async fn a_broken_line_of_ndjson_is_rejected_alone() {
    let shop = Shop::new();
    let file = "{\"phone\":\"+94771100001\"}\n{\"phone\":\n[1]\n{\"phone\":\"+94771100002\"}\n";
    let row = shop.import(file, json!({})).await;
    assert_eq!((row.tally.created, row.tally.rejected), (2, 2));
    let reasons = shop.reasons(row.id).await;
    assert_eq!(reasons, [(2, "invalid_json".to_owned()), (3, "invalid_json".to_owned())]);
}

#[tokio::test]
async fn a_file_that_is_cut_off_or_no_table_changes_nothing_and_says_what_to_do() {
    let good = "+94771100001,a\n".repeat(3_000);
    let sheet = workbook(r#"<row r="1"><c r="A1" t="s"><v>0</v></c></row>"#, &["phone"]);
    let ods = archive(&[("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", "")]);
    let half = sheet[..sheet.len() / 2].to_vec();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (format!("phone,name\n{good}+94771100002,\"Ana").into_bytes(), "quotation that opens on line 3002"),
        (format!("phone,name\n{good}+94771100002,\"{}", "x\n".repeat(600_000)).into_bytes(), "line 3002"),
        (
            format!("phone,name\n{good}+94771100002,{}", "x".repeat(1_100_000)).into_bytes(),
            "longer than 1 MiB",
        ),
        (b"phone,name\n+94771100002,Jos\xC3".to_vec(), "middle of a character"),
        (b"[{\"phone\":\"+94771100001\"},{\"phone\":\"+9477".to_vec(), "middle of element 2"),
        (b"[{\"phone\":\"+94771100001\"}".to_vec(), "behind element 1"),
        (b"[{\"phone\":\"+94771100001\"},".to_vec(), "behind element 1"),
        (b"[{\"phone\":\"+94771100001\"}{}]".to_vec(), "comma is missing behind element 1"),
        (b"[{\"phone\":\"+94771100001\"},7]".to_vec(), "Element 2 is not an object"),
        (b"[{\"phone\":\"+94771100001\"},{phone:1}]".to_vec(), "Element 2 is no JSON"),
        (b"[{\"phone\":\"+94771100001\"}] {}".to_vec(), "follows the end"),
        (b"[]".to_vec(), "holds no people"),
        (b"{\"phone\":\"+94771100001\"}\n{\"phone\":\"+94".to_vec(), "middle of line 2"),
        (b"{\n  \"phone\": \"+94771100001\"\n}\n".to_vec(), "one object a line"),
        (half, "damaged or was cut off"),
        (ods, ".ods"),
        (archive(&[("xl/workbook.bin", "")]), ".xlsb"),
        (archive(&[("word/document.xml", "")]), "a Word document"),
        (archive(&[("people.csv", "phone\n")]), "a ZIP archive"),
        (b"%PDF-1.7\n\0\0".to_vec(), "This file is a PDF. Save the sheet as .xlsx or .csv"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), "old Excel file (.xls)"),
        (b"<!DOCTYPE html><table><tr><td>phone".to_vec(), "a web page"),
        (b"\x1F\x8B\x08\x00".to_vec(), "gzip"),
        (b"\x01\x02\x00\x00\x05\x00\x06\x00\x00\x00\x01\x01\x01".to_vec(), "holds no text"),
        (b"".to_vec(), "The file is empty."),
        (b" \r\n\r\n".to_vec(), "The file is empty."),
        (b"name;city\nAna;Galle\n".to_vec(), "Columns found: \u{201c}name\u{201d}, \u{201c}city\u{201d}"),
        (b"+94771100001,Ana\n+94771100002,Bo\n".to_vec(), "first row must hold the names"),
    ];
    for (file, expected) in cases {
        let shop = Shop::new();
        let shown: String = String::from_utf8_lossy(&file).chars().take(60).collect();
        let row = shop.import(&file, json!({})).await;
        let error = row.error.clone().unwrap_or_default();
        assert_eq!(row.state, ImportState::Failed, "{shown:?}");
        assert!(error.contains(expected), "{shown:?}: {error}");
        assert!(error.ends_with("Nothing was imported."), "{error}");
        assert_eq!(shop.count_users().await, 0, "{shown:?}");
    }
}

#[tokio::test]
async fn a_workbook_that_would_not_fit_into_memory_is_refused() {
    let rows = r#"<row r="1"><c r="A1" t="s"><v>0</v></c></row>"#;
    let long = "x".repeat(65 << 20);
    let error = Shop::new().import(workbook(rows, &["phone", &long]), json!({})).await.error.unwrap();
    assert!(error.contains("64 MiB"), "{error}");
    let sheet = workbook(rows, &["phone"]);
    let mut parts = zip::ZipArchive::new(Cursor::new(sheet)).unwrap();
    let mut texts = Vec::new();
    for at in 0..parts.len() {
        let mut part = parts.by_index(at).unwrap();
        let name = part.name().unwrap().into_owned();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut part, &mut text).unwrap();
        texts.push((name, text.replace("<sst ", "<sst uniqueCount=\"99999999999999\" ")));
    }
    let parts: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let error = Shop::new().import(archive(&parts), json!({})).await.error.unwrap();
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn an_upload_over_the_limit_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(dir.path(), 5 << 20).unwrap();
    spool.write(&vec![b'x'; 5 << 20]).unwrap();
    let error = spool.write(b"y").unwrap_err();
    assert_eq!(error.to_string(), "The file is larger than 5 MiB, the limit of [import] max_bytes.");
    drop(spool);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_look_at_a_file_tells_what_an_import_would_take_it_for() {
    let shop = Shop::new();
    let file =
        shop.spool("Handy;First Name;first-name;Opt;2nd;;Notes\n+94771100001;a;b;c;d;e;f\n".as_bytes());
    let options = Options::parse(&json!({"mapping": {"opt": "consent", "Notes": null}})).unwrap();
    let found = import::inspect(&file.path, &options).unwrap();
    assert_eq!((found.rows, found.delimiter, found.encoding), (1, Some(';'), Some("UTF-8")));
    let columns: Vec<_> =
        found.columns.iter().map(|(name, field)| (name.as_str(), field.as_deref())).collect();
    assert_eq!(
        columns,
        [
            ("Handy", Some("phone")),
            ("First Name", Some("first_name")),
            ("first-name", Some("first_name_2")),
            ("Opt", Some("consent")),
            ("2nd", Some("_2nd")),
            ("column 6", Some("column_6")),
            ("Notes", None),
        ]
    );
    let options = Options::parse(&json!({"mapping": {"Fone": "phone"}})).unwrap();
    let error = import::inspect(&file.path, &options).unwrap_err().to_string();
    assert!(error.contains("“Fone”") && error.contains("“Handy”"), "{error}");
}
