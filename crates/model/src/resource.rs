//! Generic versioned rows: what every dialect stores its resources in. The body is the dialect's own document.

use crate::TenantId;
use bytes::Bytes;
use std::{fmt, sync::Arc};

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
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    pub key: Key,
    /// Grows with every commit on this platform; never reused.
    pub revision: u64,
    pub body: Bytes,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    pub modified_ms: u64,
}

impl fmt::Debug for Resource {
    /// How long its body is: there may be secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Resource");
        shown.field("key", &self.key).field("revision", &self.revision).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What must hold of a row for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Revision(u64),
}

/// One change; a commit makes all of its changes or none.
#[derive(Clone)]
pub enum Write {
    Put { key: Key, body: Bytes, expect: Expect },
    Delete { key: Key, expect: Expect },
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Write::Put { key, body, expect } => write!(f, "Put({key:?}, {} bytes, {expect:?})", body.len()),
            Write::Delete { key, expect } => write!(f, "Delete({key:?}, {expect:?})"),
        }
    }
}

impl Write {
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. } | Write::Delete { key, .. } => key,
        }
    }
}
