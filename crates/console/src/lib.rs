//! The web console: one page that shows what runs, live.
//!
//! Decided here: the console has its own listener and its own origin, `http://console.localhost:PORT`, and answers for no other
//! host, since cookies ignore ports and a function's page on 127.0.0.1 must never share one with it. Who opens it comes with a
//! link that works once. The page is static; everything that users or functions wrote reaches it as JSON and becomes text nodes
//! there. The content security policy allows no inline script, no frame and no other origin.

mod feed;
mod session;
mod shown;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use model::{
    Cancel, Fault, Fut, ReplyBody,
    log::{LogRecord, Stream},
    ports::{Platform, Request, Response},
};
use session::Sessions;
use shown::Shown;
use std::sync::Arc;

/// The console's cookie. The gateway takes it out of whatever goes to or comes from a function.
pub const COOKIE: &str = "myna_console";

/// Every page there is: a path that is not named here is none, whatever is written for it below.
pub const PAGES: &[&str] = &["/login", "/", "/app.js", "/icon.svg", "/app.css", "/events", "/logs"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A stored log record as its owner's system would show it.
pub type Format = fn(&Stream, &LogRecord) -> Option<String>;

pub struct Console {
    platform: Arc<dyn Platform>,
    shown: Arc<Shown>,
    format: Format,
    sessions: Sessions,
    closing: Cancel,
    /// `console.localhost:9080`.
    host: String,
    scheme: &'static str,
}

impl Console {
    /// `host` with its port is all that it answers to; `secure` where its listener speaks TLS.
    pub fn new(platform: Arc<dyn Platform>, format: Format, host: String, secure: bool) -> Self {
        Self {
            shown: Shown::of(platform.clone()),
            platform,
            format,
            sessions: Sessions::default(),
            closing: Cancel::new(),
            host,
            scheme: if secure { "https" } else { "http" },
        }
    }

    /// Ends every live stream: an open tab is nothing that a stopping platform waits for.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// A link that logs in, once, within five minutes. `None`: the machine gives no randomness.
    pub fn link(&self) -> Option<String> {
        let token = self.sessions.invite(self.platform.clock().mono())?;
        Some(format!("{}://{}/login?token={token}", self.scheme, self.host))
    }

    pub fn handle(&self, request: Request) -> Fut<'_, Response> {
        Box::pin(async move { sealed(self.answer(&request)) })
    }

    /// The answer to what the door turned away.
    pub fn refuse(&self, fault: &Fault) -> Response {
        sealed(text(StatusCode::BAD_REQUEST, &format!("{fault}\n")))
    }

    fn answer(&self, request: &Request) -> Response {
        let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        if host != self.host {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                &format!("the console answers at {}://{}/ only; get a link with: myna open\n", self.scheme, self.host),
            );
        }
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "the console only shows; changes are made with the myna command\n");
        }
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if path == "/login" {
            return self.login(query);
        }
        let now = self.platform.clock().mono();
        if !cookies(request).any(|c| self.sessions.knows(c, now)) {
            return text(StatusCode::UNAUTHORIZED, "this page needs a link that works once; get one with: myna open\n");
        }
        if !PAGES.contains(&path) {
            return text(StatusCode::NOT_FOUND, "the console has no such page\n");
        }
        match path {
            "/" => asset("text/html; charset=utf-8", include_str!("../assets/index.html")),
            "/app.js" => asset("text/javascript; charset=utf-8", include_str!("../assets/app.js")),
            "/icon.svg" => asset("image/svg+xml", include_str!("../assets/icon.svg")),
            "/app.css" => asset("text/css; charset=utf-8", include_str!("../assets/app.css")),
            "/events" => feed::events(self.platform.clone(), &self.shown, &self.closing),
            "/logs" => feed::logs(self.platform.clone(), self.format, query, &self.closing),
            _ => text(StatusCode::NOT_FOUND, "the console has no such page\n"),
        }
    }

    fn login(&self, query: &str) -> Response {
        let now = self.platform.clock().mono();
        let token = query.split('&').find_map(|p| p.strip_prefix("token=")).unwrap_or_default();
        let Some(session) = self.sessions.redeem(token, now) else {
            return text(
                StatusCode::UNAUTHORIZED,
                "this link was used already, or is older than five minutes; get a new one with: myna open\n",
            );
        };
        // The page is fetched by this one and not by a redirect, so that the cookie goes along wherever the link was clicked:
        // a SameSite=Strict one is kept from a redirect that another site began (RFC 6265bis, 5.2).
        let mut response = asset("text/html; charset=utf-8", include_str!("../assets/login.html"));
        let headers = response.headers_mut();
        let secure = if self.scheme == "https" { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200{secure}");
        headers.insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("a session's name is hexadecimal"));
        response
    }
}

/// Every cookie of the console's name: a page below `localhost` may have planted another beside the right one.
fn cookies(request: &Request) -> impl Iterator<Item = &str> {
    let all = request.headers().get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(';')).filter_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    let mut response = Response::new(ReplyBody::Bytes(Bytes::from_static(body.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &str) -> Response {
    let mut response = Response::new(ReplyBody::Bytes(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What every answer carries.
fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
