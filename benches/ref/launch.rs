//! Reference: from nothing to the first byte of a static program in new namespaces, as often as asked for, after a rest each time; a
//! line of microseconds each. Frozen: a change to this file voids every figure measured against it.
//!
//! usage: ref-launch EMPTY_FOLDER PROGRAM RUNS REST_MS

mod jail;

use std::{
    ffi::CString,
    fs::File,
    io::Read,
    os::fd::AsRawFd,
    path::Path,
    time::{Duration, Instant},
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, program, runs, rest] = &args[..] else { anyhow::bail!("usage: ref-launch EMPTY_FOLDER PROGRAM RUNS REST_MS") };
    let rest = Duration::from_millis(rest.parse()?);
    let (jail, null) = (jail::Jail::new(Path::new(folder), false)?, File::open("/dev/null")?);
    let argv = [CString::new(program.as_str())?];
    for _ in 0..runs.parse()? {
        std::thread::sleep(rest);
        let began = Instant::now();
        let (mut reader, writer) = std::io::pipe()?;
        let (inmate, _) = jail.start(&argv, &[], [null.as_raw_fd(), writer.as_raw_fd()], None)?;
        drop(writer);
        reader.read_exact(&mut [0])?;
        println!("{}", began.elapsed().as_micros());
        drop(inmate);
    }
    Ok(())
}
