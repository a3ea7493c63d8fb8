//! The parameters of an IAM request, and pages of lists.

use crate::aws::{check::Checks, fault::WireError, shared::Asked, sts, xml};
use model::DocumentKind;
use std::collections::BTreeMap;

/// Members of one list parameter.
const MEMBERS_MAX: usize = 50;
pub const DOCUMENT_MAX: usize = 131_072;
const TAGS_MAX: usize = 50;

pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn of(asked: &Asked) -> Form {
        Form(sts::form(asked))
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        sts::parameter(&self.0, name)
    }
    /// A name: letters, digits and `_+=,.@-`.
    pub fn name(&self, name: &str, at: &str, most: usize) -> Result<&str, WireError> {
        self.checked(name, at, most, |c| c.is_ascii_alphanumeric() || b"_+=,.@-".contains(&c))
    }
    /// Any text.
    pub fn text(&self, name: &str, at: &str, most: usize) -> Result<&str, WireError> {
        self.checked(name, at, most, |_| true)
    }
    fn checked(&self, name: &str, at: &str, most: usize, plain: impl Fn(u8) -> bool) -> Result<&str, WireError> {
        let mut checks = Checks::default();
        let value = self.get(name);
        match value {
            None => checks.missing(at),
            Some(value) => {
                checks.length(value, at, 1, most);
                if !value.bytes().all(plain) {
                    checks.fail(value, at, "Member must satisfy regular expression pattern: [\\w+=,.@-]+");
                }
            }
        }
        checks.into_result().map_err(|e| WireError { code: "ValidationError", ..e })?;
        Ok(value.unwrap_or_default())
    }
    pub fn policy_arn(&self) -> Result<&str, WireError> {
        let arn = self.text("PolicyArn", "policyArn", 2048)?;
        if arn.starts_with("arn:") && arn.len() >= 20 {
            return Ok(arn);
        }
        Err(WireError::new(400, "InvalidInput", format!("ARN {arn} is not valid.")))
    }
    pub fn path(&self) -> Result<&str, WireError> {
        path(self.get("Path").unwrap_or("/"))
    }
    /// Values of `NAME.member.N`.
    pub fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        (1..=MEMBERS_MAX).map_while(move |i| self.get(&format!("{name}.member.{i}")))
    }
    pub fn tags(&self) -> Result<BTreeMap<String, String>, WireError> {
        let tags = (1..=TAGS_MAX + 1).map_while(|i| {
            let key = self.get(&format!("Tags.member.{i}.Key"))?;
            Some((key.to_owned(), self.get(&format!("Tags.member.{i}.Value")).unwrap_or_default().to_owned()))
        });
        let tags: BTreeMap<_, _> = tags.collect();
        tags_fit(&tags)?;
        Ok(tags)
    }
    /// `MaxItems` and `Marker`; markers are names.
    pub fn paging(&self) -> (usize, &str) {
        let size = self.get("MaxItems").and_then(|n| n.parse().ok()).unwrap_or(100);
        (usize::clamp(size, 1, 1000), self.get("Marker").unwrap_or_default())
    }
    /// A policy document of this kind.
    pub fn document(&self, asked: &Asked, name: &str, at: &str, kind: DocumentKind) -> Result<&str, WireError> {
        let text = self.text(name, at, DOCUMENT_MAX)?;
        document(asked, text, kind)?;
        Ok(text)
    }
}

pub fn tags_fit(tags: &BTreeMap<String, String>) -> Result<(), WireError> {
    if tags.len() > TAGS_MAX {
        return Err(super::quota("TagsPerResource", TAGS_MAX));
    }
    match tags.iter().find(|(k, v)| k.is_empty() || k.chars().count() > 128 || v.chars().count() > 256) {
        Some((key, _)) => Err(super::invalid(format!(
            "Tags: a key has 1 to 128 characters and a value at most 256; the one that begins with {:?} doesn't fit",
            key.chars().take(32).collect::<String>()
        ))),
        None => Ok(()),
    }
}

pub fn path(path: &str) -> Result<&str, WireError> {
    let plain = path == "/"
        || (path.len() > 2 && path.starts_with('/') && path.ends_with('/') && path.bytes().all(|b| (0x21..0x7f).contains(&b)));
    if plain && path.len() <= 512 {
        return Ok(path);
    }
    Err(super::invalid(
        "1 validation error detected: Value at 'path' failed to satisfy constraint: Member must begin and end with a slash and hold at most 512 characters from ! to ~",
    ))
}

/// JSON, an object with statements, and in the evaluator's eyes a policy of this kind.
pub fn document(asked: &Asked, text: &str, kind: DocumentKind) -> Result<(), WireError> {
    let malformed = |why: &str| WireError::new(400, "MalformedPolicyDocument", why.to_owned());
    let value =
        crate::aws::json::value(text.as_bytes()).map_err(|e| malformed(&format!("Syntax errors in policy. ({})", e.message)))?;
    let Some(statements) = value.get("Statement") else { return Err(malformed("Syntax errors in policy. (no Statement)")) };
    let one = |s: &serde_json::Value| s.is_object() && matches!(s["Effect"].as_str(), Some("Allow" | "Deny"));
    let well = match statements {
        serde_json::Value::Array(all) => !all.is_empty() && all.iter().all(one),
        single => one(single),
    };
    if !well {
        return Err(malformed("Syntax errors in policy. (a statement needs an Effect of Allow or Deny)"));
    }
    asked.platform().policy().validate(text, kind).map_err(|why| malformed(&format!("Syntax errors in policy. ({why})")))
}

/// Characters of a document as quotas count them.
pub fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// One page of a list: items by name, in order.
pub struct Page<T> {
    pub items: Vec<(String, T)>,
    pub more: bool,
}

impl<T> Page<T> {
    pub fn of(form: &Form, all: impl IntoIterator<Item = (String, T)>) -> Page<T> {
        let (size, after) = form.paging();
        let mut items: Vec<_> = all.into_iter().filter(|(name, _)| name.as_str() > after).take(size + 1).collect();
        let more = items.len() > size;
        items.truncate(size);
        Page { items, more }
    }
    /// `<MEMBER>…</MEMBER>` and where the next page begins.
    pub fn render(&self, member: &str, write: impl Fn(&mut String, &str, &T)) -> String {
        let mut out = format!("<{member}>");
        for (name, item) in &self.items {
            write(&mut out, name, item);
        }
        out.push_str(&format!("</{member}>"));
        xml::element(&mut out, "IsTruncated", if self.more { "true" } else { "false" });
        if let (true, Some((last, _))) = (self.more, self.items.last()) {
            xml::element(&mut out, "Marker", last);
        }
        out
    }
}

pub fn write_tags(out: &mut String, tags: &BTreeMap<String, String>) {
    if tags.is_empty() {
        return;
    }
    out.push_str("<Tags>");
    for (key, value) in tags {
        write_tag(out, key, value);
    }
    out.push_str("</Tags>");
}

pub fn write_tag(out: &mut String, key: &str, value: &str) {
    out.push_str("<member>");
    xml::element(out, "Key", key);
    xml::element(out, "Value", value);
    out.push_str("</member>");
}
