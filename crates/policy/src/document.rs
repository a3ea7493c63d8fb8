//! A policy document, parsed strictly: what isn't part of the language is an error that names its place.

use crate::{condition::Condition, json::Json, pattern::Pattern, principal::Named};
use model::DocumentKind as Kind;

const STATEMENTS_MAX: usize = 200;
/// Strings in one element.
const VALUES_MAX: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the policy is not JSON that can be read: {0}")]
    Json(String),
    #[error("{at}: {problem}")]
    Field { at: String, problem: String },
}

fn wrong<T>(at: &str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Field { at: at.into(), problem: problem.into() })
}

/// A parsed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub(crate) statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub deny: bool,
    pub who: Option<Listed<Named>>,
    pub actions: Listed<Pattern>,
    pub resources: Option<Listed<Pattern>>,
    pub conditions: Vec<Condition>,
}

/// `X`, or `NotX`: everything but these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed<T> {
    pub not: bool,
    pub these: Vec<T>,
}

type Make = fn(&str) -> Pattern;

impl Document {
    pub fn parse(text: &str) -> Result<Document, Error> {
        let Json::Object(entries) = Json::parse(text).map_err(Error::Json)? else {
            return wrong("document", "is not an object");
        };
        let mut statements = None;
        let mut old = true;
        for (key, value) in entries {
            match (&*key, value) {
                ("Version", Json::Text(v)) if v == "2012-10-17" || v == "2008-10-17" => old = v == "2008-10-17",
                ("Version", _) => return wrong("Version", "must be \"2012-10-17\""),
                ("Id", Json::Text(_)) => {}
                ("Id", other) => return wrong("Id", format!("must be a string, not {}", other.kind())),
                ("Statement", Json::List(list)) => statements = Some(list),
                ("Statement", one @ Json::Object(_)) => statements = Some(vec![one]),
                ("Statement", other) => return wrong("Statement", format!("must be a list of objects, not {}", other.kind())),
                (other, _) => return wrong(&format!("{other:?}"), "is no element of a policy"),
            }
        }
        let Some(list) = statements else { return wrong("Statement", "is missing") };
        if list.is_empty() || list.len() > STATEMENTS_MAX {
            return wrong("Statement", format!("must hold 1 to {STATEMENTS_MAX} statements"));
        }
        // Without a version it is of the first, which knows no variables.
        let make: Make = if old { Pattern::plain } else { Pattern::new };
        let parse = |(i, json)| Statement::parse(json, &format!("Statement[{i}]"), make);
        Ok(Document { statements: list.into_iter().enumerate().map(parse).collect::<Result<_, _>>()? })
    }

    /// Does every statement say what this kind of document must, and nothing that it mustn't?
    pub(crate) fn check(&self, kind: Kind) -> Result<(), Error> {
        for (i, statement) in self.statements.iter().enumerate() {
            let at = |field: &str| format!("Statement[{i}].{field}");
            match (kind, &statement.who) {
                (Kind::Identity, Some(_)) => return wrong(&at("Principal"), "has no place in a role's own policy"),
                (Kind::Trust | Kind::Resource, None) => return wrong(&at("Principal"), "is missing"),
                _ => {}
            }
            match (kind, &statement.resources) {
                (Kind::Identity | Kind::Resource, None) => return wrong(&at("Resource"), "is missing"),
                (Kind::Trust, Some(_)) => return wrong(&at("Resource"), "has no place in a trust policy"),
                _ => {}
            }
            if !statement.conditions.iter().all(Condition::is_named_rightly) {
                return wrong(&at("Condition"), "holds an operator that doesn't exist");
            }
        }
        Ok(())
    }
}

impl Statement {
    fn parse(json: Json, at: &str, make: Make) -> Result<Statement, Error> {
        let Json::Object(entries) = json else { return wrong(at, format!("must be an object, not {}", json.kind())) };
        let (mut deny, mut who, mut actions, mut resources, mut conditions) = (None, None, None, None, Vec::new());
        for (key, value) in entries {
            let at = format!("{at}.{key}");
            let not = key.starts_with("Not");
            match (&*key, value) {
                ("Sid", Json::Text(_)) => {}
                ("Sid", other) => return wrong(&at, format!("must be a string, not {}", other.kind())),
                ("Effect", Json::Text(effect)) if effect == "Allow" || effect == "Deny" => deny = Some(effect == "Deny"),
                ("Effect", _) => return wrong(&at, "must be \"Allow\" or \"Deny\""),
                ("Principal" | "NotPrincipal", value) => once(&mut who, Listed { not, these: principals(value, &at)? }, &at)?,
                ("Action" | "NotAction", value) => {
                    once(&mut actions, Listed { not, these: action_patterns(value, &at, make)? }, &at)?
                }
                ("Resource" | "NotResource", value) => {
                    once(&mut resources, Listed { not, these: patterns(value, &at, make)? }, &at)?
                }
                ("Condition", value) => conditions = parse_conditions(value, &at, make)?,
                _ => return wrong(&at, "is no element of a statement"),
            }
        }
        let Some(deny) = deny else { return wrong(&format!("{at}.Effect"), "is missing") };
        let Some(actions) = actions else { return wrong(&format!("{at}.Action"), "is missing") };
        // "Everybody but one" as a grant opens to the whole world; AWS advises against it, here it isn't to be had.
        if !deny && who.as_ref().is_some_and(|w| w.not) {
            return wrong(&format!("{at}.NotPrincipal"), "may only be used with Deny");
        }
        Ok(Statement { deny, who, actions, resources, conditions })
    }
}

fn once<T>(place: &mut Option<T>, value: T, at: &str) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => wrong(at, "excludes its opposite"),
    }
}

/// A string, or a list of strings.
fn texts(json: Json, at: &str) -> Result<Vec<String>, Error> {
    let list = match json {
        Json::Text(text) => return Ok(vec![text]),
        Json::List(list) => list,
        other => return wrong(at, format!("must be a string or a list of strings, not {}", other.kind())),
    };
    if list.is_empty() || list.len() > VALUES_MAX {
        return wrong(at, format!("must hold 1 to {VALUES_MAX} strings"));
    }
    let text = |item| match item {
        Json::Text(text) => Ok(text),
        other => wrong(at, format!("must hold strings, not {}", other.kind())),
    };
    list.into_iter().map(text).collect()
}

fn patterns(json: Json, at: &str, make: Make) -> Result<Vec<Pattern>, Error> {
    let texts = texts(json, at)?;
    match texts.iter().find(|t| *t != "*" && !t.starts_with("arn:") && !t.starts_with("${")) {
        Some(bad) => wrong(at, format!("{bad:?} is neither an ARN nor \"*\"")),
        None => Ok(texts.iter().map(|t| make(t)).collect()),
    }
}

fn action_patterns(json: Json, at: &str, make: Make) -> Result<Vec<Pattern>, Error> {
    let texts = texts(json, at)?;
    let good = |t: &str| t == "*" || t.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty());
    match texts.iter().find(|t| !good(t)) {
        Some(bad) => wrong(at, format!("{bad:?} is not of the form service:Action")),
        None => Ok(texts.iter().map(|t| make(t)).collect()),
    }
}

fn principals(json: Json, at: &str) -> Result<Vec<Named>, Error> {
    let entries = match json {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Everybody]),
        Json::Object(entries) if !entries.is_empty() => entries,
        _ => return wrong(at, "must be \"*\" or an object such as {\"AWS\": …}"),
    };
    let mut named = Vec::new();
    for (kind, values) in entries {
        let at = format!("{at}.{kind}");
        let make: fn(&str) -> Named = match &*kind {
            "AWS" => Named::aws,
            "Service" => |text| Named::Service(Pattern::new(text)),
            "Federated" | "CanonicalUser" => |_| Named::Nobody,
            _ => return wrong(&at, "is no kind of principal"),
        };
        named.extend(texts(values, &at)?.iter().map(|t| make(t)));
    }
    Ok(named)
}

fn parse_conditions(json: Json, at: &str, make: Make) -> Result<Vec<Condition>, Error> {
    let Json::Object(operators) = json else { return wrong(at, format!("must be an object, not {}", json.kind())) };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let at = format!("{at}.{operator}");
        let Json::Object(keys) = keys else { return wrong(&at, format!("must be an object, not {}", keys.kind())) };
        for (key, values) in keys {
            conditions.push(Condition::new(&operator, &key, condition_values(values, &format!("{at}.{key}"), make)?));
        }
    }
    Ok(conditions)
}

/// Numbers and booleans count as their text.
fn condition_values(json: Json, at: &str, make: Make) -> Result<Vec<Pattern>, Error> {
    let list = if let Json::List(list) = json { list } else { vec![json] };
    if list.len() > VALUES_MAX {
        return wrong(at, format!("must hold at most {VALUES_MAX} values"));
    }
    let value = |item| match item {
        Json::Text(text) => Ok(make(&text)),
        Json::Bool(b) => Ok(make(if b { "true" } else { "false" })),
        Json::Number(n) => Ok(make(&n.to_string())),
        other => wrong(at, format!("must hold strings, numbers or booleans, not {}", other.kind())),
    };
    list.into_iter().map(value).collect()
}
