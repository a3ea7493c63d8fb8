//! Log records. Platform lines are kept as data and formatted when somebody reads them; a function's own text can therefore
//! never pass for one.

use crate::{FunctionName, InstanceId, InvocationId, TenantId, event::Usage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a record belongs. One instance writes one stream.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stream {
    pub tenant: TenantId,
    pub function: FunctionName,
    /// `/aws/lambda/NAME`.
    pub group: Arc<str>,
    /// `2026/11/24/[$LATEST]HEX`.
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// Which code the instance runs, as [`Package::code`](crate::catalog::Package::code) writes it.
    pub code: Arc<str>,
    pub instance: InstanceId,
    /// Platform and user lines as JSON objects.
    pub json: bool,
}

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The invocation that was running, if any.
    pub id: Option<InvocationId>,
    pub line: Line,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    /// Written by user code; bytes as they came, without the line end. `level` only where the runtime framed it.
    Text {
        text: Bytes,
        level: Option<Arc<str>>,
    },
    InitStart {
        runtime: Arc<str>,
        runtime_name: Arc<str>,
    },
    Start {
        version: Arc<str>,
    },
    End,
    Report {
        usage: Usage,
        status: Status,
    },
    /// The stream was made by somebody's hand, before anything was written to it: no text of anybody's.
    Opened,
    /// The platform's word on something that went wrong (a time-out, a dropped flood), one line of text.
    Platform {
        text: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Success,
    Timeout,
    /// With its type (`Runtime.ExitError`).
    Error(Arc<str>),
}

/// The end of what one invocation logged, formatted.
pub type LogTail = Bytes;

/// One line on its way from an instance.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub stream: Arc<Stream>,
    pub record: LogRecord,
}
