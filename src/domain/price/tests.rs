use super::*;

fn table(text: &str) -> Result<PriceTable, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

const TABLE: &str = r#"
currency = "eur"
[sms]
"US" = 0.0083
"+1787" = 0.05
"*" = 0.2
[mms]
"US" = 0.02
[whatsapp]
"LK" = 0.01
"DE" = { marketing = 0.12, utility = 0.05 }
"#;

fn parcel(channel: Channel, phone: &Phone, parts: u32) -> Parcel<'_> {
    Parcel {
        channel,
        kind: Kind::Marketing,
        parts,
        has_media: false,
        has_content: false,
        country: phone.country(),
        phone: Some(phone),
    }
}

fn phone(text: &str) -> Phone {
    Phone::parse(text, None).unwrap()
}

#[test]
fn the_longest_prefix_counts_then_the_country_then_everywhere_else() {
    let table = table(TABLE).unwrap();
    for (number, price) in [
        ("+14155550101", 8_300),
        ("+17875550101", 50_000),
        ("+94771234567", 200_000),
        ("+16135550101", 200_000),
    ] {
        assert_eq!(table.price(&parcel(Channel::Sms, &phone(number), 1)), Some(price), "{number}");
    }
    assert_eq!(table.currency().as_str(), "EUR");
}

#[test]
fn sms_is_paid_by_part_and_everything_else_by_message() {
    let table = table(TABLE).unwrap();
    let (american, lankan) = (phone("+14155550101"), phone("+94771234567"));
    assert_eq!(table.price(&parcel(Channel::Sms, &american, 3)), Some(24_900));
    let picture = Parcel { has_media: true, ..parcel(Channel::Sms, &american, 3) };
    assert_eq!(table.price(&picture), Some(20_000));
    assert_eq!(table.price(&parcel(Channel::Whatsapp, &lankan, 1)), Some(10_000));
}

#[test]
fn whatsapp_may_be_priced_by_category() {
    let table = table(TABLE).unwrap();
    let german = phone("+4915112345678");
    let text = parcel(Channel::Whatsapp, &german, 1);
    for (kind, has_content, price) in [
        (Kind::Marketing, true, Some(120_000)),
        (Kind::Transactional, true, Some(50_000)),
        (Kind::Marketing, false, None),
        (Kind::Reply, false, None),
    ] {
        assert_eq!(table.price(&Parcel { kind, has_content, ..text }), price, "{kind:?} {has_content}");
    }
}

#[test]
fn what_the_table_does_not_name_is_unknown_and_never_nothing() {
    let table = table(TABLE).unwrap();
    let lankan = phone("+94771234567");
    let picture = Parcel { has_media: true, ..parcel(Channel::Sms, &lankan, 1) };
    assert_eq!(table.price(&picture), None);
    assert_eq!(picture.words(), "MMS to LK");
    let nobody = Parcel { country: None, phone: None, ..parcel(Channel::Whatsapp, &lankan, 1) };
    assert_eq!(table.price(&nobody), None);
    let mut cost = Cost::default();
    cost.add(Some(8_300), 10);
    assert_eq!(cost.total(), Some(83_000));
    cost.add(None, 2);
    assert_eq!((cost.known_micros, cost.unknown, cost.total()), (83_000, 2, None));
}

#[test]
fn what_makes_no_sense_is_named() {
    for (text, part) in [
        (TABLE.replace("eur", "euro"), "prices.currency"),
        (TABLE.replace("\"LK\"", "\"Sri Lanka\""), "prices.whatsapp: “Sri Lanka”"),
        (TABLE.replace("+1787", "+"), "prices.sms: “+”"),
        (TABLE.replace("0.2\n", "-0.2\n"), "prices.sms.\"*\""),
        (TABLE.replace("0.05 }", "5000.0 }"), "prices.whatsapp.\"DE\""),
        (TABLE.replace("utility", "utilities"), "a price, or { marketing"),
    ] {
        let error = table(&text).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn amounts_are_written_with_two_digits_or_as_many_as_they_need() {
    for (micros, text) in [
        (0, "0.00"),
        (1, "0.000001"),
        (7_500, "0.0075"),
        (500_000, "0.50"),
        (25_000_000, "25.00"),
        (-1_234_500, "-1.2345"),
    ] {
        assert_eq!(amount(micros), text);
    }
    assert_eq!(micros(0.0075), Some(7_500));
    assert_eq!((micros(-1.0), micros(f64::NAN), micros(1e300)), (None, None, None));
}
