//! A static program of one page: it writes a byte and ends. By hand, since these few instructions need no compiler for another target.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

pub fn write(at: &Path) -> io::Result<()> {
    fs::write(at, content())?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))
}

#[cfg(target_arch = "x86_64")]
fn content() -> Vec<u8> {
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
fn content() -> Vec<u8> {
    b"#!/bin/sh\nprintf E\n".to_vec()
}
