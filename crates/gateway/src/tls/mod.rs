//! TLS at a door: certificates from files, chosen by the name that a client asks for, and exchanged while connections go on.
//!
//! New files are read whole and checked as at the start: what is broken, half written, expired or of another key leaves the old
//! ones in use, and is told by [`Certificates::status`]. A connection keeps what it began with.

mod certificate;
mod handshake;

pub use certificate::Validity;
pub(crate) use handshake::{Met, meet};

use arc_swap::ArcSwap;
use certificate::Pair;
use ring::digest;
use rustls::{
    ServerConfig,
    crypto::ring as provider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_rustls::TlsAcceptor;

/// Certificates of one door; the first is for clients that name none of them.
pub const CERTIFICATES_MAX: usize = 64;

/// Where a certificate chain and its key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("can't read {}: {why}", .path.display())]
    Read { path: PathBuf, why: String },
    #[error("{} holds no {what} in PEM form: {why}", .path.display())]
    Pem { path: PathBuf, what: &'static str, why: String },
    #[error("{} is not a certificate that can be used: {why}", .path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("the key {} does not belong to the certificate {}", .key.display(), .cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate {} expired on {on}", .path.display())]
    Expired { path: PathBuf, on: String },
    #[error("TLS needs a certificate, and from 1 to {CERTIFICATES_MAX} of them are taken; there are {found}")]
    Count { found: usize },
}

/// What `status` shows of a door's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub cert: PathBuf,
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub validity: Validity,
    /// Why the files that are there now are not in use, when that is so.
    pub refused: Option<String>,
}

/// The certificates of one door.
pub struct Certificates {
    files: Vec<Files>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    seen: Mutex<Seen>,
}

/// What the files held when they were last looked at.
#[derive(Default)]
struct Seen {
    digest: Vec<u8>,
    refused: Option<Error>,
}

#[derive(Debug)]
struct Current(ArcSwap<Vec<Pair>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.0.load();
        let asked = hello.server_name();
        let named = asked.and_then(|name| pairs.iter().find(|p| p.covers(name)));
        named.or_else(|| pairs.first()).map(|p| p.key.clone())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Read and check them all; `now_s` is in seconds since 1970.
    pub fn load(files: Vec<Files>, now_s: i64) -> Result<Arc<Self>, Error> {
        if files.is_empty() || files.len() > CERTIFICATES_MAX {
            return Err(Error::Count { found: files.len() });
        }
        let (digest, pairs) = read(&files);
        let pairs = checked(pairs?, now_s)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pairs)));
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites of both versions")
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Arc::new(Self { files, current, acceptor, seen: Mutex::new(Seen { digest, refused: None }) }))
    }

    /// Look at the files again; what changed and is good is used from the next handshake on. Reads the disk. True when new ones
    /// are in use.
    pub fn reload(&self, now_s: i64) -> bool {
        let (digest, pairs) = read(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if digest == seen.digest {
            return false;
        }
        seen.digest = digest;
        match pairs.and_then(|pairs| checked(pairs, now_s)) {
            Ok(pairs) => {
                seen.refused = None;
                self.current.0.store(Arc::new(pairs));
                tracing::info!("a new certificate is in use: {}", self.files[0].cert.display());
                true
            }
            Err(error) => {
                tracing::error!("the new certificate is refused, and the one before stays in use: {error}");
                seen.refused = Some(error);
                false
            }
        }
    }

    pub fn status(&self) -> Vec<Status> {
        let refused = self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused.as_ref().map(ToString::to_string);
        let pairs = self.current.0.load();
        let one = |(files, pair): (&Files, &Pair)| Status {
            cert: files.cert.clone(),
            names: pair.names.clone(),
            validity: pair.validity,
            refused: refused.clone(),
        };
        self.files.iter().zip(pairs.iter()).map(one).collect()
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// A digest of what the files hold, or of why they can't be read; and the pairs, if all can be had.
fn read(files: &[Files]) -> (Vec<u8>, Result<Vec<Pair>, Error>) {
    let mut all = digest::Context::new(&digest::SHA256);
    let mut pairs = Ok(Vec::new());
    for files in files {
        let one = Pair::read(files, |bytes| {
            all.update(&(bytes.len() as u64).to_le_bytes());
            all.update(bytes);
        });
        match (one, &mut pairs) {
            (Ok(pair), Ok(pairs)) => pairs.push(pair),
            (Err(error), Ok(_)) => pairs = Err(error),
            (_, Err(_)) => {}
        }
    }
    if let Err(error) = &pairs {
        all.update(error.to_string().as_bytes());
    }
    (all.finish().as_ref().to_vec(), pairs)
}

fn checked(pairs: Vec<Pair>, now_s: i64) -> Result<Vec<Pair>, Error> {
    match pairs.iter().find(|p| p.validity.until_s <= now_s) {
        Some(pair) => Err(Error::Expired { path: pair.path.clone(), on: certificate::day(pair.validity.until_s) }),
        None => Ok(pairs),
    }
}
