//! What a web page may not do. A browser carries requests of any page to 127.0.0.1; whoever listens there must tell them apart
//! by what only browsers send (Fetch standard: Origin, Sec-Fetch-*) and by the Host that a rebound name keeps.

use super::place;
use http::{HeaderMap, header};
use model::{Cause, Fault};
use std::net::IpAddr;

/// The Host must be a name of ours: a loopback address, `localhost`, anything below it, or one that the operator listed.
pub fn host(headers: &HeaderMap, ours: &[String]) -> Result<(), Fault> {
    let host = place::host(headers).unwrap_or("").to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback || host == "localhost" || host.ends_with(".localhost") || ours.iter().any(|h| h.eq_ignore_ascii_case(&host)) {
        return Ok(());
    }
    Err(Fault::new(Cause::Denied, format!("the host {host:?} is not served here"))
        .detail("AccessDeniedException")
        .hint("use 127.0.0.1 or localhost, or list the name in the configuration"))
}

/// No page calls an API: neither another origin's, nor a function's own, whatever its host.
pub fn no_page(headers: &HeaderMap) -> Result<(), Fault> {
    if from_page(headers) {
        return Err(Fault::new(Cause::Denied, "a web page may not call this API").detail("AccessDeniedException"));
    }
    Ok(())
}

/// The request was made by a page in a browser (typing an address makes one without an initiator: `none`).
pub fn from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.get("sec-fetch-site").is_some_and(|site| site != "none")
}

/// A browser is about to show the answer as a page.
pub fn navigates(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}
