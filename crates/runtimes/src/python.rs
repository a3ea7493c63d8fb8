//! Python: the interpreter at `/var/lang`, our shim at `/var/runtime`, boto3 beside it.

use crate::{Config, libraries, names::Named, probe, search::Hit, shims};
use model::{ports::Runtime, sandbox::Mount};
use std::{path::Path, process::Command};

const SHIM: &str = "/var/runtime";
const LIBRARIES: &str = "/var/runtime/libraries";

pub fn runtime(config: &Config, named: &Named, hit: &Hit) -> Result<Runtime, String> {
    let short = named.versions[0];
    let program = &hit.found.program;
    let name = program.file_name().and_then(|n| n.to_str()).ok_or("its name is not text")?;
    let shim = shims::PYTHON.materialise(&config.state_dir).map_err(|e| format!("can't write the shim: {e}"))?;
    let compiled = compile(program, &shim.join("_myna"), &format!("{SHIM}/_myna"));
    let mut mounts = installation(program, short)?;
    mounts.push(Mount { source: shim, target: SHIM.into() });
    let mut runtime = Runtime {
        name: named.name.into(),
        found: format!("CPython {}", hit.found.version).into(),
        origin: hit.origin.as_str().into(),
        mounts,
        // Without `site`, which the shim makes up for: it takes a third of the interpreter's start.
        argv: vec![format!("/var/lang/bin/{name}"), "-S".into(), format!("{SHIM}/bootstrap.py")],
        env: vec![],
        bindable: true,
        libraries: vec![],
        notes: vec![],
    };
    // An old one that the operator mapped may lack what compiling takes; its functions run all the same.
    runtime.notes.extend(compiled.err().map(|why| format!("functions start slowly: {why}")));
    let mut path = SHIM.to_owned();
    // What is installed is for the versions that are served.
    match libraries::PYTHON.current(config).filter(|_| !named.retired) {
        Some(folder) => {
            if let Err(why) = compile(program, &folder, LIBRARIES) {
                runtime.notes.push(format!("boto3 starts slowly: {why}"));
            }
            runtime.libraries = libraries::python_versions(&folder);
            runtime.mounts.push(Mount { source: folder, target: LIBRARIES.into() });
            path = format!("{SHIM}:{LIBRARIES}");
        }
        None if named.retired => runtime.notes.push("boto3 is not supplied to a retired runtime".to_owned()),
        None => runtime.notes.push(format!("boto3 is not supplied; `myna runtime install {}` brings it", named.name)),
    }
    // Twice: the shim sees by the difference whether the function's owner chose another.
    runtime.env = vec![("PYTHONPATH".into(), path.clone()), ("MYNA_PYTHONPATH".into(), path)];
    Ok(runtime)
}

/// What of the host belongs to this interpreter. A prefix that holds other things besides is not mounted whole.
fn installation(program: &Path, short: &str) -> Result<Vec<Mount>, String> {
    let prefix = program.parent().and_then(Path::parent).ok_or("it lies in no installation")?;
    let library = prefix.join("lib").join(format!("python{short}"));
    if !library.join("os.py").is_file() {
        return Err(format!("{} holds no standard library", library.display()));
    }
    if !["/", "/usr", "/usr/local"].iter().any(|shared| Path::new(shared) == prefix) {
        return Ok(vec![Mount { source: prefix.to_owned(), target: "/var/lang".into() }]);
    }
    let mut mounts = vec![
        Mount { source: program.to_owned(), target: format!("/var/lang/bin/python{short}") },
        Mount { source: library, target: format!("/var/lang/lib/python{short}") },
    ];
    let shared = format!("libpython{short}.so.1.0");
    if prefix.join("lib").join(&shared).is_file() {
        mounts.push(Mount { source: prefix.join("lib").join(&shared), target: format!("/var/lang/lib/{shared}") });
    }
    Ok(mounts)
}

/// Instances can't write, so bytecode is made here, once per interpreter and folder.
fn compile(program: &Path, folder: &Path, seen_as: &str) -> Result<(), String> {
    let mark = probe::run(Command::new(program).args(["-ISc", "import sys; print(sys.implementation.cache_tag)"]))?;
    let mark = folder.join(format!(".compiled-{}", mark.trim()));
    if mark.exists() {
        return Ok(());
    }
    let shown = folder.display().to_string();
    // The content of such a folder never changes under its name, so that nothing need be compared at import.
    let arguments =
        ["-IS", "-m", "compileall", "-qq", "-f", "--invalidation-mode", "unchecked-hash", "-s", &shown, "-p", seen_as, &shown];
    probe::run(Command::new(program).args(arguments)).map_err(|e| format!("can't compile {shown}: {e}"))?;
    shims::readable(folder).and_then(|()| std::fs::write(&mark, "")).map_err(|e| format!("can't write in {shown}: {e}"))
}
