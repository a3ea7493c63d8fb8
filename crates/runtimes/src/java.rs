//! Java: a JDK at `/var/lang`, Amazon's runtime interface client from Maven Central at `/var/runtime/lib`.

use crate::{Config, libraries, names::Named, search::Hit};
use model::{ports::Runtime, sandbox::Mount};
use std::path::Path;

const LIB: &str = "/var/runtime/lib";
const CLIENT: &str = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda";

pub fn runtime(config: &Config, named: &Named, version: &str, hit: &Hit) -> Result<Runtime, String> {
    let home = hit.found.program.parent().and_then(Path::parent).ok_or("it lies in no installation")?;
    if !home.join("lib/modules").is_file() && !home.join("jre/lib/rt.jar").is_file() {
        return Err(format!("{} is no Java home", home.display()));
    }
    let client = libraries::JAVA
        .current(config)
        .ok_or_else(|| format!("Amazon's runtime client is not here; `myna runtime install {}` brings it", named.name))?;
    let mut runtime = Runtime {
        name: named.name.into(),
        found: format!("OpenJDK {}", hit.found.version).into(),
        origin: hit.origin.as_str().into(),
        mounts: vec![],
        argv: arguments(),
        env: vec![],
        bindable: false,
        libraries: libraries::java_versions(&client),
        notes: vec![],
    };
    runtime.mounts.push(Mount { source: home.to_owned(), target: "/var/lang".into() });
    runtime.mounts.push(Mount { source: client, target: LIB.into() });
    if version != named.versions[0] {
        runtime.notes.push(format!("{} runs on {version} here", named.name));
    }
    Ok(runtime)
}

/// The contract adds the heap's size and the handler. Compiling little and collecting with one thread suits short-lived
/// processes on a share of a CPU.
fn arguments() -> Vec<String> {
    [
        "/var/lang/bin/java",
        "-XX:MaxRAMPercentage=70",
        "-XX:+UseSerialGC",
        "-XX:+TieredCompilation",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        "-cp",
        &format!("{LIB}/*"),
        CLIENT,
    ]
    .map(str::to_owned)
    .into()
}
