//! From statements to a decision (IAM User Guide, "Policy evaluation logic").
//!
//! A Deny that applies wins. Within one account, the caller's own policies or the resource's suffice; between accounts, both
//! must allow. An account named in a resource policy passes nothing on by itself: its roles need a policy of their own. The
//! account's root may do everything in it that the resource's policy doesn't deny. Nobody in particular is let in by
//! `"Principal": "*"` only.

use crate::{
    condition::{Condition, Context},
    document::{Document, Listed, Statement},
    pattern::{Pattern, Truth},
    principal::{self, Fit, Named},
};
use model::{Ask, Decision, Principal, ports::Policy};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Parsed resource policies that are kept.
const KEPT_MAX: usize = 4096;

/// The policies that a caller brings along.
pub trait IdentityDocuments: Send + Sync {
    fn of(&self, principal: &Principal) -> Vec<Arc<Document>>;
}

/// What a document says to one question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    deny: bool,
    /// The caller itself is allowed.
    caller: bool,
    /// The caller's account is allowed.
    account: bool,
}

pub struct Evaluator {
    identities: Arc<dyn IdentityDocuments>,
    /// Resource policies by their text; `None` for one that can't be read.
    parsed: RwLock<HashMap<Box<str>, Option<Arc<Document>>>>,
}

impl Evaluator {
    pub fn new(identities: Arc<dyn IdentityDocuments>) -> Self {
        Self { identities, parsed: RwLock::default() }
    }

    /// A resource's policy, parsed once.
    fn resource_policy(&self, text: &str) -> Option<Arc<Document>> {
        if let Some(kept) = self.parsed.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return kept.clone();
        }
        let document = Document::parse(text).ok().map(Arc::new);
        let mut parsed = self.parsed.write().unwrap_or_else(PoisonError::into_inner);
        if parsed.len() >= KEPT_MAX {
            parsed.clear();
        }
        parsed.insert(text.into(), document.clone());
        document
    }

    fn judge(&self, ask: &Ask<'_>) -> Decision {
        let context = Context {
            given: ask.context,
            principal_arn: principal::arn(ask.principal),
            principal_account: ask.principal.tenant().map(|t| t.as_str()),
        };
        let resource = match ask.resource_policy.map(|text| self.resource_policy(text)) {
            None => Said::default(),
            Some(Some(document)) => about(&document, ask, &context, true),
            // Whatever it was meant to forbid, it forbids.
            Some(None) => return Decision::ExplicitDeny,
        };
        let mut identity = Said::default();
        if matches!(ask.principal, Principal::Role { .. }) {
            for document in self.identities.of(ask.principal) {
                let said = about(&document, ask, &context, false);
                identity.deny |= said.deny;
                identity.caller |= said.caller;
            }
        }
        if resource.deny || identity.deny {
            return Decision::ExplicitDeny;
        }
        let own = ask.principal.tenant() == Some(ask.owner);
        let allowed = match ask.principal {
            Principal::Anonymous | Principal::Service { .. } => resource.caller,
            Principal::Root { .. } => own || resource.caller,
            Principal::Role { .. } if own => identity.caller || resource.caller,
            Principal::Role { .. } => identity.caller && (resource.caller || resource.account),
        };
        if allowed { Decision::Allow } else { Decision::ImplicitDeny }
    }
}

impl Policy for Evaluator {
    fn decide(&self, ask: &Ask<'_>) -> Decision {
        // By far the most frequent question: the owner's administrator, and no policy to look at.
        match (ask.principal, ask.resource_policy) {
            (Principal::Root { tenant }, None) if tenant == ask.owner => Decision::Allow,
            _ => self.judge(ask),
        }
    }
}

fn about(document: &Document, ask: &Ask<'_>, context: &Context<'_>, on_resource: bool) -> Said {
    let mut said = Said::default();
    for statement in &document.statements {
        let fit = if on_resource { statement.fit(ask.principal) } else { statement.fit_of_holder() };
        let applies = if fit == Fit::No { Truth::No } else { statement.applies(ask, context) };
        match (statement.deny, applies) {
            (_, Truth::No) => {}
            (true, _) => said.deny = true,
            (false, Truth::Yes) => {
                said.caller |= fit == Fit::Caller;
                said.account |= fit == Fit::Account;
            }
            (false, Truth::Unknown) => {}
        }
    }
    said
}

impl Statement {
    /// How the statement of a resource policy fits a caller. One without a principal is about nobody.
    fn fit(&self, caller: &Principal) -> Fit {
        let Some(who) = &self.who else { return if self.deny { Fit::Caller } else { Fit::No } };
        let best = who.these.iter().map(|named: &Named| named.fit(caller)).max().unwrap_or(Fit::No);
        match (who.not, best) {
            (false, best) => best,
            // "Everybody but": only who is certainly named is left out.
            (true, Fit::Caller | Fit::Account) => Fit::No,
            (true, Fit::No | Fit::Perhaps) => Fit::Caller,
        }
    }

    /// The holder of an identity's own policy is who it is about; a principal has no place in it.
    fn fit_of_holder(&self) -> Fit {
        if self.who.is_some() && !self.deny { Fit::No } else { Fit::Caller }
    }

    fn applies(&self, ask: &Ask<'_>, context: &Context<'_>) -> Truth {
        let action = self.actions.holds(|p| p.matches_fold(ask.action));
        let resource = self.resources.as_ref().map_or(Truth::Yes, |r| r.holds(|p| p.matches(ask.resource)));
        let conditions = Truth::all(self.conditions.iter().map(|c: &Condition| c.holds(context)));
        Truth::all([action, resource, conditions])
    }
}

impl Listed<Pattern> {
    fn holds(&self, test: impl Fn(&Pattern) -> Truth) -> Truth {
        let found = Truth::any(self.these.iter().map(test));
        if self.not { found.not() } else { found }
    }
}
