//! Functions of the rows: made through the API, so that no package is read from a folder while something is measured.

use crate::{load, server::Myna};
use anyhow::Context;
use base64::Engine;
use std::{
    io::Write,
    time::{Duration, Instant},
};

pub const PYTHON: &str = "def handler(event, context):\n    return event\n";
pub const NODE: &str = "exports.handler = async (event) => event;\n";
/// A function of this size has one processor, as the references have.
const ONE_CPU_MIB: u32 = 1769;
const ACTIVE_WITHIN: Duration = Duration::from_secs(30);

/// A package, and what runs it.
pub struct Code {
    runtime: &'static str,
    zip: String,
    memory_mib: u32,
    timeout_s: u32,
}

impl Code {
    pub fn new(runtime: &'static str, file: &str, content: &[u8]) -> anyhow::Result<Self> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(file, zip::write::SimpleFileOptions::default().unix_permissions(0o755))?;
        zip.write_all(content)?;
        let zip = base64::engine::general_purpose::STANDARD.encode(zip.finish()?.into_inner());
        Ok(Self { runtime, zip, memory_mib: ONE_CPU_MIB, timeout_s: 10 })
    }
    /// With another memory size than one processor's.
    pub fn memory(self, mib: u32) -> Self {
        Self { memory_mib: mib, ..self }
    }
    pub fn timeout(self, seconds: u32) -> Self {
        Self { timeout_s: seconds, ..self }
    }
    pub fn python(text: &str) -> anyhow::Result<Self> {
        Self::new("python3.11", "app.py", text.as_bytes())
    }
    pub fn node(text: &str) -> anyhow::Result<Self> {
        Self::new("nodejs20.x", "app.js", text.as_bytes())
    }
    /// The bare function of these benchmarks, compiled.
    pub fn bare(bench: &crate::server::Bench) -> anyhow::Result<Self> {
        Self::new("provided.al2023", "bootstrap", &std::fs::read(bench.program("bench-function"))?)
    }
}

/// Makes a function and waits until it can be called.
pub fn create(myna: &Myna, name: &str, code: &Code) -> anyhow::Result<()> {
    let document = serde_json::json!({
        "FunctionName": name, "Runtime": code.runtime, "Handler": "app.handler", "Role": myna.ready.role,
        "MemorySize": code.memory_mib, "Timeout": code.timeout_s, "Code": { "ZipFile": code.zip },
    });
    myna.admin("POST", "/2015-03-31/functions", document.to_string().as_bytes())?;
    active(myna, name)
}

/// Gives a function other code.
pub fn update(myna: &Myna, name: &str, code: &Code) -> anyhow::Result<()> {
    let document = serde_json::json!({ "ZipFile": code.zip });
    myna.admin("PUT", &format!("/2015-03-31/functions/{name}/code"), document.to_string().as_bytes())?;
    active(myna, name)
}

fn active(myna: &Myna, name: &str) -> anyhow::Result<()> {
    let until = Instant::now() + ACTIVE_WITHIN;
    loop {
        let about = myna.admin("GET", &format!("/2015-03-31/functions/{name}/configuration"), b"")?;
        if about["State"] == "Active" && about["LastUpdateStatus"] != "InProgress" {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until && about["State"] != "Failed", "{name} did not become active: {about}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a URL that anybody may call; what is sent to it.
pub fn url(myna: &Myna, name: &str) -> anyhow::Result<Box<load::Request>> {
    let made = myna.admin("POST", &format!("/2021-10-31/functions/{name}/url"), br#"{"AuthType":"NONE"}"#)?;
    let permission = br#"{"StatementId":"url","Action":"lambda:InvokeFunctionUrl","Principal":"*","FunctionUrlAuthType":"NONE"}"#;
    myna.admin("POST", &format!("/2015-03-31/functions/{name}/policy"), permission)?;
    let url = made["FunctionUrl"].as_str().context("a URL was made")?.to_owned();
    Ok(load::post(url.trim_start_matches("http://").trim_end_matches('/'), "/"))
}

/// The pre-started runtimes that wait now.
pub fn unbound(myna: &Myna) -> anyhow::Result<u64> {
    Ok(myna.admin("GET", "/admin/v1/status", b"")?["load"]["unbound"].as_u64().unwrap_or(0))
}

/// Waits until so many runtimes are pre-started, and a little longer: what was just started is at rest then.
pub fn wait_unbound(myna: &Myna, count: u64) -> anyhow::Result<()> {
    let until = Instant::now() + ACTIVE_WITHIN;
    while unbound(myna)? < count {
        anyhow::ensure!(Instant::now() < until, "only {} of {count} runtimes are pre-started", unbound(myna)?);
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(150));
    Ok(())
}
