//! The clients of a user: AWS's SDK for Python and AWS's command line, installed by `cargo xtask test`, pointed at one platform.

use crate::{Platform, skip};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Debian's, never a version manager's shim.
const AWS_CLI: &str = "/usr/bin/aws";

/// Stands before a snippet, whose last statement is `return …`: that is printed as JSON.
const PRELUDE: &str = r#"
import sys, json, io, os, time, base64, zipfile, threading, boto3, botocore
from botocore.exceptions import ClientError

def package(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, text in files.items():
            info = zipfile.ZipInfo(name.replace("__", "."))
            info.external_attr = 0o755 << 16
            z.writestr(info, text)
    return out.getvalue()

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        return e.response
    raise AssertionError("the call was not refused")

def plain(o):
    if isinstance(o, (bytes, bytearray)):
        return bytes(o).decode("utf-8", "replace")
    if hasattr(o, "read"):
        return o.read().decode("utf-8", "replace")
    return str(o)

lam = boto3.client("lambda")
"#;

/// Where the tests' packages are: MYNA_TEST_DEPS, or `.deps` of the clone.
pub fn deps() -> PathBuf {
    match std::env::var_os("MYNA_TEST_DEPS") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps"),
    }
}

/// The interpreter of the tests' own Python packages.
pub fn python() -> Result<PathBuf> {
    let python = deps().join("venv/bin/python");
    if !python.exists() {
        bail!("{} is missing: `cargo xtask test` installs what the tests need", python.display());
    }
    Ok(python)
}

/// AWS's own command line.
pub fn aws_cli() -> Result<PathBuf> {
    if !Path::new(AWS_CLI).exists() {
        return Err(skip(format!("{AWS_CLI} is missing: apt-get install awscli")));
    }
    Ok(AWS_CLI.into())
}

/// Runs a program that compares with a vendor's own models, below this crate's folder, against a platform or none. Its findings
/// are the error.
pub fn compare(program: &str, with: Option<&Platform>) -> Result<()> {
    let python = python()?;
    let mut c = with.map_or_else(|| Command::new(&python), |myna| myna.client(&python));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
    // Nothing is written beside the sources.
    let output = c.arg("-B").arg(path).env("AWS_EC2_METADATA_DISABLED", "true").output().context("can't start python")?;
    let said = ok(output, program)?;
    if said.is_empty() {
        bail!("{program} doesn't say what it compared");
    }
    print!("{program}: {said}");
    Ok(())
}

impl Platform {
    /// Runs a snippet with boto3; `lam` is a Lambda client, `package(app__py="…")` a zip, `refused(call, …)` the error's answer.
    /// What the snippet returns comes back as JSON.
    pub fn boto3(&self, snippet: &str) -> Result<Value> {
        // Not the body of a real function: indenting it would change the texts in it.
        let body = format!("\n{snippet}").replace("\nreturn ", "\nRESULT = ");
        let script = format!("{PRELUDE}{body}\njson.dump(RESULT, sys.stdout, default=plain)\n");
        let output = self.client(&python()?).arg("-c").arg(&script).output().context("can't start python")?;
        let text = ok(output, "the boto3 snippet")?;
        serde_json::from_str(&text).with_context(|| format!("the boto3 snippet printed no JSON: {text}"))
    }

    /// Runs AWS's command line and returns what it printed. Debian's version is older than AWS_ENDPOINT_URL and is told by option.
    pub fn aws(&self, arguments: &[&str]) -> Result<String> {
        let mut c = self.client(&aws_cli()?);
        let output = c.args(["--endpoint-url", &self.ready().aws]).args(arguments).output().context("can't start aws")?;
        ok(output, &format!("aws {}", arguments.join(" ")))
    }

    /// Runs the binary itself as a user of this platform, below a folder of the user's own.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut c = self.client(&self.program()?);
        c.args(arguments).env("MYNA_DIR", self.dir()).output().context("can't start myna")
    }

    /// The same with something on its standard input.
    pub fn cli_with(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut c = self.client(&self.program()?);
        c.args(arguments).env("MYNA_DIR", self.dir()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = c.spawn().context("can't start myna")?;
        // One that refuses reads nothing of it.
        let _ = child.stdin.take().expect("its standard input is piped").write_all(input);
        child.wait_with_output().context("myna was lost")
    }

    /// What a verb says with `--json`.
    pub fn verb(&self, words: &[&str]) -> Result<Value> {
        let done = self.cli(&[words, &["--json"]].concat())?;
        ensure!(done.status.success(), "myna {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// The same as a developer, with this machine's own home, compilers and caches. What is compiled is kept for the next run.
    pub fn developer(&self, arguments: &[&str]) -> Result<Output> {
        let mut c = Command::new(crate::binary()?);
        let target = std::path::absolute(deps())?.join("compiled");
        c.args(arguments)
            .env("CARGO_TARGET_DIR", target)
            .env("MYNA_DIR", self.dir())
            .current_dir(self.home())
            .output()
            .context("can't start myna")
    }

    /// A program with the environment that `myna env` gives a user, and nothing of this machine's own configuration.
    fn client(&self, program: &Path) -> Command {
        let ready = self.ready();
        let mut c = Command::new("setpriv");
        c.args(self.identity()).arg("--").arg(program);
        c.env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home())
            .env("LC_ALL", "C.UTF-8")
            .env("AWS_ENDPOINT_URL", &ready.aws)
            .env("AWS_ACCESS_KEY_ID", &ready.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &ready.secret_access_key)
            .env("AWS_REGION", &ready.region)
            .env("AWS_DEFAULT_REGION", &ready.region)
            .env("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            // One attempt: a client that tries again would hide the first failure.
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("ROLE", &ready.role)
            .current_dir(self.home());
        c
    }
}

fn ok(output: Output, what: &str) -> Result<String> {
    if !output.status.success() {
        bail!("{what} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what} printed no UTF-8"))
}
