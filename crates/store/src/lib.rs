//! Everything that Myna keeps, in one directory on one disk: rows of resources, code packages, logs, records of invocations
//! and what they cost.

pub mod directory;
mod error;
pub mod options;
pub mod packages;
pub mod rows;

pub use directory::Directory;
pub use error::Error;
pub use options::Options;
pub use packages::PackageStore;
pub use rows::RowStore;

use model::Clock;
use std::{path::Path, sync::Arc};

/// One opened state directory with all that it holds.
pub struct Store {
    rows: RowStore,
    packages: PackageStore,
    damaged: Vec<String>,
    // Last, so that the lock is let go when everything else is closed.
    directory: Directory,
}

impl Store {
    /// Create or open the state directory at `path`. Refuses, with the reason and what to do, one that isn't fit.
    pub fn open(path: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Arc<Store>, Error> {
        let directory = Directory::open(path, options.allow_volatile)?;
        let (rows, damaged) = RowStore::open(directory.path(), &options, clock.clone())?;
        let packages = PackageStore::open(&directory, &options.packages, clock)?;
        Ok(Arc::new(Store { rows, packages, damaged, directory }))
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }
    pub fn resources(&self) -> &RowStore {
        &self.rows
    }
    pub fn packages(&self) -> &PackageStore {
        &self.packages
    }
    /// What was found broken, each named.
    pub fn damaged(&self) -> Vec<String> {
        self.damaged.iter().cloned().chain(self.packages.damaged()).collect()
    }

    /// Finish what was accepted and put everything on stable storage.
    pub fn close(&self) {
        self.rows.close();
        self.packages.settle();
    }
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
    digest.as_ref()[..16].iter().fold(String::from("~"), |mut name, byte| {
        use std::fmt::Write;
        write!(name, "{byte:02x}").expect("a string takes what is written");
        name
    })
}
