//! Everything that Myna keeps, in one directory on one disk: rows of resources, code packages, logs, records of invocations
//! and what they cost, and who changed what.

mod again;
pub mod audit;
pub mod care;
pub mod directory;
mod error;
mod forget;
mod journal;
mod ledger;
mod logs;
pub mod options;
pub mod packages;
pub mod queue;
mod records;
pub mod rows;
mod scrub;
pub mod seal;
mod segments;
mod stats;
#[cfg(test)]
mod tests;

pub use audit::AuditStore;
pub use directory::Directory;
pub use error::Error;
pub use journal::Journal;
pub use ledger::{LogStore, RecordStore};
pub use options::Options;
pub use packages::{Collected, PackageStore};
pub use queue::QueueStore;
pub use records::tally;
pub use rows::RowStore;
pub use stats::{Maintained, StoreStats};

use ledger::Ledger;
use model::{Clock, Loops};
use seal::Seal;
use std::{path::Path, sync::Arc};

/// One opened state directory with all that it holds.
pub struct Store {
    rows: Arc<RowStore>,
    packages: Arc<PackageStore>,
    logs: Arc<LogStore>,
    records: Arc<RecordStore>,
    ledger: Arc<Ledger>,
    queue: Arc<QueueStore>,
    seal: Arc<Seal>,
    again: Arc<again::Again>,
    audit: Arc<AuditStore>,
    options: Options,
    damaged: Vec<String>,
    scrub: scrub::Scrub,
    // Last, so that the lock is let go when everything else is closed.
    directory: Directory,
}

impl Store {
    /// Create or open the state directory at `path`. Refuses, with the reason and what to do, one that isn't fit.
    pub fn open(path: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Arc<Store>, Error> {
        Store::watched(path, options, clock, &Loops::alone())
    }

    /// The same, with its threads among the loops of a platform.
    pub fn watched(path: &Path, options: Options, clock: Arc<dyn Clock>, loops: &Arc<Loops>) -> Result<Arc<Store>, Error> {
        let directory = Directory::open(path, options.allow_volatile)?;
        let seal = Seal::open(directory.path(), &options.seal)?;
        directory.sealed_by(&seal)?;
        let (rows, damaged) = RowStore::open(directory.path(), &options, seal.clone(), clock.clone(), loops)?;
        let rows = Arc::new(rows);
        let packages = Arc::new(PackageStore::open(&directory, &options.packages, seal.clone(), clock.clone(), loops)?);
        let queue = Arc::new(QueueStore::sealed(directory.path(), &options.queue, seal.clone(), clock.clone(), loops)?);
        let audit = Arc::new(AuditStore::open(&directory.path().join("audit"), &options.audit, clock.clone(), loops)?);
        let ledger = Ledger::open(directory.path(), &options, rows.clone(), clock, loops)?;
        let (logs, records) = (Arc::new(LogStore(ledger.clone())), Arc::new(RecordStore(ledger.clone())));
        let about = scrub::About { directory: directory.path().into(), packages: (*packages).clone(), audit: audit.clone() };
        let scrub = scrub::Scrub::start(about, &options.scrub, loops)?;
        let again = Arc::default();
        let store =
            Store { rows, packages, logs, records, ledger, queue, audit, seal, again, options, damaged, scrub, directory };
        store.directory.upgraded()?;
        // What could not be opened may be opened once its key is back, so no key goes while something is damaged.
        if store.seal.pending() && store.damaged().is_empty() {
            store.seal.finished()?;
        }
        Ok(Arc::new(store))
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }
    pub fn seal(&self) -> &Arc<Seal> {
        &self.seal
    }
    /// New data keys, and what older ones sealed is sealed again from now on, while everything goes on. Gives the generation.
    pub fn rotate(&self) -> Result<u32, Error> {
        let generation = self.seal.rotate()?;
        let (rows, packages) = (Arc::downgrade(&self.rows), Arc::downgrade(&self.packages));
        let begun = self.again.begin(again::Parts { rows, packages, seal: self.seal.clone() });
        begun.map_err(Error::io("start a thread for", self.directory.path()))?;
        Ok(generation)
    }
    /// Since the keys were changed: how many rows and archives were looked at, of how many.
    pub fn sealed_again(&self) -> (u64, u64) {
        self.again.progress()
    }
    pub fn resources(&self) -> &Arc<RowStore> {
        &self.rows
    }
    pub fn packages(&self) -> &Arc<PackageStore> {
        &self.packages
    }
    pub fn logs(&self) -> &Arc<LogStore> {
        &self.logs
    }
    pub fn records(&self) -> &Arc<RecordStore> {
        &self.records
    }
    pub fn queue(&self) -> &Arc<QueueStore> {
        &self.queue
    }
    pub fn audit(&self) -> &Arc<AuditStore> {
        &self.audit
    }
    pub fn journal(&self) -> &Arc<Journal> {
        self.ledger.journal()
    }

    /// What was found broken, each named.
    pub fn damaged(&self) -> Vec<String> {
        let rows_and_packages = self.damaged.iter().cloned().chain(self.packages.damaged());
        let here = rows_and_packages.chain(self.queue.damaged().iter().cloned()).chain(self.audit.damaged());
        let mut all: Vec<String> = here.chain(self.ledger.damaged()).collect();
        // What a later look finds may have been found at the start.
        all.extend(self.scrub.found().into_iter().filter(|found| !self.ledger.damaged().contains(found)));
        all
    }

    /// Finish what was accepted and put everything on stable storage. What comes later is refused or dropped.
    pub fn close(&self) {
        self.scrub.close();
        self.ledger.close();
        self.queue.close();
        self.rows.close();
        self.packages.settle();
        self.audit.close();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(n.into(), 16).expect("below 16");
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Bytes that nobody can guess, from the kernel's generator.
pub fn random_bytes(count: usize) -> Vec<u8> {
    use ring::rand::SecureRandom;
    let mut bytes = vec![0; count];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the kernel's generator answers once the machine is up");
    bytes
}

/// A folder's name for a tenant or a group: the text itself where that is safe, otherwise its checksum.
pub(crate) fn folder_name(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        return text.to_owned();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("~{}", hex(&digest.as_ref()[..16]))
}
