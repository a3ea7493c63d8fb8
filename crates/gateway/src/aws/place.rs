//! Where on the AWS door a request belongs, and how large its body may be there.

use http::{HeaderMap, Method, header, request::Parts};

/// The service of requests to function URLs: a name of our own, which no signature's scope may use.
pub const URL_SERVICE: &str = "lambda-url";

/// Bytes of an invocation's payload: Lambda's limit, and one more, so that the dialect can word its own refusal.
const PAYLOAD_MAX: usize = 6 * 1024 * 1024 + 1;
/// A package of 50 MiB in base64 inside JSON.
const PACKAGE_MAX: usize = 72 * 1024 * 1024;
/// Any other request.
const OTHER_MAX: usize = 1024 * 1024;
/// From here on a body is worth a look at its sender first.
const LARGE: u64 = 64 * 1024;

/// Everything that this door has, for the table of permissions.
pub const ROUTES: [&str; 6] = [
    "GET /livez",
    "GET /readyz",
    "GET /_code/{capability}",
    "any {id}.lambda-url.{region}.localhost",
    "any /_url/{id}/",
    "the APIs",
];

#[derive(Debug, PartialEq, Eq)]
pub enum Place<'a> {
    Health { ready: bool },
    Download(&'a str),
    Url(Url<&'a str>),
    Api,
}

/// A function's HTTP address as a request names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<T> {
    pub id: T,
    /// Path and query as the function sees them.
    pub rest: String,
    /// `/_url/ID/…` instead of a host of its own.
    pub by_path: bool,
}

impl Url<&str> {
    pub fn owned(self) -> Url<String> {
        Url { id: self.id.to_owned(), rest: self.rest, by_path: self.by_path }
    }
}

/// By host first, then by path.
pub fn of<'a>(parts: &'a Parts, url_suffix: &str) -> Place<'a> {
    let path = parts.uri.path();
    if let Some(id) = host(&parts.headers).and_then(|h| strip_suffix_fold(h, url_suffix)).filter(|id| label(id)) {
        let rest = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        return Place::Url(Url { id, rest, by_path: false });
    }
    let by_path = path.strip_prefix("/_url/").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    if let Some((id, rest)) = by_path.filter(|(id, _)| label(id)) {
        let rest = if rest.is_empty() { "/" } else { rest };
        let rest = parts.uri.query().map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
        return Place::Url(Url { id, rest, by_path: true });
    }
    if let Some(capability) = path.strip_prefix("/_code/").filter(|_| parts.method == Method::GET) {
        return Place::Download(capability);
    }
    let bare = parts.method == Method::GET && parts.uri.query().is_none() && !parts.headers.contains_key(header::AUTHORIZATION);
    match path {
        "/livez" if bare => Place::Health { ready: false },
        "/readyz" if bare => Place::Health { ready: true },
        _ => Place::Api,
    }
}

impl Place<'_> {
    /// Bytes of a body.
    pub fn limit(&self, parts: &Parts) -> usize {
        let path = parts.uri.path();
        match self {
            Place::Health { .. } | Place::Download(_) => 0,
            Place::Url(_) => PAYLOAD_MAX,
            Place::Api if is_call(&parts.method, path) => PAYLOAD_MAX,
            Place::Api if path.ends_with("/functions") || path.ends_with("/functions/") || path.ends_with("/code") => PACKAGE_MAX,
            Place::Api if path.starts_with("/2018-10-31/layers/") && path.ends_with("/versions") => PACKAGE_MAX,
            Place::Api => OTHER_MAX,
        }
    }
}

/// Whether a request to Lambda is a call: the way of a warm one, where nothing is looked up.
pub fn is_call(method: &Method, path: &str) -> bool {
    let mut segments = path.split('/');
    let of_a_function = *method == Method::POST
        && segments.next() == Some("")
        && segments.next().is_some()
        && segments.next() == Some("functions")
        && segments.next().is_some();
    let last = segments.next().unwrap_or_default();
    of_a_function
        && matches!(last, "invocations" | "response-streaming-invocations" | "invoke-async")
        && segments.next().is_none_or(|rest| rest.is_empty() && segments.next().is_none())
}

/// The Host header without its port.
pub fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => Some(name),
        _ => Some(host),
    }
}

fn strip_suffix_fold<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len()).filter(|at| *at > 0 && text.is_char_boundary(*at))?;
    text[at..].eq_ignore_ascii_case(suffix).then(|| &text[..at])
}

/// One label of a host name.
fn label(id: &str) -> bool {
    (1..=63).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Past [`LARGE`], or of unknown length.
pub fn body_is_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    length.is_some_and(|n| n > LARGE) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// The service that an unsigned request speaks to, by the marks of its protocol: `X-Amz-Target`, or the version that a query
/// request names (each of these services has one).
pub fn unsigned_service(parts: &Parts, body: &[u8]) -> String {
    if let Some(target) = parts.headers.get("x-amz-target").and_then(|v| v.to_str().ok()) {
        let prefix = target.split(['_', '.']).next().unwrap_or(target);
        return prefix.to_ascii_lowercase();
    }
    let form =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let form = if form { std::str::from_utf8(body).unwrap_or("") } else { "" };
    let version = |text: &str| text.split('&').find_map(|p| p.strip_prefix("Version=")).map(str::to_owned);
    match version(parts.uri.query().unwrap_or("")).or_else(|| version(form)).as_deref() {
        Some("2011-06-15") => "sts".into(),
        Some("2010-05-08") => "iam".into(),
        _ => "lambda".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place without a name in [`ROUTES`] does not compile here.
    fn route(place: &Place<'_>) -> &'static str {
        match place {
            Place::Health { ready: false } => ROUTES[0],
            Place::Health { ready: true } => ROUTES[1],
            Place::Download(_) => ROUTES[2],
            Place::Url(Url { by_path: false, .. }) => ROUTES[3],
            Place::Url(Url { by_path: true, .. }) => ROUTES[4],
            Place::Api => ROUTES[5],
        }
    }

    #[test]
    fn every_place_has_its_route_and_whatever_is_none_of_them_is_the_apis() {
        let found = |method: &str, host: &str, path: &str| {
            let parts = http::Request::builder().method(method).uri(path).header("host", host).body(()).unwrap().into_parts().0;
            route(&of(&parts, ".lambda-url.us-east-1.localhost"))
        };
        let (own, url) = ("127.0.0.1:9000", "abc.lambda-url.us-east-1.localhost:9000");
        let asked = [
            ("GET", own, "/livez"),
            ("GET", own, "/readyz"),
            ("GET", own, "/_code/x"),
            ("PUT", url, "/livez"),
            ("POST", own, "/_url/abc/x"),
            ("GET", own, "/"),
        ];
        assert_eq!(asked.map(|(method, host, path)| found(method, host, path)), ROUTES);
        // H23: what looks internal is no place of its own.
        for path in
            ["/2018-06-01/runtime/invocation/next", "/admin/v1/status", "/metrics", "/_/", "/_url/", "/myna/bind", "/livez/"]
        {
            assert_eq!(found("GET", own, path), ROUTES[5], "{path}");
            assert_eq!(found("GET", url, path), ROUTES[3], "{path}");
        }
    }
}
