//! Who asks, what for, and the answer. Authorisation belongs to the function and is asked once, in the engine, whatever the
//! door; who the caller is was established before, in the gateway.

use crate::{InstanceId, TenantId};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Who a request acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular: an unsigned request through a door that allows it.
    Anonymous,
    /// The tenant's own administrator (the key that `myna` creates), or the operator over the admin socket.
    Root { tenant: TenantId },
    /// A user of a tenant, by an access key.
    User(Arc<User>),
    /// A role, held by an instance of a function and valid only on that instance's own socket.
    Role { tenant: TenantId, role: Arc<str>, instance: InstanceId },
    /// Credentials that were given for a time: an assumed role, or a user's or administrator's own with a token.
    Session(Arc<Session>),
    /// A service of the platform itself (a trigger source), named as the dialect does (`s3.amazonaws.com`).
    Service { name: Arc<str> },
}

impl Principal {
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Principal::Root { tenant } | Principal::Role { tenant, .. } => Some(tenant),
            Principal::User(user) => Some(&user.tenant),
            Principal::Session(session) => Some(&session.tenant),
            Principal::Anonymous | Principal::Service { .. } => None,
        }
    }
    /// A session whose time is over. `now_ms`: milliseconds since the Unix epoch.
    pub fn expired(&self, now_ms: u64) -> bool {
        matches!(self, Principal::Session(session) if session.expires_ms <= now_ms)
    }
}

/// A person or a program that a tenant's administrator gave access keys to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub tenant: TenantId,
    pub name: Arc<str>,
    /// With its path: `arn:aws:iam::ID:user/team/ann`.
    pub arn: Arc<str>,
    /// Another one when a user of the same name is made anew.
    pub id: Arc<str>,
}

/// What temporary credentials stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub tenant: TenantId,
    pub holder: Holder,
    /// Session policies, as JSON documents: what the holder may is narrowed to what one of these allows. Empty narrows nothing.
    pub policies: Vec<Arc<str>>,
    /// Milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Milliseconds since the Unix epoch; from then on the credentials are refused.
    pub expires_ms: u64,
}

/// Whose rights a session has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Root,
    User(Arc<User>),
    Role {
        /// With its path.
        arn: Arc<str>,
        /// Another one when a role of the same name is made anew.
        id: Arc<str>,
        /// The session's own name, chosen by who assumed the role.
        session: Arc<str>,
    },
}

/// What a policy document hangs on, which decides what it must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A role's or user's own, or a session's: who is the holder itself.
    Identity,
    /// Who may assume a role: on what is the role itself.
    Trust,
    /// A resource's.
    Resource,
}

/// One question to the policy evaluator.
pub struct Ask<'a> {
    pub principal: &'a Principal,
    /// `lambda:InvokeFunction`.
    pub action: &'a str,
    /// The full name of what is acted on.
    pub resource: &'a str,
    /// The tenant that owns it.
    pub owner: &'a TenantId,
    /// The policy document attached to the resource.
    pub resource_policy: Option<&'a Arc<str>>,
    /// The resource's policy is a trust policy: nobody gets in without it, whatever their own policies say.
    pub trust: bool,
    /// Condition keys with their values; a key with several values stands there several times.
    pub context: &'a [(&'a str, &'a str)],
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Nothing allows it.
    ImplicitDeny,
    /// A statement forbids it.
    ExplicitDeny,
}

/// Which kind of policy a denial comes from: the one that forbids, or the one in which nothing allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    Identity,
    Resource,
    Boundary,
    Session,
    Trust,
}

/// A decision with its reason; the reason of [`Decision::Allow`] means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    pub because: Because,
}

impl Verdict {
    /// Why an action was denied, as policies' users are used to read it: `because no identity-based policy allows the X action`,
    /// `with an explicit deny in a session policy`.
    pub fn reason(self, action: &str) -> String {
        let (kind, article) = match self.because {
            Because::Identity => ("identity-based policy", "an"),
            Because::Resource => ("resource-based policy", "a"),
            Because::Boundary => ("permissions boundary", "a"),
            Because::Session => ("session policy", "a"),
            Because::Trust => ("role trust policy", "the"),
        };
        match self.decision {
            Decision::ExplicitDeny => format!("with an explicit deny in {article} {kind}"),
            Decision::Allow | Decision::ImplicitDeny => format!("because no {kind} allows the {action} action"),
        }
    }
}

impl Decision {
    pub fn allowed(self) -> bool {
        self == Decision::Allow
    }
}

/// A key that signs requests.
#[derive(Clone)]
pub struct Credential {
    pub access_key_id: Arc<str>,
    pub secret: Arc<str>,
    /// Session credentials carry a token that must be presented with them.
    pub session_token: Option<Arc<str>>,
    pub principal: Principal,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("access_key_id", &self.access_key_id)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// The right to say who a request comes from. There is one per process; the gateway takes it when it starts.
pub struct Authority(());

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Authority {
    /// The authority, to the first who asks; `None` to everybody after.
    pub fn take() -> Option<Authority> {
        (!TAKEN.swap(true, Ordering::SeqCst)).then_some(Authority(()))
    }
    /// For tests, which run many gateways in one process. Nothing that is given away is built with this feature.
    #[cfg(any(test, feature = "for-tests"))]
    pub fn for_tests() -> Authority {
        Authority(())
    }
    pub fn vouch<R>(&self, inner: R, principal: Principal, service: Arc<str>) -> Verified<R> {
        Verified { inner, principal, service }
    }
}

/// A request whose sender was established. Only the holder of the [`Authority`] can make one; dispatch uses its service.
pub struct Verified<R> {
    inner: R,
    principal: Principal,
    service: Arc<str>,
}

impl<R> Verified<R> {
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
    /// The service that the signature's scope names (`lambda`, `logs`, `sts`, `iam`); for an unsigned door, the door's.
    pub fn service(&self) -> &Arc<str> {
        &self.service
    }
    pub fn get(&self) -> &R {
        &self.inner
    }
    pub fn into_parts(self) -> (R, Principal, Arc<str>) {
        (self.inner, self.principal, self.service)
    }
}
