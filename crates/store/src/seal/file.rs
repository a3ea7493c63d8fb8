//! The file of wrapped data keys. It is written whole, by a rename: a process that is killed leaves the old one or the new one.

use crate::{Error, directory};
use serde::{Deserialize, Serialize};
use std::{io::Read, path::Path};

/// The newest form that this build reads.
const FORM: u32 = 1;
/// Some hundred thousand keys.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub form: u32,
    /// Of this directory, drawn when the file was made: it names the key file of the user's folder, and binds the wrapped keys.
    pub directory: String,
    pub master: Described,
    /// The number of the next data key; no number is given twice.
    pub next: u32,
    /// Something may be plain still, or sealed under an older key.
    pub pending: bool,
    /// Everything was sealed once: what is plain was put there by somebody else.
    pub complete: bool,
    pub keys: Vec<Wrapped>,
}

/// Which master key wraps, and how it is made from a passphrase.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// A digest of the key, so that a wrong one is known for it.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Stretch>,
}

/// PBKDF2-HMAC-SHA256 (RFC 8018).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stretch {
    pub salt: String,
    pub iterations: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrapped {
    pub number: u32,
    pub tenant: String,
    pub generation: u32,
    pub created_ms: u64,
    /// Base64 of nonce, key and tag.
    pub wrapped: String,
}

impl KeyFile {
    pub(super) fn new(directory: String, master: Described) -> Self {
        Self { form: FORM, directory, master, next: 1, pending: true, complete: false, keys: Vec::new() }
    }

    pub(super) fn read(path: &Path) -> Result<Option<KeyFile>, Error> {
        let file = match directory::open_private(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path)(e)),
        };
        let hint = "restore it from a backup: without it nothing in this directory can be read";
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text).map_err(Error::io("read", path))?;
        let file: KeyFile = serde_json::from_slice(&text).map_err(|e| Error::damaged(path, e, hint))?;
        if file.form > FORM {
            let reason = format!("a newer Myna wrote it (form {}; this one reads up to {FORM})", file.form);
            return Err(Error::refused(path, reason, "run that version, or name another directory with --dir"));
        }
        if file.directory.is_empty() || !file.directory.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::damaged(path, "the directory's id is no hexadecimal number", hint));
        }
        Ok(Some(file))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("numbers and texts are JSON");
        directory::write_whole(path, &text)
    }
}

/// For people only: when a key was made.
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}
