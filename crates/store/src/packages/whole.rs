//! Code is looked at before it runs: a package whose unpacked folder is not what was unpacked is made again from its archive, and
//! named; one whose archive is damaged too is refused. Wrong bytes never become an instance's.

use super::{CODE, Inner, PackageStore, settle, sum};
use crate::directory;
use model::{Fault, Fut, ports::Sources, sandbox::Mount};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

impl Sources for PackageStore {
    fn check<'a>(&'a self, mounts: &'a [Mount]) -> Option<Fut<'a, Result<(), Fault>>> {
        let unknown: Vec<PathBuf> = {
            let state = self.inner.state();
            let places = mounts.iter().filter_map(|mount| self.inner.place_of_code(&mount.source));
            places.filter(|place| !state.whole.contains(*place)).map(Path::to_owned).collect()
        };
        if unknown.is_empty() {
            return None;
        }
        let inner = self.inner.clone();
        Some(Box::pin(async move {
            let look = move || unknown.iter().try_for_each(|place| inner.ensure_whole(place));
            tokio::task::spawn_blocking(look).await.map_err(Fault::internal)?
        }))
    }
}

impl PackageStore {
    /// Look at every package anew, its archive too; what is broken is named among what is damaged, and unpacked code made again.
    /// `pause` is called between two packages and says whether to go on.
    pub(crate) fn look_again(&self, pause: &mut dyn FnMut() -> bool) {
        let Ok(places) = directory::two_levels(&self.inner.folder) else { return };
        for (tenant, digest, place) in places {
            if !pause() {
                return;
            }
            let archive = self.inner.is_archive_whole(&tenant, &digest, &place);
            // A package that was collected meanwhile is no finding.
            if !place.exists() {
                continue;
            }
            if !archive.is_ok_and(|whole| whole) {
                let what = format!("package {digest} of {tenant}: its archive is not what was deployed; deploy it again");
                self.inner.name_damage(what);
            }
            self.inner.state().whole.remove(&place);
            // What it finds it names.
            let _ = self.inner.ensure_whole(&place);
        }
    }
}

/// What is wrong with the unpacked code at a place, if anything is. One that has no mark yet is made again at the next start.
pub(crate) fn code_flaw(place: &Path) -> Option<String> {
    let mark = settle::settled(place)?;
    match sum::of(&place.join(CODE)) {
        Ok(found) if found == mark.sum => None,
        Ok(_) => Some("its unpacked code is not what was unpacked".to_owned()),
        Err(error) => Some(format!("its unpacked code can't be read: {error}")),
    }
}

/// Have the unpacked code at a place made again at the next start.
pub(crate) fn forget_code(place: &Path) -> std::io::Result<()> {
    std::fs::remove_file(place.join(super::SETTLED))
}

impl Inner {
    /// The package that a mounted folder is the code of.
    fn place_of_code<'p>(&self, source: &'p Path) -> Option<&'p Path> {
        let place = source.parent()?;
        (source.ends_with(CODE) && place.parent()?.parent()? == self.folder).then_some(place)
    }

    /// Named once, however often it is met.
    pub(super) fn name_damage(&self, text: String) {
        let mut state = self.state();
        if !state.damaged.contains(&text) {
            tracing::error!("{text}");
            state.damaged.push(text);
        }
    }

    /// Make sure that the code at a place is what was unpacked there.
    fn ensure_whole(&self, place: &Path) -> Result<(), Fault> {
        let turn = self.state().looking.entry(place.to_owned()).or_default().clone();
        let result = {
            // A look that panicked has changed nothing.
            let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.look(place)
        };
        drop(turn);
        let mut state = self.state();
        if state.looking.get(place).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            state.looking.remove(place);
        }
        if result.is_ok() {
            state.whole.insert(place.to_owned());
        }
        result
    }

    fn look(&self, place: &Path) -> Result<(), Fault> {
        if self.state().whole.contains(place) {
            return Ok(());
        }
        let found = sum::of(&place.join(CODE));
        let mark = settle::read(place);
        let why = match (found, mark) {
            (Ok(found), Some(mark)) if found == mark.sum => return Ok(()),
            (Ok(_), Some(_)) => "it is not what was unpacked".to_owned(),
            (Ok(_), None) => "it has no mark".to_owned(),
            (Err(error), _) => error.to_string(),
        };
        let (tenant, digest) = names(place);
        let what = format!("the unpacked code of package {digest} of {tenant}, {}: {why}", place.join(CODE).display());
        match self.unpack_again(tenant, digest, place) {
            Ok(bytes) => {
                self.name_damage(format!("{what}; it was made again from its archive"));
                self.settler.add(place.to_owned(), bytes);
                Ok(())
            }
            // Collected between the look and the hand.
            Err(fault) if !place.exists() => Err(fault),
            Err(fault) => {
                self.name_damage(format!("{what}; {fault}; deploy it again"));
                let text = format!("{what}, and its archive gives no other: {}", fault.message);
                Err(Fault { message: text, ..fault }.hint("deploy the same code again"))
            }
        }
    }
}

/// The tenant's folder and the digest.
fn names(place: &Path) -> (&str, &str) {
    (name(place.parent()), name(Some(place)))
}

fn name(path: Option<&Path>) -> &str {
    path.and_then(|path| path.file_name()?.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_folder_changes_its_sum() {
        use std::{fs, os::unix::fs::PermissionsExt};
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("lib")).unwrap();
        fs::write(at("lib/a"), "one").unwrap();
        fs::write(at("b"), "two").unwrap();
        std::os::unix::fs::symlink("b", at("link")).unwrap();
        let before = sum::of(home.path()).unwrap();
        assert_eq!(sum::of(home.path()).unwrap(), before);
        type Change<'a> = Box<dyn Fn() + 'a>;
        let changes: [(&str, Change<'_>, Change<'_>); 6] = [
            ("content", Box::new(|| fs::write(at("b"), "twp").unwrap()), Box::new(|| fs::write(at("b"), "two").unwrap())),
            ("a cut", Box::new(|| fs::write(at("b"), "tw").unwrap()), Box::new(|| fs::write(at("b"), "two").unwrap())),
            ("a name", Box::new(|| fs::rename(at("b"), at("c")).unwrap()), Box::new(|| fs::rename(at("c"), at("b")).unwrap())),
            ("a file more", Box::new(|| fs::write(at("z"), "").unwrap()), Box::new(|| fs::remove_file(at("z")).unwrap())),
            (
                "a mode",
                Box::new(|| fs::set_permissions(at("b"), fs::Permissions::from_mode(0o755)).unwrap()),
                Box::new(|| fs::set_permissions(at("b"), fs::Permissions::from_mode(0o644)).unwrap()),
            ),
            (
                "another folder",
                Box::new(|| fs::rename(at("lib/a"), at("a")).unwrap()),
                Box::new(|| fs::rename(at("a"), at("lib/a")).unwrap()),
            ),
        ];
        fs::set_permissions(at("b"), fs::Permissions::from_mode(0o644)).unwrap();
        let before = sum::of(home.path()).unwrap();
        for (what, change, back) in changes {
            change();
            assert_ne!(sum::of(home.path()).unwrap(), before, "{what}");
            back();
            assert_eq!(sum::of(home.path()).unwrap(), before, "{what} undone");
        }
    }
}
