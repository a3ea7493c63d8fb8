//! User ids of instances: two that no other process has, from a reserved range, written down before use.
//!
//! Written down is how far into the range this or an earlier life may have gone, in steps, so that making an instance costs no
//! disk. An id goes back only when its instance's groups are proved empty; after a crash the range goes on where it was, until a
//! start finds that nothing of an earlier life is left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const STEP: u32 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub init: u32,
    pub user: u32,
}

struct State {
    /// In pairs from the start of the range.
    next: u32,
    /// Up to here is on disk.
    written: u32,
    free: Vec<u32>,
    lost: u32,
}

pub struct Ids {
    file: PathBuf,
    base: u32,
    pairs: u32,
    state: Mutex<State>,
}

impl Ids {
    /// `clean`: nothing of an earlier life is left, so its ids may be used again.
    pub fn open(folder: &Path, base: u32, pairs: u32, clean: bool) -> io::Result<Ids> {
        let file = folder.join("ids");
        let before = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().unwrap_or(pairs),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        // Full: everything was in use once and nobody knows whether it still is. Start over rather than never start again;
        // sweeping has killed what could be found.
        let next = if clean || before >= pairs { 0 } else { before };
        Ok(Ids { file, base, pairs, state: Mutex::new(State { next, written: next, free: Vec::new(), lost: 0 }) })
    }

    /// The id that is root inside every instance and that no process has.
    pub fn root(&self) -> u32 {
        self.base
    }

    pub fn take(&self) -> io::Result<Pair> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = state.free.pop() {
            return Ok(self.pair(n));
        }
        if state.next >= self.pairs {
            return Err(io::Error::other(format!("all {} pairs of user ids are in use", self.pairs)));
        }
        if state.next >= state.written {
            let written = state.next + STEP;
            self.write(written)?;
            state.written = written;
        }
        let n = state.next;
        state.next += 1;
        Ok(self.pair(n))
    }

    pub fn give_back(&self, pair: Pair) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free.push((pair.init - self.base - 1) / 2);
    }

    /// Never used again in this life: somebody may still run under it.
    pub fn lose(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost += 1;
    }

    fn pair(&self, n: u32) -> Pair {
        Pair { init: self.base + 1 + 2 * n, user: self.base + 2 + 2 * n }
    }

    fn write(&self, n: u32) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, n.to_string())?;
        fs::File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_after_a_crash_takes_no_id_that_may_be_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let first = Ids::open(folder.path(), 1000, 2000, false).unwrap();
        let (a, b) = (first.take().unwrap(), first.take().unwrap());
        assert_eq!((a, b), (Pair { init: 1001, user: 1002 }, Pair { init: 1003, user: 1004 }));
        first.give_back(a);
        assert_eq!(first.take().unwrap(), a);
        let second = Ids::open(folder.path(), 1000, 2000, false).unwrap();
        assert!(second.take().unwrap().init > b.user);
        assert_eq!(Ids::open(folder.path(), 1000, 2000, true).unwrap().take().unwrap(), a);
    }

    #[test]
    fn the_range_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let ids = Ids::open(folder.path(), 10, 2, true).unwrap();
        ids.take().unwrap();
        let last = ids.take().unwrap();
        assert!(ids.take().is_err());
        ids.give_back(last);
        assert_eq!(ids.take().unwrap(), last);
    }
}
