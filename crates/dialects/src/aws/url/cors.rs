//! Cross-origin rules of a function URL (Fetch standard, "CORS protocol"): preflights are answered here, other answers get the
//! headers that the rules say, whatever the function said of them.

use crate::aws::respond::{self, Reply};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::catalog::Cors;

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// What `Access-Control-Allow-Origin` says to this origin; nothing when the rules don't know it.
fn allowed<'a>(rules: &Cors, origin: &'a str) -> Option<&'a str> {
    let any = rules.allow_origins.iter().any(|o| o == "*");
    // A wildcard is no answer to a request with credentials, so that origin is named.
    if any {
        return Some(if rules.allow_credentials { origin } else { "*" });
    }
    let fits = |rule: &str| match rule.strip_suffix("://*") {
        Some(scheme) => origin.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")),
        None => rule.eq_ignore_ascii_case(origin),
    };
    rules.allow_origins.iter().any(|o| fits(o)).then_some(origin)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The answer to a preflight; nothing when the request is none.
pub fn preflight(rules: &Cors, method: &Method, headers: &HeaderMap) -> Option<Reply> {
    let (origin, wanted) = (text(headers, &header::ORIGIN)?, text(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?);
    if *method != Method::OPTIONS {
        return None;
    }
    let mut reply = respond::empty(StatusCode::OK);
    set(reply.headers_mut(), header::VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    let any = rules.allow_methods.iter().any(|m| m == "*");
    let method_fits = any || rules.allow_methods.iter().any(|m| m.eq_ignore_ascii_case(wanted));
    let Some(origin) = allowed(rules, origin).filter(|_| method_fits) else { return Some(reply) };
    let out = reply.headers_mut();
    set(out, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let methods = if any { wanted.to_owned() } else { rules.allow_methods.join(",") };
    set(out, header::ACCESS_CONTROL_ALLOW_METHODS, &methods);
    let asked = text(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS);
    let names =
        if rules.allow_headers.iter().any(|h| h == "*") { asked.map(str::to_owned) } else { Some(rules.allow_headers.join(",")) };
    if let Some(names) = names.filter(|n| !n.is_empty()) {
        set(out, header::ACCESS_CONTROL_ALLOW_HEADERS, &names);
    }
    if rules.allow_credentials {
        set(out, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if let Some(age) = rules.max_age_s {
        set(out, header::ACCESS_CONTROL_MAX_AGE, &age.to_string());
    }
    Some(reply)
}

/// Put the rules' headers on an answer.
pub fn apply(rules: &Cors, request: Option<&HeaderValue>, reply: &mut HeaderMap) {
    let Some(origin) = request.and_then(|v| v.to_str().ok()) else { return };
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ] {
        reply.remove(name);
    }
    let Some(allowed) = allowed(rules, origin) else { return };
    set(reply, header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if allowed != "*" {
        reply.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if rules.allow_credentials {
        set(reply, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if !rules.expose_headers.is_empty() {
        set(reply, header::ACCESS_CONTROL_EXPOSE_HEADERS, &rules.expose_headers.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: &[&str], credentials: bool) -> Cors {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Cors {
            allow_credentials: credentials,
            allow_headers: list(&["x-a", "content-type"]),
            allow_methods: list(&["GET", "POST"]),
            allow_origins: list(origins),
            expose_headers: list(&["date"]),
            max_age_s: Some(60),
        }
    }

    #[test]
    fn origins_are_told_what_the_rules_say_of_them() {
        let of = |rules: &Cors, origin: &'static str| allowed(rules, origin).map(str::to_owned);
        assert_eq!(of(&rules(&["*"], false), "https://a.b").as_deref(), Some("*"));
        assert_eq!(of(&rules(&["*"], true), "https://a.b").as_deref(), Some("https://a.b"));
        assert_eq!(of(&rules(&["https://a.b"], true), "https://a.b").as_deref(), Some("https://a.b"));
        assert_eq!(of(&rules(&["https://*"], true), "https://x").as_deref(), Some("https://x"));
        assert_eq!(of(&rules(&["https://*"], true), "http://x"), None);
        assert_eq!(of(&rules(&["https://a.b"], true), "https://a.b.evil"), None);
    }

    #[test]
    fn preflights_are_answered_and_nothing_else_is() {
        let request = |origin: &str, method: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, method.parse().unwrap());
            headers
        };
        let rules = rules(&["https://a.b"], true);
        let reply = preflight(&rules, &Method::OPTIONS, &request("https://a.b", "POST")).unwrap();
        assert_eq!(reply.headers()["access-control-allow-methods"], "GET,POST");
        assert_eq!(reply.headers()["access-control-max-age"], "60");
        for (origin, method) in [("https://evil", "POST"), ("https://a.b", "DELETE")] {
            let reply = preflight(&rules, &Method::OPTIONS, &request(origin, method)).unwrap();
            assert!(!reply.headers().contains_key("access-control-allow-origin"));
        }
        assert!(preflight(&rules, &Method::POST, &request("https://a.b", "POST")).is_none());
        assert!(preflight(&rules, &Method::OPTIONS, &HeaderMap::new()).is_none());
    }
}
