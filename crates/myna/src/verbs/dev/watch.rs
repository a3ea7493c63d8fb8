//! Saves, as the kernel reports them. Every folder of the project is watched by itself, so that nothing is spent on those that
//! are left out of the package anyway: the state directory would wake us with every line that it writes.

use crate::{
    cli::problem::{Doing, Problem},
    project::{source::Source, walk::Rules},
};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

pub struct Watch {
    root: PathBuf,
    rules: Rules,
    watcher: RecommendedWatcher,
    watched: HashSet<PathBuf>,
    events: UnboundedReceiver<Vec<PathBuf>>,
    heard: Option<Heard>,
}

impl Watch {
    pub fn new(root: &Path, source: &Source) -> Result<Self, Problem> {
        let (sender, events) = unbounded_channel();
        let tell = move |event: notify::Result<Event>| {
            if let Ok(event) = event
                && is_change(event.kind)
            {
                // Nobody listens any more when the verb ends.
                let _ = sender.send(event.paths);
            }
        };
        let watcher = notify::recommended_watcher(tell).doing(format!("{} can't be watched", root.display()))?;
        let mut watch =
            Self { root: root.to_path_buf(), rules: source.rules.clone(), watcher, watched: HashSet::new(), events, heard: None };
        watch.watch(root).doing(format!("{} can't be watched", root.display()))?;
        watch.follow(source);
        Ok(watch)
    }

    /// Watch the folders that the project has now.
    pub fn follow(&mut self, source: &Source) {
        self.rules = source.rules.clone();
        let Some(walk) = source.folder() else { return };
        self.watched.retain(|folder| walk.folders.contains(folder));
        for folder in &walk.folders {
            if !is_deep_dependency(folder) && !self.watched.contains(folder) {
                // A folder that vanished meanwhile is no loss.
                let _ = self.watch(folder);
            }
        }
    }

    fn watch(&mut self, folder: &Path) -> notify::Result<()> {
        self.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        self.watched.insert(folder.to_path_buf());
        Ok(())
    }

    /// The files that were changed, once it is quiet again; `None` when watching has ended. What was heard is kept when the
    /// caller turns to something else meanwhile.
    pub async fn changed(&mut self) -> Option<Vec<PathBuf>> {
        loop {
            let quiet = self.heard.as_ref().map(Heard::quiet_at);
            tokio::select! {
                paths = self.events.recv() => {
                    let paths = paths?;
                    self.hear(paths);
                }
                () = until(quiet) => return self.heard.take().map(|heard| heard.paths),
            }
        }
    }

    fn hear(&mut self, paths: Vec<PathBuf>) {
        let now = Instant::now();
        for path in paths {
            // Folders outside are only watched where the project's owner allowed a link to them.
            if path.starts_with(&self.root) && self.rules.leaves_out_below(&self.root, &path) {
                continue;
            }
            let heard = self.heard.get_or_insert_with(|| Heard { first: now, last: now, paths: Vec::new() });
            heard.last = now;
            if !heard.paths.contains(&path) {
                heard.paths.push(path);
            }
        }
    }
}

/// Changes that have not been told yet.
struct Heard {
    first: Instant,
    last: Instant,
    paths: Vec<PathBuf>,
}

impl Heard {
    /// An editor changes several files, or one in several steps; none of them for long.
    fn quiet_at(&self) -> Instant {
        const QUIET: Duration = Duration::from_millis(12);
        const AT_MOST: Duration = Duration::from_millis(120);
        (self.last + QUIET).min(self.first + AT_MOST)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Reading a file is no change; having written one is.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Installing a library changes `node_modules` itself; the thousands of folders below it need no watch each.
fn is_deep_dependency(folder: &Path) -> bool {
    folder.parent().is_some_and(|above| above.components().any(|c| c.as_os_str() == "node_modules"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is heard by somebody who looks elsewhere every millisecond, as one does who also shows a busy log.
    async fn seen(watch: &mut Watch) -> Vec<String> {
        let began = Instant::now();
        let changed = loop {
            if let Ok(changed) = tokio::time::timeout(Duration::from_millis(1), watch.changed()).await {
                break changed.unwrap();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "a save is noticed");
        };
        changed.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn saves_are_noticed_also_by_rename_and_in_new_folders_and_what_is_left_out_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir(root.join(".myna")).unwrap();
        fs::write(root.join("app.py"), "1").unwrap();
        let open = || Source::open(&root, &[], Vec::new()).unwrap();
        let mut watch = Watch::new(&root, &open()).unwrap();

        fs::write(root.join(".myna/log"), "x").unwrap();
        fs::write(root.join(".env"), "x").unwrap();
        fs::write(root.join("app.py"), "2").unwrap();
        assert_eq!(seen(&mut watch).await, ["app.py"]);

        fs::write(root.join("app.py~"), "3").unwrap();
        fs::rename(root.join("app.py~"), root.join("app.py")).unwrap();
        assert_eq!(seen(&mut watch).await, ["app.py"]);

        fs::create_dir(root.join("lib")).unwrap();
        assert_eq!(seen(&mut watch).await, ["lib"]);
        watch.follow(&open());
        fs::write(root.join("lib/x.py"), "1").unwrap();
        assert_eq!(seen(&mut watch).await, ["x.py"]);
        // Packing reads every file; that must not look like another save.
        fs::read(root.join("lib/x.py")).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), watch.changed()).await.is_err());
    }
}
