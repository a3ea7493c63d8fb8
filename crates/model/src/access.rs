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
    /// A role, held by an instance of a function and valid only on that instance's own socket.
    Role { tenant: TenantId, role: Arc<str>, instance: InstanceId },
    /// A service of the platform itself (a trigger source), named as the dialect does (`s3.amazonaws.com`).
    Service { name: Arc<str> },
}

impl Principal {
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Principal::Root { tenant } | Principal::Role { tenant, .. } => Some(tenant),
            Principal::Anonymous | Principal::Service { .. } => None,
        }
    }
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
    /// Policy documents attached to the resource.
    pub resource_policy: Option<&'a str>,
    /// Condition keys with their values.
    pub context: &'a [(&'a str, &'a str)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Nothing allows it.
    ImplicitDeny,
    /// A statement forbids it.
    ExplicitDeny,
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
