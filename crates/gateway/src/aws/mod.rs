//! The AWS door: who a request comes from, and which part of the platform it is for.
//!
//! The service is the one that the signature's scope names, never guessed from a body. What an unsigned request may reach is
//! listed in [`place`]: a function's URL, a download by capability, and the health of the process.
//!
//! `/livez` and `/readyz` are answered here too: no AWS API has such a path, and they are taken only when the request is a
//! bare, unsigned GET, so that a bucket of that name stays reachable.

mod browser;
mod cookie;
mod denial;
mod place;
mod plane;
mod trail;
mod trusted;

pub use place::ROUTES;
pub use trail::Source;

use crate::{
    door::{Handler, Paths, Peer},
    reply,
    sigv4::{Claim, Denial, PLAIN_PATHS, Verifier, normal_path},
};
use bytes::Bytes;
use http::{HeaderValue, header, request::Parts};
use model::{
    Clock, Fault, Fut, Principal,
    access::Authority,
    event::Body,
    ports::{Dialect, Identities, PlatformSettings, Request, Response},
};
use place::{Place, Url};
use std::sync::Arc;

/// A download by its capability: the archive, or nothing for a capability that doesn't hold.
pub type Download = Arc<dyn Fn(&str) -> Fut<'static, Option<Response>> + Send + Sync>;
/// Whether the platform can take work.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// Unsigned requests count as the default tenant's administrator; nothing else is waived.
#[derive(Clone, Default)]
pub struct Options {
    pub no_auth: bool,
    /// Host names that are ours besides loopback's.
    pub hosts: Vec<String>,
    /// A cookie of the platform's own, which no function gets to see or to set.
    pub private_cookie: Option<&'static str>,
    pub ready: Option<Ready>,
    pub download: Option<Download>,
    /// Where changes and refusals are written down.
    pub audit: Option<Arc<dyn model::audit::Audit>>,
}

pub struct AwsDoor {
    authority: Authority,
    identities: Arc<dyn Identities>,
    clock: Arc<dyn Clock>,
    settings: PlatformSettings,
    dialect: Arc<dyn Dialect>,
    options: Options,
    verifier: Verifier,
    url_suffix: String,
}

impl AwsDoor {
    pub fn new(
        authority: Authority,
        identities: Arc<dyn Identities>,
        clock: Arc<dyn Clock>,
        settings: PlatformSettings,
        dialect: Arc<dyn Dialect>,
        options: Options,
    ) -> Self {
        let url_suffix = format!(".lambda-url.{}.localhost", settings.region);
        Self { authority, identities, clock, settings, dialect, options, verifier: Verifier::default(), url_suffix }
    }

    async fn answer(&self, request: Request, source: Source) -> Response {
        let (parts, body) = request.into_parts();
        let Body::Bytes(body) = body else {
            return self.refuse(&parts, &Fault::internal("a streamed body reached the AWS door"));
        };
        match place::of(&parts, &self.url_suffix) {
            Place::Health { ready } => self.health(ready),
            Place::Download(capability) => self.download(capability, &source).await,
            Place::Url(url) => {
                let url = url.owned();
                self.url(parts, body, url, source).await
            }
            Place::Api => self.api(parts, body, source).await,
        }
    }

    /// A request to an API of AWS.
    async fn api(&self, mut parts: Parts, body: Bytes, source: Source) -> Response {
        match self.caller(&parts, &body) {
            Ok((principal, service)) => {
                dispatch_signed_path(&mut parts, &service);
                self.dispatch(parts, body, principal, service, source).await
            }
            Err(fault) => self.turned_away(&parts, &fault, &source),
        }
    }

    async fn dispatch(&self, parts: Parts, body: Bytes, principal: Principal, service: Arc<str>, source: Source) -> Response {
        let request = Request::from_parts(parts, Body::Bytes(body));
        self.recorded(self.authority.vouch(request, principal, service), source).await
    }

    /// Who asks for which service.
    fn caller(&self, parts: &Parts, body: &Bytes) -> Result<(Principal, Arc<str>), Fault> {
        let claim = match Claim::of(parts) {
            Ok(None) if self.options.no_auth => return Ok((self.root(), place::unsigned_service(parts, body).into())),
            Ok(None) => Err(denial::fault(&Denial::Missing, &place::unsigned_service(parts, body), None)),
            Ok(Some(claim)) => Ok(claim),
            Err(denied) => Err(denial::fault(&denied, &place::unsigned_service(parts, body), None)),
        }?;
        let denied = |denied: Denial| denial::fault(&denied, &claim.service, Some(&claim.access_key));
        self.scope(&claim).map_err(denied)?;
        if self.options.no_auth {
            return Ok((self.root(), claim.service.into()));
        }
        let principal = self.signer(parts, body, &claim).map_err(denied)?;
        Ok((principal, claim.service.into()))
    }

    fn root(&self) -> Principal {
        Principal::Root { tenant: self.settings.default_tenant.clone() }
    }

    /// The scope must name this platform's region, and a service of AWS's naming.
    fn scope(&self, claim: &Claim) -> Result<(), Denial> {
        let global = matches!(&*claim.service, "iam" | "sts") && claim.region == "us-east-1";
        if claim.region != *self.settings.region && !global {
            return Err(Denial::Scope(format!("Credential should be scoped to a valid region, not '{}'.", claim.region)));
        }
        if claim.service == place::URL_SERVICE {
            return Err(Denial::Scope("Credential should be scoped to correct service: 'lambda'.".into()));
        }
        Ok(())
    }

    /// The principal whose key signed the request. Keys of instances hold on their instance's socket only.
    fn signer(&self, parts: &Parts, body: &[u8], claim: &Claim) -> Result<Principal, Denial> {
        Verifier::timely(claim, self.clock.wall_ms())?;
        let credential = self.identities.credential(&claim.access_key).ok_or(Denial::UnknownKey)?;
        if matches!(credential.principal, Principal::Role { .. }) {
            return Err(Denial::UnknownKey);
        }
        self.verifier.verify(parts, body, claim, &credential)?;
        // Only who holds the secret learns that the time is over.
        if credential.principal.expired(self.clock.wall_ms()) {
            return Err(Denial::TokenExpired);
        }
        Ok(credential.principal)
    }

    /// A function's HTTP address. Who may call it is the function's affair: an absent or wrong signature makes the caller
    /// nobody in particular.
    async fn url(&self, mut parts: Parts, body: Bytes, url: Url<String>, source: Source) -> Response {
        if url.by_path && browser::navigates(&parts.headers) {
            return self.redirect(&parts, &url);
        }
        let principal = self.url_caller(&parts, &body);
        if !matches!(principal, Principal::Anonymous) && !url.by_path {
            dispatch_signed_path(&mut parts, "lambda");
        }
        if let Err(fault) = self.as_named(&mut parts, &url) {
            return self.refuse(&parts, &fault);
        }
        let Some(private) = self.options.private_cookie else {
            return self.dispatch(parts, body, principal, place::URL_SERVICE.into(), source).await;
        };
        cookie::keep_from(&mut parts.headers, private);
        let mut response = self.dispatch(parts, body, principal, place::URL_SERVICE.into(), source).await;
        cookie::keep_out_of(response.headers_mut(), private);
        response
    }

    fn url_caller(&self, parts: &Parts, body: &[u8]) -> Principal {
        if self.options.no_auth {
            return if browser::from_page(&parts.headers) { Principal::Anonymous } else { self.root() };
        }
        let Ok(Some(claim)) = Claim::of(parts) else { return Principal::Anonymous };
        if claim.service != "lambda" || self.scope(&claim).is_err() {
            return Principal::Anonymous;
        }
        self.signer(parts, body, &claim).unwrap_or(Principal::Anonymous)
    }

    /// Give a request that came by path the form that it has by name, so that there is one form behind this door.
    fn as_named(&self, parts: &mut Parts, url: &Url<String>) -> Result<(), Fault> {
        if !url.by_path {
            return Ok(());
        }
        let host =
            HeaderValue::try_from(self.named_host(&url.id)).map_err(|_| Fault::invalid("the function URL's id is malformed"))?;
        parts.headers.insert(header::HOST, host);
        parts.uri = url.rest.parse().map_err(|_| Fault::invalid("the path behind the function URL's id is malformed"))?;
        Ok(())
    }

    fn named_host(&self, id: &str) -> String {
        let port = self.settings.aws_authority.rsplit_once(':').map_or("", |(_, port)| port);
        format!("{id}{}:{port}", self.url_suffix)
    }

    /// A page gets a host of its own, so that it shares no origin with this platform or with another function.
    fn redirect(&self, parts: &Parts, url: &Url<String>) -> Response {
        let mut response = reply::bare(307);
        match HeaderValue::try_from(format!("{}://{}{}", self.settings.aws_scheme, self.named_host(&url.id), url.rest)) {
            Ok(to) => {
                response.headers_mut().insert(header::LOCATION, to);
                response
            }
            Err(_) => self.refuse(parts, &Fault::invalid("the function URL's path is malformed")),
        }
    }

    fn health(&self, ready: bool) -> Response {
        match (ready, self.options.ready.as_ref().is_none_or(|is| is())) {
            (true, false) => reply::plain(503, "not ready\n"),
            _ => reply::plain(200, "ok\n"),
        }
    }

    /// Whatever is wrong with a capability, the answer is the same.
    async fn download(&self, capability: &str, source: &Source) -> Response {
        let found = match &self.options.download {
            Some(download) => download(capability).await,
            None => None,
        };
        found.unwrap_or_else(|| {
            self.unknown_capability(source);
            reply::plain(404, "not found\n")
        })
    }

    /// Before a large body is taken in: does the request at least name a key that could have signed it?
    fn plausible(&self, parts: &Parts) -> Result<(), Fault> {
        if self.options.no_auth {
            return Ok(());
        }
        let claim = match Claim::of(parts) {
            Ok(Some(claim)) => claim,
            Ok(None) => return Err(denial::fault(&Denial::Missing, "lambda", None)),
            Err(denied) => return Err(denial::fault(&denied, "lambda", None)),
        };
        let known = Verifier::timely(&claim, self.clock.wall_ms())
            .and_then(|()| self.identities.credential(&claim.access_key).map(drop).ok_or(Denial::UnknownKey));
        known.map_err(|denied| denial::fault(&denied, &claim.service, Some(&claim.access_key)))
    }
}

/// What is dispatched is the path that was signed.
fn dispatch_signed_path(parts: &mut Parts, service: &str) {
    let normal = normal_path(parts.uri.path());
    if service == PLAIN_PATHS || normal == parts.uri.path() {
        return;
    }
    let whole = match parts.uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal.into_owned(),
    };
    parts.uri = whole.parse().expect("segments of a valid path make a valid path");
}

/// This door's name in the audit log.
const DOOR: &str = "aws";

impl AwsDoor {
    fn welcome(&self, parts: &Parts) -> Result<usize, Fault> {
        browser::host(&parts.headers, &self.options.hosts)?;
        let place = place::of(parts, &self.url_suffix);
        if matches!(place, Place::Api) {
            browser::no_page(&parts.headers)?;
            if place::body_is_large(&parts.headers) {
                self.plausible(parts)?;
            }
        }
        Ok(place.limit(parts))
    }
}

impl Handler for AwsDoor {
    fn admit(&self, parts: &Parts, from: &Peer) -> Result<usize, Fault> {
        self.welcome(parts).inspect_err(|fault| drop(self.turned_away(parts, fault, &Source::of(DOOR, from))))
    }

    fn handle(&self, request: Request, from: Peer) -> Fut<'_, Response> {
        Box::pin(self.answer(request, Source::of(DOOR, &from)))
    }

    fn refuse(&self, parts: &Parts, fault: &Fault) -> Response {
        self.dialect.refuse(parts, fault)
    }

    fn paths(&self) -> Paths {
        Paths::Raw
    }
}
