//! Is this file an interpreter, and which version? A name on the search path may be a script of a version manager that works
//! in a login shell and nowhere else; only a real program that answers counts.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// An interpreter that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// With every link resolved.
    pub program: PathBuf,
    /// `3.12.1`, without a leading letter.
    pub version: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("there is no {0}")]
    Absent(String),
    #[error("{0} is not a program (a script, perhaps of a version manager)")]
    NotElf(String),
    #[error("{0} did not answer its version: {1}")]
    Mute(String, String),
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Ask a program for its version, with an empty environment.
pub fn probe(path: &Path) -> Result<Found, Error> {
    let shown = path.display().to_string();
    let program = path.canonicalize().map_err(|_| Error::Absent(shown.clone()))?;
    let mut magic = [0; 4];
    if File::open(&program).and_then(|mut f| f.read_exact(&mut magic)).is_err() || &magic != b"\x7fELF" {
        return Err(Error::NotElf(shown));
    }
    // Java only knows the short form, and answers on the other stream; the rest know both.
    let java = program.file_name().is_some_and(|n| n == "java");
    let said = run(Command::new(&program).arg(if java { "-version" } else { "--version" }))
        .map_err(|e| Error::Mute(shown.clone(), e))?;
    let version = version_in(&said).ok_or_else(|| Error::Mute(shown, said.lines().next().unwrap_or_default().to_owned()))?;
    Ok(Found { program, version })
}

/// Both streams of a short run.
pub fn run(command: &mut Command) -> Result<String, String> {
    let mut child = command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let until = Instant::now() + ANSWER_TIME_MAX;
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no answer in {} s", ANSWER_TIME_MAX.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{}: {}", output.status, text.trim())) }
}

/// The first thing that looks like `1.2` or `v20.1.2` or `"17.0.1"`.
fn version_in(text: &str) -> Option<String> {
    text.split_whitespace().map(|word| word.trim_matches(['"', 'v'])).find_map(|word| {
        let version: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let plausible = version.starts_with(|c: char| c.is_ascii_digit()) && (version.contains('.') || word == version);
        plausible.then_some(version)
    })
}

/// Whether `3.12.1` is a `3.12`.
pub fn is_version(found: &str, wanted: &str) -> bool {
    found.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_say() {
        for (said, version) in [
            ("Python 3.12.1\n", "3.12.1"),
            ("v20.20.2\n", "20.20.2"),
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", "17.0.15"),
            ("openjdk version \"25\" 2025-09-16 LTS", "25"),
        ] {
            assert_eq!(version_in(said).as_deref(), Some(version));
        }
        assert_eq!(version_in("no version here"), None);
        assert!(is_version("3.1.4", "3.1") && !is_version("3.12.1", "3.1") && is_version("25", "25"));
    }

    #[test]
    fn a_script_is_no_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("python3.12");
        std::fs::write(&script, "#!/bin/sh\necho Python 3.12.1\n").unwrap();
        assert!(matches!(probe(&script), Err(Error::NotElf(_))));
        assert!(matches!(probe(&folder.path().join("none")), Err(Error::Absent(_))));
    }
}
