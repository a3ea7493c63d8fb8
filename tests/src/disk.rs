//! A disk of one's own that can be filled: an ext4 file system in a file, mounted for one test. Only root may.

use crate::{Options, Platform, Result, skip};
use anyhow::{Context, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where it is mounted below a platform's home.
const AT: &str = "disk";

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // The platform has ended by now, or its test has failed.
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().map_err(|e| skip(format!("{program}: {e}")))?;
    ensure!(output.status.success(), skip(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    Ok(())
}

/// Runs a test with a platform whose state is on a disk of that size, made with these options of mkfs.ext4. The test gets the
/// disk's folder, and the platform not started yet.
pub fn on_small_disk(mib: u64, options: &[&str], test: impl FnOnce(&mut Platform, &Path) -> Result<()>) -> Result<()> {
    let mut myna = Platform::prepare(Options { within: Some(AT), ..Options::default() })?;
    let (image, at) = (myna.home().join("image"), myna.home().join(AT));
    fs::File::create(&image)?.set_len(mib << 20)?;
    fs::create_dir(&at)?;
    let (image, shown) = (image.to_string_lossy().into_owned(), at.to_string_lossy().into_owned());
    // Nothing kept for root, who is who runs the test.
    run("mkfs.ext4", &[&["-q", "-m", "0"], options, &[&image]].concat())?;
    run("mount", &["-o", "loop", &image, &shown])?;
    let mounted = Mounted(at.clone());
    let result = test(&mut myna, &at);
    let ended = myna.stop_if_running();
    drop(mounted);
    result.and(ended.context("after the test"))
}
