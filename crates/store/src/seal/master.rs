//! The master key: where it comes from, and how it wraps data keys. It lies neither in the state directory nor in a backup of it.

use super::file::{Described, KeyFile, Stretch, Wrapped};
use crate::{Error, hex};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest, pbkdf2,
};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    num::NonZeroU32,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// What a key file begins with.
const WORDS: &str = "myna key 1";
/// A key, a passphrase or a command's answer has no more.
const BYTES_MAX: u64 = 4096;
const PASSPHRASE_BYTES_MIN: usize = 12;
/// What OWASP's cheat sheet on password storage asks of PBKDF2-HMAC-SHA256.
const ITERATIONS: u32 = 600_000;
/// A file may have been changed to ask for more than a start should take.
const ITERATIONS_MAX: u32 = 100_000_000;
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
const NONCE: usize = 12;

/// Where the master key comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing is sealed: only by the operator's explicit choice.
    #[default]
    Off,
    /// A file in the user's configuration folder, made when there is none: `keys/ID.key` below this folder.
    Folder(PathBuf),
    /// There is no folder of configuration to keep it in.
    Nowhere,
    File(PathBuf),
    /// A passphrase, whose key is made with parameters that lie in the directory.
    PassphraseFile(PathBuf),
    /// One that somebody typed.
    Passphrase(Words),
    /// A program that prints the key, with its arguments; no shell reads them.
    Command(Vec<String>),
}

/// A passphrase in memory, wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(Arc<Zeroizing<String>>);

impl Words {
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Words {
    /// Never the words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Off => write!(f, "off"),
            Source::Folder(folder) => write!(f, "a key file below {}", folder.display()),
            Source::Nowhere => write!(f, "nowhere"),
            Source::File(path) => write!(f, "the key file {}", path.display()),
            Source::PassphraseFile(path) => write!(f, "the passphrase in {}", path.display()),
            Source::Passphrase(_) => write!(f, "the passphrase that was typed"),
            // Arguments may say more than others should read.
            Source::Command(words) => write!(f, "the command {}", words.first().map_or("", |w| w)),
        }
    }
}

/// A master key in memory, wiped when it goes.
pub struct Master {
    secret: Zeroizing<[u8; 32]>,
    key: LessSafeKey,
    described: Described,
}

impl Master {
    fn new(secret: Zeroizing<[u8; 32]>, passphrase: Option<Stretch>) -> Self {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*secret).expect("the key has 32 bytes"));
        let mut of = digest::Context::new(&digest::SHA256);
        of.update(b"myna master key id 1");
        of.update(&*secret);
        let id = hex(&of.finish().as_ref()[..8]);
        Self { secret, key, described: Described { id, passphrase } }
    }

    /// Sixteen digits by which people tell keys apart; they say nothing of the key.
    pub fn id(&self) -> &str {
        &self.described.id
    }

    /// The key as a key file has it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{WORDS} {}\n", &*Zeroizing::new(hex(&*self.secret))))
    }

    pub(super) fn described(&self) -> Described {
        self.described.clone()
    }

    /// Nonces are drawn: a master key wraps some hundred thousand keys, far fewer than the 2^32 of NIST SP 800-38D, section 8.3.
    pub(super) fn wrap(&self, directory: &str, mut key: Wrapped, secret: &[u8; 32]) -> Wrapped {
        let nonce: [u8; NONCE] = crate::random_bytes(NONCE).try_into().expect("twelve bytes");
        let mut body = Zeroizing::new(secret.to_vec());
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(directory, &key), &mut body);
        let tag = tag.expect("a key is short");
        key.wrapped = BASE64.encode([&nonce[..], &body, tag.as_ref()].concat());
        key
    }

    pub(super) fn unwrap(&self, directory: &str, key: &Wrapped) -> Option<Zeroizing<[u8; 32]>> {
        let bytes = BASE64.decode(&key.wrapped).ok()?;
        let (nonce, body) = bytes.split_at_checked(NONCE)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
        let plain = self.key.open_in_place(nonce, aad(directory, key), &mut body).ok()?;
        Some(Zeroizing::new(<[u8; 32]>::try_from(&*plain).ok()?))
    }

    /// A new key in a new file at `path`, which only its owner reads.
    pub fn create(path: &Path) -> Result<Master, Error> {
        let master = Master::new(random(), None);
        let written = (|| {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(master.text().as_bytes())?;
            file.sync_all()?;
            crate::directory::sync_folder(path.parent().unwrap_or(Path::new("/")))
        })();
        written.map_err(Error::io("write the key file", path))?;
        Ok(master)
    }

    /// The key in a file.
    pub fn read(path: &Path) -> Result<Master, Error> {
        let text = private(path)?;
        parse(&text).map(|secret| Master::new(secret, None)).ok_or_else(|| {
            let what = format!("it should hold one line: {WORDS}, and 64 hexadecimal digits");
            Error::damaged(path, what, "restore the key file from where it was exported to")
        })
    }
}

fn random() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(crate::random_bytes(32).try_into().expect("32 bytes"))
}

fn aad(directory: &str, key: &Wrapped) -> Aad<Vec<u8>> {
    let Wrapped { number, tenant, generation, .. } = key;
    Aad::from(format!("myna wrapped 1\n{directory}\n{number}\n{generation}\n{tenant}").into_bytes())
}

/// The master key for a directory, and what is known of its data keys; `None` where nothing is sealed. A directory that has none
/// yet gets its file of keys here.
pub(super) fn obtain(
    folder: &Path,
    keys: &Path,
    source: &Source,
    found: Option<KeyFile>,
) -> Result<Option<(Master, KeyFile)>, Error> {
    let Some(file) = found else {
        if *source == Source::Off {
            return Ok(None);
        }
        let directory = hex(&crate::random_bytes(8));
        let master = load(folder, source, &directory, None, true)?;
        let file = KeyFile::new(directory, master.described());
        file.write(keys)?;
        return Ok(Some((master, file)));
    };
    if *source == Source::Off {
        let hint = "name the key (seal.key, or --key-file) instead of switching it off";
        return Err(Error::refused(folder, "it is sealed, and can't be read with sealing switched off", hint));
    }
    let master = load(folder, source, &file.directory, file.master.passphrase.clone(), false)?;
    if master.id() != file.master.id {
        let reason = format!(
            "{source} is not the key that it is sealed with (that has the id {}, this one {})",
            file.master.id,
            master.id()
        );
        return Err(Error::refused(folder, reason, "name the right one with --key-file, or seal.key in the configuration"));
    }
    Ok(Some((master, file)))
}

/// `fresh`: nothing is sealed with it yet, so a key file that isn't there may be made.
fn load(folder: &Path, source: &Source, id: &str, stretch: Option<Stretch>, fresh: bool) -> Result<Master, Error> {
    match source {
        Source::Off => Err(Error::refused(folder, "sealing is switched off", "name a key")),
        Source::Nowhere => Err(Error::refused(
            folder,
            "there is no place for its key: neither XDG_CONFIG_HOME nor HOME is set",
            "name a key file outside of the directory with --key-file, or leave everything readable with --no-seal",
        )),
        Source::Folder(config) => {
            let place = config.join("keys");
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(|e| {
                let hint =
                    "name a key file outside of the directory with --key-file, or leave everything readable with --no-seal";
                Error::refused(folder, format!("its key can't be kept in {}: {e}", place.display()), hint)
            })?;
            from_file(folder, &place.join(format!("{id}.key")), fresh)
        }
        Source::File(path) => from_file(folder, path, fresh),
        Source::PassphraseFile(path) => {
            outside(folder, path)?;
            let text = private(path)?;
            let words = std::str::from_utf8(&text).ok().map(|t| t.trim_end_matches(['\r', '\n']));
            let words = words.filter(|w| w.len() >= PASSPHRASE_BYTES_MIN).ok_or_else(|| {
                let reason = format!("it should hold a passphrase of {PASSPHRASE_BYTES_MIN} bytes or more, in UTF-8");
                Error::refused(path, reason, "write a longer one into it")
            })?;
            stretched(folder, words, stretch)
        }
        Source::Passphrase(Words(words)) if words.len() < PASSPHRASE_BYTES_MIN => {
            let reason = format!("a passphrase has {PASSPHRASE_BYTES_MIN} bytes or more");
            Err(Error::refused(folder, reason, "think of a longer one"))
        }
        Source::Passphrase(Words(words)) => stretched(folder, words, stretch),
        Source::Command(words) => {
            let said = ask(words).map_err(|why| {
                Error::refused(folder, format!("{source}, which should print its key, {why}"), "run it by hand to see why")
            })?;
            let secret = parse(&said).ok_or_else(|| {
                let reason = format!("{source} printed no key: 64 hexadecimal digits, or 32 bytes in base64, are expected");
                Error::refused(folder, reason, "run it by hand to see what it prints")
            })?;
            Ok(Master::new(secret, None))
        }
    }
}

/// The key that a passphrase makes, with the parameters of the directory, or new ones.
fn stretched(folder: &Path, words: &str, stretch: Option<Stretch>) -> Result<Master, Error> {
    let stretch = stretch.unwrap_or_else(|| Stretch { salt: BASE64.encode(crate::random_bytes(16)), iterations: ITERATIONS });
    let (salt, rounds) = (BASE64.decode(&stretch.salt), NonZeroU32::new(stretch.iterations));
    let (Ok(salt), Some(rounds)) = (salt, rounds.filter(|n| n.get() <= ITERATIONS_MAX)) else {
        return Err(Error::damaged(folder.join(super::KEYS_FILE), "the passphrase's parameters", "restore it from a backup"));
    };
    let mut secret = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, words.as_bytes(), &mut *secret);
    Ok(Master::new(secret, Some(stretch)))
}

pub(super) fn from_file(folder: &Path, path: &Path, fresh: bool) -> Result<Master, Error> {
    outside(folder, path)?;
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound && fresh => Master::create(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let reason = format!("its key is missing: there is no {}", path.display());
            let hint =
                "put the key file back from where it was exported to, or name it with --key-file; without it nothing can be read";
            Err(Error::refused(folder, reason, hint))
        }
        _ => Master::read(path),
    }
}

/// A key in the directory would be in every copy of it.
fn outside(folder: &Path, path: &Path) -> Result<(), Error> {
    let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = match (folder.canonicalize(), above.canonicalize()) {
        (Ok(folder), Ok(above)) => above.starts_with(folder),
        _ => false,
    };
    if inside {
        let reason = format!("the key {} would lie in the directory that it seals", path.display());
        return Err(Error::refused(folder, reason, "name a place outside of it, which is not backed up together with it"));
    }
    Ok(())
}

/// What a file of the operator's holds that nobody else may read. A descriptor that was handed over (`/dev/fd/3`) will do.
fn private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let handed = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let mut options = File::options();
    options.read(true);
    if !handed {
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let file = options.open(path).map_err(Error::io("open", path))?;
    let meta = file.metadata().map_err(Error::io("look at", path))?;
    if !handed {
        if !meta.is_file() {
            return Err(Error::refused(path, "it is no file", "name the key file itself"));
        }
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me && meta.uid() != 0 {
            let reason = format!("it belongs to user {}, and this is user {me}", meta.uid());
            return Err(Error::refused(path, reason, format!("chown {me} {}", path.display())));
        }
        if meta.mode() & 0o077 != 0 {
            let reason = format!("others may read it (mode {:04o})", meta.mode() & 0o7777);
            let hint = format!("chmod 600 {}, and make a new key (myna seal rewrap) if somebody did", path.display());
            return Err(Error::refused(path, reason, hint));
        }
    }
    let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
    file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Error::refused(path, format!("it has more than {BYTES_MAX} bytes"), "name a file with a key alone"));
    }
    Ok(text)
}

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let text = text.strip_prefix(WORDS).unwrap_or(text).trim();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let mut secret = Zeroizing::new([0; 32]);
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        return Some(secret);
    }
    let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
    Some(Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).ok()?))
}

/// What a program prints, within bounds.
fn ask(words: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, args) = words.split_first().ok_or("is empty")?;
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| format!("can't be started: {e}"))?;
    let out = child.stdout.take().ok_or("has no output")?;
    let (tx, rx) = std::sync::mpsc::channel();
    let read = move || {
        let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
        let read = out.take(BYTES_MAX).read_to_end(&mut text).map(|_| text);
        let _ = tx.send(read);
    };
    std::thread::Builder::new().name("seal-command".into()).spawn(read).map_err(|e| e.to_string())?;
    let until = Instant::now() + COMMAND_WITHIN;
    let said = rx.recv_timeout(COMMAND_WITHIN);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", COMMAND_WITHIN.as_secs()));
            }
            Err(e) => return Err(format!("can't be waited for: {e}")),
        }
    }
    said.map_err(|_| "printed nothing in time".to_owned())?.map_err(|e| format!("can't be read: {e}"))
}
