//! Who a statement of a resource policy is about (IAM User Guide, "AWS JSON policy elements: Principal").

use crate::{
    context::Context,
    pattern::{Pattern, Truth},
};
use model::{Holder, Principal, TenantId, User};
use std::borrow::Cow;

/// One entry of a Principal element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Everybody,
    /// An account: whoever it lets act for it.
    Account(Box<str>),
    /// A user, role or session by its ARN.
    Arn(Pattern),
    Service(Pattern),
    /// Kinds that no caller of this platform has.
    Nobody,
}

/// How an entry fits a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    No,
    /// By a policy variable, or by a session whose name isn't known here: enough to be denied, not to be allowed.
    Perhaps,
    /// The caller's account is meant: it may pass the right on by its own policies.
    Account,
    /// The role that the caller has, or everybody: what narrows the caller narrows this too.
    Caller,
    /// Exactly this caller, a user or a session by its own ARN: nothing narrows it.
    Itself,
}

impl Named {
    /// A value of `{"AWS": …}`.
    pub fn aws(text: &str) -> Named {
        if text == "*" {
            return Named::Everybody;
        }
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Named::Account(text.into());
        }
        let account = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
        match account.filter(|a| a.bytes().all(|b| b.is_ascii_digit())) {
            Some(account) => Named::Account(account.into()),
            None => Named::Arn(Pattern::new(text)),
        }
    }

    pub fn fit(&self, caller: &Principal, context: &Context<'_>) -> Fit {
        match (self, caller) {
            (Named::Everybody, _) => Fit::Caller,
            (Named::Account(account), caller) if caller.tenant().is_some_and(|t| *t.as_str() == **account) => {
                if is_root(caller) {
                    Fit::Caller
                } else {
                    Fit::Account
                }
            }
            (Named::Arn(pattern), caller) if caller.tenant().is_some() => fit_arn(pattern, caller, context),
            (Named::Service(pattern), Principal::Service { name }) => of(pattern.matches(name, context)),
            _ => Fit::No,
        }
    }
}

fn of(truth: Truth) -> Fit {
    match truth {
        Truth::No => Fit::No,
        Truth::Unknown => Fit::Perhaps,
        Truth::Yes => Fit::Caller,
    }
}

fn fit_arn(pattern: &Pattern, caller: &Principal, context: &Context<'_>) -> Fit {
    let Some(own) = arn(caller) else { return Fit::No };
    let fit = of(pattern.matches(&own, context));
    match (fit, caller) {
        (Fit::Caller, _) if user(caller).is_some() => Fit::Itself,
        (Fit::No, Principal::Session(session)) => match &session.holder {
            Holder::Role { arn, session: name, .. } => {
                let this = session_arn(&session.tenant, arn, name);
                match of(pattern.matches(&this, context)) {
                    Fit::Caller => Fit::Itself,
                    other => other,
                }
            }
            _ => Fit::No,
        },
        // A session of the role, by a name that only the dialect knows.
        (Fit::No, Principal::Role { .. }) if session_of(pattern.text(), &own) => Fit::Perhaps,
        (fit, _) => fit,
    }
}

fn session_arn(tenant: &TenantId, role: &str, session: &str) -> String {
    let name = role.rsplit('/').next().unwrap_or_default();
    format!("arn:aws:sts::{tenant}:assumed-role/{name}/{session}")
}

/// `arn:aws:sts::ID:assumed-role/NAME/SESSION` is a session of `arn:aws:iam::ID:role/…NAME`.
fn session_of(text: &str, role: &str) -> bool {
    let session = text.strip_prefix("arn:aws:sts::").and_then(|t| t.split_once(":assumed-role/"));
    let role = role.strip_prefix("arn:aws:iam::").and_then(|t| t.split_once(":role/"));
    match (session, role) {
        (Some((account, session)), Some((own, path))) => account == own && session.split('/').next() == path.rsplit('/').next(),
        _ => false,
    }
}

/// The account's administrator, by key or by token.
pub fn is_root(caller: &Principal) -> bool {
    match caller {
        Principal::Root { .. } => true,
        Principal::Session(session) => session.holder == Holder::Root,
        _ => false,
    }
}

/// The user that asks, by key or by token.
pub fn user(caller: &Principal) -> Option<&User> {
    match caller {
        Principal::User(user) => Some(user),
        Principal::Session(session) => match &session.holder {
            Holder::User(user) => Some(user),
            _ => None,
        },
        _ => None,
    }
}

/// The ARN of a caller that has one; of a session, its role's.
pub fn arn(caller: &Principal) -> Option<Cow<'_, str>> {
    let root = |tenant: &TenantId| Some(Cow::Owned(format!("arn:aws:iam::{tenant}:root")));
    match caller {
        Principal::Root { tenant } => root(tenant),
        Principal::User(user) => Some(Cow::Borrowed(&user.arn)),
        Principal::Session(session) => match &session.holder {
            Holder::Root => root(&session.tenant),
            Holder::User(user) => Some(Cow::Borrowed(&user.arn)),
            Holder::Role { arn, .. } => Some(Cow::Borrowed(arn)),
        },
        Principal::Role { role, .. } if role.starts_with("arn:") => Some(Cow::Borrowed(role)),
        Principal::Role { tenant, role, .. } => Some(Cow::Owned(format!("arn:aws:iam::{tenant}:role/{role}"))),
        Principal::Anonymous | Principal::Service { .. } => None,
    }
}
