//! What lies on the disk is sealed: encrypted so that it can't be read without a key that lies elsewhere, and bound to its place so
//! that nothing else can be put there.
//!
//! There are two layers. Each tenant has *data keys*, which seal its rows, archives and event bodies; they lie in the state directory's
//! file `keys`, wrapped by the *master key*, which never lies there. A new data key (a *generation*) seals what is written from then on;
//! older ones open what they sealed until nothing needs them.
//!
//! A sealed text is AES-256-GCM (NIST SP 800-38D) under a key derived from the data key by HKDF-SHA256 (RFC 5869) with 128 bits that are
//! drawn anew by each process; its nonce counts from zero. So no nonce is used twice under one key, however often the platform is
//! killed, copied back from a backup, or started.

mod chunks;
mod file;
mod master;
#[cfg(test)]
mod tests;

pub use chunks::Opened;
pub(crate) use chunks::{plain_bytes, seal_stream};
pub use master::{Master, Source, Words};

use crate::Error;
use file::{KeyFile, Wrapped};
use ring::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

/// The file of wrapped data keys, in the state directory.
pub const KEYS_FILE: &str = "keys";
/// The tenant of what belongs to nobody but the platform.
pub(crate) const PLATFORM: &str = "";
/// What every sealed text begins with. No row, which is JSON, begins so.
const MAGIC: [u8; 4] = [0, b'M', b'S', 1];
const SALT: usize = 16;
const HEAD: usize = MAGIC.len() + 4 + SALT + 8;
const TAG: usize = 16;
/// By how much a sealed text is longer than what was sealed.
pub(crate) const OVERHEAD: usize = HEAD + TAG;
/// Derived keys of earlier processes that are kept at hand, per data key.
const DERIVED_MAX: usize = 8;

/// Why a text could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is not sealed, though everything here is")]
    Plain,
    #[error("it is cut off")]
    Short,
    #[error("the key that sealed it (number {0}) is not here")]
    Unknown(u32),
    #[error("it was changed, or belongs somewhere else")]
    Changed,
}

/// Whose a sealed text is and where it lies: it opens nowhere else.
#[derive(Clone, Copy)]
pub(crate) struct Label<'a> {
    pub tenant: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
}

impl Label<'_> {
    fn aad(&self) -> Vec<u8> {
        let parts = ["myna sealed 1", self.tenant, self.kind, self.name];
        let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
        for part in parts {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

/// One tenant's key of one generation.
struct DataKey {
    number: u32,
    tenant: Arc<str>,
    generation: u32,
    created_ms: u64,
    secret: Zeroizing<[u8; 32]>,
    /// For what this process seals.
    salt: [u8; SALT],
    key: LessSafeKey,
    next: AtomicU64,
    /// For what others sealed, the latest first.
    derived: Mutex<Vec<([u8; SALT], Arc<LessSafeKey>)>>,
}

impl DataKey {
    fn new(number: u32, tenant: Arc<str>, generation: u32, created_ms: u64, secret: Zeroizing<[u8; 32]>) -> Self {
        let salt: [u8; SALT] = crate::random_bytes(SALT).try_into().expect("sixteen bytes");
        let key = derive(&secret, &salt);
        Self { number, tenant, generation, created_ms, secret, salt, key, next: AtomicU64::new(0), derived: Mutex::default() }
    }

    fn seal(&self, label: Label<'_>, plain: &[u8]) -> Vec<u8> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(plain);
        let tag = self.key.seal_in_place_separate_tag(nonce(count), Aad::from(label.aad()), &mut out[HEAD..]);
        out.extend_from_slice(tag.expect("a text is far shorter than 64 GiB").as_ref());
        out
    }

    fn open(&self, label: Label<'_>, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        let (head, body) = sealed.split_at_checked(HEAD).ok_or(Refused::Short)?;
        let salt: [u8; SALT] = head[8..8 + SALT].try_into().expect("sixteen bytes");
        let count = u64::from_le_bytes(head[8 + SALT..].try_into().expect("eight bytes"));
        let mut body = body.to_vec();
        let aad = Aad::from(label.aad());
        let opened = if salt == self.salt {
            self.key.open_in_place(nonce(count), aad, &mut body).map(|plain| plain.len())
        } else {
            self.derived(salt).open_in_place(nonce(count), aad, &mut body).map(|plain| plain.len())
        };
        let length = opened.map_err(|_| Refused::Changed)?;
        body.truncate(length);
        Ok(body)
    }

    fn derived(&self, salt: [u8; SALT]) -> Arc<LessSafeKey> {
        let mut kept = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(s, _)| *s == salt) {
            kept[..=at].rotate_right(1);
            return kept[0].1.clone();
        }
        let key = Arc::new(derive(&self.secret, &salt));
        kept.truncate(DERIVED_MAX - 1);
        kept.insert(0, (salt, key.clone()));
        key
    }
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn derive(secret: &[u8; 32], salt: &[u8]) -> LessSafeKey {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let okm = extracted.expand(&[b"myna data key 1"], &aead::AES_256_GCM).expect("32 bytes are no more than HKDF gives");
    LessSafeKey::new(UnboundKey::from(okm))
}

/// What `myna status` and `myna seal status` show.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sealing {
    pub on: bool,
    /// Where the master key comes from, without the key.
    pub source: String,
    /// Of the master key.
    pub key_id: String,
    pub tenants: usize,
    /// Data keys of all generations.
    pub keys: usize,
    /// The highest.
    pub generation: u32,
    /// Something is not yet sealed under the present keys; the next start finishes that.
    pub pending: bool,
}

/// The keys of one opened directory, or word that it is not sealed.
pub struct Seal(Option<Keys>);

struct Keys {
    path: PathBuf,
    directory: String,
    source: String,
    state: RwLock<State>,
    /// Plain things are refused.
    complete: AtomicBool,
}

struct State {
    master: Arc<Master>,
    file: KeyFile,
    by_number: HashMap<u32, Arc<DataKey>>,
    current: HashMap<Arc<str>, Arc<DataKey>>,
}

impl std::fmt::Debug for Seal {
    /// Never a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal({})", if self.is_on() { "on" } else { "off" })
    }
}

impl Seal {
    /// Nothing is sealed.
    pub fn off() -> Arc<Seal> {
        Arc::new(Seal(None))
    }

    /// The keys of the directory `folder`. Errors say what the operator has to do; nothing in it was changed then.
    pub fn open(folder: &Path, source: &Source) -> Result<Arc<Seal>, Error> {
        let path = folder.join(KEYS_FILE);
        let found = KeyFile::read(&path)?;
        let Some((master, file)) = master::obtain(folder, &path, source, found)? else { return Ok(Seal::off()) };
        let (mut by_number, mut current) = (HashMap::new(), HashMap::<Arc<str>, Arc<DataKey>>::new());
        for wrapped in &file.keys {
            let secret = master.unwrap(&file.directory, wrapped).ok_or_else(|| {
                let hint = "restore the file from a backup: without it nothing of that tenant can be read";
                Error::damaged(&path, format!("data key {} was changed", wrapped.number), hint)
            })?;
            let tenant: Arc<str> = wrapped.tenant.as_str().into();
            let key = Arc::new(DataKey::new(wrapped.number, tenant.clone(), wrapped.generation, wrapped.created_ms, secret));
            by_number.insert(wrapped.number, key.clone());
            if current.get(&tenant).is_none_or(|c| c.generation < wrapped.generation) {
                current.insert(tenant, key);
            }
        }
        let (complete, directory) = (AtomicBool::new(file.complete), file.directory.clone());
        let state = State { master: Arc::new(master), file, by_number, current };
        Ok(Arc::new(Seal(Some(Keys { path, directory, source: source.to_string(), state: RwLock::new(state), complete }))))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether something may still be plain, or sealed under an older key.
    pub fn pending(&self) -> bool {
        self.0.as_ref().is_some_and(|keys| keys.read().file.pending)
    }

    pub fn sealing(&self) -> Sealing {
        let Some(keys) = &self.0 else {
            let (source, key_id) = (String::new(), String::new());
            return Sealing { on: false, source, key_id, tenants: 0, keys: 0, generation: 0, pending: false };
        };
        let state = keys.read();
        Sealing {
            on: true,
            source: keys.source.clone(),
            key_id: state.master.id().into(),
            tenants: state.current.keys().filter(|t| !t.is_empty()).count(),
            keys: state.by_number.len(),
            generation: state.current.values().map(|k| k.generation).max().unwrap_or(0),
            pending: state.file.pending,
        }
    }

    /// As it is to lie on the disk: sealed, or as it is where nothing is sealed.
    pub(crate) fn seal(&self, label: Label<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.0 {
            None => Ok(plain.to_vec()),
            Some(keys) => Ok(keys.current(label.tenant)?.seal(label, plain)),
        }
    }

    /// What was sealed. A plain text comes back as it is while a directory is being sealed for the first time, never after that.
    pub(crate) fn open_text(&self, label: Label<'_>, found: &[u8]) -> Result<Vec<u8>, Refused> {
        let Some(keys) = &self.0 else { return Ok(found.to_vec()) };
        match number_of(found) {
            Some(number) => keys.key(number, label.tenant)?.open(label, found),
            None if keys.complete.load(Ordering::Acquire) => Err(Refused::Plain),
            None => Ok(found.to_vec()),
        }
    }

    /// The same of what can't be plain.
    pub(crate) fn open_sealed(&self, label: Label<'_>, found: &[u8]) -> Result<Vec<u8>, Refused> {
        if number_of(found).is_none() {
            return Err(if found.len() < OVERHEAD { Refused::Short } else { Refused::Plain });
        }
        match self.is_on() {
            true => self.open_text(label, found),
            false => Err(Refused::Unknown(0)),
        }
    }

    /// Whether a text should be sealed again: it is plain, or an older key sealed it.
    pub(crate) fn stale(&self, tenant: &str, found: &[u8]) -> bool {
        let Some(keys) = &self.0 else { return false };
        let state = keys.read();
        number_of(found).is_none_or(|n| state.current.get(tenant).is_none_or(|key| key.number != n))
    }

    /// Whether plain texts are refused.
    pub(crate) fn complete(&self) -> bool {
        self.0.as_ref().is_some_and(|keys| keys.complete.load(Ordering::Acquire))
    }

    /// New data keys for everybody; they seal what is written from now on. Gives the generation.
    pub fn rotate(&self) -> Result<u32, Error> {
        let Some(keys) = &self.0 else { return Ok(0) };
        let mut state = keys.state.write().unwrap_or_else(PoisonError::into_inner);
        let tenants: Vec<(Arc<str>, u32)> = state.current.values().map(|k| (k.tenant.clone(), k.generation)).collect();
        let mut file = state.file.clone();
        let made: Vec<_> = tenants.into_iter().map(|(t, g)| make(&mut file, &state.master, t, g + 1)).collect();
        file.pending = true;
        file.write(&keys.path)?;
        state.file = file;
        for key in made {
            state.by_number.insert(key.number, key.clone());
            state.current.insert(key.tenant.clone(), key);
        }
        Ok(state.current.values().map(|k| k.generation).max().unwrap_or(0))
    }

    /// Destroy a tenant's data keys: what they sealed can be read by nobody who has no older copy of the key file.
    pub(crate) fn forget(&self, tenant: &str) -> Result<(), Error> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let mut state = keys.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut file = state.file.clone();
        file.keys.retain(|k| k.tenant != tenant);
        if file.keys.len() == state.file.keys.len() {
            return Ok(());
        }
        file.write(&keys.path)?;
        state.file = file;
        state.by_number.retain(|_, key| *key.tenant != *tenant);
        state.current.remove(tenant);
        Ok(())
    }

    /// Everything lies sealed under the present keys: the older ones go.
    pub(crate) fn finished(&self) -> Result<(), Error> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let mut state = keys.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut file = state.file.clone();
        let live: Vec<u32> = state.current.values().map(|k| k.number).collect();
        file.keys.retain(|k| live.contains(&k.number));
        (file.pending, file.complete) = (false, true);
        file.write(&keys.path)?;
        state.file = file;
        state.by_number.retain(|n, _| live.contains(n));
        keys.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// Id and text of the master key, for a key file elsewhere.
    pub fn export(&self) -> Option<(String, Zeroizing<String>)> {
        let state = self.0.as_ref()?.read();
        Some((state.master.id().to_owned(), state.master.text()))
    }

    /// Wrap every data key by the master key in a file, which is made when there is none. It may not lie in `folder`, the directory.
    pub fn rewrap_by(&self, folder: &Path, path: &Path) -> Result<(), Error> {
        self.rewrap(master::from_file(folder, path, true)?)
    }

    /// Wrap every data key by another master key. Nothing that they sealed changes.
    fn rewrap(&self, master: Master) -> Result<(), Error> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let mut state = keys.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut file = state.file.clone();
        file.master = master.described();
        file.keys = state.by_number.values().map(|k| wrapped(k, &master, &keys.directory)).collect();
        file.keys.sort_by_key(|k| k.number);
        file.write(&keys.path)?;
        (state.file, state.master) = (file, Arc::new(master));
        Ok(())
    }
}

/// Whether a text looks like a sealed one.
pub(crate) fn is_sealed(text: &[u8]) -> bool {
    number_of(text).is_some()
}

fn number_of(text: &[u8]) -> Option<u32> {
    (text.len() >= OVERHEAD && text.starts_with(&MAGIC)).then(|| u32::from_le_bytes(text[4..8].try_into().expect("four bytes")))
}

fn wrapped(key: &DataKey, master: &Master, directory: &str) -> Wrapped {
    let (number, generation, created_ms) = (key.number, key.generation, key.created_ms);
    let empty = Wrapped { number, tenant: key.tenant.to_string(), generation, created_ms, wrapped: String::new() };
    master.wrap(directory, empty, &key.secret)
}

/// A new data key, which `file` has too.
fn make(file: &mut KeyFile, master: &Master, tenant: Arc<str>, generation: u32) -> Arc<DataKey> {
    let secret = Zeroizing::new(<[u8; 32]>::try_from(crate::random_bytes(32)).expect("32 bytes"));
    let number = file.next;
    file.next += 1;
    let key = DataKey::new(number, tenant, generation, file::now_ms(), secret);
    file.keys.push(wrapped(&key, master, &file.directory));
    Arc::new(key)
}

impl Keys {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, number: u32, tenant: &str) -> Result<Arc<DataKey>, Refused> {
        let key = self.read().by_number.get(&number).cloned().ok_or(Refused::Unknown(number))?;
        if *key.tenant == *tenant { Ok(key) } else { Err(Refused::Changed) }
    }

    /// The key for new texts of a tenant; made, and on stable storage, when the tenant is new.
    fn current(&self, tenant: &str) -> Result<Arc<DataKey>, Error> {
        if let Some(key) = self.read().current.get(tenant) {
            return Ok(key.clone());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = state.current.get(tenant) {
            return Ok(key.clone());
        }
        let mut file = state.file.clone();
        let key = make(&mut file, &state.master, tenant.into(), 1);
        file.write(&self.path)?;
        state.file = file;
        state.by_number.insert(key.number, key.clone());
        state.current.insert(key.tenant.clone(), key.clone());
        Ok(key)
    }
}
