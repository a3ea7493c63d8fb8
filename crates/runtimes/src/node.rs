//! Node.js: the program at `/var/lang`, our shim at `/var/runtime`, the AWS SDK beside it.

use crate::{Config, libraries, names::Named, search::Hit, shims};
use model::{ports::Runtime, sandbox::Mount};

const SHIM: &str = "/var/runtime";

pub fn runtime(config: &Config, named: &Named, hit: &Hit) -> Result<Runtime, String> {
    let major = named.versions[0];
    let shim = shims::NODE.materialise(&config.state_dir).map_err(|e| format!("can't write the shim: {e}"))?;
    let mut runtime = Runtime {
        name: named.name.into(),
        found: format!("Node.js {}", hit.found.version).into(),
        origin: hit.origin.as_str().into(),
        // The program is all of it: nothing else of its installation is needed to run.
        mounts: vec![
            Mount { source: hit.found.program.clone(), target: "/var/lang/bin/node".into() },
            Mount { source: shim, target: SHIM.into() },
        ],
        argv: vec!["/var/lang/bin/node".into(), format!("{SHIM}/bootstrap.cjs")],
        env: vec![("NODE_PATH".into(), path(major))],
        bindable: true,
        libraries: vec![],
        notes: vec![],
    };
    match libraries::node(major).current(config) {
        Some(folder) => {
            let modules = folder.join("node_modules");
            runtime.libraries = libraries::node_versions(&modules);
            runtime.mounts.push(Mount { source: modules, target: format!("{SHIM}/node_modules") });
        }
        None => runtime.notes.push(format!("the AWS SDK is not supplied; `myna runtime install {}` brings it", named.name)),
    }
    Ok(runtime)
}

/// Where modules are looked for after the package's own (AWS Lambda developer guide, "Adding layers to functions").
fn path(major: &str) -> String {
    format!("/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:{SHIM}/node_modules:{SHIM}:/var/task")
}
