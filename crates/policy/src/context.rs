//! What is known of a request: the keys that conditions and policy variables may name (IAM User Guide, "AWS global condition
//! context keys").

use crate::{Brought, principal};
use model::{Ask, Holder, Principal, access::Session};
use std::borrow::Cow;

/// Keys whose absence from a request means something, since the platform sets them whenever they apply. Any other key that a
/// request doesn't carry is unknown.
const KNOWN_KEYS: &[&str] = &[
    "lambda:FunctionUrlAuthType",
    "lambda:InvokedViaFunctionUrl",
    "lambda:FunctionArn",
    "lambda:Layer",
    "lambda:Principal",
    "iam:PassedToService",
    "iam:PolicyARN",
    "sts:RoleSessionName",
    "sts:ExternalId",
    "aws:SourceArn",
    "aws:SourceAccount",
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:PrincipalType",
    "aws:PrincipalServiceName",
    "aws:userid",
    "aws:username",
    "aws:TokenIssueTime",
    "aws:MultiFactorAuthPresent",
];
const PRINCIPAL_TAG: &str = "aws:PrincipalTag/";

/// A request as conditions see it.
pub struct Context<'a> {
    pub ask: &'a Ask<'a>,
    pub brought: &'a Brought,
}

/// The values of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nobody can say.
    Unknown,
    /// The request is known not to have it.
    Absent,
    These(Vec<Cow<'a, str>>),
}

impl<'a> Context<'a> {
    pub fn find(&self, key: &str) -> Found<'a> {
        if let Some(value) = self.own(key) {
            return Found::These(vec![value]);
        }
        let given = self.ask.context.iter().filter(|(k, _)| k.eq_ignore_ascii_case(key));
        let values: Vec<_> = given.map(|(_, value)| Cow::Borrowed(*value)).collect();
        match values.is_empty() {
            false => Found::These(values),
            true if known(key) => Found::Absent,
            true => Found::Unknown,
        }
    }

    /// The value of a key that has exactly one.
    pub fn one(&self, key: &str) -> Option<Cow<'a, str>> {
        match self.find(key) {
            Found::These(mut values) if values.len() == 1 => values.pop(),
            _ => None,
        }
    }

    /// What follows from who asks and when. No request can say otherwise.
    fn own(&self, key: &str) -> Option<Cow<'a, str>> {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        let caller = self.ask.principal;
        if is("aws:PrincipalArn") {
            principal::arn(caller)
        } else if is("aws:PrincipalAccount") {
            caller.tenant().map(|t| Cow::Borrowed(t.as_str()))
        } else if is("aws:PrincipalType") {
            kind(caller).map(Cow::Borrowed)
        } else if is("aws:PrincipalServiceName") {
            if let Principal::Service { name } = caller { Some(Cow::Borrowed(name)) } else { None }
        } else if is("aws:userid") {
            self.user_id()
        } else if is("aws:username") {
            principal::user(caller).map(|user| Cow::Borrowed(&*user.name))
        } else if is("aws:CurrentTime") {
            Some(Cow::Owned(stamp(self.ask.now_ms)))
        } else if is("aws:EpochTime") {
            Some(Cow::Owned((self.ask.now_ms / 1000).to_string()))
        } else if is("aws:TokenIssueTime") {
            session(caller).map(|s| Cow::Owned(stamp(s.issued_ms)))
        } else if is("aws:MultiFactorAuthPresent") {
            // There is no second factor here: temporary credentials say so, access keys say nothing, as on AWS.
            (session(caller).is_some() || matches!(caller, Principal::Role { .. })).then_some(Cow::Borrowed("false"))
        } else if let Some(tag) = key.get(..PRINCIPAL_TAG.len()).filter(|k| is_prefix(k)).and(key.get(PRINCIPAL_TAG.len()..)) {
            let found = self.brought.tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag));
            found.map(|(_, value)| Cow::Borrowed(&**value))
        } else {
            None
        }
    }

    /// `AIDA…` of a user, `AROA…:SESSION` of a role, the account of its administrator.
    fn user_id(&self) -> Option<Cow<'a, str>> {
        match self.ask.principal {
            Principal::Root { tenant } => Some(Cow::Borrowed(tenant.as_str())),
            Principal::User(user) => Some(Cow::Borrowed(&*user.id)),
            Principal::Session(session) => Some(match &session.holder {
                Holder::Root => Cow::Borrowed(session.tenant.as_str()),
                Holder::User(user) => Cow::Borrowed(&*user.id),
                Holder::Role { id, session, .. } => Cow::Owned(format!("{id}:{session}")),
            }),
            Principal::Role { instance, .. } => {
                self.brought.id.as_deref().map(|id| Cow::Owned(format!("{id}:{}", instance.0.simple())))
            }
            Principal::Anonymous | Principal::Service { .. } => None,
        }
    }
}

fn is_prefix(text: &str) -> bool {
    text.eq_ignore_ascii_case(PRINCIPAL_TAG)
}

fn known(key: &str) -> bool {
    KNOWN_KEYS.iter().any(|k| k.eq_ignore_ascii_case(key)) || key.get(..PRINCIPAL_TAG.len()).is_some_and(is_prefix)
}

fn session(caller: &Principal) -> Option<&Session> {
    if let Principal::Session(session) = caller { Some(session) } else { None }
}

fn kind(caller: &Principal) -> Option<&'static str> {
    match caller {
        Principal::Root { .. } => Some("Account"),
        Principal::User(_) => Some("User"),
        Principal::Role { .. } => Some("AssumedRole"),
        Principal::Session(session) => Some(match session.holder {
            Holder::Root => "Account",
            Holder::User(_) => "User",
            Holder::Role { .. } => "AssumedRole",
        }),
        Principal::Anonymous => Some("Anonymous"),
        Principal::Service { .. } => None,
    }
}

/// `2026-01-02T03:04:05Z`
fn stamp(ms: u64) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(ms / 1000).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    at.to_string()
}
