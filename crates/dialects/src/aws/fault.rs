//! Everything that this dialect says when it says no: the service's own error names, statuses and shapes, and the one place
//! where a [`Fault`] of the platform becomes one of them.
//!
//! The wire forms differ per protocol. Lambda (rest-json) has the code in the `x-amzn-ErrorType` header and a body whose text is
//! `Message` for some shapes and `message` for others (botocore, `lambda/2015-03-31/service-2.json`, each shape's members);
//! CloudWatch Logs (JSON 1.1) has it in `__type`; STS and IAM (query) answer XML.

use super::respond::{self, Reply};
use http::StatusCode;
use model::{Cause, Fault};
use serde_json::{Map, Value};
use std::time::Duration;

/// Which protocol the answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    RestJson,
    Json11,
    Query,
    Url,
}

#[derive(Clone, Debug)]
pub struct WireError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// `Type` of the body; some errors of the front end have none.
    pub blame: Option<&'static str>,
    /// Only of `TooManyRequestsException`.
    pub reason: Option<&'static str>,
    pub retry_after: Option<Duration>,
}

impl WireError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let blame = if status >= 500 { "Service" } else { "User" };
        Self { status, code, message: message.into(), blame: Some(blame), reason: None, retry_after: None }
    }
    /// A member breaks its declared constraint; found before the operation is looked at.
    pub fn validation(message: impl Into<String>) -> Self {
        Self { blame: None, ..Self::new(400, "ValidationException", message) }
    }
    /// A member is well formed and makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValueException", message)
    }
    /// The body is not the JSON that the operation declares.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self { blame: None, ..Self::new(400, "SerializationException", message) }
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFoundException", message)
    }
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "ResourceConflictException", message)
    }
    /// `call` names the operation that returns the current id.
    pub fn stale(call: &str) -> Self {
        let text = format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {call} API to retrieve the latest Revision Id"
        );
        Self::new(412, "PreconditionFailedException", text)
    }
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self { blame: None, ..Self::new(403, "AccessDeniedException", message) }
    }
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLargeException", message)
    }
    /// A stored row says what this version can't read.
    pub fn unreadable(error: serde_json::Error) -> Self {
        Self::internal(format!("a stored row can't be read: {error}"))
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "ServiceException", message)
    }
    /// The operation exists and isn't served here. Never an empty success.
    pub fn unserved(operation: &str) -> Self {
        let text = format!("{operation} is not served by this endpoint yet; see docs/dialects/aws.md for what is");
        Self::new(501, "NotImplementedException", text)
    }
    /// Whether a service could have an operation of this name. Which ones there are, each new SDK knows better than a list here.
    pub fn may_be_operation(name: &str) -> bool {
        const LENGTH_MAX: usize = 128;
        name.len() <= LENGTH_MAX
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
    }

    /// Which of the two spellings the error's shape has.
    fn text_member(&self) -> &'static str {
        match self.code {
            "ResourceNotFoundException"
            | "ServiceException"
            | "AccessDeniedException"
            | "InvalidRuntimeException"
            | "NotImplementedException"
            | "ServiceUnavailableException"
            | "RecursiveInvocationException" => "Message",
            _ => "message",
        }
    }

    pub fn render(&self, protocol: Protocol, request_id: &str) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = match protocol {
            Protocol::RestJson => {
                let mut body = Map::new();
                if let Some(reason) = self.reason {
                    body.insert("Reason".into(), reason.into());
                }
                if let Some(blame) = self.blame {
                    body.insert("Type".into(), blame.into());
                }
                body.insert(self.text_member().into(), self.message.as_str().into());
                let mut reply = respond::json(status, &Value::Object(body));
                respond::put(&mut reply, "x-amzn-errortype", self.code);
                reply
            }
            Protocol::Json11 => {
                let status = if self.status >= 500 { status } else { StatusCode::BAD_REQUEST };
                let body = serde_json::json!({ "__type": self.code, "message": self.message });
                let mut reply = respond::json(status, &body);
                respond::put(&mut reply, "content-type", "application/x-amz-json-1.1");
                reply
            }
            Protocol::Query => super::xml::error(status, self.code, &self.message, request_id),
            Protocol::Url => {
                let body = serde_json::json!({ "Message": self.message });
                let mut reply = respond::json(status, &body);
                respond::put(&mut reply, "x-amzn-errortype", self.code);
                reply
            }
        };
        if let Some(wait) = self.retry_after {
            respond::put(&mut reply, "retry-after", &wait.as_secs().max(1).to_string());
        }
        respond::put(&mut reply, "x-amzn-requestid", request_id);
        if self.status == 403 {
            reply.extensions_mut().insert(model::audit::Refused { code: self.code });
        }
        reply
    }
}

/// What the platform refused, in the service's words. Faults of user code are not here: they are answers (see [`function_error`]).
impl From<Fault> for WireError {
    fn from(fault: Fault) -> Self {
        let text = fault.to_string();
        let (status, code) = match fault.cause {
            Cause::NotFound => (404, "ResourceNotFoundException"),
            Cause::Denied => (403, "AccessDeniedException"),
            Cause::Unauthenticated => (403, "MissingAuthenticationTokenException"),
            Cause::Invalid => (400, "InvalidParameterValueException"),
            Cause::Stale | Cause::Conflict => (409, "ResourceConflictException"),
            Cause::TooLarge => (413, "RequestEntityTooLargeException"),
            Cause::Exhausted if fault.detail.as_deref() == Some("disk") => (503, "ServiceUnavailableException"),
            // The account's rows, which no waiting gives back.
            Cause::Exhausted if fault.detail.as_deref() == Some("rows") => (400, "CodeStorageExceededException"),
            Cause::Throttled | Cause::Exhausted => (429, "TooManyRequestsException"),
            Cause::Unsupported => (502, "InvalidRuntimeException"),
            Cause::Draining => (503, "ServiceUnavailableException"),
            _ => (500, "ServiceException"),
        };
        let mut error = Self { retry_after: fault.retry_after, ..Self::new(status, code, text) };
        if matches!(fault.cause, Cause::Denied | Cause::Unauthenticated) {
            error.blame = None;
        }
        if fault.cause == Cause::Throttled && fault.detail.as_deref() == Some("recursion") {
            return Self::new(400, "RecursiveInvocationException", error.message);
        }
        if fault.cause == Cause::Throttled {
            if !matches!(fault.detail.as_deref(), Some("paused" | "queued")) {
                error.message = "Rate Exceeded.".into();
            }
            // The engine's detail says whose limit it was: the function's own or the account's.
            error.reason = Some(match fault.detail.as_deref() {
                Some("tenant") => "ConcurrentInvocationLimitExceeded",
                Some("rate") => "FunctionInvocationRateLimitExceeded",
                Some("queued") => "CallerRateLimitExceeded",
                _ => "ReservedFunctionConcurrentInvocationLimitExceeded",
            });
            error.retry_after = error.retry_after.or(Some(Duration::from_secs(1)));
        }
        if fault.cause == Cause::Exhausted && error.status != 400 {
            error.reason = (error.status == 429).then_some("ConcurrentInvocationLimitExceeded");
            error.blame = Some("Service");
            error.retry_after = error.retry_after.or(Some(Duration::from_secs(1)));
        }
        if fault.cause == Cause::Draining {
            error.retry_after = error.retry_after.or(Some(Duration::from_secs(1)));
        }
        error
    }
}

/// The body of an invocation that user code did not answer, as Lambda words it; `None` when the fault is not the function's and
/// the caller gets a service error instead. `timeout` is the function's own setting.
pub fn function_error(fault: &Fault, id: &str, timeout: Duration) -> Option<bytes::Bytes> {
    if let Some(report) = &fault.report {
        return Some(report.clone());
    }
    let runtime = |kind: &str, text: String| Some(error_body(kind, &format!("RequestId: {id} Error: {text}")));
    let named = |otherwise: &'static str| match fault.detail.as_deref() {
        Some(d) if d.starts_with("Runtime.") || d.starts_with("Function.") || d.starts_with("Extension.") => d.to_owned(),
        _ => otherwise.to_owned(),
    };
    match fault.cause {
        Cause::Timeout => runtime("Sandbox.Timedout", format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())),
        Cause::Exited if fault.detail.as_deref().is_some_and(|d| d.starts_with("Extension.")) => {
            runtime(&named("Extension.Crash"), fault.message.clone())
        }
        Cause::Exited => {
            let how = fault.detail.as_deref().filter(|d| d.starts_with("exit status") || d.starts_with("signal"));
            runtime(
                "Runtime.ExitError",
                match how {
                    Some("exit status 0") | None => "Runtime exited without providing a reason".into(),
                    Some(how) => format!("Runtime exited with error: {how}"),
                },
            )
        }
        Cause::OutOfMemory => runtime("Runtime.OutOfMemory", "Runtime exited with error: signal: killed".into()),
        Cause::InitFailed => runtime(&named("Runtime.InitError"), fault.message.clone()),
        Cause::Protocol => runtime(&named("Runtime.Unknown"), fault.message.clone()),
        Cause::ReplyTooLarge => {
            let text = format!(
                "Response payload size exceeded maximum allowed payload size ({} bytes).",
                super::limits::REPLY_BYTES_MAX
            );
            Some(error_body("Function.ResponseSizeTooLarge", &text))
        }
        _ => None,
    }
}

fn error_body(kind: &str, text: &str) -> bytes::Bytes {
    let body = serde_json::json!({ "errorType": kind, "errorMessage": text });
    bytes::Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(cause: Cause, detail: Option<&str>) -> Option<String> {
        let mut fault = Fault::new(cause, "the text");
        fault.detail = detail.map(str::to_owned);
        function_error(&fault, "ID", Duration::from_secs(1)).map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[test]
    fn what_user_code_did_wrong_is_worded_as_lambda_words_it() {
        assert_eq!(
            body(Cause::Timeout, None).unwrap(),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after 1.00 seconds"}"#
        );
        let exit = |d| body(Cause::Exited, d).unwrap();
        assert!(
            exit(None).contains(
                r#""Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited without providing a reason""#
            )
        );
        assert!(exit(Some("exit status 127")).contains("Runtime exited with error: exit status 127"));
        assert!(body(Cause::ReplyTooLarge, None).unwrap().contains("(6291556 bytes)."));
        assert!(
            body(Cause::InitFailed, Some("Runtime.ImportModuleError"))
                .unwrap()
                .contains(r#""errorType":"Runtime.ImportModuleError""#)
        );
        assert!(body(Cause::Exhausted, None).is_none(), "the machine's shortage is no word of the function's");
        let report = Fault::new(Cause::InitFailed, "x").report(&b"{\"errorType\":\"E\"}"[..]);
        assert_eq!(&function_error(&report, "ID", Duration::ZERO).unwrap()[..], b"{\"errorType\":\"E\"}");
    }

    #[test]
    fn every_cause_has_a_status_and_throttling_says_whose_limit() {
        for (cause, ..) in Cause::ALL {
            let e = WireError::from(Fault::new(*cause, "text"));
            assert!((400..600).contains(&e.status), "{cause:?}");
        }
        let e = WireError::from(Fault::new(Cause::Throttled, "x"));
        assert_eq!((e.status, e.reason), (429, Some("ReservedFunctionConcurrentInvocationLimitExceeded")));
        assert!(e.retry_after.is_some());
        let e = WireError::from(Fault::new(Cause::Exhausted, "full").detail("disk"));
        assert_eq!((e.status, e.reason), (503, None), "a full disk is nobody's concurrency");
    }
}
