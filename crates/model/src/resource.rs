//! Generic versioned rows: what every dialect stores its resources in. The body is the dialect's own document.

use crate::TenantId;
use bytes::Bytes;
use std::sync::Arc;

/// Names one row. `kind` is `dialect.noun` (`lambda.function`); `name` orders the rows of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub tenant: TenantId,
    pub kind: &'static str,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(tenant: &TenantId, kind: &'static str, name: impl AsRef<str>) -> Self {
        Self { tenant: tenant.clone(), kind, name: Arc::from(name.as_ref()) }
    }
}

/// One stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub key: Key,
    /// Grows with every commit on this platform; never reused.
    pub revision: u64,
    pub body: Bytes,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    pub modified_ms: u64,
}

/// What must hold of a row for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Revision(u64),
}

/// One change; a commit makes all of its changes or none.
#[derive(Clone, Debug)]
pub enum Write {
    Put { key: Key, body: Bytes, expect: Expect },
    Delete { key: Key, expect: Expect },
}

impl Write {
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. } | Write::Delete { key, .. } => key,
        }
    }
}
