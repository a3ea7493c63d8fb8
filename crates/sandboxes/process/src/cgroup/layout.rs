//! Which hierarchies this machine has, and which of them serves which need.

use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    pub fn memory_limit(self) -> &'static str {
        match self {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        }
    }
}

/// What is wanted of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Memory,
    Cpu,
    Pids,
    Freeze,
    /// How much CPU was used.
    Usage,
}

impl Need {
    pub const ALL: [Need; 5] = [Need::Memory, Need::Cpu, Need::Pids, Need::Freeze, Need::Usage];

    pub fn name(self) -> &'static str {
        match self {
            Need::Memory => "memory limit",
            Need::Cpu => "cpu limit",
            Need::Pids => "process limit",
            Need::Freeze => "freezing",
            Need::Usage => "cpu accounting",
        }
    }
    /// What it means for functions when it can't be had.
    pub fn without(self) -> &'static str {
        match self {
            Need::Memory => "a function may use all of this machine's memory, and what it used isn't known",
            Need::Cpu => "a function may use every processor",
            Need::Pids => "a function may start as many processes as this user may",
            Need::Freeze => "idle instances are not stopped",
            Need::Usage => "processor time isn't counted",
        }
    }
    /// The version 2 controller that must be passed on for it.
    pub fn controller(self, version: Version) -> Option<&'static str> {
        match (version, self) {
            (Version::Two, Need::Memory) => Some("memory"),
            (Version::Two, Need::Cpu) => Some("cpu"),
            (Version::Two, Need::Pids) => Some("pids"),
            _ => None,
        }
    }
    /// The file without which it doesn't work.
    pub fn file(self, version: Version) -> &'static str {
        match (version, self) {
            (v, Need::Memory) => v.memory_limit(),
            (Version::One, Need::Cpu) => "cpu.cfs_quota_us",
            (Version::Two, Need::Cpu) => "cpu.max",
            (_, Need::Pids) => "pids.max",
            (Version::One, Need::Freeze) => "freezer.state",
            (Version::Two, Need::Freeze) => "cgroup.freeze",
            (Version::One, Need::Usage) => "cpuacct.usage",
            (Version::Two, Need::Usage) => "cpu.stat",
        }
    }
    fn index(self) -> usize {
        self as usize
    }
}

/// The platform's own group in a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub version: Version,
    pub dir: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    needs: [Option<Place>; 5],
    /// The platform's group in the version 2 tree, if there is one.
    pub unified: Option<PathBuf>,
}

impl Layout {
    /// Reads what this process sees.
    pub fn of_this_process() -> Layout {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let offered = |dir: &Path| std::fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        Layout::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), &offered)
    }

    /// From the texts of mountinfo and cgroup (proc(5), cgroups(7)); `offered` lists a version 2 group's controllers.
    pub fn parse(mountinfo: &str, cgroup: &str, offered: &dyn Fn(&Path) -> String) -> Layout {
        let own = |controller: &str| {
            cgroup.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                controllers.split(',').any(|c| c == controller).then_some(path)
            })
        };
        let mut layout = Layout::default();
        let mut first: [Option<Place>; 5] = Default::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (left, right): (Vec<_>, Vec<_>) = (left.split(' ').collect(), right.split(' ').collect());
            let (&[_, _, _, root, at, ..], &[kind, _, options]) = (&left[..], &right[..]) else { continue };
            // A container sees a part of the tree: what its own path has beyond the mount's root is what is below the mount.
            let below = |path: &str| {
                let rest = if root == "/" { path } else { path.strip_prefix(root).unwrap_or("") };
                Path::new(at).join(rest.trim_start_matches('/'))
            };
            match kind {
                "cgroup2" => layout.unified = layout.unified.or_else(|| own("").map(below)),
                "cgroup" => {
                    let names = [
                        (Need::Memory, "memory"),
                        (Need::Cpu, "cpu"),
                        (Need::Pids, "pids"),
                        (Need::Freeze, "freezer"),
                        (Need::Usage, "cpuacct"),
                    ];
                    for (need, name) in names {
                        if options.split(',').any(|o| o == name) && first[need.index()].is_none() {
                            first[need.index()] = own(name).map(|path| Place { version: Version::One, dir: below(path) });
                        }
                    }
                }
                _ => {}
            }
        }
        let controllers = layout.unified.as_deref().map(offered).unwrap_or_default();
        let two = layout.unified.clone().map(|dir| Place { version: Version::Two, dir });
        for need in Need::ALL {
            let has = need.controller(Version::Two).is_none_or(|c| controllers.split_whitespace().any(|o| o == c));
            layout.needs[need.index()] = two.clone().filter(|_| has).or(first[need.index()].take());
        }
        layout
    }

    pub fn place(&self, need: Need) -> Option<&Place> {
        self.needs[need.index()].as_ref()
    }
    pub fn drop_need(&mut self, need: Need) {
        self.needs[need.index()] = None;
    }
    /// All hierarchies in use, each once.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        for place in self.needs.iter().flatten() {
            if !dirs.contains(&place.dir) {
                dirs.push(place.dir.clone());
            }
        }
        dirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(layout: &Layout) -> Vec<(Version, &str)> {
        Need::ALL.iter().filter_map(|n| layout.place(*n)).map(|p| (p.version, p.dir.to_str().unwrap())).collect()
    }

    #[test]
    fn a_hybrid_keeps_limits_in_version_1_and_freezes_in_version_2() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      38 31 0:35 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/p\n1:freezer:/\n0::/u\n";
        let layout = Layout::parse(mounts, own, &|_| "hugetlb\n".into());
        use Version::{One, Two};
        let unified = (Two, "/sys/fs/cgroup/unified/u");
        let limits = [(One, "/sys/fs/cgroup/memory/a/b"), (One, "/sys/fs/cgroup/cpu,cpuacct/"), (One, "/sys/fs/cgroup/pids/p")];
        assert_eq!(places(&layout), [limits[0], limits[1], limits[2], unified, unified]);
        assert_eq!(layout.dirs().len(), 4);
    }

    #[test]
    fn a_container_with_version_2_finds_its_own_group_below_the_mount() {
        let mounts = "41 31 0:38 /docker/x /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(mounts, "0::/docker/x/svc\n", &|_| "cpu memory pids\n".into());
        assert!(places(&layout).iter().all(|p| *p == (Version::Two, "/sys/fs/cgroup/svc")));
        assert_eq!(places(&layout).len(), 5);
        assert_eq!(Layout::parse("", "", &|_| String::new()), Layout::default());
    }

    #[test]
    fn version_1_alone_serves_everything() {
        let mounts = "1 1 0:1 / /c/all rw - cgroup cgroup rw,memory,cpu,cpuacct,pids,freezer\n";
        let layout = Layout::parse(mounts, "1:memory,cpu,cpuacct,pids,freezer:/\n", &|_| String::new());
        assert_eq!((places(&layout).len(), layout.dirs().len()), (5, 1));
    }
}
