//! What a function can't see, reach, change or use up.

use crate::{
    Test,
    rig::{MIB, PROBE, Rig, Verdict, finish, limits, probe, run},
};
use model::{
    Cause,
    ports::Sandbox,
    sandbox::{Endpoint, Exit, Group, Limits, Mount},
};
use std::{collections::BTreeMap, os::unix::fs::symlink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Hold for a plain user too.
pub const ANY_USER: &[(&str, Test)] = &[
    ("forbidden_calls_fail_with_their_errno", attempts),
    ("only_three_descriptors_are_open", descriptors),
    ("nothing_but_tmp_can_be_written", writes),
    ("only_its_own_environment_and_processes_are_there", sees_itself),
    ("tmp_ends_at_its_bytes_and_at_its_inodes", tmp),
    ("the_platform_serves_and_dials_inside_and_only_there", network),
    ("framed_records_have_a_pipe_of_their_own", frames),
    ("code_comes_after_the_start_and_to_deeper_places", attach),
    ("what_cannot_start_says_why", unstartable),
    ("init_cannot_be_killed_from_inside", kill_init),
    ("everything_inside_dies_and_the_sandbox_stays", kill_group),
    ("rested_or_not_an_instance_takes_the_next_question", rest),
];

pub const ALL: &[(&str, Test)] = &[
    ("a_fork_bomb_ends_at_the_process_limit", bomb),
    ("who_eats_memory_is_killed_for_it", eat),
    ("tmp_is_not_the_functions_memory", tmp_is_apart),
    ("instances_have_user_ids_of_their_own", user_ids),
    ("a_planted_link_is_not_followed", planted),
];

/// Where nothing can be frozen, the attempt leaves nothing behind.
fn rest(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let rested = instance.freeze(true).await;
        if rig.process.caps().freeze {
            assert!(rested.is_ok(), "{rested:?}");
        } else {
            assert_eq!(rested.unwrap_err().cause, Cause::Unsupported);
        }
        assert_eq!(run(&*instance, &["say", "awake"]).await.1, "awake\n");
        instance.kill().await;
    });
    Verdict::Passed
}

fn lines(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|l| l.rsplit_once(' ')).collect()
}

fn attempts(rig: &Rig) -> Verdict {
    let (exit, text) = rig.run(&["attempts"]);
    assert_eq!(exit, Exit::Code(0), "{text}");
    let got = lines(&text);
    #[rustfmt::skip]
    let expected = [
        ("mount", "PERM"), ("umount", "PERM"), ("open_tree", "PERM"), ("fsopen", "PERM"), ("pivot_root", "PERM"), ("chroot", "PERM"),
        ("setns", "PERM"), ("unshare_user", "PERM"), ("clone_user", "PERM"), ("clone3", "NOSYS"), ("keyctl", "PERM"),
        ("add_key", "PERM"), ("request_key", "PERM"), ("open_by_handle_at", "PERM"), ("bpf", "PERM"), ("perf_event_open", "PERM"),
        ("userfaultfd", "PERM"), ("io_uring_setup", "PERM"), ("ptrace", "PERM"), ("process_vm_readv", "PERM"),
        ("kexec_load", "PERM"), ("init_module", "PERM"), ("reboot", "PERM"), ("swapon", "PERM"), ("sethostname", "PERM"),
        ("personality", "PERM"), ("newest", "NOSYS"), ("af_alg", "AFNOSUPPORT"), ("af_vsock", "AFNOSUPPORT"),
        ("af_packet", "AFNOSUPPORT"), ("netlink_audit", "AFNOSUPPORT"), ("raw_inet", "PERM"), ("setuid_root", "PERM"),
        ("mknod", "PERM"), ("/proc/keys", "ACCESS"), ("/proc/kallsyms", "ACCESS"), ("/proc/kcore", "ACCESS"),
        ("/proc/timer_list", "ACCESS"), ("/proc/1/environ", "NOENT"), ("/proc/1/exe", "NOENT"), ("/proc/1/maps", "NOENT"),
        ("/proc/sysrq-trigger", "ACCESS"), ("/proc/sys/kernel/core_pattern", "ACCESS"),
        ("/proc/sys/vm/overcommit_memory", "ACCESS"), ("/proc/self/oom_score_adj", "ACCESS"), ("release_agent", "NOENT"),
    ];
    // Some kernels are built without these.
    let absent = |name: &str| ["/proc/kcore", "/proc/sysrq-trigger", "/proc/timer_list"].contains(&name) && got[name] == "NOENT";
    // Where one id is all there is, no other exists to become.
    let absent = |name: &str| absent(name) || (name == "setuid_root" && got[name] == "INVAL");
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(name, errno)| got.get(name) != Some(errno) && !absent(name))
        .map(|(n, e)| (n, e, got.get(n)))
        .collect();
    assert!(wrong.is_empty(), "name, expected, got: {wrong:?}");
    assert_eq!(got.len(), expected.len(), "{text}");
    Verdict::Passed
}

fn descriptors(rig: &Rig) -> Verdict {
    // The fourth is the folder being listed.
    let (_, text) = rig.run(&["list", "/proc/self/fd"]);
    assert_eq!(text, "0 1 2 3\n");
    let (_, text) = rig.run(&["limits"]);
    assert_eq!(text, "core 1\nnofile 1024\nstack 8388608\nmemlock 65536\n");
    Verdict::Passed
}

fn writes(rig: &Rig) -> Verdict {
    let paths = ["/x", "/var/task/x", "/usr/bin/x", "/etc/passwd", "/opt/x", "/run/x", "/var/runtime/x", "/home/x", "/proc/x"];
    let (_, text) = rig.run(&[&["create"], &paths[..], &["/tmp/x", "/dev/shm/x"]].concat());
    let got = lines(&text);
    for path in paths {
        assert!(["ROFS", "ACCESS", "NOENT", "PERM"].contains(&got[path]), "{path}: {}", got[path]);
    }
    assert_eq!((got["/tmp/x"], got["/dev/shm/x"]), ("ok", "ok"));
    Verdict::Passed
}

fn sees_itself(rig: &Rig) -> Verdict {
    rig.wait(async {
        let (a, b) = (rig.instance(|_| ()).await, rig.instance(|_| ()).await);
        let other = a.spawn(probe(&["count", "/tmp/of-a"])).await.unwrap();
        let (_, text) = run(&*b, &["environment"]).await;
        assert_eq!(text, "SECRET=mine\n");
        let (_, text) = run(&*b, &["list", "/tmp", "/"]).await;
        assert_eq!(
            text,
            "\nbin dev etc home lib lib64 opt proc root run sbin sys tmp usr var\n"
                .replace(" lib64", if std::path::Path::new("/lib64").exists() { " lib64" } else { "" })
        );
        let (_, text) = run(&*b, &["list", "/proc"]).await;
        let pids: Vec<_> = text.split(' ').filter(|n| n.bytes().all(|b| b.is_ascii_digit())).collect();
        assert_eq!(pids.len(), 1, "one process, itself: {pids:?}");
        let (_, text) = run(&*b, &["cat", "/proc/self/cgroup", "/proc/sys/kernel/hostname", "/proc/self/mountinfo"]).await;
        assert!(!text.contains("myna-") && !text.contains("/code"), "names of the platform: {text}");
        assert!(text.contains("sandbox.localdomain"));
        a.kill().await;
        assert_eq!(other.exited.await, Exit::Gone);
        b.kill().await;
    });
    Verdict::Passed
}

fn tmp(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|s| s.limits.tmp_bytes = 2 * MIB).await;
        let (_, text) = run(&*instance, &["fill", "/tmp/big"]).await;
        assert_eq!(text, format!("NOSPC after {}\n", 2 * MIB));
        let (_, text) = run(&*instance, &["inodes"]).await;
        assert_eq!(text, "NOSPC\n");
        instance.kill().await;
        let next = rig.instance(|_| ()).await;
        assert_eq!(run(&*next, &["list", "/tmp"]).await.1, "\n");
        let (_, text) = run(&*next, &["inodes"]).await;
        assert_eq!(text, "NOSPC\n");
        next.kill().await;
    });
    Verdict::Passed
}

fn network(rig: &Rig) -> Verdict {
    rig.wait(async {
        let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = host.local_addr().unwrap().port().to_string();
        let unix = Endpoint::Unix("/run/api.sock".into());
        let instance = rig.instance(|s| s.listens = vec![Endpoint::Tcp(9001), unix.clone()]).await;
        assert_eq!(run(&*instance, &["connect", &port]).await.1, "CONNREFUSED\n");
        assert!(std::net::TcpStream::connect("127.0.0.1:9001").is_err(), "the host can't reach it");

        let link = instance.link();
        // Twice: the listener outlives what connected to it.
        for _ in 0..2 {
            let listener = link.listen(&Endpoint::Tcp(9001)).await.unwrap();
            let caller = instance.spawn(probe(&["greet", "9001"])).await.unwrap();
            let mut stream = listener.accept().await.unwrap();
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
            drop(stream);
            assert_eq!((&hello, finish(caller).await), (b"hello", (Exit::Code(0), "welcome\n".into())));
            instance.kill_group(Group::All).await.unwrap();
        }
        let callee = instance.spawn(probe(&["serve", "8080"])).await.unwrap();
        let mut stream = loop {
            match link.dial(&Endpoint::Tcp(8080)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        };
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), finish(callee).await.0), ("from inside", Exit::Code(0)));
        let listener = link.listen(&unix).await.unwrap();
        let (dialled, accepted) = tokio::join!(link.dial(&unix), listener.accept());
        assert!(dialled.is_ok() && accepted.is_ok());
        assert!(link.listen(&Endpoint::Tcp(1)).await.is_err());
        instance.kill().await;
        assert!(link.dial(&Endpoint::Tcp(9001)).await.is_err());
    });
    Verdict::Passed
}

fn frames(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let mut spec = probe(&["frames"]);
        spec.log_frames_env = Some("FRAMES");
        let mut started = instance.spawn(spec).await.unwrap();
        let frames = started.frames.take().unwrap();
        assert_eq!(finish(started).await, (Exit::Code(0), "plain\n".into()));
        assert_eq!(crate::rig::read_all(frames), "framed");
        instance.kill().await;
    });
    Verdict::Passed
}

fn attach(rig: &Rig) -> Verdict {
    let more = rig.folder.path().join("more");
    std::fs::create_dir_all(&more).unwrap();
    std::fs::write(more.join("hello"), "layer").unwrap();
    rig.wait(async {
        let instance = rig.instance(|s| s.mounts.clear()).await;
        let failed = instance.spawn(probe(&["say"])).await.map(drop).unwrap_err();
        assert_eq!(failed.cause, Cause::InitFailed, "{failed}");
        let deep = Mount { source: more.clone(), target: "/opt/python/lib".into() };
        let deeper = Mount { source: more.join("hello"), target: "/opt/python/one/file".into() };
        let roomy = Limits { tmp_bytes: 32 * MIB, ..limits() };
        instance.attach(vec![rig.code(), deep], roomy).await.unwrap();
        instance.attach(vec![deeper], roomy).await.unwrap();
        let (_, text) = run(&*instance, &["cat", "/opt/python/lib/hello", "/opt/python/one/file"]).await;
        assert_eq!(text, "layer\nlayer\n");
        let (_, text) = run(&*instance, &["create", "/opt/x", "/opt/python/x", "/opt/python/lib/x"]).await;
        assert_eq!(text.matches("ROFS").count(), 3, "{text}");
        assert_eq!(run(&*instance, &["fill", "/tmp/big"]).await.1, format!("NOSPC after {}\n", 32 * MIB));
        let outside = Mount { source: more.clone(), target: "/etc/x".into() };
        assert!(instance.attach(vec![outside], roomy).await.is_err());
        let missing = Mount { source: more.join("none"), target: "/var/lang".into() };
        let failed = instance.attach(vec![missing], roomy).await.unwrap_err();
        assert!(failed.message.contains("none") && failed.detail.as_deref() == Some("ENOENT"), "{failed:?}");
        instance.kill().await;
    });
    Verdict::Passed
}

fn unstartable(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let mut spec = probe(&[]);
        spec.argv = vec!["/var/task/missing".into()];
        let failed = instance.spawn(spec).await.map(drop).unwrap_err();
        assert!(failed.message.contains("/var/task/missing") && failed.detail.as_deref() == Some("ENOENT"), "{failed:?}");
        let mut spec = probe(&["say", "found"]);
        (spec.argv[0], spec.env) = ("probe".into(), vec![("PATH".into(), "/none:/var/task".into())]);
        assert_eq!(finish(instance.spawn(spec).await.unwrap()).await.1, "found\n");
        let mut spec = probe(&["say"]);
        spec.cwd = "/nowhere".into();
        assert!(instance.spawn(spec).await.is_err());
        let mut spec = probe(&["say"]);
        spec.env.push(("BIG".into(), "x".repeat(300_000).into()));
        assert_eq!(instance.spawn(spec).await.map(drop).unwrap_err().cause, Cause::Invalid);
        assert_eq!(run(&*instance, &["say", "still here"]).await.1, "still here\n");
        instance.kill().await;
        let bad = rig.process.create(&{
            let mut spec = rig.spec();
            spec.mounts[0].target = "/etc".into();
            spec
        });
        assert!(bad.await.is_err());
    });
    Verdict::Passed
}

fn kill_init(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        // Not allowed where the ids differ, without effect where they are one.
        let (_, text) = run(&*instance, &["kill", "1"]).await;
        assert!(text == "PERM\n" || text == "ok\n", "{text}");
        run(&*instance, &["kill", "-1"]).await;
        assert_eq!(run(&*instance, &["say", "alive"]).await.1, "alive\n");
        instance.kill().await;
    });
    Verdict::Passed
}

fn kill_group(rig: &Rig) -> Verdict {
    rig.wait(async {
        let instance = rig.instance(|_| ()).await;
        let deaf = instance.spawn(probe(&["deaf"])).await.unwrap();
        let (exit, _) = run(&*instance, &["create", "/tmp/kept"]).await;
        assert_eq!(exit, Exit::Code(0));
        // Its output pipe is kept open by the one that got away, so only its exit is waited for.
        let daemon = instance.spawn(probe(&["daemon", "/tmp/daemon"])).await.unwrap();
        assert_eq!(daemon.exited.await, Exit::Code(0));
        while !run(&*instance, &["list", "/tmp"]).await.1.contains("daemon") {}
        instance.kill_group(Group::All).await.unwrap();
        assert_eq!(deaf.exited.await, Exit::Signal(9));
        let (_, before) = run(&*instance, &["cat", "/tmp/daemon"]).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let (_, after) = run(&*instance, &["cat", "/tmp/daemon"]).await;
        assert_eq!(before, after, "the daemon is dead");
        assert!(run(&*instance, &["list", "/tmp"]).await.1.contains("kept"));
        let (_, text) = run(&*instance, &["list", "/proc"]).await;
        assert_eq!(text.split(' ').filter(|n| n.bytes().all(|b| b.is_ascii_digit())).count(), 1);
        instance.kill().await;
    });
    Verdict::Passed
}

fn weaker(rig: &Rig, what: &str) -> Option<Verdict> {
    rig.process.caps().weaker.iter().find(|w| w.contains(what)).map(|w| Verdict::Skipped(w.clone()))
}

fn bomb(rig: &Rig) -> Verdict {
    if let Some(skip) = weaker(rig, "process limit") {
        return skip;
    }
    rig.wait(async {
        let (instance, neighbour) = (rig.instance(|s| s.limits.pids = 20).await, rig.instance(|_| ()).await);
        let bomb = instance.spawn(probe(&["bomb"])).await.unwrap();
        assert_eq!(bomb.exited.await, Exit::Code(0));
        assert_eq!(instance.measure().processes, 19, "all but the one that has ended");
        assert_eq!(run(&*neighbour, &["say", "calm"]).await.1, "calm\n");
        instance.kill_group(Group::All).await.unwrap();
        assert_eq!(instance.measure().processes, 0);
        assert_eq!(crate::rig::read_all(bomb.output), "AGAIN after 19\n");
        instance.kill().await;
        neighbour.kill().await;
    });
    Verdict::Passed
}

fn eat(rig: &Rig) -> Verdict {
    if let Some(skip) = weaker(rig, "memory limit") {
        return skip;
    }
    rig.wait(async {
        let instance = rig.instance(|s| s.limits.memory_bytes = 48 * MIB).await;
        let (exit, _) = run(&*instance, &["eat", "400"]).await;
        assert_eq!(exit, Exit::OutOfMemory);
        let measured = instance.measure();
        assert!(measured.oom_kills >= 1 && measured.memory_max_bytes <= 64 * MIB, "{measured:?}");
        assert_eq!(instance.kill().await, Exit::OutOfMemory);
    });
    Verdict::Passed
}

fn tmp_is_apart(rig: &Rig) -> Verdict {
    if let Some(skip) = weaker(rig, "memory limit") {
        return skip;
    }
    rig.wait(async {
        let change = |s: &mut model::sandbox::Spec| (s.limits.memory_bytes, s.limits.tmp_bytes) = (48 * MIB, 200 * MIB);
        let instance = rig.instance(change).await;
        // Much more than its memory, and not killed for it.
        assert_eq!(run(&*instance, &["fill", "/tmp/big"]).await, (Exit::Code(0), format!("NOSPC after {}\n", 200 * MIB)));
        assert!(instance.measure().memory_bytes < 48 * MIB);
        instance.kill().await;
        // And memory doesn't become more where /tmp is empty.
        let instance = rig.instance(change).await;
        let (exit, text) = run(&*instance, &["eat", "150"]).await;
        assert_eq!(exit, Exit::OutOfMemory, "{text}");
        assert!(instance.measure().oom_kills >= 1);
        instance.kill().await;
    });
    Verdict::Passed
}

fn user_ids(rig: &Rig) -> Verdict {
    if let Some(skip) = weaker(rig, "own id") {
        return skip;
    }
    rig.wait(async {
        let (a, b) = (rig.instance(|_| ()).await, rig.instance(|_| ()).await);
        let mut seen = std::collections::BTreeSet::new();
        for instance in [&a, &b] {
            let (_, text) = run(&**instance, &["cat", "/proc/self/uid_map", "/proc/self/status"]).await;
            assert!(text.contains("Uid:\t993\t993\t993\t993") && text.contains("Gid:\t990\t990\t990\t990"), "{text}");
            assert!(
                text.contains("CapPrm:\t0000000000000000")
                    && text.contains("CapBnd:\t0000000000000000")
                    && text.contains("NoNewPrivs:\t1"),
                "{text}"
            );
            let map =
                text.lines().find(|l| l.trim_start().starts_with("993")).unwrap().split_whitespace().nth(1).unwrap().to_owned();
            assert!(seen.insert(map), "an id was given twice: {text}");
        }
        let owners = run(&*a, &["list", "/var/task"]).await.1;
        assert_eq!(owners, "probe\n");
        a.kill().await;
        b.kill().await;
    });
    Verdict::Passed
}

/// A package whose folder is a link must not lead the next mount outside.
fn planted(rig: &Rig) -> Verdict {
    let evil = rig.folder.path().join("evil");
    std::fs::create_dir_all(&evil).unwrap();
    let _ = symlink("/etc", evil.join("python"));
    rig.wait(async {
        let mut spec = rig.spec();
        spec.mounts = vec![
            Mount { source: evil.clone(), target: "/opt".into() },
            Mount { source: rig.folder.path().join("code"), target: "/opt/python".into() },
        ];
        let failed = rig.process.create(&spec).await.map(drop).unwrap_err();
        assert_eq!(failed.detail.as_deref(), Some("ELOOP"), "{failed:?}");
    });
    let _ = PROBE;
    Verdict::Passed
}
