//! Rules about our own sources that no lint knows.

use std::{collections::BTreeMap, fs, path::Path};

/// What starts a shell, in the spellings that a program would use.
const SHELLS: &[&str] = &["\"sh\"", "\"bash\"", "\"dash\"", "/bin/sh", "/bin/bash", "\"sh -c", "system("];

/// What starts a process.
const STARTS: &[&str] = &["Command::new", "libc::exec", "posix_spawn", "fexecve", "execveat"];

/// Every place outside of tests that starts a process, how often, and why. A new one is added here by somebody who has asked
/// whether a function, a client or a file could choose what runs.
const ALLOWED: &[(&str, usize, &str)] = &[
    ("myna/src/project/source.rs", 1, "the build of a Rust or Go project, in the user's own terminal"),
    ("myna/src/verbs/dev/check.rs", 2, "the languages' own syntax checks of what `myna dev` watches"),
    ("myna/src/verbs/open.rs", 1, "the user's browser"),
    ("runtimes/src/install.rs", 5, "pip, npm and mvn for `myna runtime install`"),
    ("runtimes/src/probe.rs", 1, "an interpreter, asked for its version"),
    ("runtimes/src/python.rs", 2, "an interpreter, asked for its tag and to compile the shim"),
    ("sandboxes/process/src/jail.rs", 1, "a function's own process, inside its sandbox"),
    ("sandboxes/process/src/spawner.rs", 1, "this program again, as the spawner"),
    ("store/src/seal/master.rs", 1, "the program that the owner named for printing the master key, at the start"),
];

/// A line of code with its number, tests and comments left out.
type Line<'a> = (usize, &'a str);

#[test]
fn the_platform_starts_no_shell() {
    let mut found = Vec::new();
    each(&mut |path, code| {
        for (n, line) in code {
            let starts =
                line.contains("Command::new") || line.contains("exec") || line.contains("argv") || line.contains("spawn");
            if starts && SHELLS.iter().any(|s| line.contains(s)) {
                found.push(format!("{path}:{n}: {}", line.trim()));
            }
        }
    });
    assert!(found.is_empty(), "a shell is started:\n{}", found.join("\n"));
}

#[test]
fn processes_are_started_where_the_list_says_and_nowhere_else() {
    let mut found = BTreeMap::new();
    each(&mut |path, code| {
        let count = code.iter().map(|(_, line)| STARTS.iter().map(|s| line.matches(s).count()).sum::<usize>()).sum();
        if count > 0 {
            found.insert(path.to_owned(), count);
        }
    });
    let allowed: BTreeMap<String, usize> = ALLOWED.iter().map(|(path, count, _)| ((*path).to_owned(), *count)).collect();
    assert_eq!(found, allowed, "left: what starts processes; right: the list in xtask/src/sources.rs");
}

#[test]
fn only_the_items_of_tests_are_left_out() {
    let text = "\
#[cfg(test)]
use std::process::Command;
#[cfg(test)]
mod tests;
fn one() {
    Command::new(\"a\"); // kept
}
#[cfg(test)]
#[allow(dead_code)]
mod own {
    fn two() {
        Command::new(\"b\");
    }
}
impl Three {
    #[cfg(test)]
    fn three(&self) {
        Command::new(\"c\");
    }
    // Command::new(\"d\")
    fn four(&self) {
        Command::new(\"e\");
    }
}
";
    let kept: Vec<usize> = code(text).into_iter().filter(|(_, line)| line.contains("Command::new")).map(|(n, _)| n).collect();
    assert_eq!(kept, [6, 22]);
}

/// The code of a file as rustfmt leaves it: an item of tests ends with a line as far in as its attribute that closes it, or with
/// its first line when that has a `;` at its end.
fn code(text: &str) -> Vec<Line<'_>> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    while let Some((n, line)) = lines.next() {
        let bare = line.trim_start();
        if bare.starts_with("#[cfg(test)]") {
            let inset = &line[..line.len() - bare.len()];
            let item = lines.by_ref().find(|(_, l)| !l.trim_start().starts_with("#["));
            let one_line = |l: &str| l.ends_with(';') || l.ends_with('}') || l.ends_with(',');
            if item.is_some_and(|(_, l)| !one_line(l)) {
                let closes = |l: &str| l.strip_prefix(inset).is_some_and(|l| l.starts_with(['}', ')', ']']));
                lines.by_ref().find(|(_, l)| closes(l));
            }
        } else if !bare.starts_with("//") {
            kept.push((n, line));
        }
    }
    kept
}

/// Every Rust source of the platform by its path below `crates`, its tests left out; a crate's `tests` may do as they like.
fn each(tell: &mut impl FnMut(&str, &[Line<'_>])) {
    let root = crate::root().join("crates");
    let mut read = 0;
    below(&root, &mut |path, text| {
        read += 1;
        let path = path.strip_prefix(&root).expect("it lies below").to_string_lossy();
        tell(&path, &code(text));
    });
    assert!(read > 20, "only {read} files were read");
}

fn below(folder: &Path, tell: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("the clone can be read").flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" && name != "target" {
                below(&path, tell);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            tell(&path, &fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
