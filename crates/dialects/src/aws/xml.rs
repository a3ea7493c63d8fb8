//! The query protocol's answers (STS and IAM): XML written by hand, every text escaped.

use super::respond::{self, Reply};
use http::StatusCode;
use std::fmt::Write;

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 has no other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\r' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// `<name>text</name>`
pub fn element(out: &mut String, name: &str, text: &str) {
    write!(out, "<{name}>{}</{name}>", escape(text)).expect("writing to a String can't fail");
}

/// A success: `inner` is the content of `OPERATIONResult`, already XML; `None` for operations without a result.
pub fn success(operation: &str, namespace: &str, inner: Option<&str>, request_id: &str) -> Reply {
    let result = inner.map(|inner| format!("<{operation}Result>{inner}</{operation}Result>")).unwrap_or_default();
    let body = format!(
        "<{operation}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    );
    respond::bytes(StatusCode::OK, "text/xml", body)
}

pub fn error(status: StatusCode, code: &str, message: &str, request_id: &str) -> Reply {
    let blame = if status.is_server_error() { "Receiver" } else { "Sender" };
    let body = format!(
        "<ErrorResponse><Error><Type>{blame}</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        escape(code),
        escape(message)
    );
    respond::bytes(status, "text/xml", body)
}
