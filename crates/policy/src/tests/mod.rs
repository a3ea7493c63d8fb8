//! Tables of questions with their answers, and what must hold of any documents.

mod bounds;
mod operators;

use crate::{Brought, Document, Evaluator, IdentityDocuments, pattern::glob, validate, validate_resource, validate_trust};
use model::{Ask, Decision, InstanceId, Principal, TenantId, ports::Policy};
use proptest::prelude::*;
use std::sync::Arc;

use Decision::{Allow, ExplicitDeny, ImplicitDeny};

const OWN: &str = "000000000000";
const FN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

struct Brings(Vec<Arc<Document>>);
impl IdentityDocuments for Brings {
    fn of(&self, _: &Principal) -> Arc<Brought> {
        Arc::new(Brought { documents: self.0.clone(), ..Brought::default() })
    }
}

fn tenant(id: &str) -> TenantId {
    TenantId::new(id)
}
fn root(id: &str) -> Principal {
    Principal::Root { tenant: tenant(id) }
}
fn role(id: &str) -> Principal {
    Principal::Role { tenant: tenant(id), role: format!("arn:aws:iam::{id}:role/r").into(), instance: InstanceId::random() }
}
fn service(name: &str) -> Principal {
    Principal::Service { name: name.into() }
}

fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

/// A question about `lambda:InvokeFunction` on [`FN`].
fn decide(identity: &str, resource: &str, caller: &Principal, context: &[(&str, &str)]) -> Decision {
    let brings =
        if identity.is_empty() { vec![] } else { vec![Arc::new(Document::parse(&document(identity)).expect("identity policy"))] };
    let resource: Option<Arc<str>> = (!resource.is_empty()).then(|| document(resource).into());
    if let Some(text) = &resource {
        Document::parse(text).expect("resource policy");
    }
    Evaluator::new(Arc::new(Brings(brings))).decide(&Ask {
        principal: caller,
        action: "lambda:InvokeFunction",
        resource: FN,
        owner: &tenant(OWN),
        resource_policy: resource.as_ref(),
        trust: false,
        context,
        now_ms: 0,
    })
}

#[test]
fn identity_policies() {
    let allow = |action: &str, resource: &str| format!(r#"{{"Effect":"Allow","Action":{action},"Resource":{resource}}}"#);
    let rows = [
        (String::new(), ImplicitDeny),
        (allow(r#""*""#, r#""*""#), Allow),
        (allow(r#""lambda:InvokeFunction""#, &format!("{FN:?}")), Allow),
        (allow(r#""LAMBDA:invokefunction""#, r#""*""#), Allow),
        (allow(r#""lambda:Invoke*""#, r#""arn:aws:lambda:*:*:function:?""#), Allow),
        (allow(r#"["s3:*","lambda:*"]"#, r#"["arn:aws:s3:::b","*"]"#), Allow),
        (allow(r#""lambda:InvokeFunctionUrl""#, r#""*""#), ImplicitDeny),
        (allow(r#""lambda:Get*""#, r#""*""#), ImplicitDeny),
        (allow(r#""lambda:*""#, r#""arn:aws:lambda:us-east-1:000000000000:function:F""#), ImplicitDeny),
        (allow(r#""lambda:*""#, r#""arn:aws:lambda:us-east-1:000000000000:function:""#), ImplicitDeny),
        (allow(r#""lambda:*""#, r#""arn:aws:lambda:us-east-1:000000000000:function:${aws:username}""#), ImplicitDeny),
        (r#"{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}"#.into(), Allow),
        (r#"{"Effect":"Allow","NotAction":"lambda:*","Resource":"*"}"#.into(), ImplicitDeny),
        (r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::b"}"#.into(), Allow),
        (format!(r#"{{"Effect":"Allow","Action":"*","NotResource":"{FN}"}}"#), ImplicitDeny),
        (
            r#"{"Effect":"Deny","Action":"lambda:*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}"#.into(),
            ExplicitDeny,
        ),
        (
            r#"{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"${x}"}"#.into(),
            ExplicitDeny,
        ),
        (r#"{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}"#.into(), Allow),
        // A principal has no place here: it widens nothing.
        (r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#.into(), ImplicitDeny),
    ];
    for (identity, want) in rows {
        assert_eq!(decide(&identity, "", &role(OWN), &[]), want, "{identity}");
    }
}

#[test]
fn who_a_resource_policy_lets_in() {
    let to = |principal: &str| format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"lambda:*","Resource":"*"}}"#);
    let other = "111111111111";
    let rows = [
        (r#""*""#, Principal::Anonymous, Allow),
        (r#"{"AWS":"*"}"#, Principal::Anonymous, Allow),
        (r#"{"AWS":"arn:aws:iam::000000000000:root"}"#, Principal::Anonymous, ImplicitDeny),
        (r#"{"Service":"s3.amazonaws.com"}"#, Principal::Anonymous, ImplicitDeny),
        (r#"{"Service":"s3.amazonaws.com"}"#, service("s3.amazonaws.com"), Allow),
        (r#"{"Service":"s3.amazonaws.com"}"#, service("sns.amazonaws.com"), ImplicitDeny),
        (r#"{"Service":["sns.amazonaws.com","s3.amazonaws.com"]}"#, service("sns.amazonaws.com"), Allow),
        (r#"{"AWS":"arn:aws:iam::000000000000:role/r"}"#, role(OWN), Allow),
        (r#"{"AWS":"arn:aws:iam::000000000000:role/*"}"#, role(OWN), Allow),
        (r#"{"AWS":"arn:aws:iam::000000000000:role/q"}"#, role(OWN), ImplicitDeny),
        // Its account alone is no grant to a role of it.
        (r#"{"AWS":"arn:aws:iam::000000000000:root"}"#, role(OWN), ImplicitDeny),
        (r#"{"AWS":"000000000000"}"#, role(OWN), ImplicitDeny),
        (r#"{"AWS":"111111111111"}"#, root(other), Allow),
        (r#"{"AWS":"arn:aws:iam::111111111111:root"}"#, root(other), Allow),
        (r#"{"AWS":"111111111111"}"#, root("222222222222"), ImplicitDeny),
        // A session's name isn't known here.
        (r#"{"AWS":"arn:aws:sts::000000000000:assumed-role/r/s"}"#, role(OWN), ImplicitDeny),
        (r#"{"Federated":"accounts.example"}"#, role(OWN), ImplicitDeny),
    ];
    for (principal, caller, want) in rows {
        assert_eq!(decide("", &to(principal), &caller, &[]), want, "{principal} {caller:?}");
    }
    // Between accounts both must allow.
    let any = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    assert_eq!(decide(any, "", &role(other), &[]), ImplicitDeny);
    assert_eq!(decide("", &to(r#"{"AWS":"111111111111"}"#), &role(other), &[]), ImplicitDeny);
    assert_eq!(decide("", &to(r#"{"AWS":"arn:aws:iam::111111111111:role/r"}"#), &role(other), &[]), ImplicitDeny);
    assert_eq!(decide(any, &to(r#"{"AWS":"111111111111"}"#), &role(other), &[]), Allow);
    assert_eq!(decide(any, &to(r#"{"AWS":"arn:aws:iam::111111111111:role/r"}"#), &role(other), &[]), Allow);
}

#[test]
fn denials_of_a_resource_policy() {
    let all = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    let deny = |who: &str| format!(r#"{{"Effect":"Deny",{who},"Action":"lambda:*","Resource":"*"}}"#);
    assert_eq!(decide("", "", &root(OWN), &[]), Allow, "the owner's administrator");
    assert_eq!(decide("", "", &root("111111111111"), &[]), ImplicitDeny, "another's");
    let rows = [
        (r#""Principal":"*""#, root(OWN), ExplicitDeny),
        (r#""Principal":"*""#, role(OWN), ExplicitDeny),
        (r#""Principal":"*""#, Principal::Anonymous, ExplicitDeny),
        (r#""Principal":{"AWS":"000000000000"}"#, role(OWN), ExplicitDeny),
        (r#""Principal":{"AWS":"arn:aws:sts::000000000000:assumed-role/r/s"}"#, role(OWN), ExplicitDeny),
        (r#""Principal":{"AWS":"arn:aws:iam::000000000000:role/q"}"#, role(OWN), Allow),
        (r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000000:role/r"}"#, role(OWN), Allow),
        (r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000000:role/q"}"#, role(OWN), ExplicitDeny),
        (r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000000:role/r"}"#, Principal::Anonymous, ExplicitDeny),
    ];
    for (who, caller, want) in rows {
        assert_eq!(decide(all, &deny(who), &caller, &[]), want, "{who} {caller:?}");
    }
}

#[test]
fn conditions_and_what_is_not_understood() {
    let kind = &[("lambda:FunctionUrlAuthType", "NONE")][..];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, bool);
    let rows: &[Row<'_>] = &[
        // condition, context, an Allow applies, a Deny applies
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#, kind, true, true),
        (r#"{"StringEquals":{"LAMBDA:functionurlauthtype":["AWS_IAM","NONE"]}}"#, kind, true, true),
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM"}}"#, kind, false, false),
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#, &[], false, false),
        (r#"{"StringEqualsIfExists":{"lambda:FunctionUrlAuthType":"NONE"}}"#, &[], true, true),
        (r#"{"StringNotEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#, kind, false, false),
        (r#"{"StringNotEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#, &[], true, true),
        (r#"{"StringEqualsIgnoreCase":{"lambda:FunctionUrlAuthType":"none"}}"#, kind, true, true),
        (r#"{"StringNotEqualsIgnoreCase":{"lambda:FunctionUrlAuthType":"none"}}"#, kind, false, false),
        (r#"{"StringLike":{"lambda:FunctionUrlAuthType":"N?N*"}}"#, kind, true, true),
        (r#"{"StringNotLike":{"lambda:FunctionUrlAuthType":"N*"}}"#, kind, false, false),
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"N*"}}"#, kind, false, false),
        (r#"{"Bool":{"lambda:InvokedViaFunctionUrl":true}}"#, &[("lambda:InvokedViaFunctionUrl", "true")], true, true),
        (r#"{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}"#, &[], false, false),
        (r#"{"Null":{"aws:SourceArn":"true"}}"#, &[], true, true),
        (r#"{"Null":{"aws:SourceArn":"false"}}"#, &[], false, false),
        (r#"{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b*"}}"#, &[("aws:SourceArn", "arn:aws:s3:::bucket")], true, true),
        (
            r#"{"ArnLike":{"AWS:SourceArn":"arn:aws:*:us-east-1:0:q"}}"#,
            &[("aws:SourceArn", "arn:aws:sqs:x:us-east-1:0:q")],
            false,
            false,
        ),
        (r#"{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:role/r"}}"#, &[], true, true),
        (r#"{"StringEquals":{"aws:PrincipalAccount":"000000000000"}}"#, &[], true, true),
        // Both must hold; what certainly fails decides, whatever else isn't understood.
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE","aws:SourceArn":"x"}}"#, kind, false, false),
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM","aws:Unheard":"x"}}"#, kind, false, false),
        // Not understood: never allows, always denies.
        (r#"{"StringEquals":{"aws:Unheard":"x"}}"#, kind, false, true),
        (r#"{"StringNotEquals":{"aws:Unheard":"x"}}"#, kind, false, true),
        (r#"{"StringEqualsIfExists":{"aws:Unheard":"x"}}"#, kind, false, true),
        (r#"{"Null":{"aws:Unheard":"true"}}"#, kind, false, true),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, kind, false, true),
        (r#"{"NumericLessThan":{"lambda:FunctionUrlAuthType":"5"}}"#, kind, false, true),
        (r#"{"StringSounds":{"lambda:FunctionUrlAuthType":"NONE"}}"#, kind, false, true),
        (r#"{"ForAnyValue:StringEquals":{"aws:Unheard":"NONE"}}"#, kind, false, true),
        (r#"{"ForOneValue:StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#, kind, false, true),
        (r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"${aws:x}"}}"#, kind, false, true),
        (r#"{"StringNotEquals":{"lambda:FunctionUrlAuthType":"${aws:x}"}}"#, kind, false, true),
    ];
    for (condition, context, allows, denies) in rows {
        let when = |effect: &str| format!(r#"{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{condition}}}"#);
        let want = if *allows { Allow } else { ImplicitDeny };
        assert_eq!(decide(&when("Allow"), "", &role(OWN), context), want, "Allow if {condition}");
        let both = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*"}},{}"#, when("Deny"));
        let want = if *denies { ExplicitDeny } else { Allow };
        assert_eq!(decide(&both, "", &role(OWN), context), want, "Deny if {condition}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_denies() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let long = format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(70_000));
    let rows = [
        ("", "not JSON"),
        ("[]", "document: is not an object"),
        (r#"{"Version":"2012-10-17"}"#, "Statement: is missing"),
        (r#"{"Version":"2011-01-01","Statement":[]}"#, "Version: must be"),
        (r#"{"Statement":[]}"#, "Statement: must hold"),
        (r#"{"Statement":"x"}"#, "Statement: must be a list"),
        (r#"{"Statement":[],"Extra":1}"#, "\"Extra\": is no element"),
        (r#"{"Statement":[1]}"#, "Statement[0]: must be an object"),
        (r#"{"Statement":{"Effect":"Allow","Action":"a:b","Action":"c:d","Resource":"*"}}"#, "appears twice"),
        (r#"{"Statement":{"Effect":"Allow","Act\u0069on":"a:b","Action":"c:d","Resource":"*"}}"#, "appears twice"),
        (r#"{"Statement":{"Effect":"allow","Action":"a:b","Resource":"*"}}"#, "Statement[0].Effect: must be"),
        (r#"{"Statement":{"Action":"a:b","Resource":"*"}}"#, "Statement[0].Effect: is missing"),
        (r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#, "Statement[0].Action: is missing"),
        (r#"{"Statement":{"Effect":"Allow","Action":"nonsense","Resource":"*"}}"#, "Statement[0].Action: \"nonsense\""),
        (r#"{"Statement":{"Effect":"Allow","Action":[],"Resource":"*"}}"#, "Statement[0].Action: must hold"),
        (r#"{"Statement":{"Effect":"Allow","Action":[["a:b"]],"Resource":"*"}}"#, "Statement[0].Action: must hold strings"),
        (r#"{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"everything"}}"#, "Statement[0].Resource: \"everything\""),
        (r#"{"Statement":{"Effect":"Allow","Action":"a:b","NotAction":"a:b","Resource":"*"}}"#, "excludes its opposite"),
        (r#"{"Statement":{"Effect":"Allow","Action":"a:b"}}"#, "Statement[0].Resource: is missing"),
        (
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"a:b","Resource":"*"}}"#,
            "Statement[0].Principal: has no place",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"*"},"Action":"a:b","Resource":"*"}}"#,
            "only be used with Deny",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":[]}}"#,
            "Statement[0].Condition: must be an object",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringEquals":1}}}"#,
            "Condition.StringEquals: must be",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"X":{"a":"b"}}}}"#,
            "operator that doesn't exist",
        ),
        (&deep, "not JSON"),
        (&long, "64"),
    ];
    for (text, want) in rows {
        let error = validate(text).expect_err(text).to_string();
        assert!(
            error.contains(want)
                || (want == "not JSON" && error.contains("is not JSON"))
                || (want == "64" && error.contains("bytes")),
            "{error}"
        );
    }
    let broken = Evaluator::new(Arc::new(Brings(vec![])));
    let ask = Ask {
        principal: &root(OWN),
        action: "a:b",
        resource: FN,
        owner: &tenant(OWN),
        resource_policy: Some(&Arc::from("{")),
        trust: false,
        context: &[],
        now_ms: 0,
    };
    assert_eq!(broken.decide(&ask), ExplicitDeny);
}

#[test]
fn each_kind_of_document_says_its_own() {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let own = r#"{"Version":"2012-10-17","Statement":{"Sid":"a","Effect":"Allow","Action":["logs:*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}}"#;
    let on = r#"{"Version":"2012-10-17","Id":"default","Statement":[{"Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"arn:aws:lambda:x"}]}"#;
    assert_eq!([validate(own).is_ok(), validate(trust).is_ok(), validate(on).is_ok()], [true, false, false]);
    assert_eq!([validate_trust(own).is_ok(), validate_trust(trust).is_ok(), validate_trust(on).is_ok()], [false, true, false]);
    assert_eq!(
        [validate_resource(own).is_ok(), validate_resource(trust).is_ok(), validate_resource(on).is_ok()],
        [false, false, true]
    );
}

/// Statements of a few letters, so that they often speak of the same things.
fn statement() -> impl Strategy<Value = String> {
    let pick = |of: &'static [&'static str]| prop::sample::select(of);
    let (effect, not) = (pick(&["Allow", "Deny"]), pick(&["", "Not"]));
    let action = pick(&["*", "lambda:*", "lambda:InvokeFunction", "s3:*", "lambda:?nvoke*"]);
    let resource = pick(&["*", FN, "arn:aws:s3:::b", "arn:${x}"]);
    let who = pick(&[
        "\"*\"",
        r#"{"AWS":"000000000000"}"#,
        r#"{"AWS":"arn:aws:iam::000000000000:role/r"}"#,
        r#"{"Service":"s3.amazonaws.com"}"#,
    ]);
    let when = pick(&[
        "{}",
        r#"{"StringEquals":{"aws:SourceArn":"x"}}"#,
        r#"{"StringNotEquals":{"aws:SourceArn":"x"}}"#,
        r#"{"StringEquals":{"aws:Unheard":"x"}}"#,
    ]);
    (effect, not, action, resource, who, when).prop_map(|(effect, not, action, resource, who, when)| {
        format!(
            r#"{{"Effect":"{effect}","{not}Action":"{action}","Resource":"{resource}","Principal":{who},"Condition":{when}}}"#
        )
    })
}

fn caller() -> impl Strategy<Value = Principal> {
    prop::sample::select(vec![
        Principal::Anonymous,
        root(OWN),
        root("111111111111"),
        role(OWN),
        role("111111111111"),
        service("s3.amazonaws.com"),
    ])
}

fn without_principal(statement: &str) -> String {
    let at = statement.find(r#","Principal""#).expect("there");
    let end = statement.find(r#","Condition""#).expect("there");
    format!("{}{}", &statement[..at], &statement[end..])
}

/// The obvious way, slow.
fn naive(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern.first(), value.first()) {
        (None, None) => true,
        (Some(b'*'), _) => naive(&pattern[1..], value) || (!value.is_empty() && naive(pattern, &value[1..])),
        (Some(b'?'), Some(_)) => naive(&pattern[1..], &value[1..]),
        (Some(p), Some(v)) if p == v => naive(&pattern[1..], &value[1..]),
        _ => false,
    }
}

proptest! {
    /// More statements that say Deny never let anybody in, and more that say Allow never keep anybody out.
    #[test]
    fn statements_add_up(list in prop::collection::vec(statement(), 0..5), extra in statement(), on in any::<bool>(), caller in caller(), src in any::<bool>()) {
        let context: &[(&str, &str)] = if src { &[("aws:SourceArn", "x")] } else { &[] };
        let ask = |list: &[String]| {
            if on {
                decide("", &list.join(","), &caller, context)
            } else {
                decide(&list.iter().map(|s| without_principal(s)).collect::<Vec<_>>().join(","), "", &caller, context)
            }
        };
        let before = ask(&list);
        let mut more = list.clone();
        more.push(extra.clone());
        let after = ask(&more);
        if extra.contains("Deny") {
            prop_assert!(before.allowed() || !after.allowed(), "{more:?}");
            prop_assert!(before != ExplicitDeny || after == ExplicitDeny);
        } else {
            prop_assert!(!before.allowed() || after.allowed(), "{more:?}");
            prop_assert!((before == ExplicitDeny) == (after == ExplicitDeny));
        }
        // The order of statements means nothing.
        more.reverse();
        prop_assert_eq!(ask(&more), after);
    }

    /// Nobody in particular is let in by a star alone.
    #[test]
    fn anonymous_needs_a_star(list in prop::collection::vec(statement(), 0..4)) {
        let open = list.iter().any(|s| s.contains(r#""Principal":"*""#) && s.contains("Allow"));
        prop_assert!(open || !decide("", &list.join(","), &Principal::Anonymous, &[]).allowed());
    }

    #[test]
    fn patterns_fit_as_the_obvious_way_says(pattern in "[ab*?]{0,8}", value in "[ab]{0,10}") {
        prop_assert_eq!(glob(pattern.as_bytes(), value.as_bytes(), false), naive(pattern.as_bytes(), value.as_bytes()));
    }

    /// Whatever comes, it is an answer and not a panic.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", key in "[A-Za-z]{0,12}", inner in "[\\[\\]{}:,\"a-zA-Z0-9*]{0,60}") {
        let _ = Document::parse(&text);
        let _ = Document::parse(&format!(r#"{{"Statement":[{{"{key}":{inner}}}]}}"#));
    }
}
