//! How many parts an SMS has: the simulator's own count, so that it bills and queues like a
//! carrier whatever the sender believed.

/// GSM 03.38 characters of one septet, beyond the letters, digits and signs of ASCII.
const GSM_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// GSM 03.38 characters of two septets.
const GSM_EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Parts of `body` as an SMS: 160 septets alone or 153 each, or, with any character outside
/// GSM-7, 70 UTF-16 units alone or 67 each. No character is torn between two parts.
/// An empty body (media alone) is one part.
pub(super) fn parts(body: &str) -> u32 {
    let septets: Option<Vec<u32>> = body.chars().map(septets).collect();
    match septets {
        Some(widths) => pack(widths.into_iter(), 160, 153),
        None => pack(body.chars().map(utf16_units), 70, 67),
    }
}

fn septets(character: char) -> Option<u32> {
    if character.is_ascii_alphanumeric() || GSM_BASIC.contains(character) {
        Some(1)
    } else if GSM_EXTENDED.contains(character) {
        Some(2)
    } else {
        None
    }
}

fn utf16_units(character: char) -> u32 {
    if character.len_utf16() == 2 { 2 } else { 1 }
}

fn pack(widths: impl Iterator<Item = u32> + Clone, alone: u32, each: u32) -> u32 {
    if widths.clone().sum::<u32>() <= alone {
        return 1;
    }
    let mut parts = 1;
    let mut filled = 0;
    for width in widths {
        if filled + width > each {
            parts += 1;
            filled = 0;
        }
        filled += width;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn parts_are_counted_at_the_edges_of_both_encodings() {
        let cases = [
            (String::new(), 1),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            // The 153rd septet can't hold half a euro sign.
            (format!("{}€{}", "a".repeat(152), "a".repeat(152)), 3),
            ("ż".repeat(70), 1),
            ("ż".repeat(71), 2),
            ("👍".repeat(35), 1),
            // 33 pairs fill 66 of 67 units.
            ("👍".repeat(67), 3),
            ("a".repeat(1600), 11),
            ("ż".repeat(1600), 24),
        ];
        for (body, expected) in cases {
            assert_eq!(
                parts(&body),
                expected,
                "{} characters",
                body.chars().count()
            );
        }
    }
}
