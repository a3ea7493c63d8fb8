//! What narrows: boundaries, session policies, trust; and which policy a denial names.

use super::{
    operators::{Whole, user},
    *,
};
use model::{Because, Holder, Session};

const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const READ: &str = r#"{"Effect":"Allow","Action":"lambda:Get*","Resource":"*"}"#;
const NO: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;

fn parsed(statements: &str) -> Arc<Document> {
    Arc::new(Document::parse(&document(statements)).expect("a policy"))
}

fn session(policies: &[&str]) -> Principal {
    let arn = format!("arn:aws:iam::{OWN}:role/path/r");
    Principal::Session(Arc::new(Session {
        tenant: tenant(OWN),
        holder: Holder::Role { arn: arn.into(), id: "AROAR".into(), session: "s".into() },
        policies: policies.iter().map(|p| document(p).into()).collect(),
        issued_ms: 0,
        expires_ms: 1000,
    }))
}

struct Case<'a> {
    caller: Principal,
    identity: &'a str,
    boundary: Option<&'a str>,
    resource: &'a str,
    trust: bool,
}

fn explain(case: &Case<'_>) -> (Decision, Because) {
    let brought = Brought {
        documents: Some(case.identity).filter(|i| !i.is_empty()).map(parsed).into_iter().collect(),
        boundary: case.boundary.map(|b| Some(b).filter(|b| !b.is_empty()).map(parsed)),
        ..Brought::default()
    };
    let resource: Option<Arc<str>> = (!case.resource.is_empty()).then(|| document(case.resource).into());
    let verdict = Evaluator::new(Arc::new(Whole(brought))).explain(&Ask {
        principal: &case.caller,
        action: if case.trust { "sts:AssumeRole" } else { "lambda:InvokeFunction" },
        resource: FN,
        owner: &tenant(OWN),
        resource_policy: resource.as_ref(),
        trust: case.trust,
        context: &[],
        now_ms: 0,
    });
    (verdict.decision, verdict.because)
}

fn to(principal: &str) -> String {
    format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"*"}}"#)
}

#[test]
fn sessions_and_boundaries_narrow_and_the_verdict_names_the_policy() {
    let role_named = to(r#"{"AWS":"arn:aws:iam::000000000000:role/path/r"}"#);
    let session_named = to(r#"{"AWS":"arn:aws:sts::000000000000:assumed-role/r/s"}"#);
    let other_session = to(r#"{"AWS":"arn:aws:sts::000000000000:assumed-role/r/t"}"#);
    let user_named = to(r#"{"AWS":"arn:aws:iam::000000000000:user/ann"}"#);
    let forbids = r#"{"Effect":"Deny","Principal":"*","Action":"*"}"#;
    type Row<'a> = (Principal, &'a str, Option<&'a str>, &'a str, Decision, Because);
    let rows: &[Row<'_>] = &[
        (session(&[]), ALL, None, "", Allow, Because::Identity),
        (session(&[ALL]), ALL, None, "", Allow, Because::Identity),
        (session(&[READ]), ALL, None, "", ImplicitDeny, Because::Session),
        (session(&[READ, ALL]), ALL, None, "", Allow, Because::Identity),
        (session(&[ALL, NO]), ALL, None, "", ExplicitDeny, Because::Session),
        (session(&[ALL]), "", None, "", ImplicitDeny, Because::Identity),
        (session(&[ALL]), ALL, Some(READ), "", ImplicitDeny, Because::Boundary),
        (session(&[ALL]), ALL, Some(NO), "", ExplicitDeny, Because::Boundary),
        (session(&[]), NO, None, "", ExplicitDeny, Because::Identity),
        (session(&[]), ALL, None, forbids, ExplicitDeny, Because::Resource),
        // The role in a resource's policy: narrowed. The very session: not.
        (session(&[READ]), "", None, &role_named, ImplicitDeny, Because::Session),
        (session(&[]), "", Some(READ), &role_named, ImplicitDeny, Because::Boundary),
        (session(&[]), "", None, &role_named, Allow, Because::Identity),
        (session(&[READ]), "", Some(READ), &session_named, Allow, Because::Identity),
        (session(&[]), "", None, &other_session, ImplicitDeny, Because::Identity),
        (user("ann"), ALL, None, "", Allow, Because::Identity),
        (user("ann"), "", None, "", ImplicitDeny, Because::Identity),
        (user("ann"), ALL, Some(READ), "", ImplicitDeny, Because::Boundary),
        (user("ann"), ALL, Some(""), "", ImplicitDeny, Because::Boundary),
        (user("ann"), "", Some(READ), &user_named, Allow, Because::Identity),
        (user("bob"), "", None, &user_named, ImplicitDeny, Because::Identity),
        (Principal::Anonymous, "", None, &user_named, ImplicitDeny, Because::Resource),
        (root("111111111111"), "", None, "", ImplicitDeny, Because::Resource),
    ];
    for (at, (caller, identity, boundary, resource, decision, because)) in rows.iter().enumerate() {
        let case = Case { caller: caller.clone(), identity, boundary: *boundary, resource, trust: false };
        let got = explain(&case);
        // Why something is allowed means nothing.
        assert_eq!((got.0, if got.0 == Allow { Because::Identity } else { got.1 }), (*decision, *because), "row {at}");
    }
}

#[test]
fn nobody_assumes_a_role_that_does_not_trust_them() {
    let account = to(r#"{"AWS":"000000000000"}"#);
    let ann = to(r#"{"AWS":"arn:aws:iam::000000000000:user/ann"}"#);
    let lambda = to(r#"{"Service":"lambda.amazonaws.com"}"#);
    let not_ann =
        format!(r#"{account},{{"Effect":"Deny","Principal":{{"AWS":"arn:aws:iam::000000000000:user/ann"}},"Action":"*"}}"#);
    let rows: &[(Principal, &str, &str, Decision, Because)] = &[
        // Named itself, a user needs nothing else; through its account, a policy of its own.
        (user("ann"), "", &ann, Allow, Because::Identity),
        (user("ann"), "", &account, ImplicitDeny, Because::Identity),
        (user("ann"), ALL, &account, Allow, Because::Identity),
        (user("ann"), ALL, &lambda, ImplicitDeny, Because::Trust),
        (user("ann"), ALL, "", ImplicitDeny, Because::Trust),
        (user("ann"), ALL, &not_ann, ExplicitDeny, Because::Trust),
        (user("bob"), ALL, &ann, ImplicitDeny, Because::Trust),
        (session(&[READ]), ALL, &account, ImplicitDeny, Because::Session),
        (root(OWN), "", &account, Allow, Because::Identity),
        (root(OWN), "", &lambda, ImplicitDeny, Because::Trust),
        (service("lambda.amazonaws.com"), "", &lambda, Allow, Because::Identity),
        (service("s3.amazonaws.com"), "", &lambda, ImplicitDeny, Because::Trust),
        // Of another account: both must say yes.
        (root("111111111111"), "", &account, ImplicitDeny, Because::Trust),
    ];
    for (at, (caller, identity, resource, decision, because)) in rows.iter().enumerate() {
        let case = Case { caller: caller.clone(), identity, boundary: None, resource, trust: true };
        let got = explain(&case);
        assert_eq!((got.0, if got.0 == Allow { Because::Identity } else { got.1 }), (*decision, *because), "row {at}");
    }
}

/// A service that acts for somebody is let in for that somebody only (IAM User Guide, "The confused deputy problem").
#[test]
fn a_confused_deputy_is_refused() {
    let policy = r#"{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"*","Condition":
        {"StringEquals":{"aws:SourceAccount":"000000000000"},"ArnLike":{"aws:SourceArn":"arn:aws:s3:::mine"}}}"#;
    let mine = [("aws:SourceAccount", OWN), ("aws:SourceArn", "arn:aws:s3:::mine")];
    let s3 = service("s3.amazonaws.com");
    assert_eq!(decide("", policy, &s3, &mine), Allow);
    let rows: &[&[(&str, &str)]] = &[
        &[],
        &[mine[0]],
        &[mine[1]],
        &[("aws:SourceAccount", "111111111111"), mine[1]],
        &[mine[0], ("aws:SourceArn", "arn:aws:s3:::theirs")],
        // Said twice, it is nobody's word.
        &[mine[0], mine[1], ("aws:SourceAccount", "111111111111")],
    ];
    for context in rows {
        assert_eq!(decide("", policy, &s3, context), ImplicitDeny, "{context:?}");
    }
    assert_eq!(decide("", policy, &service("sns.amazonaws.com"), &mine), ImplicitDeny);
}
