//! Rules about our own sources that no lint knows.

use std::{fs, path::Path};

/// What starts a shell, in the spellings that a program would use.
const SHELLS: &[&str] = &["\"sh\"", "\"bash\"", "\"dash\"", "/bin/sh", "/bin/bash", "\"sh -c", "system("];

#[test]
fn the_platform_starts_no_shell() {
    let mut found = Vec::new();
    let mut read = 0;
    each(&crate::root().join("crates"), &mut |path, text| {
        read += 1;
        // Tests come last in a file.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (n, line) in code.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            let starts =
                line.contains("Command::new") || line.contains("exec") || line.contains("argv") || line.contains("spawn");
            if starts && SHELLS.iter().any(|s| line.contains(s)) {
                found.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    });
    assert!(read > 20, "only {read} files were read");
    assert!(found.is_empty(), "a shell is started:\n{}", found.join("\n"));
}

/// Every Rust source below a `src` folder; a crate's `tests` may do as they like.
fn each(folder: &Path, tell: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("the clone can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "tests" && n != "target") {
                each(&path, tell);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
            tell(&path, &fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
