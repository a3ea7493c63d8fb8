//! Secrets: values that a tenant puts here and nobody reads back. A function's variable names one, `myna:secret:NAME`, and its
//! instances get the value.

use crate::limits::{SECRET_BYTES_MAX, SECRET_NAME_BYTES_MAX};
use std::{borrow::Cow, sync::Arc};

/// The kind of the rows that hold them, each under its secret's name.
pub const KIND: &str = "operator/secret";
/// A variable whose whole value is this and a name stands for the secret of that name. One more colon behind it, and the value is
/// the text without that colon.
pub const REFERENCE: &str = "myna:secret:";

/// What the value of a variable says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The variable's value.
    Text(Cow<'a, str>),
    /// The name of the secret that is the variable's value.
    Secret(&'a str),
}

/// What a variable's value means. The error says what is wrong with the name in it, and how the same text is written as a text.
pub fn meaning(value: &str) -> Result<Meaning<'_>, String> {
    let Some(name) = value.strip_prefix(REFERENCE) else { return Ok(Meaning::Text(Cow::Borrowed(value))) };
    if let Some(text) = name.strip_prefix(':') {
        return Ok(Meaning::Text(Cow::Owned(format!("{REFERENCE}{text}"))));
    }
    match check_name(name) {
        Ok(()) => Ok(Meaning::Secret(name)),
        Err(why) => {
            Err(format!("{why}; a value that is no reference and begins with {REFERENCE} is written {REFERENCE}: and the rest"))
        }
    }
}

/// The rule for names: letters, digits, `_`, `.`, `-`, in parts with `/` between them, none of them empty, `.` or `..`.
pub fn check_name(name: &str) -> Result<(), String> {
    let shown = || name.chars().take(64).flat_map(char::escape_default).collect::<String>();
    if name.is_empty() || name.len() > SECRET_NAME_BYTES_MAX {
        return Err(format!("the name of a secret has 1 to {SECRET_NAME_BYTES_MAX} characters, not {}", name.len()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b)) {
        return Err(format!("{:?} is no name of a secret: it has letters, digits, _ . - and / only", shown()));
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("{:?} is no name of a secret: no part between slashes is empty, . or ..", shown()));
    }
    Ok(())
}

/// The rule for values: what a variable of the environment can hold. The error never has a part of the value.
pub fn check_value(value: &[u8]) -> Result<&str, String> {
    if value.is_empty() {
        return Err("the value is empty".into());
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(format!("the value has {} bytes; a secret has {SECRET_BYTES_MAX} at most", value.len()));
    }
    if value.contains(&0) {
        return Err("the value has a NUL byte, which no variable can hold; put it in base64".into());
    }
    std::str::from_utf8(value).map_err(|_| "the value is not UTF-8; put it in base64".into())
}

/// A variable of a unit whose value is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    pub variable: String,
    pub secret: Arc<str>,
    pub state: SecretState,
}

/// Whether a unit's variable has its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It has the value that was put as this one: the first is 1.
    Version(u64),
    /// There is no such secret, or nobody has looked yet.
    Missing,
    /// There is, and its value can't be read.
    Damaged,
    /// With it the unit's secrets would be larger than [`crate::limits::SECRETS_PER_FUNCTION_BYTES_MAX`].
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    // H56
    #[test]
    fn names_follow_the_rule() {
        let longest = "n".repeat(SECRET_NAME_BYTES_MAX);
        for good in ["a", "db/password", "A-1_x.y", "a/b/c", "..a", "a..b", longest.as_str()] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let too_long = format!("{longest}n");
        for bad in
            ["", "../x", "a/../b", "..", ".", "/a", "a/", "a//b", "a b", "a\nb", "a\0", "é", "a:b", "a\\b", "%2e%2e", &too_long]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(!check_name("a\nb").unwrap_err().contains('\n'), "an error is one line");
    }

    // H56
    #[test]
    fn values_are_what_a_variable_can_hold() {
        assert_eq!(check_value("two\nlines\n".as_bytes()), Ok("two\nlines\n"));
        assert!(check_value(&vec![b'x'; SECRET_BYTES_MAX]).is_ok());
        for bad in [&b""[..], b"marker\0", b"marker\xff", &b"marker".repeat(200_000)] {
            let why = check_value(bad).unwrap_err();
            assert!(!why.contains("marker"), "{why}");
        }
    }

    #[test]
    fn a_value_is_a_reference_as_a_whole_or_a_text() {
        assert_eq!(meaning("myna:secret:db/x"), Ok(Meaning::Secret("db/x")));
        for (written, text) in [
            ("", ""),
            ("x myna:secret:y", "x myna:secret:y"),
            ("MYNA:secret:y", "MYNA:secret:y"),
            ("myna:secret", "myna:secret"),
            ("myna:secret::y", "myna:secret:y"),
            ("myna:secret:::y", "myna:secret::y"),
            ("myna:secret::", "myna:secret:"),
        ] {
            assert_eq!(meaning(written), Ok(Meaning::Text(text.into())), "{written}");
        }
        for bad in ["myna:secret:", "myna:secret:../x", "myna:secret:a b", "myna:secret:a\n"] {
            assert!(meaning(bad).unwrap_err().contains("myna:secret::"), "{bad}");
        }
    }
}
