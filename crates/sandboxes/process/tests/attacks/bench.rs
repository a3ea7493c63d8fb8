//! How long it takes from asking for an instance to the first byte of a static program in it. Printed, never judged.

use crate::rig::Rig;
use model::{
    ports::Sandbox,
    sandbox::{Endpoint, Group, ProcSpec},
};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

const RUNS: usize = 50;

/// A program of one page: writes a byte, ends. By hand, since no compiler is needed to know these few instructions.
#[cfg(target_arch = "x86_64")]
fn static_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const CODE: u64 = 64 + 56;
    #[rustfmt::skip]
    let code: &[u8] = &[
        0xb8, 1, 0, 0, 0,                   // write
        0xbf, 1, 0, 0, 0,                   // to 1
        0xbe, 0x01, 0x00, 0x40, 0x00,       // from the header's "ELF"
        0xba, 1, 0, 0, 0,                   // one byte
        0x0f, 0x05,
        0xb8, 231, 0, 0, 0,                 // exit_group
        0x31, 0xff,                         // 0
        0x0f, 0x05,
    ];
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let half = |f: &mut Vec<u8>, n: u16| f.extend(n.to_le_bytes());
    let word = |f: &mut Vec<u8>, n: u32| f.extend(n.to_le_bytes());
    let long = |f: &mut Vec<u8>, n: u64| f.extend(n.to_le_bytes());
    half(&mut file, 2);
    half(&mut file, 62);
    word(&mut file, 1);
    long(&mut file, BASE + CODE);
    long(&mut file, 64);
    long(&mut file, 0);
    word(&mut file, 0);
    for n in [64, 56, 1, 64, 0, 0] {
        half(&mut file, n);
    }
    word(&mut file, 1);
    word(&mut file, 5);
    let size = CODE + code.len() as u64;
    for n in [0, BASE, BASE, size, size, 0x1000] {
        long(&mut file, n);
    }
    file.extend(code);
    file
}

#[cfg(not(target_arch = "x86_64"))]
fn static_program() -> Vec<u8> {
    b"#!/bin/sh\nprintf E\n".to_vec()
}

pub fn launch(rig: &Rig) {
    use std::os::unix::fs::PermissionsExt;
    let program = rig.folder.path().join("code/static");
    std::fs::write(&program, static_program()).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    for warm_up in [true, false] {
        let mut steps: [Vec<Duration>; 4] = Default::default();
        for _ in 0..RUNS {
            for (all, took) in steps.iter_mut().zip(rig.wait(once(rig))) {
                all.push(took);
            }
        }
        if !warm_up {
            for (name, mut all) in ["create", "spawn", "first byte", "all three"].into_iter().zip(steps) {
                all.sort_unstable();
                println!("{name:>10}: min {:>8.3?} median {:>8.3?} of {RUNS}", all[0], all[RUNS / 2]);
            }
        }
    }
}

async fn once(rig: &Rig) -> [Duration; 4] {
    let mut spec = rig.spec();
    spec.listens = vec![Endpoint::Tcp(9001)];
    let start = Instant::now();
    let instance = rig.process.create(&spec).await.expect("an instance");
    let created = start.elapsed();
    let process = ProcSpec {
        argv: vec!["/var/task/static".into()],
        env: vec![],
        cwd: "/".into(),
        group: Group::Runtime,
        log_frames_env: None,
    };
    let started = instance.spawn(process).await.expect("a process");
    let spawned = start.elapsed();
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(started.output).expect("a pipe");
    let byte = output.read_u8().await.expect("a byte");
    let all = start.elapsed();
    assert_eq!(byte, b'E');
    instance.kill().await;
    [created, spawned - created, all - spawned, all]
}
