//! Reference: an interpreter that was started before, in new namespaces and with one processor, is told where its code is, imports
//! it and answers one event; a line of microseconds from telling to the answer each. Frozen: a change to this file voids every
//! figure measured against it.
//!
//! usage: ref-assign EMPTY_FOLDER CODE RUNS INTERPRETER ARGUMENT…

mod jail;

use std::{
    ffi::CString,
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

/// As long as an instance that waits is left alone before it is used.
const REST: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, code, runs, command @ ..] = &args[..] else {
        anyhow::bail!("usage: ref-assign EMPTY_FOLDER CODE RUNS INTERPRETER ARGUMENT…")
    };
    let jail = jail::Jail::new(Path::new(folder), true)?;
    let argv: Vec<CString> = command.iter().map(|a| CString::new(a.as_str())).collect::<Result<_, _>>()?;
    let env = [CString::new("PATH=/usr/bin:/bin")?];
    for _ in 0..runs.parse()? {
        let (ours, theirs) = UnixStream::pair()?;
        let (inmate, _) = jail.start(&argv, &env, [theirs.as_raw_fd(), theirs.as_raw_fd()], None)?;
        drop(theirs);
        let (mut writer, mut reader, mut line) = (ours.try_clone()?, BufReader::new(ours), String::new());
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "the instance ended before it was ready");
        std::thread::sleep(REST);
        let began = Instant::now();
        writer.write_all(format!("{code}\n{{}}\n").as_bytes())?;
        line.clear();
        reader.read_line(&mut line)?;
        let took = began.elapsed();
        anyhow::ensure!(line.trim_end() == "{}", "the instance answered {line:?}");
        println!("{}", took.as_micros());
        drop(inmate);
    }
    Ok(())
}
