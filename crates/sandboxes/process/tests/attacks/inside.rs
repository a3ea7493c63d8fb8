//! The function's part: what runs inside and tries things. Prints one line per thing tried.

use std::{
    fs,
    io::{self, Read, Write},
    time::Duration,
};

pub fn main(arguments: &[String]) {
    let rest: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
    match arguments[0].as_str() {
        "say" => println!("{}", rest.join(" ")),
        "attempts" => attempts(),
        "open" => rest.iter().for_each(|p| println!("{p} {}", outcome(read_some(p)))),
        "create" => rest.iter().for_each(|p| println!("{p} {}", outcome(fs::write(p, "x")))),
        "list" => rest.iter().for_each(|p| list(p)),
        "cat" => rest.iter().for_each(|p| println!("{}", fs::read_to_string(p).unwrap_or_else(|e| format!("{e}")))),
        "environment" => std::env::vars().for_each(|(k, v)| println!("{k}={v}")),
        "connect" => {
            println!("{}", outcome(std::net::TcpStream::connect(("127.0.0.1", rest[0].parse().expect("a port"))).map(drop)))
        }
        "greet" => greet(rest[0]),
        "serve" => serve(rest[0]),
        "fill" => fill(rest[0]),
        "inodes" => println!("{}", outcome((0..100_000).try_for_each(|n| fs::write(format!("/tmp/{n}"), "")))),
        "bomb" => bomb(),
        "eat" => eat(rest[0].parse().expect("MiB")),
        "count" => count(rest[0]),
        "daemon" => daemon(rest[0]),
        "deaf" => deaf(),
        "kill" => println!("{}", outcome(done(i64::from(unsafe { libc::kill(rest[0].parse().expect("a pid"), 9) })))),
        "frames" => frames(),
        "limits" => limits(),
        other => println!("unknown command {other}"),
    }
}

pub fn done(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn outcome<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(e) => name(&e),
    }
}

fn name(error: &io::Error) -> String {
    #[rustfmt::skip]
    let names = [
        (libc::EPERM, "PERM"), (libc::EACCES, "ACCESS"), (libc::ENOSYS, "NOSYS"), (libc::EAFNOSUPPORT, "AFNOSUPPORT"),
        (libc::ENOENT, "NOENT"), (libc::EROFS, "ROFS"), (libc::ENOSPC, "NOSPC"), (libc::EAGAIN, "AGAIN"),
        (libc::ECONNREFUSED, "CONNREFUSED"), (libc::EINVAL, "INVAL"),
    ];
    names.iter().find(|n| error.raw_os_error() == Some(n.0)).map_or(format!("{error:?}"), |n| n.1.to_owned())
}

fn read_some(path: &str) -> io::Result<usize> {
    fs::File::open(path)?.read(&mut [0; 64])
}

fn list(path: &str) {
    let mut names: Vec<_> = fs::read_dir(path)
        .map(|d| d.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort_unstable();
    println!("{}", names.join(" "));
}

fn greet(port: &str) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("the platform listens");
    stream.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    println!("{answer}");
}

fn serve(port: &str) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port.parse().expect("a port"))).expect("a port of its own");
    println!("listening");
    let (mut stream, _) = listener.accept().expect("a caller");
    stream.write_all(b"from inside").expect("sent");
}

fn fill(path: &str) {
    let mut file = fs::File::create(path).expect("a file");
    let mut written = 0;
    let error = loop {
        match file.write(&[1; 65536]) {
            Ok(n) => written += n,
            Err(e) => break e,
        }
    };
    println!("{} after {written}", outcome::<()>(Err(error)));
}

/// Forks without end; says how many it got.
fn bomb() {
    let mut children = 0;
    let error = loop {
        match unsafe { libc::fork() } {
            0 => loop {
                std::thread::sleep(Duration::from_secs(1000));
            },
            n if n < 0 => break io::Error::last_os_error(),
            _ => children += 1,
        }
        if children > 5000 {
            break io::Error::other("no end");
        }
    };
    println!("{} after {children}", outcome::<()>(Err(error)));
}

fn eat(mib: usize) {
    let mut all = Vec::new();
    for _ in 0..mib {
        all.push(vec![7u8; 1 << 20]);
    }
    println!("ate {}", all.len());
    std::thread::sleep(Duration::from_secs(1000));
}

/// Writes a growing number to a file.
fn count(path: &str) {
    for n in 0u64.. {
        fs::write(path, n.to_string()).expect("a file in /tmp");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Gets away from its parent, then counts.
fn daemon(path: &str) {
    for _ in 0..2 {
        if unsafe { libc::fork() } > 0 {
            std::process::exit(0);
        }
        unsafe { libc::setsid() };
    }
    count(path);
}

fn deaf() {
    for signal in 1..32 {
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    println!("deaf");
    std::thread::sleep(Duration::from_secs(1000));
}

fn frames() {
    let number = std::env::var("FRAMES").expect("the variable is set").parse().expect("a number");
    let mut file = unsafe { <fs::File as std::os::fd::FromRawFd>::from_raw_fd(number) };
    file.write_all(b"framed").expect("sent");
    println!("plain");
}

fn limits() {
    for (name, what) in [
        ("core", libc::RLIMIT_CORE),
        ("nofile", libc::RLIMIT_NOFILE),
        ("stack", libc::RLIMIT_STACK),
        ("memlock", libc::RLIMIT_MEMLOCK),
    ] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        unsafe { libc::getrlimit(what, &raw mut limit) };
        println!("{name} {}", limit.rlim_cur);
    }
}

/// Calls that a function never needs, by number where libc has no name for them everywhere.
fn attempts() {
    let call = |name: &str, number: i64, a: [i64; 5]| {
        let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4]) };
        println!("{name} {}", outcome(done(result)));
    };
    let path = |p: &'static std::ffi::CStr| p.as_ptr() as i64;
    let none = [0; 5];
    let socket = |family: i32, kind: i32, protocol: i32| [family.into(), kind.into(), protocol.into(), 0, 0];
    call("mount", libc::SYS_mount, [path(c"none"), path(c"/tmp"), path(c"tmpfs"), 0, 0]);
    call("umount", libc::SYS_umount2, [path(c"/proc"), libc::MNT_DETACH.into(), 0, 0, 0]);
    call("open_tree", libc::SYS_open_tree, [-100, path(c"/"), 1, 0, 0]);
    call("fsopen", libc::SYS_fsopen, [path(c"cgroup2"), 0, 0, 0, 0]);
    call("pivot_root", libc::SYS_pivot_root, [path(c"/"), path(c"/"), 0, 0, 0]);
    call("chroot", libc::SYS_chroot, [path(c"/tmp"), 0, 0, 0, 0]);
    call("setns", libc::SYS_setns, [0, 0, 0, 0, 0]);
    call("unshare_user", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0]);
    call("clone_user", libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0]);
    call("clone3", libc::SYS_clone3, none);
    call("keyctl", libc::SYS_keyctl, none);
    call("add_key", libc::SYS_add_key, none);
    call("request_key", libc::SYS_request_key, none);
    call("open_by_handle_at", libc::SYS_open_by_handle_at, none);
    call("bpf", libc::SYS_bpf, none);
    call("perf_event_open", libc::SYS_perf_event_open, none);
    call("userfaultfd", libc::SYS_userfaultfd, none);
    call("io_uring_setup", libc::SYS_io_uring_setup, none);
    call("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), 1, 0, 0, 0]);
    call("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]);
    call("kexec_load", libc::SYS_kexec_load, none);
    call("init_module", libc::SYS_init_module, none);
    call("reboot", libc::SYS_reboot, none);
    call("swapon", libc::SYS_swapon, none);
    call("sethostname", libc::SYS_sethostname, [path(c"x"), 1, 0, 0, 0]);
    call("personality", libc::SYS_personality, [0x40000, 0, 0, 0, 0]);
    call("newest", 9999, none);
    call("af_alg", libc::SYS_socket, socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0));
    call("af_vsock", libc::SYS_socket, socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0));
    call("af_packet", libc::SYS_socket, socket(libc::AF_PACKET, libc::SOCK_RAW, 0));
    call("netlink_audit", libc::SYS_socket, socket(libc::AF_NETLINK, libc::SOCK_RAW, 9));
    call("raw_inet", libc::SYS_socket, socket(libc::AF_INET, libc::SOCK_RAW, 1));
    call("setuid_root", libc::SYS_setresuid, none);
    call("mknod", libc::SYS_mknodat, [-100, path(c"/tmp/disk"), i64::from(libc::S_IFBLK | 0o666), 0x0800, 0]);
    for file in
        ["/proc/keys", "/proc/kallsyms", "/proc/kcore", "/proc/timer_list", "/proc/1/environ", "/proc/1/exe", "/proc/1/maps"]
    {
        println!("{file} {}", outcome(read_some(file)));
    }
    for file in
        ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/self/oom_score_adj"]
    {
        let write = fs::OpenOptions::new().write(true).open(file).and_then(|mut f| f.write_all(b"-1000"));
        println!("{file} {}", outcome(write));
    }
    let release = fs::write("/sys/fs/cgroup/release_agent", "/tmp/x");
    println!("release_agent {}", outcome(release));
}
