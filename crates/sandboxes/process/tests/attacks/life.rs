//! Beginning and end: nothing outlives its instance, no instance outlives the platform, and nothing is left behind.

use crate::{
    Test,
    rig::{Rig, Verdict, probe, run},
};
use model::{
    ports::{Instance, Sandbox},
    sandbox::{Exit, Mount},
};
use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

pub const ALL: &[(&str, Test)] = &[
    ("nothing_outlives_a_killed_instance", killed),
    ("a_dropped_birth_leaves_nothing", dropped_birth),
    ("frozen_stands_still_and_thawed_goes_on", frozen),
    ("two_hundred_lives_leave_nothing", two_hundred),
    ("a_killed_platform_takes_everything_along", platform_killed),
    ("a_killed_spawner_is_replaced", spawner_killed),
    ("a_spawner_that_stands_still_holds_up_nobody", spawner_stopped),
    ("what_is_kept_ready_becomes_what_is_asked_for", kept_ready),
    ("a_plain_user_gets_the_same_walls", plain_user),
];

/// Processes of this machine whose command line starts like this binary's spawner or whose parents are such.
fn helpers() -> Vec<u32> {
    let mut pids: Vec<u32> = processes().filter(|(_, command)| command.starts_with("myna-spawner")).map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids
}

fn processes() -> impl Iterator<Item = (u32, String)> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?)))
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Own descendants, by walking the parents.
fn descendants(of: u32) -> Vec<u32> {
    let all: Vec<(u32, Option<u32>)> = processes().map(|(pid, _)| (pid, parent(pid))).collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(all.iter().filter(|(_, p)| *p == Some(of)).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Groups of the platform that has this folder, in all hierarchies.
fn groups(parents: &[std::path::PathBuf]) -> usize {
    parents.iter().map(|p| std::fs::read_dir(p).map_or(0, |d| d.flatten().filter(|e| e.path().is_dir()).count())).sum()
}

pub fn parents(name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![Path::new("/sys/fs/cgroup").to_path_buf()];
    while let Some(dir) = look.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            if entry.file_name().to_string_lossy() == name { found.push(entry.path()) } else { look.push(entry.path()) }
        }
    }
    found
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn killed(rig: &Rig) -> Verdict {
    eventually("the last test's instances are gone", || descendants(std::process::id()).len() == 1);
    let before = 1;
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let daemon = instance.spawn(probe(&["daemon", "/tmp/x"])).await.unwrap();
        let deaf = instance.spawn(probe(&["deaf"])).await.unwrap();
        assert_eq!(daemon.exited.await, Exit::Code(0));
        assert!(descendants(std::process::id()).len() > before);
        instance.kill().await;
        assert_eq!(descendants(std::process::id()).len(), before);
        assert_eq!(deaf.exited.await, Exit::Gone);
        assert!(instance.spawn(probe(&["say"])).await.is_err());
    });
    Verdict::Passed
}

fn kept_ready(_: &Rig) -> Verdict {
    eventually("the last test's instances are gone", || descendants(std::process::id()).len() == 1);
    // Inits look like their spawner; only a spawner is our own child.
    let spawners = || helpers().into_iter().filter(|pid| parent(*pid) == Some(std::process::id())).collect::<Vec<_>>();
    let others = spawners();
    let own = Rig::with_blanks("blanks", 2);
    // Two spawners, and two that wait.
    let full = || descendants(std::process::id()).len() == 4;
    own.wait(async { own.instance(|_| ()).await.kill().await });
    let wait = || {
        let runtime_turns = || own.wait(async { tokio::time::sleep(Duration::from_millis(5)).await });
        eventually("two are ready", || {
            runtime_turns();
            full()
        });
        descendants(std::process::id())
    };
    let before = wait();
    own.wait(async { own.instance(|spec| spec.limits.memory_bytes /= 2).await.kill().await });
    let after = descendants(std::process::id());
    assert_eq!(before.iter().filter(|pid| !after.contains(pid)).count(), 1, "the instance was one of those that waited");

    // Every wall stands around such an instance too.
    for (name, test) in [crate::isolation::ANY_USER, crate::isolation::ALL].concat() {
        wait();
        println!("  {name}, of one kept ready");
        test(&own);
    }
    // Its spawner killed, those that waited are gone: a start makes do without.
    wait();
    let spawner = spawners().into_iter().find(|pid| !others.contains(pid)).expect("a spawner");
    assert_eq!(unsafe { libc::kill(spawner as i32, libc::SIGKILL) }, 0);
    eventually("those that waited are gone", || descendants(std::process::id()).len() <= 2);
    assert_eq!(own.run(&["say", "x"]).0, Exit::Code(0));
    drop(own);
    eventually("nothing is left", || descendants(std::process::id()).len() == 1);
    Verdict::Passed
}

fn dropped_birth(rig: &Rig) -> Verdict {
    let before = descendants(std::process::id()).len();
    rig.wait(async {
        for n in 0..40 {
            let spec = rig.spec();
            let birth = rig.process.create(&spec);
            let _ = tokio::time::timeout(Duration::from_micros(n * 50), birth).await;
        }
    });
    eventually("all births are undone", || descendants(std::process::id()).len() == before);
    Verdict::Passed
}

fn frozen(rig: &Rig) -> Verdict {
    if !rig.process.caps().freeze {
        return Verdict::Skipped("no freezer here".into());
    }
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let counter = instance.spawn(probe(&["count", "/tmp/n"])).await.unwrap();
        let cpu = |i: &dyn Instance| i.measure().cpu_us;
        let start = cpu(&*instance);
        while cpu(&*instance) == start {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        instance.freeze(true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let still = cpu(&*instance);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cpu(&*instance), still, "it went on");
        instance.freeze(false).await.unwrap();
        while cpu(&*instance) == still {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A frozen instance can still be killed, its group first.
        instance.freeze(true).await.unwrap();
        instance.kill_group(model::sandbox::Group::All).await.unwrap();
        assert_eq!(counter.exited.await, Exit::Signal(9));
        assert_eq!(run(&*instance, &["say", "on"]).await.1, "on\n");
        instance.freeze(true).await.unwrap();
        instance.kill().await;
    });
    Verdict::Passed
}

fn two_hundred(rig: &Rig) -> Verdict {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let me = std::process::id();
    rig.run(&["say"]);
    // What is made ahead of need is made.
    rig.wait(async { tokio::time::sleep(Duration::from_millis(300)).await });
    let spawner = *descendants(me).first().unwrap();
    let spawner_fds = format!("/proc/{spawner}/fd");
    let before = (descendants(me).len(), mounts(), count(&spawner_fds));
    let parents = parents(&rig.group_name());
    let (fds, before_groups) = (count("/proc/self/fd"), groups(&parents));
    rig.wait(async {
        for n in 0..200 {
            let instance = rig.instance(|_| ()).await;
            let (exit, _) = run(&*instance, &["say", "x"]).await;
            assert_eq!(exit, Exit::Code(0));
            // Half of them by being dropped.
            if n % 2 == 0 {
                instance.kill().await;
            }
        }
    });
    eventually("processes, mounts and descriptors are as before", || {
        (descendants(me).len(), mounts(), count(&spawner_fds)) == before
    });
    // Tasks of the last ones end in the runtime.
    let turn = || rig.wait(async { tokio::time::sleep(Duration::from_millis(5)).await });
    eventually("own descriptors are as before", || (turn(), count("/proc/self/fd")).1 <= fds);
    eventually("groups are as before", || rig.wait(rig.process.sweep()).is_empty() && groups(&parents) == before_groups);
    Verdict::Passed
}

/// What the child of [`platform_killed`] does: fills up and says so.
pub fn play_platform(folder: &str) {
    let process = myna_sandbox_process::Process::start(myna_sandbox_process::Config::new(folder)).expect("it starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let swept = process.sweep().await;
        println!("swept {}", swept.len());
        let rig_code = Path::new(folder).parent().expect("a parent").join("code");
        let mut kept = Vec::new();
        for _ in 0..5 {
            let spec = model::sandbox::Spec {
                id: model::InstanceId::random(),
                tenant: None,
                limits: crate::rig::limits(),
                mounts: vec![model::sandbox::Mount { source: rig_code.clone(), target: "/var/task".into() }],
                network: model::sandbox::Network::Loopback,
                listens: vec![],
            };
            let instance = process.create(&spec).await.expect("an instance");
            let daemon = instance.spawn(probe(&["daemon", "/tmp/x"])).await.expect("a process");
            kept.push((instance, daemon.output));
        }
        println!("ready");
        tokio::time::sleep(Duration::from_secs(1000)).await;
    });
}

fn platform_killed(rig: &Rig) -> Verdict {
    let folder = rig.folder.path().join("second");
    std::fs::create_dir_all(&folder).unwrap();
    let start = || {
        let mut child =
            Command::new("/proc/self/exe").args(["platform", folder.to_str().unwrap()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let swept: usize = lines.next().unwrap().strip_prefix("swept ").unwrap().parse().unwrap();
        assert_eq!(lines.next().as_deref(), Some("ready"));
        (child, swept)
    };
    let (mut first, swept) = start();
    let name = crate::rig::group_name(&folder);
    assert_eq!(swept, 0);
    // A daemon is nobody's child for a moment.
    eventually("a spawner, five inits, five functions", || descendants(first.id()).len() >= 11);
    let all = descendants(first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    eventually("no process is left", || all.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    let hierarchies = parents(&name).len();
    let (mut second, swept) = start();
    if hierarchies > 0 {
        assert!(swept >= 5, "one per instance, and those made ahead: {swept}");
    }
    let all = descendants(second.id());
    second.kill().unwrap();
    second.wait().unwrap();
    eventually("no process is left", || all.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    for parent in parents(&name) {
        for group in std::fs::read_dir(&parent).unwrap().flatten().filter(|e| e.path().is_dir()) {
            eventually("its groups can go", || std::fs::remove_dir(group.path()).is_ok());
        }
        std::fs::remove_dir(parent).unwrap();
    }
    Verdict::Passed
}

fn spawner_killed(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let deaf = instance.spawn(probe(&["deaf"])).await.unwrap();
        let ours = descendants(std::process::id());
        let spawner = helpers().into_iter().find(|pid| ours.contains(pid)).expect("a spawner");
        assert_eq!(unsafe { libc::kill(spawner as i32, libc::SIGKILL) }, 0);
        assert_eq!(deaf.exited.await, Exit::Gone);
        instance.kill().await;
        let next = rig.instance(|_| ()).await;
        assert_eq!(run(&*next, &["say", "again"]).await.1, "again\n");
        next.kill().await;
    });
    Verdict::Passed
}

/// Orders that nobody reads pile up; whoever gives one more is refused instead of waiting for room.
fn spawner_stopped(rig: &Rig) -> Verdict {
    let signal = |pid: u32, signal| assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let ours = descendants(std::process::id());
        let spawner = helpers().into_iter().find(|pid| ours.contains(pid)).expect("a spawner");
        signal(spawner, libc::SIGSTOP);
        // Were an order to wait for room, this thread would stand still too.
        let (over, rescue) = std::sync::mpsc::channel::<()>();
        let rescuer = std::thread::spawn(move || {
            let _ = rescue.recv_timeout(Duration::from_secs(30));
            signal(spawner, libc::SIGCONT);
        });
        let began = Instant::now();
        let mounts: Vec<_> = (0..60).map(|n| Mount { target: format!("/opt/{n}"), ..rig.code() }).collect();
        let refused = loop {
            let order = instance.attach(mounts.clone(), crate::rig::limits());
            match tokio::time::timeout(Duration::from_millis(1), order).await {
                Ok(answer) => break answer.expect_err("nobody can have answered"),
                Err(_waits) => assert!(began.elapsed() < Duration::from_secs(25), "the spawner takes any number of orders"),
            }
        };
        assert_eq!(refused.cause, model::Cause::Exhausted, "{refused}");
        assert_eq!(run(&*instance, &["say", "on"]).await.1, "on\n", "what runs goes on");
        drop(over);
        rescuer.join().unwrap();
        // It works off what has piled up; until then a start is refused, to be tried again.
        let began = Instant::now();
        let next = loop {
            match rig.process.create(&rig.spec()).await {
                Ok(next) => break next,
                Err(fault) => {
                    assert!(fault.cause == model::Cause::Exhausted && began.elapsed() < Duration::from_secs(25), "{fault}")
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(run(&*next, &["say", "again"]).await.1, "again\n");
        next.kill().await;
        instance.kill().await;
    });
    Verdict::Passed
}

/// This binary once more, as nobody.
fn plain_user(rig: &Rig) -> Verdict {
    if !rustix::process::geteuid().is_root() {
        return Verdict::Skipped("this run is a plain user's already".into());
    }
    let program = rig.folder.path().join("code/probe");
    let output = Command::new(program).arg("plain").uid(65534).gid(65534).env("TMPDIR", "/tmp").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().for_each(|l| println!("    as nobody: {l}"));
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Verdict::Passed
}
