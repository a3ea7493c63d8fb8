//! What a request's sender may do: every operation but a call of a function is asked here, with the name of its resource, and
//! refused in the service's own words. Calls of functions are asked by the engine.

use super::{
    fault::WireError,
    names,
    shared::{Asked, Shared},
};
use model::{Ask, Cause, Fault, Principal, TenantId};
use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

/// Condition keys with their values.
pub type Keys<'a> = Vec<(&'a str, &'a str)>;

/// One question about a request.
pub struct Question<'a> {
    pub action: &'a str,
    pub resource: &'a str,
    pub resource_policy: Option<&'a Arc<str>>,
    pub trust: bool,
    /// The account that it belongs to, where that is not the sender's.
    pub owner: Option<&'a TenantId>,
    pub keys: Keys<'a>,
}

impl<'a> Question<'a> {
    pub fn new(action: &'a str, resource: &'a str) -> Self {
        Self { action, resource, resource_policy: None, trust: false, owner: None, keys: Vec::new() }
    }
    pub fn keys(mut self, keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.keys.extend(keys);
        self
    }
}

/// May the sender change or read the platform so? Instances may not, whatever the policies of their roles say.
pub fn control(asked: &Asked, question: Question<'_>) -> Result<(), WireError> {
    match &asked.principal {
        Principal::Anonymous => Err(WireError {
            blame: None,
            ..WireError::new(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        }),
        Principal::Role { .. } => {
            let Question { action, resource, .. } = question;
            let why = format!("because no identity-based policy allows the {action} action");
            Err(WireError::access_denied(sentence(&asked.principal, action, resource, &why)))
        }
        _ => decide(asked, question),
    }
}

/// As [`control`], for what an instance may do too.
pub fn decide(asked: &Asked, question: Question<'_>) -> Result<(), WireError> {
    let Question { action, resource, resource_policy, trust, owner, mut keys } = question;
    let about = about(&asked.shared, &asked.parts);
    keys.extend(about.iter().map(|(key, value)| (*key, &**value)));
    let ask = Ask {
        principal: &asked.principal,
        action,
        resource,
        owner: owner.unwrap_or(&asked.tenant),
        resource_policy,
        trust,
        context: &keys,
        now_ms: asked.shared.now_ms(),
    };
    let verdict = asked.platform().policy().explain(&ask);
    if verdict.decision.allowed() {
        return Ok(());
    }
    Err(WireError::access_denied(sentence(&asked.principal, action, resource, &verdict.reason(action))))
}

fn sentence(caller: &Principal, action: &str, resource: &str, why: &str) -> String {
    format!("User: {} is not authorized to perform: {action} on resource: {resource} {why}", names::caller_arn(caller))
}

/// What conditions may ask about any request: where it came from, and how. An instance's own socket has no address.
pub fn about(shared: &Shared, parts: &http::request::Parts) -> Vec<(&'static str, Arc<str>)> {
    static WORDS: LazyLock<[Arc<str>; 2]> = LazyLock::new(|| [Arc::from("false"), Arc::from("true")]);
    let secure = parts.extensions.get::<model::ports::Secure>().is_some();
    let mut keys = vec![
        ("aws:RequestedRegion", shared.settings.region.clone()),
        ("aws:SecureTransport", WORDS[usize::from(secure)].clone()),
        ("aws:ViaAWSService", WORDS[0].clone()),
    ];
    if let Some(address) = parts.extensions.get::<SocketAddr>() {
        keys.push(("aws:SourceIp", address.ip().to_canonical().to_string().into()));
    }
    if let Some(agent) = parts.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()) {
        keys.push(("aws:UserAgent", agent.into()));
    }
    keys
}

/// The keys of a call, which nobody asks of the account's administrator unless a policy hangs on the function.
pub fn about_call(shared: &Shared, parts: &http::request::Parts, caller: &Principal) -> Vec<(&'static str, Arc<str>)> {
    if matches!(caller, Principal::Root { .. }) { Vec::new() } else { about(shared, parts) }
}

/// What the engine refused, with the name of who asked.
pub fn refused(caller: &Principal, fault: Fault) -> WireError {
    match fault.message.strip_prefix("not allowed to perform: ") {
        Some(what) if fault.cause == Cause::Denied => {
            let who = names::caller_arn(caller);
            WireError::access_denied(format!("User: {who} is not authorized to perform: {what}"))
        }
        _ => fault.into(),
    }
}
