//! Filter patterns (CloudWatch Logs user guide, "Filter pattern syntax"): terms in any order, and comparisons of JSON fields.
//! What isn't understood is refused, so that no filter silently lets everything or nothing through.

use crate::aws::fault::WireError;
use serde_json::Value;

pub enum Filter {
    All,
    Terms(Vec<Term>),
    Json(Expr),
}

pub struct Term {
    text: String,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Must,
    MustNot,
    Any,
}

pub enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Test { path: Vec<Step>, op: Op },
}

pub enum Step {
    Name(String),
    Index(usize),
}

pub enum Op {
    Text { equal: bool, pattern: String },
    Number { compare: fn(f64, f64) -> bool, value: f64 },
    Truth(bool),
    Null,
    Missing,
}

fn refuse(pattern: &str, why: &str) -> WireError {
    WireError::new(400, "InvalidParameterException", format!("Invalid filter pattern {pattern:?}: {why}"))
}

impl Filter {
    pub fn parse(pattern: &str) -> Result<Self, WireError> {
        let text = pattern.trim();
        if text.len() > 1024 {
            return Err(refuse("…", "it is longer than 1024 characters"));
        }
        match text.chars().next() {
            None => Ok(Filter::All),
            Some('{') => {
                let mut parser = Parser { rest: text, depth: 0 };
                let read = parser.whole();
                read.map(Filter::Json).map_err(|why| refuse(text, &why))
            }
            Some('[') => Err(refuse(text, "patterns of space-delimited fields are not served by this endpoint")),
            Some(_) => terms(text).map(Filter::Terms).map_err(|why| refuse(text, why)),
        }
    }

    pub fn matches(&self, message: &str) -> bool {
        match self {
            Filter::All => true,
            Filter::Terms(terms) => {
                let has = |t: &&Term| message.contains(t.text.as_str());
                let (any, fixed): (Vec<&Term>, Vec<&Term>) = terms.iter().partition(|t| t.kind == Kind::Any);
                let fixed_hold = fixed.iter().all(|t| has(t) == (t.kind == Kind::Must));
                // Optional terms count only where nothing is required.
                fixed_hold && (any.is_empty() || !fixed.is_empty() || any.iter().any(has))
            }
            Filter::Json(expr) => serde_json::from_str(message.trim()).is_ok_and(|v| expr.holds(&v)),
        }
    }
}

fn terms(text: &str) -> Result<Vec<Term>, &'static str> {
    let (mut out, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        let kind = match rest.as_bytes().first() {
            None => return Ok(out),
            Some(b'-') => Kind::MustNot,
            Some(b'?') => Kind::Any,
            Some(b'%') => return Err("regular expressions are not served by this endpoint"),
            Some(_) => Kind::Must,
        };
        if kind != Kind::Must {
            rest = &rest[1..];
        }
        let (term, after) = word(rest)?;
        if term.is_empty() {
            return Err("a term is empty");
        }
        out.push(Term { text: term, kind });
        rest = after;
    }
}

/// A word, or a phrase in quotes.
fn word(rest: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        return Ok((rest[..end].to_owned(), &rest[end..]));
    };
    let (mut out, mut escaped) = (String::new(), false);
    for (i, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((out, &quoted[i + 1..])),
            c => out.push(c),
        }
    }
    Err("a quote is not closed")
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

/// Parentheses within parentheses.
const DEPTH_MAX: usize = 16;

impl<'a> Parser<'a> {
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }
    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.skip(token) { Ok(()) } else { Err(format!("expected {token:?} at {:?}", self.rest.trim_start())) }
    }
    fn whole(&mut self) -> Result<Expr, String> {
        self.need("{")?;
        let expr = self.or()?;
        self.need("}")?;
        if self.rest.trim().is_empty() { Ok(expr) } else { Err("something follows the closing brace".into()) }
    }
    fn or(&mut self) -> Result<Expr, String> {
        let mut left = self.and()?;
        while self.skip("||") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }
    fn and(&mut self) -> Result<Expr, String> {
        let mut left = self.one()?;
        while self.skip("&&") {
            left = Expr::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }
    fn one(&mut self) -> Result<Expr, String> {
        if !self.skip("(") {
            return self.test();
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("parentheses are nested too deeply".into());
        }
        let inner = self.or()?;
        self.need(")")?;
        self.depth -= 1;
        Ok(inner)
    }
    fn test(&mut self) -> Result<Expr, String> {
        let path = self.path()?;
        for (words, op) in
            [("IS NULL", Op::Null), ("NOT EXISTS", Op::Missing), ("IS TRUE", Op::Truth(true)), ("IS FALSE", Op::Truth(false))]
        {
            if self.skip(words) {
                return Ok(Expr::Test { path, op });
            }
        }
        type Compare = fn(f64, f64) -> bool;
        let comparisons: [(&str, Compare, Option<bool>); 6] = [
            ("!=", |a, b| a != b, Some(false)),
            (">=", |a, b| a >= b, None),
            ("<=", |a, b| a <= b, None),
            ("=", |a, b| a == b, Some(true)),
            (">", |a, b| a > b, None),
            ("<", |a, b| a < b, None),
        ];
        let found = comparisons.into_iter().find(|c| self.skip(c.0));
        let (_, compare, equality) = found.ok_or_else(|| format!("expected a comparison at {:?}", self.rest.trim_start()))?;
        let rest = self.rest.trim_start();
        let quoted = rest.starts_with('"');
        let (text, after) = if quoted { word(rest)? } else { bare(rest) };
        self.rest = after;
        let number = text.parse::<f64>().ok().filter(|_| !quoted);
        let op = match (number, equality) {
            (Some(value), _) => Op::Number { compare, value },
            (None, Some(equal)) if !text.is_empty() => Op::Text { equal, pattern: text },
            _ => return Err("expected a number or a text to compare with".into()),
        };
        Ok(Expr::Test { path, op })
    }
    fn path(&mut self) -> Result<Vec<Step>, String> {
        self.need("$")?;
        let mut path = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '@'))).unwrap_or(rest.len());
                if end == 0 {
                    return Err("a field's name is missing".into());
                }
                path.push(Step::Name(rest[..end].to_owned()));
                self.rest = &rest[end..];
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let (inside, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
                let inside = inside.trim();
                path.push(match inside.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => Step::Name(inside.trim_matches(['"', '\'']).to_owned()),
                });
                self.rest = after;
            } else {
                return if path.is_empty() { Err("a selector names a field, such as $.level".into()) } else { Ok(path) };
            }
        }
    }
}

fn bare(rest: &str) -> (String, &str) {
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '}' | ')' | '&' | '|')).unwrap_or(rest.len());
    (rest[..end].to_owned(), &rest[end..])
}

/// `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

impl Expr {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Expr::And(a, b) => a.holds(value) && b.holds(value),
            Expr::Or(a, b) => a.holds(value) || b.holds(value),
            Expr::Test { path, op } => {
                let found = path.iter().try_fold(value, |v, step| match step {
                    Step::Name(name) => v.get(name),
                    Step::Index(index) => v.get(index),
                });
                op.holds(found)
            }
        }
    }
}

impl Op {
    fn holds(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Op::Missing, found) => found.is_none(),
            (_, None) => false,
            (Op::Null, Some(value)) => value.is_null(),
            (Op::Truth(wanted), Some(value)) => value.as_bool() == Some(*wanted),
            (Op::Number { compare, value: wanted }, Some(value)) => value.as_f64().is_some_and(|n| compare(n, *wanted)),
            (Op::Text { equal, pattern }, Some(Value::String(text))) => like(pattern, text) == *equal,
            (Op::Text { equal, pattern }, Some(Value::Bool(flag))) => (pattern == if *flag { "true" } else { "false" }) == *equal,
            (Op::Text { .. }, Some(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_let_through_what_they_describe() {
        let line = r#"{"level":"ERROR","code":503,"ok":false,"user":{"id":"u-17"},"tags":["a","b"],"gone":null}"#;
        let table = [
            ("", line, true),
            ("ERROR 503", line, true),
            ("ERROR WARN", line, false),
            ("ERROR -503", line, false),
            ("-WARN", line, true),
            ("?WARN ?ERROR", line, true),
            ("?WARN ?INFO", line, false),
            ("\"two words\"", "it has two words", true),
            ("\"two words\"", "two, words", false),
            ("error", line, false),
            ("{ $.level = \"ERROR\" }", line, true),
            ("{ $.level = ERR* }", line, true),
            ("{ $.level != \"ERROR\" }", line, false),
            ("{ $.code >= 500 && $.code < 600 }", line, true),
            ("{ $.code = 404 || ($.user.id = \"u-*\" && $.tags[1] = b) }", line, true),
            ("{ $.gone IS NULL }", line, true),
            ("{ $.missing NOT EXISTS }", line, true),
            ("{ $.ok IS FALSE }", line, true),
            ("{ $.missing = 1 }", line, false),
            ("{ $.level = \"ERROR\" }", "no json", false),
        ];
        for (pattern, message, wanted) in table {
            assert_eq!(Filter::parse(pattern).unwrap_or_else(|e| panic!("{}", e.message)).matches(message), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(1000), ")".repeat(1000));
        for bad in [
            "{ $.a }",
            "{ $.a = }",
            "{ a = 1 }",
            "{ $.a = 1",
            "[ip, user]",
            "%x%",
            "\"open",
            "{ $.a = 1 } x",
            "{ $.a > b }",
            "- x",
            &deep,
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad:.40}");
        }
    }
}
