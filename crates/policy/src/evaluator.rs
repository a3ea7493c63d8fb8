//! From statements to a decision (IAM User Guide, "Policy evaluation logic").
//!
//! A Deny that applies wins, wherever it stands. Within one account, the caller's own policies or the resource's suffice; between
//! accounts, both must allow. A permissions boundary and session policies narrow what the caller's own policies give, and what a
//! resource's policy gives to the caller's role; not what it gives to a user or to a session by its own ARN. A trust policy must
//! allow in any case. An account named in a resource policy passes nothing on by itself: its users and roles need a policy of
//! their own. The account's root may do everything in it that the resource's policy doesn't deny. Nobody in particular is let in
//! by `"Principal": "*"` only.

use crate::{
    condition::Condition,
    context::Context,
    document::{Document, Listed, Statement},
    kept::Kept,
    pattern::{Pattern, Truth},
    principal::{self, Fit},
};
use model::{Ask, Because, Decision, DocumentKind, Principal, Verdict, ports::Policy};
use std::sync::Arc;

/// What a caller brings along, as it stands in its account.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    /// Inline and attached policies.
    pub documents: Vec<Arc<Document>>,
    /// The permissions boundary, if there is one; the inner `None` is one that can't be read, which allows nothing.
    pub boundary: Option<Option<Arc<Document>>>,
    /// `aws:PrincipalTag/…`
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// The unique id of the role (`AROA…`).
    pub id: Option<Box<str>>,
}

/// Where callers' own policies come from.
pub trait IdentityDocuments: Send + Sync {
    /// Of a user, a role or a session of either. Asked on the way of every call: it must not wait.
    fn of(&self, principal: &Principal) -> Arc<Brought>;
}

/// What a document says to one question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    deny: bool,
    /// Exactly this caller is allowed.
    itself: bool,
    /// The caller is allowed.
    caller: bool,
    /// The caller's account is allowed.
    account: bool,
}

/// Decides every question, whatever system it comes from.
pub struct Evaluator {
    identities: Arc<dyn IdentityDocuments>,
    kept: Kept,
    nothing: Arc<Brought>,
}

impl Evaluator {
    pub fn new(identities: Arc<dyn IdentityDocuments>) -> Self {
        Self { identities, kept: Kept::default(), nothing: Arc::default() }
    }

    fn brought(&self, principal: &Principal) -> Arc<Brought> {
        match principal {
            Principal::User(_) | Principal::Role { .. } | Principal::Session(_) => self.identities.of(principal),
            Principal::Root { .. } | Principal::Anonymous | Principal::Service { .. } => self.nothing.clone(),
        }
    }

    fn judge(&self, ask: &Ask<'_>) -> Verdict {
        let brought = self.brought(ask.principal);
        let context = Context { ask, brought: &brought };
        let on_resource = if ask.trust { Because::Trust } else { Because::Resource };
        let resource = match ask.resource_policy.map(|text| self.kept.get(text)) {
            None => Said::default(),
            Some(Some(document)) => about(&document, &context, true),
            // Whatever it was meant to forbid, it forbids.
            Some(None) => return denied(on_resource),
        };
        let identity = said_by(brought.documents.iter().map(|d| &**d), &context);
        let boundary = brought.boundary.as_ref().map(|d| said_by(d.as_deref(), &context));
        let session = self.session(&context);
        let narrow = |because, said: Option<Said>| match said {
            Some(said) if said.deny => Some(denied(because)),
            _ => None,
        };
        let explicit = narrow(on_resource, Some(resource))
            .or_else(|| narrow(Because::Identity, Some(identity)))
            .or_else(|| narrow(Because::Boundary, boundary))
            .or_else(|| narrow(Because::Session, session));
        if let Some(verdict) = explicit {
            return verdict;
        }
        let granted = Granted { resource, identity, on_resource };
        match granted.to(ask) {
            Ok(Grant::Whole) => ALLOWED,
            Ok(Grant::Narrowed) => match (boundary, session) {
                (Some(said), _) if !said.caller => missing(Because::Boundary),
                (_, Some(said)) if !said.caller => missing(Because::Session),
                _ => ALLOWED,
            },
            Err(because) => missing(because),
        }
    }

    /// What the session's policies say together, if it has any.
    fn session(&self, context: &Context<'_>) -> Option<Said> {
        let Principal::Session(session) = context.ask.principal else { return None };
        if session.policies.is_empty() {
            return None;
        }
        let mut all = Said::default();
        for text in &session.policies {
            match self.kept.get(text) {
                Some(document) => all.add(about(&document, context, false)),
                None => all.deny = true,
            }
        }
        Some(all)
    }
}

const ALLOWED: Verdict = Verdict { decision: Decision::Allow, because: Because::Identity };

fn denied(because: Because) -> Verdict {
    Verdict { decision: Decision::ExplicitDeny, because }
}

fn missing(because: Because) -> Verdict {
    Verdict { decision: Decision::ImplicitDeny, because }
}

enum Grant {
    /// Nothing narrows it.
    Whole,
    /// Boundary and session policies must allow it too.
    Narrowed,
}

struct Granted {
    resource: Said,
    identity: Said,
    on_resource: Because,
}

impl Granted {
    /// Or where nothing allows it.
    fn to(&self, ask: &Ask<'_>) -> Result<Grant, Because> {
        let (resource, own) = (self.resource, ask.principal.tenant() == Some(ask.owner));
        let narrowed = |is: bool, because| if is { Ok(Grant::Narrowed) } else { Err(because) };
        if matches!(ask.principal, Principal::Anonymous | Principal::Service { .. }) {
            return narrowed(resource.caller, self.on_resource);
        }
        if principal::is_root(ask.principal) {
            let free = own && !ask.trust;
            return narrowed(free || resource.caller || resource.account, self.on_resource);
        }
        if own && resource.itself {
            return Ok(Grant::Whole);
        }
        let passed_on = resource.account && self.identity.caller;
        match (own, ask.trust) {
            (true, true) if resource.account && !resource.caller => narrowed(passed_on, Because::Identity),
            (true, true) => narrowed(resource.caller, Because::Trust),
            (true, false) => narrowed(resource.caller || self.identity.caller, Because::Identity),
            (false, _) if !self.identity.caller => Err(Because::Identity),
            (false, _) => narrowed(resource.caller || resource.account || resource.itself, self.on_resource),
        }
    }
}

impl Policy for Evaluator {
    fn decide(&self, ask: &Ask<'_>) -> Decision {
        self.explain(ask).decision
    }

    fn explain(&self, ask: &Ask<'_>) -> Verdict {
        // By far the most frequent question: the owner's administrator, and no policy to look at.
        match (ask.principal, ask.resource_policy) {
            (Principal::Root { tenant }, None) if tenant == ask.owner && !ask.trust => ALLOWED,
            _ => self.judge(ask),
        }
    }

    fn validate(&self, document: &str, kind: DocumentKind) -> Result<(), String> {
        Document::parse(document).and_then(|d| d.check(kind)).map_err(|e| e.to_string())
    }
}

impl Said {
    fn add(&mut self, other: Said) {
        self.deny |= other.deny;
        self.itself |= other.itself;
        self.caller |= other.caller;
        self.account |= other.account;
    }
}

fn said_by<'a>(documents: impl IntoIterator<Item = &'a Document>, context: &Context<'_>) -> Said {
    let mut all = Said::default();
    for document in documents {
        all.add(about(document, context, false));
    }
    all
}

fn about(document: &Document, context: &Context<'_>, on_resource: bool) -> Said {
    let mut said = Said::default();
    for statement in &document.statements {
        let fit = if on_resource { statement.fit(context) } else { statement.fit_of_holder() };
        let applies = if fit == Fit::No { Truth::No } else { statement.applies(context) };
        match (statement.deny, applies) {
            (_, Truth::No) => {}
            (true, _) => said.deny = true,
            (false, Truth::Yes) => {
                said.itself |= fit == Fit::Itself;
                said.caller |= fit >= Fit::Caller;
                said.account |= fit == Fit::Account;
            }
            (false, Truth::Unknown) => {}
        }
    }
    said
}

impl Statement {
    /// How the statement of a resource policy fits a caller. One without a principal is about nobody.
    fn fit(&self, context: &Context<'_>) -> Fit {
        let Some(who) = &self.who else { return if self.deny { Fit::Caller } else { Fit::No } };
        let caller = context.ask.principal;
        let best = who.these.iter().map(|named| named.fit(caller, context)).max().unwrap_or(Fit::No);
        match (who.not, best) {
            (false, best) => best,
            // "Everybody but": only who is certainly named is left out.
            (true, Fit::Itself | Fit::Caller | Fit::Account) => Fit::No,
            (true, Fit::No | Fit::Perhaps) => Fit::Caller,
        }
    }

    /// The holder of an identity's own policy is who it is about; a principal has no place in it.
    fn fit_of_holder(&self) -> Fit {
        if self.who.is_some() && !self.deny { Fit::No } else { Fit::Caller }
    }

    fn applies(&self, context: &Context<'_>) -> Truth {
        let ask = context.ask;
        let action = self.actions.holds(|p| p.matches_fold(ask.action, context));
        if action == Truth::No {
            return Truth::No;
        }
        let resource = self.resources.as_ref().map_or(Truth::Yes, |r| r.holds(|p| p.matches(ask.resource, context)));
        if resource == Truth::No {
            return Truth::No;
        }
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
