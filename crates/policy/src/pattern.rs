//! `*` and `?` in actions, resources, principals and condition values.

/// A pattern, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// It holds a policy variable (`${aws:username}`), whose value isn't known here.
    variable: bool,
}

/// A match that may be unknown. Ordered: what is certain lies outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    No,
    Unknown,
    Yes,
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Truth::Yes } else { Truth::No }
    }
}

impl Truth {
    pub fn not(self) -> Self {
        match self {
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
            Truth::Yes => Truth::No,
        }
    }
    /// The truth of all.
    pub fn all(of: impl IntoIterator<Item = Truth>) -> Truth {
        of.into_iter().min().unwrap_or(Truth::Yes)
    }
    /// The truth of any.
    pub fn any(of: impl IntoIterator<Item = Truth>) -> Truth {
        of.into_iter().max().unwrap_or(Truth::No)
    }
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), variable: text.contains("${") }
    }
    pub fn text(&self) -> &str {
        &self.text
    }
    pub fn matches(&self, value: &str) -> Truth {
        if self.variable { Truth::Unknown } else { glob(self.text.as_bytes(), value.as_bytes(), false).into() }
    }
    /// As actions are compared.
    pub fn matches_fold(&self, value: &str) -> Truth {
        if self.variable { Truth::Unknown } else { glob(self.text.as_bytes(), value.as_bytes(), true).into() }
    }
}

/// Does the whole value fit? Walks back to the last star only, so that time grows with the product of the lengths at worst.
pub fn glob(pattern: &[u8], value: &[u8], fold: bool) -> bool {
    let same = |a: u8, b: u8| if fold { a.eq_ignore_ascii_case(&b) } else { a == b };
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, v));
                p += 1;
            }
            // A question mark is one character, however many bytes it has.
            Some(b'?') => {
                p += 1;
                v += 1;
                while value.get(v).is_some_and(|b| b & 0xc0 == 0x80) {
                    v += 1;
                }
            }
            Some(&c) if same(c, value[v]) => {
                p += 1;
                v += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    v = from + 1;
                    star = Some((at, v));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}
