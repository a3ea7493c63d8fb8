//! Conditions (IAM User Guide, "Condition operators").

use crate::pattern::{Pattern, Truth, glob};

/// Keys whose absence from a request means something, since the platform sets them whenever they apply. Any other key that a
/// request doesn't carry is unknown.
const KNOWN_KEYS: &[&str] = &[
    "lambda:FunctionUrlAuthType",
    "lambda:InvokedViaFunctionUrl",
    "aws:SourceArn",
    "aws:SourceAccount",
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
];

/// Operators that AWS has, and that a document may therefore hold, without this evaluator knowing them.
const FOREIGN: &[&str] = &[
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsFold,
    Like,
    Arn,
    Null,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Known {
        test: Test,
        negated: bool,
        if_exists: bool,
    },
    /// AWS's, and not ours.
    Foreign,
    /// Nobody's.
    Bogus,
}

/// One key under one operator: all values that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    operator: Operator,
    key: Box<str>,
    values: Vec<Pattern>,
}

impl Condition {
    pub fn new(operator: &str, key: &str, values: Vec<Pattern>) -> Self {
        Self { operator: Operator::of(operator), key: key.into(), values }
    }

    /// The operator is one that AWS has.
    pub fn is_named_rightly(&self) -> bool {
        self.operator != Operator::Bogus
    }

    pub fn holds(&self, context: &Context<'_>) -> Truth {
        let Operator::Known { test, negated, if_exists } = self.operator else { return Truth::Unknown };
        let value = context.get(&self.key);
        let known = value.is_some() || KNOWN_KEYS.iter().any(|k| k.eq_ignore_ascii_case(&self.key));
        if !known {
            return Truth::Unknown;
        }
        if test == Test::Null {
            let absent = if value.is_none() { "true" } else { "false" };
            return Truth::any(self.values.iter().map(|v| v.text().eq_ignore_ascii_case(absent).into()));
        }
        let Some(value) = value else { return (if_exists || negated).into() };
        let found = Truth::any(self.values.iter().map(|v| test.on(v, value)));
        if negated { found.not() } else { found }
    }
}

impl Operator {
    fn of(name: &str) -> Self {
        let (base, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |base| (base, true));
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" | "Bool" => (Test::EqualsFold, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsFold, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Null" if !if_exists => (Test::Null, false),
            // Sets of values need a request that has sets.
            _ => {
                let plain = base.strip_prefix("ForAnyValue:").or_else(|| base.strip_prefix("ForAllValues:"));
                let known = plain.is_some_and(|p| Operator::of(p) != Operator::Bogus) || FOREIGN.contains(&base);
                return if known { Operator::Foreign } else { Operator::Bogus };
            }
        };
        Operator::Known { test, negated, if_exists }
    }
}

impl Test {
    fn on(self, pattern: &Pattern, value: &str) -> Truth {
        if pattern.matches("") == Truth::Unknown {
            return Truth::Unknown;
        }
        match self {
            Test::Equals => (pattern.text() == value).into(),
            Test::EqualsFold => pattern.text().eq_ignore_ascii_case(value).into(),
            Test::Like => pattern.matches(value),
            Test::Arn => arn_like(pattern.text(), value).into(),
            Test::Null => Truth::Unknown,
        }
    }
}

/// Each of an ARN's six parts fits by itself: a star doesn't reach over a colon.
fn arn_like(pattern: &str, value: &str) -> bool {
    let (mut p, mut v) = (pattern.splitn(6, ':'), value.splitn(6, ':'));
    loop {
        match (p.next(), v.next()) {
            (None, None) => return true,
            (Some(p), Some(v)) if glob(p.as_bytes(), v.as_bytes(), false) => {}
            _ => return false,
        }
    }
}

/// What is known of a request.
pub struct Context<'a> {
    pub given: &'a [(&'a str, &'a str)],
    pub principal_arn: Option<String>,
    pub principal_account: Option<&'a str>,
}

impl Context<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key.eq_ignore_ascii_case("aws:PrincipalArn") {
            return self.principal_arn.as_deref();
        }
        if key.eq_ignore_ascii_case("aws:PrincipalAccount") {
            return self.principal_account;
        }
        self.given.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| *v)
    }
}
