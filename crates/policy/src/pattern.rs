//! `*`, `?` and policy variables in actions, resources, principals and condition values (IAM User Guide, "IAM policy elements:
//! Variables and tags").

use crate::context::Context;
use std::borrow::Cow;

/// A pattern, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// It holds policy variables (`${aws:username}`): the pieces that it is made of.
    pieces: Option<Box<[Piece]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// With its wildcards.
    Text(Box<str>),
    /// A sign that stands for itself: `${*}`, `${?}`, `${$}`.
    Sign(u8),
    Variable {
        key: Box<str>,
        /// `${aws:username, 'nobody'}`
        otherwise: Option<Box<str>>,
    },
    /// `${` without an end.
    Broken,
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

impl From<Option<bool>> for Truth {
    fn from(is: Option<bool>) -> Self {
        is.map_or(Truth::Unknown, Truth::from)
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

/// One sign of a pattern whose variables have their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Any,
}

impl From<u8> for Sign {
    fn from(byte: u8) -> Sign {
        match byte {
            b'*' => Sign::Any,
            b'?' => Sign::One,
            byte => Sign::Byte(byte),
        }
    }
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), pieces: text.contains("${").then(|| pieces(text)) }
    }
    /// Of a document so old that `${…}` means nothing in it (policy language 2008-10-17).
    pub fn plain(text: &str) -> Self {
        Self { text: text.into(), pieces: None }
    }
    pub fn text(&self) -> &str {
        &self.text
    }
    pub fn matches(&self, value: &str, context: &Context<'_>) -> Truth {
        self.fits(value, context, false)
    }
    /// As actions are compared.
    pub fn matches_fold(&self, value: &str, context: &Context<'_>) -> Truth {
        self.fits(value, context, true)
    }
    fn fits(&self, value: &str, context: &Context<'_>, fold: bool) -> Truth {
        match &self.pieces {
            None => glob(self.text.as_bytes(), value.as_bytes(), fold).into(),
            Some(pieces) => signs(pieces, context).map(|signs| glob(&signs, value.as_bytes(), fold)).into(),
        }
    }
    /// The text with the values of its variables, wildcards meaning nothing; `None` when a value isn't known.
    pub fn literal(&self, context: &Context<'_>) -> Option<Cow<'_, str>> {
        let Some(pieces) = &self.pieces else { return Some(Cow::Borrowed(&self.text)) };
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Sign(sign) => out.push(char::from(*sign)),
                Piece::Variable { key, otherwise } => out.push_str(&value_of(key, otherwise.as_deref(), context)?),
                Piece::Broken => return None,
            }
        }
        Some(Cow::Owned(out))
    }
    /// The signs of the pattern; `None` when the value of a variable isn't known.
    pub fn signs(&self, context: &Context<'_>) -> Option<Vec<Sign>> {
        match &self.pieces {
            None => Some(self.text.bytes().map(Sign::from).collect()),
            Some(pieces) => signs(pieces, context),
        }
    }
}

fn pieces(text: &str) -> Box<[Piece]> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if !before.is_empty() {
            out.push(Piece::Text(before.into()));
        }
        let Some((inner, behind)) = after.split_once('}') else {
            out.push(Piece::Broken);
            return out.into();
        };
        out.push(variable(inner));
        rest = behind;
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest.into()));
    }
    out.into()
}

fn variable(inner: &str) -> Piece {
    if let [sign @ (b'*' | b'?' | b'$')] = inner.as_bytes() {
        return Piece::Sign(*sign);
    }
    let Some((key, otherwise)) = inner.split_once(',') else {
        return Piece::Variable { key: inner.trim().into(), otherwise: None };
    };
    let quoted = otherwise.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    quoted.map_or(Piece::Broken, |text| Piece::Variable { key: key.trim().into(), otherwise: Some(text.into()) })
}

fn value_of<'a>(key: &str, otherwise: Option<&'a str>, context: &'a Context<'_>) -> Option<Cow<'a, str>> {
    context.one(key).or_else(|| otherwise.map(Cow::Borrowed))
}

/// What a request brings along stands for itself: a star in a user's name is no wildcard.
fn signs(pieces: &[Piece], context: &Context<'_>) -> Option<Vec<Sign>> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend(text.bytes().map(Sign::from)),
            Piece::Sign(sign) => out.push(Sign::Byte(*sign)),
            Piece::Variable { key, otherwise } => {
                out.extend(value_of(key, otherwise.as_deref(), context)?.bytes().map(Sign::Byte));
            }
            Piece::Broken => return None,
        }
    }
    Some(out)
}

/// Does the whole value fit? Walks back to the last star only, so that time grows with the product of the lengths at worst.
pub fn glob<S: Copy + Into<Sign>>(pattern: &[S], value: &[u8], fold: bool) -> bool {
    let same = |a: u8, b: u8| if fold { a.eq_ignore_ascii_case(&b) } else { a == b };
    let at = |p: usize| pattern.get(p).map(|s| (*s).into());
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match at(p) {
            Some(Sign::Any) => {
                star = Some((p, v));
                p += 1;
            }
            // A question mark is one character, however many bytes it has.
            Some(Sign::One) => {
                p += 1;
                v += 1;
                while value.get(v).is_some_and(|b| b & 0xc0 == 0x80) {
                    v += 1;
                }
            }
            Some(Sign::Byte(c)) if same(c, value[v]) => {
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
    pattern[p..].iter().all(|s| (*s).into() == Sign::Any)
}
