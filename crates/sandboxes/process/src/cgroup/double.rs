//! Version 2's memory, cpu and pids controllers over a recording double: no machine of ours mounts them, so what is proved here
//! is which files get which words, in which order, and no more.

use super::{Files, Hierarchies, Kernel, Layout, group::Group, layout::Need};
use model::sandbox::Limits;
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

/// Remembers every operation; knows some files' contents; refuses some writes once.
#[derive(Default)]
struct Recording {
    log: Mutex<Vec<String>>,
    contents: BTreeMap<&'static str, &'static str>,
    refuse_once: Mutex<Vec<(&'static str, io::ErrorKind)>>,
}

impl Recording {
    fn note(&self, what: String) -> io::Result<()> {
        let mut refuse = self.refuse_once.lock().unwrap();
        if let Some(at) = refuse.iter().position(|(w, _)| what.starts_with(w)) {
            return Err(refuse.remove(at).1.into());
        }
        self.log.lock().unwrap().push(what);
        Ok(())
    }
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl Files for Recording {
    fn make(&self, dir: &Path) -> io::Result<()> {
        self.note(format!("make {}", dir.display()))
    }
    fn remove(&self, dir: &Path) -> io::Result<()> {
        self.note(format!("remove {}", dir.display()))
    }
    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        self.note(format!("{} = {text}", file.display()))
    }
    fn read(&self, file: &Path) -> io::Result<String> {
        let name = file.file_name().unwrap().to_str().unwrap();
        self.contents.get(name).map(|t| (*t).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn groups(&self, _dir: &Path) -> io::Result<Vec<String>> {
        Ok(vec!["i-old".into()])
    }
    fn open(&self, _file: &Path, _write: bool) -> io::Result<Option<File>> {
        Ok(None)
    }
}

const LIMITS: Limits =
    Limits { memory_bytes: 128 << 20, cpu_millis: 72, pids: 64, tmp_bytes: 512 << 20, tmp_inodes: 1000, descriptors: 1024 };

fn version_two() -> Layout {
    Layout::parse("1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n", "0::/svc\n", &|_| "cpu memory pids".into())
}

fn recording() -> Recording {
    let files = [
        ("memory.max", "max"),
        ("cpu.max", "max 100000"),
        ("pids.max", "max"),
        ("cgroup.freeze", "0"),
        ("cpu.stat", "usage_usec 5\n"),
    ];
    Recording {
        contents: files.into_iter().chain([("memory.events", "oom 1\noom_kill 2\n"), ("pids.current", "3\n")]).collect(),
        ..Recording::default()
    }
}

#[test]
fn version_2_over_a_recording_double_limits_kills_and_counts() {
    let files = Arc::new(recording());
    let (all, weaker) = Hierarchies::prepare(files.clone(), version_two(), "myna-x", Some(1 << 30));
    assert!(weaker.is_empty(), "{weaker:?}");
    let log = files.taken();
    assert!(log.contains(&"/cg/svc/cgroup.subtree_control = +memory +cpu +pids".into()), "{log:?}");
    assert!(log.contains(&"/cg/svc/myna-x/cgroup.subtree_control = +memory +cpu +pids".into()), "{log:?}");
    assert_eq!(log.last().unwrap(), "/cg/svc/myna-x/memory.max = 1073741824");

    let group = Group::make(&Arc::new(all), "i-1").unwrap();
    group.limit(&LIMITS, None).unwrap();
    let expected = [
        "make /cg/svc/myna-x/i-1",
        "/cg/svc/myna-x/i-1/memory.max = 671088640",
        "/cg/svc/myna-x/i-1/memory.swap.max = 0",
        "/cg/svc/myna-x/i-1/cpu.max = 1440 20000",
        "/cg/svc/myna-x/i-1/pids.max = 65",
    ];
    assert_eq!(files.taken(), expected);
    group.limit(&Limits { cpu_millis: 1000, ..LIMITS }, Some(&LIMITS)).unwrap();
    assert_eq!(files.taken(), ["/cg/svc/myna-x/i-1/cpu.max = 20000 20000"], "only what changed");
    let measured = group.measure();
    assert_eq!((measured.oom_kills, measured.processes), (2, 2), "the init is not the function's process");
    group.kill();
    assert!(files.taken().contains(&"/cg/svc/myna-x/i-1/cgroup.kill = 1".into()));
    // A group empties a moment after its last process has ended.
    files.refuse_once.lock().unwrap().push(("remove", io::ErrorKind::ResourceBusy));
    group.remove().unwrap();
    assert_eq!(files.taken(), ["remove /cg/svc/myna-x/i-1"]);
}

#[test]
fn version_2_over_a_recording_double_moves_the_platform_aside_to_pass_controllers_on() {
    let files = Arc::new(recording());
    files.refuse_once.lock().unwrap().push(("/cg/svc/cgroup.subtree_control", io::ErrorKind::ResourceBusy));
    let (_, weaker) = Hierarchies::prepare(files.clone(), version_two(), "myna-x", None);
    assert!(weaker.is_empty(), "{weaker:?}");
    let moved = format!("/cg/svc/platform/cgroup.procs = {}", std::process::id());
    assert_eq!(
        files.taken()[..3],
        ["make /cg/svc/platform".to_owned(), moved, "/cg/svc/cgroup.subtree_control = +memory +cpu +pids".into()]
    );
}

#[test]
fn what_can_not_be_delegated_is_said_and_not_used() {
    let bare = Arc::new(Recording::default());
    let no = io::ErrorKind::PermissionDenied;
    bare.refuse_once.lock().unwrap().extend([("/cg/svc/cgroup.subtree_control", no), ("make /cg/svc/platform", no)]);
    let (all, weaker) = Hierarchies::prepare(bare, version_two(), "myna-x", None);
    assert!(weaker[0].contains("not delegated"), "{weaker:?}");
    assert!(Need::ALL.iter().all(|n| all.layout().place(*n).is_none()) && all.parents().is_empty());
}

/// For real where this machine lets us: version 1 wants memory and memory with swap raised and lowered in opposite orders.
#[test]
fn this_machines_own_groups_take_limits_up_and_down() {
    let layout = Layout::of_this_process();
    let name = format!("myna-test-{}", std::process::id());
    let (all, weaker) = Hierarchies::prepare(Arc::new(Kernel), layout, &name, None);
    if all.layout().place(Need::Memory).is_none() {
        println!("skipped: {weaker:?}");
        return;
    }
    let all = Arc::new(all);
    let group = Group::make(&all, "i-1").unwrap();
    let more = Limits { memory_bytes: 1 << 30, cpu_millis: 10, ..LIMITS };
    group.limit(&LIMITS, None).unwrap();
    group.limit(&more, Some(&LIMITS)).unwrap();
    group.limit(&LIMITS, Some(&more)).unwrap();
    assert_eq!(group.measure().oom_kills, 0);
    group.remove().unwrap();
    for parent in all.parents() {
        std::fs::remove_dir(parent).unwrap();
    }
}
