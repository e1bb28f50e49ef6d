//! A trigger: something that happened in the user's own business, such as `order.paid`, and starts messages.
//! What its type and its id may look like.

/// Longest type, in characters.
pub const MAX_TYPE: usize = 100;
/// Longest id, in characters.
pub const MAX_ID: usize = 200;
/// Ids that begin so name test sends: a message that is one is outside all counts. Reserved in any case of its
/// letters, so that no id resembles one.
const RESERVED: &str = "test:";

/// Checks a type: letters, digits, and `.` `_` `-` `:` `/` between them. A campaign waits for exactly this
/// word, so what looks alike and is not (blanks, other cases of other scripts) is kept out.
///
/// # Errors
/// A sentence that says what a type looks like.
pub fn check_type(text: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let is_fit = text.len() <= MAX_TYPE
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '.' | '_' | '-' | ':' | '/'));
    if is_fit {
        return Ok(());
    }
    Err(format!(
        "must be a word such as order.paid: letters, digits and . _ - : / behind the first, at most {MAX_TYPE}"
    ))
}

/// Checks an id, which is the sender's own name for one event, taken once for good.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_id(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else if text.chars().count() > MAX_ID {
        Err(format!("at most {MAX_ID} characters"))
    } else if text.chars().any(char::is_control) {
        Err("no control characters".to_owned())
    } else if text.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED)) {
        Err(format!("{RESERVED} at the beginning is reserved for test sends"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_plain_words() {
        for good in ["order.paid", "a", "Cart-abandoned", "shop/42:refund_done", "9"] {
            assert_eq!(check_type(good), Ok(()), "{good}");
        }
        let long = "a".repeat(MAX_TYPE + 1);
        for bad in ["", " ", ".paid", "order paid", "order.paid ", "bestellung.über", "a\0b", "a'b", &long] {
            assert!(check_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_any_short_text_but_that_of_a_test_send() {
        for good in ["1", "ord-17", "e 1", "évènement", "tests:1", "testé:1", &"x".repeat(MAX_ID)] {
            assert_eq!(check_id(good), Ok(()), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\0", "test:1", "Test:1", "TEST:", &"x".repeat(MAX_ID + 1)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }
}
