//! Every operator in all its forms, and variables.

use super::*;
use model::User;

fn ann() -> Principal {
    user("ann")
}
pub fn user(name: &str) -> Principal {
    Principal::User(Arc::new(User {
        tenant: tenant(OWN),
        name: name.into(),
        arn: format!("arn:aws:iam::{OWN}:user/{name}").into(),
        id: "AIDAANN".into(),
    }))
}

/// 2026-01-02T03:04:05Z
const NOW_MS: u64 = 1_767_323_045_000;

fn ask(identity: &str, caller: &Principal, action: &str, resource: &str, context: &[(&str, &str)]) -> Decision {
    let brings = Brought {
        documents: vec![Arc::new(Document::parse(&document(identity)).expect("identity policy"))],
        tags: vec![("team".into(), "red".into())],
        ..Brought::default()
    };
    Evaluator::new(Arc::new(Whole(brings))).decide(&Ask {
        principal: caller,
        action,
        resource,
        owner: &tenant(OWN),
        resource_policy: None,
        trust: false,
        context,
        now_ms: NOW_MS,
    })
}

pub struct Whole(pub Brought);
impl IdentityDocuments for Whole {
    fn of(&self, _: &Principal) -> Arc<Brought> {
        Arc::new(self.0.clone())
    }
}

/// What a condition says: `Some(true)` it holds, `Some(false)` it doesn't, `None` it isn't understood (never allows, always denies).
fn holds(condition: &str, context: &[(&str, &str)]) -> Option<bool> {
    let when = |effect: &str| format!(r#"{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{condition}}}"#);
    let both = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*"}},{}"#, when("Deny"));
    let allows = ask(&when("Allow"), &ann(), "a:b", FN, context) == Allow;
    let denies = ask(&both, &ann(), "a:b", FN, context) == ExplicitDeny;
    assert!(!allows || denies, "{condition}: what allows when it holds denies when it holds");
    (allows == denies).then_some(allows)
}

#[test]
fn each_operator_on_a_value_on_none_and_on_what_it_cannot_read() {
    const K: &str = "lambda:Principal";
    // operator, policy's value, a value that fits, one that doesn't, one that can't be read
    let rows: &[(&str, &str, &str, &str, Option<&str>)] = &[
        ("StringEquals", r#""a*""#, "a*", "ab", None),
        ("StringEqualsIgnoreCase", r#""AbÄ""#, "aBä", "ac", None),
        ("StringLike", r#""a*c?""#, "abbcd", "abb", None),
        ("NumericEquals", "5", "5.0", "6", Some("five")),
        ("NumericLessThan", r#""5""#, "-1", "5", Some("")),
        ("NumericLessThanEquals", "5", "5", "5.1", Some("NaN")),
        ("NumericGreaterThan", "5", "6", "5", Some("inf")),
        ("NumericGreaterThanEquals", "5", "5", "4", Some("x")),
        ("DateEquals", r#""2026-01-02T00:00:00Z""#, "1767312000", "2026-01-03", Some("today")),
        ("DateLessThan", r#""2026-01-02""#, "2025-12-31T23:59:59Z", "2026-01-02", Some("today")),
        ("DateLessThanEquals", r#""2026-01-02""#, "2026-01-02", "2026-01-02T00:00:01Z", Some("today")),
        ("DateGreaterThan", r#""2026-01-02""#, "2026-01-03", "2026-01-02", Some("today")),
        ("DateGreaterThanEquals", r#""2026-01-02""#, "2026-01-02", "2025", Some("today")),
        ("Bool", "true", "True", "false", Some("yes")),
        ("BinaryEquals", r#""QmluYXJ5""#, "QmluYXJ5", "qmluyxj5", None),
        ("IpAddress", r#"["10.0.0.0/8","2001:db8::/32"]"#, "2001:db8::7", "11.0.0.1", Some("here")),
        ("ArnLike", r#""arn:aws:s3:::b*""#, "arn:aws:s3:::bucket", "arn:aws:s3:::c", None),
        ("ArnEquals", r#""arn:aws:s3:*:*:b*""#, "arn:aws:s3:::b", "arn:aws:sqs:::b", None),
    ];
    let opposite = |name: &str| match name {
        "IpAddress" => Some("NotIpAddress".to_owned()),
        "Bool" | "BinaryEquals" => None,
        name if name.ends_with("Like") || name.ends_with("Equals") && !name.contains("Than") => {
            let kind = ["String", "Numeric", "Date", "Arn"].iter().find(|k| name.starts_with(**k))?;
            Some(format!("{kind}Not{}", &name[kind.len()..]))
        }
        name if name.ends_with("IgnoreCase") => Some(name.replace("String", "StringNot")),
        _ => None,
    };
    for (name, wanted, fits, not, unreadable) in rows {
        let on = |operator: &str, value: Option<&str>| {
            let context: Vec<_> = value.map(|v| (K, v)).into_iter().collect();
            holds(&format!(r#"{{"{operator}":{{"{K}":{wanted}}}}}"#), &context)
        };
        assert_eq!(on(name, Some(fits)), Some(true), "{name} {fits}");
        assert_eq!(on(name, Some(not)), Some(false), "{name} {not}");
        assert_eq!(on(name, None), Some(false), "{name} without the key");
        assert_eq!(on(&format!("{name}IfExists"), None), Some(true), "{name}IfExists without the key");
        assert_eq!(on(&format!("{name}IfExists"), Some(not)), Some(false), "{name}IfExists {not}");
        if let Some(unreadable) = unreadable {
            assert_eq!(on(name, Some(unreadable)), None, "{name} {unreadable:?}");
        }
        if let Some(opposite) = opposite(name) {
            assert_eq!(on(&opposite, Some(fits)), Some(false), "{opposite} {fits}");
            assert_eq!(on(&opposite, Some(not)), Some(true), "{opposite} {not}");
            assert_eq!(on(&opposite, None), Some(true), "{opposite} without the key");
        }
    }
    assert_eq!(holds(r#"{"IpAddress":{"lambda:Principal":"10.0.0.0/40"}}"#, &[(K, "10.0.0.1")]), None);
    assert_eq!(holds(r#"{"NumericEquals":{"lambda:Principal":"x"}}"#, &[(K, "1")]), None);
}

#[test]
fn keys_with_several_values() {
    const TWO: &[(&str, &str)] = &[("lambda:Layer", "a"), ("lambda:Layer", "b")];
    const ONE: &[(&str, &str)] = &[("lambda:Layer", "a")];
    type Row = (&'static str, &'static [(&'static str, &'static str)], Option<bool>);
    let rows: &[Row] = &[
        (r#"{"ForAnyValue:StringEquals":{"lambda:Layer":["b","c"]}}"#, TWO, Some(true)),
        (r#"{"ForAnyValue:StringEquals":{"lambda:Layer":"c"}}"#, TWO, Some(false)),
        (r#"{"ForAnyValue:StringEquals":{"lambda:Layer":"c"}}"#, &[], Some(false)),
        (r#"{"ForAnyValue:StringEqualsIfExists":{"lambda:Layer":"c"}}"#, &[], Some(true)),
        (r#"{"ForAllValues:StringEquals":{"lambda:Layer":["a","b","c"]}}"#, TWO, Some(true)),
        (r#"{"ForAllValues:StringEquals":{"lambda:Layer":["a","c"]}}"#, TWO, Some(false)),
        (r#"{"ForAllValues:StringEquals":{"lambda:Layer":"c"}}"#, &[], Some(true)),
        (r#"{"ForAnyValue:StringNotEquals":{"lambda:Layer":"a"}}"#, TWO, Some(true)),
        (r#"{"ForAnyValue:StringNotEquals":{"lambda:Layer":"a"}}"#, ONE, Some(false)),
        (r#"{"ForAllValues:StringNotEquals":{"lambda:Layer":["b","c"]}}"#, TWO, Some(false)),
        (r#"{"ForAllValues:StringNotLike":{"lambda:Layer":"x*"}}"#, TWO, Some(true)),
        (r#"{"ForAllValues:NumericLessThan":{"lambda:Layer":"5"}}"#, TWO, None),
        // What an operator for one value makes of several isn't known.
        (r#"{"StringEquals":{"lambda:Layer":"a"}}"#, TWO, None),
        (r#"{"StringEquals":{"lambda:Layer":"a"}}"#, ONE, Some(true)),
        (r#"{"ForAnyValue:StringEquals":{"aws:Unheard":"a"}}"#, TWO, None),
        (r#"{"ForAllValues:StringEquals":{"aws:Unheard":"a"}}"#, TWO, None),
    ];
    for (condition, context, want) in rows {
        assert_eq!(holds(condition, context), *want, "{condition}");
    }
}

#[test]
fn keys_that_follow_from_the_caller_and_the_time() {
    let rows: &[(&str, Option<bool>)] = &[
        (r#"{"StringEquals":{"aws:username":"ann"}}"#, Some(true)),
        (r#"{"StringEquals":{"aws:userid":"AIDAANN"}}"#, Some(true)),
        (r#"{"StringEquals":{"aws:PrincipalType":"User"}}"#, Some(true)),
        (r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/a*"}}"#, Some(true)),
        (r#"{"StringEquals":{"aws:PrincipalAccount":"000000000000"}}"#, Some(true)),
        (r#"{"StringEquals":{"aws:PrincipalTag/Team":"red"}}"#, Some(true)),
        (r#"{"StringEquals":{"aws:PrincipalTag/team":"blue"}}"#, Some(false)),
        (r#"{"Null":{"aws:PrincipalTag/other":"true"}}"#, Some(true)),
        (r#"{"Null":{"aws:TokenIssueTime":"true"}}"#, Some(true)),
        (r#"{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}"#, Some(true)),
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#, Some(false)),
        (r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-01-02T03:04:04Z"}}"#, Some(true)),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2026-01-02T03:04:05Z"}}"#, Some(false)),
        (r#"{"NumericLessThanEquals":{"aws:EpochTime":"1767323045"}}"#, Some(true)),
        (r#"{"DateLessThan":{"aws:EpochTime":"2026-01-02"}}"#, Some(false)),
        // Not given by this request, and therefore unknown.
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, None),
        (r#"{"Bool":{"aws:SecureTransport":"false"}}"#, None),
        (r#"{"StringNotEquals":{"aws:RequestedRegion":"eu-west-1"}}"#, None),
    ];
    for (condition, want) in rows {
        assert_eq!(holds(condition, &[]), *want, "{condition}");
    }
    // What a request says of itself doesn't change who sent it.
    assert_eq!(holds(r#"{"StringEquals":{"aws:username":"bob"}}"#, &[("aws:username", "bob")]), Some(false));
}

#[test]
fn variables_stand_for_what_the_request_brings() {
    let on = |resource: &str| format!(r#"{{"Effect":"Allow","Action":"s3:*","Resource":"{resource}"}}"#);
    let rows = [
        ("arn:aws:s3:::home/${aws:username}/*", "ann", "arn:aws:s3:::home/ann/x", Allow),
        ("arn:aws:s3:::home/${aws:username}/*", "ann", "arn:aws:s3:::home/bob/x", ImplicitDeny),
        ("arn:aws:s3:::${aws:PrincipalAccount}-${aws:userid}", "ann", "arn:aws:s3:::000000000000-AIDAANN", Allow),
        ("arn:aws:s3:::${aws:PrincipalTag/team}", "ann", "arn:aws:s3:::red", Allow),
        ("arn:aws:s3:::${aws:PrincipalTag/none, 'x'}", "ann", "arn:aws:s3:::x", Allow),
        ("arn:aws:s3:::${aws:PrincipalTag/none}", "ann", "arn:aws:s3:::x", ImplicitDeny),
        ("arn:aws:s3:::${*}${?}${$}", "ann", "arn:aws:s3:::*?$", Allow),
        ("arn:aws:s3:::${*}", "ann", "arn:aws:s3:::x", ImplicitDeny),
        ("arn:aws:s3:::${aws:username", "ann", "arn:aws:s3:::ann", ImplicitDeny),
        // A star in a name is no wildcard.
        ("arn:aws:s3:::${aws:username}", "*", "arn:aws:s3:::x", ImplicitDeny),
        ("arn:aws:s3:::${aws:username}", "*", "arn:aws:s3:::*", Allow),
    ];
    for (pattern, name, resource, want) in rows {
        assert_eq!(ask(&on(pattern), &user(name), "s3:GetObject", resource, &[]), want, "{pattern} {name} {resource}");
    }
    let when =
        r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"lambda:Principal":"${aws:username}"}}}"#;
    assert_eq!(ask(when, &ann(), "a:b", FN, &[("lambda:Principal", "ann")]), Allow);
    assert_eq!(ask(when, &ann(), "a:b", FN, &[("lambda:Principal", "bob")]), ImplicitDeny);
    // A document of the first version knows no variables.
    let old = Document::parse(
        r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}"#,
    );
    let old = Brought { documents: vec![Arc::new(old.unwrap())], ..Brought::default() };
    let old = Evaluator::new(Arc::new(Whole(old)));
    let get = |resource: &str| {
        let (caller, owner) = (ann(), tenant(OWN));
        old.decide(&Ask {
            principal: &caller,
            action: "s3:GetObject",
            resource,
            owner: &owner,
            resource_policy: None,
            trust: false,
            context: &[],
            now_ms: 0,
        })
    };
    assert_eq!((get("arn:aws:s3:::ann"), get("arn:aws:s3:::${aws:username}")), (ImplicitDeny, Allow));
}
