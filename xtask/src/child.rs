//! One child program at a time: its output shown or kept, its time limited.

use anyhow::{Context, Result};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub struct Ended {
    pub ok: bool,
    pub timed_out: bool,
    pub output: String,
}

/// Runs `command` to its end and keeps stdout and stderr in the order in which they came; `show` passes each line on as well.
/// A child that outlives `limit` is killed: a run that hangs must not eat the time of all others.
pub fn run(command: &mut Command, limit: Duration, show: bool) -> Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {name}"))?;
    let (tx, rx) = mpsc::channel();
    lines(child.stdout.take().expect("stdout was piped above"), tx.clone());
    lines(child.stderr.take().expect("stderr was piped above"), tx);

    let until = Instant::now() + limit;
    let mut output = String::new();
    let mut timed_out = false;
    let status = loop {
        match rx.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if show {
                    println!("{line}");
                }
                output.push_str(&line);
                output.push('\n');
                continue;
            }
            // A grandchild may hold the pipes open after the child has gone, so the child is asked as well.
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(5)),
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if !timed_out && Instant::now() > until {
            timed_out = true;
            child.kill().with_context(|| format!("can't kill {name}"))?;
        }
    };
    Ok(Ended { ok: status.success() && !timed_out, timed_out, output })
}

fn lines(pipe: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_hangs_is_killed_and_its_output_kept() {
        let mut sleeper = Command::new("sh");
        sleeper.args(["-c", "echo begun; exec sleep 600"]);
        let ended = run(&mut sleeper, Duration::from_millis(300), false).expect("sh exists");
        assert!(ended.timed_out && !ended.ok);
        assert_eq!(ended.output, "begun\n");
    }
}
