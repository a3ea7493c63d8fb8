//! Who a statement of a resource policy is about (IAM User Guide, "AWS JSON policy elements: Principal").

use crate::pattern::{Pattern, Truth};
use model::Principal;

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
    Caller,
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

    pub fn fit(&self, caller: &Principal) -> Fit {
        match (self, caller) {
            (Named::Everybody, _) => Fit::Caller,
            (Named::Account(account), Principal::Root { tenant }) if **account == *tenant.as_str() => Fit::Caller,
            (Named::Account(account), Principal::Role { tenant, .. }) if **account == *tenant.as_str() => Fit::Account,
            (Named::Arn(pattern), Principal::Root { .. } | Principal::Role { .. }) => fit_arn(pattern, caller),
            (Named::Service(pattern), Principal::Service { name }) => of(pattern.matches(name)),
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

fn fit_arn(pattern: &Pattern, caller: &Principal) -> Fit {
    let Some(own) = arn(caller) else { return Fit::No };
    match of(pattern.matches(&own)) {
        // A session of the role, by a name that only the dialect knows.
        Fit::No if session_of(pattern.text(), &own) => Fit::Perhaps,
        fit => fit,
    }
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

/// The ARN of a caller that has one.
pub fn arn(caller: &Principal) -> Option<String> {
    match caller {
        Principal::Root { tenant } => Some(format!("arn:aws:iam::{tenant}:root")),
        Principal::Role { role, .. } if role.starts_with("arn:") => Some(role.to_string()),
        Principal::Role { tenant, role, .. } => Some(format!("arn:aws:iam::{tenant}:role/{role}")),
        Principal::Anonymous | Principal::Service { .. } => None,
    }
}
