//! Conditions (IAM User Guide, "Condition operators" and "Multivalued context keys").

use crate::{
    compare::Test,
    context::{Context, Found},
    pattern::{Pattern, Truth},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// The request has one value.
    No,
    Any,
    All,
}

/// One key under one operator: all values that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `None`: no operator of this name exists.
    operator: Option<Operator>,
    key: Box<str>,
    values: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operator {
    set: Set,
    test: Test,
    negated: bool,
    if_exists: bool,
}

impl Condition {
    pub fn new(operator: &str, key: &str, values: Vec<Pattern>) -> Self {
        Self { operator: Operator::of(operator), key: key.into(), values }
    }

    /// The operator is one that exists.
    pub fn is_named_rightly(&self) -> bool {
        self.operator.is_some()
    }

    pub fn holds(&self, context: &Context<'_>) -> Truth {
        let Some(operator) = self.operator else { return Truth::Unknown };
        let found = match context.find(&self.key) {
            Found::Unknown => return Truth::Unknown,
            found if operator.test == Test::Null => return self.null(&found),
            Found::Absent => return operator.of_nothing(),
            Found::These(values) => values,
        };
        // Negated operators name what must not be there: no value of the request may be one of these.
        let fits = |value: &str| {
            let found = Truth::any(self.values.iter().map(|v| operator.test.on(v, value, context)));
            if operator.negated { found.not() } else { found }
        };
        match (operator.set, &found[..]) {
            (Set::No, [one]) => fits(one),
            // What an operator for one value makes of several is nowhere written.
            (Set::No, _) => Truth::Unknown,
            (Set::Any, all) => Truth::any(all.iter().map(|v| fits(v))),
            (Set::All, all) => Truth::all(all.iter().map(|v| fits(v))),
        }
    }

    fn null(&self, found: &Found<'_>) -> Truth {
        let absent = if *found == Found::Absent { "true" } else { "false" };
        Truth::any(self.values.iter().map(|v| v.text().eq_ignore_ascii_case(absent).into()))
    }
}

impl Operator {
    fn of(name: &str) -> Option<Self> {
        let (set, base) = match name.split_once(':') {
            None => (Set::No, name),
            Some(("ForAnyValue", base)) => (Set::Any, base),
            Some(("ForAllValues", base)) => (Set::All, base),
            Some(_) => return None,
        };
        let (base, if_exists) = base.strip_suffix("IfExists").map_or((base, false), |base| (base, true));
        let (test, negated) = Test::of(base)?;
        // Whether a key is there is neither asked of each value nor only if it is there.
        let plain = set == Set::No && !if_exists;
        (test != Test::Null || plain).then_some(Operator { set, test, negated, if_exists })
    }

    /// The key isn't in the request.
    fn of_nothing(self) -> Truth {
        match self.set {
            Set::All => Truth::Yes,
            Set::Any => self.if_exists.into(),
            Set::No => (self.if_exists || self.negated).into(),
        }
    }
}
