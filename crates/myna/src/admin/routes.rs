//! Every route of the admin socket. One that is not listed here is not served, whatever is written for it elsewhere; the table of
//! permissions must have a row for each.

/// Method and path; what stands in braces is any one segment.
pub const ROUTES: &[&str] = &[
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /admin/v1/status",
    "GET /admin/v1/access",
    "GET /admin/v1/audit",
    "GET /admin/v1/audit/verify",
    "GET /admin/v1/findings",
    "GET /admin/v1/runtimes",
    "POST /admin/v1/runtimes/{name}/install",
    "POST /admin/v1/console-link",
    "GET /admin/v1/functions/{name}/observed",
    "GET /admin/v1/functions/{name}/explain",
    "GET /admin/v1/invocations",
    "GET /admin/v1/invocations/{id}",
    "GET /admin/v1/events",
    "GET /admin/v1/events/{id}",
    "POST /admin/v1/events/{id}/cancel",
    "GET /admin/v1/lanes",
    "POST /admin/v1/functions/{name}/events/{what}",
    "GET /admin/v1/seal",
    "POST /admin/v1/seal/rotate",
    "POST /admin/v1/seal/rewrap",
    "POST /admin/v1/seal/export",
    "GET /admin/v1/functions/{name}/hold",
    "POST /admin/v1/functions/{name}/hold",
    "POST /admin/v1/drain",
    "GET /admin/v1/platform-log",
    "GET /admin/v1/layers",
    "PUT /admin/v1/layers/{arn}",
    "GET /admin/v1/secrets",
    "GET /admin/v1/secrets/{name}",
    "PUT /admin/v1/secrets/{name}",
    "DELETE /admin/v1/secrets/{name}",
    "GET /admin/v1/tenants",
    "GET /admin/v1/tenants/{name}",
    "POST /admin/v1/tenants/{name}",
    "DELETE /admin/v1/tenants/{name}",
    "PUT /admin/v1/tenants/{name}/quota",
    "POST /admin/v1/tenants/{name}/keys",
    "DELETE /admin/v1/tenants/{name}/keys/{id}",
    "GET /admin/v1/usage",
    "GET /admin/v1/logs",
];

/// Whether there is such a route; the path in its decoded segments.
pub fn listed(method: &str, path: &[&str]) -> bool {
    ROUTES.iter().any(|route| {
        let (of, pattern) = route.split_once(' ').unwrap_or_default();
        let mut segments = pattern.trim_start_matches('/').split('/');
        let fits = path.iter().all(|found| segments.next().is_some_and(|s| s == *found || s.starts_with('{')));
        of == method && fits && segments.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_listed_whole_and_by_its_method() {
        assert!(listed("GET", &["admin", "v1", "status"]) && listed("GET", &["admin", "v1", "functions", "a/b", "hold"]));
        assert!(!listed("PUT", &["admin", "v1", "status"]) && !listed("GET", &["admin", "v1", "status", ""]));
        assert!(!listed("GET", &["admin", "v1"]) && !listed("GET", &["admin", "v1", "functions", "f"]));
    }
}
