//! People who log in: what a role stands for, how the pages look to somebody, and what an address is.

/// What an operator may do. Each may do all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look at everything, with phone numbers masked.
    Viewer,
    /// Work: people, imports, templates, campaigns, answers.
    Operator,
    /// Settings, keys, operators.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// The word of the table and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role with this word.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Light or dark pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the person's system has it.
    #[default]
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    /// The word of the table and of forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The theme with this word.
    pub fn parse(word: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.as_str() == word)
    }
}

/// Longest address, in bytes (RFC 5321, section 4.5.3.1.3).
const LONGEST: usize = 254;

/// An e-mail address as somebody logs in with it. No message is ever sent there, so it has only to be one that
/// nobody confuses with another.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read_email(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let (name, domain) = text.rsplit_once('@').unwrap_or(("", ""));
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "<>\"',;:\\@".contains(c);
    let has_dot = domain.split('.').count() > 1 && domain.split('.').all(|part| !part.is_empty());
    if text.len() > LONGEST {
        return Err("an e-mail address has at most 254 characters");
    }
    if name.is_empty() || !has_dot || name.chars().any(is_odd) || domain.chars().any(is_odd) {
        return Err("this is no e-mail address; one looks like ana@example.com");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role)));
        assert!(Theme::ALL.into_iter().all(|theme| Theme::parse(theme.as_str()) == Some(theme)));
    }

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for (text, fits) in [
            ("ana@example.com", true),
            (" ana.b+c@mail.example.co.uk ", true),
            ("änne@exämple.de", true),
            ("", false),
            ("ana", false),
            ("ana@example", false),
            ("@example.com", false),
            ("ana@.com", false),
            ("ana@example..com", false),
            ("an a@example.com", false),
            ("a@b@example.com", false),
            ("a:b@example.com", false),
            ("<ana@example.com>", false),
            ("ana@example.com\n", true),
            ("ana@exam\nple.com", false),
        ] {
            assert_eq!(read_email(text).is_ok(), fits, "{text:?}");
        }
        assert!(read_email(&format!("{}@example.com", "a".repeat(250))).is_err());
    }
}
