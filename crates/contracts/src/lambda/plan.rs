//! What is started, and with which variables: those that a function sees on AWS Lambda (developer guide, "Defined runtime
//! environment variables"), with addresses of this platform.

use super::extensions;
use bytes::Bytes;
use model::{
    Cause, Fault, Package, Unit,
    ports::{InstanceFacts, Runtime, StartPlan},
    sandbox::{Endpoint, Group, Mount, ProcSpec},
};
use std::{ffi::OsString, os::unix::fs::PermissionsExt};

/// Variables that a function's owner can't set (developer guide, "Reserved environment variables").
pub const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    LOG_FRAMES,
];

const TASK: &str = "/var/task";
/// Where layers are.
const OPT: &str = "/opt";
const WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";
/// The descriptor for framed log records, as Amazon's clients know it.
const LOG_FRAMES: &str = "_LAMBDA_TELEMETRY_LOG_FD";
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// Where an interpreter that was moved to `/var/lang` has its own library.
const LANG_LIB: &str = "/var/lang/lib";
/// Tells our own shims to wait for a unit. An argument, since variables are the user's.
const UNBOUND: &str = "--unbound";

/// What AWS's own start script does with a wrapper: absent is 127, not executable is 126, else it gets the command.
const WRAP: &str = r#"[ -f "$0" ] || { echo "$0: does not exist"; exit 127; }
[ -x "$0" ] || { echo "$0: is not an executable"; exit 126; }
exec "$0" "$@""#;

type Vars = Vec<(String, String)>;

pub(super) fn plan(port: u16, runtime: &Runtime, unit: Option<&Unit>, about: &InstanceFacts) -> Result<StartPlan, Fault> {
    let mut env = base(port);
    let mut mounts = runtime.mounts.clone();
    for (name, value) in &runtime.env {
        set(&mut env, name, value);
    }
    let argv = match unit {
        Some(unit) => {
            for (name, value) in of_unit(port, unit, about) {
                set(&mut env, &name, &value);
            }
            mounts.push(Mount { source: unit.package.path().to_owned(), target: TASK.to_owned() });
            mounts.extend(layers(unit));
            command(runtime, unit)?
        }
        None if runtime.bindable => runtime.argv.iter().cloned().chain([UNBOUND.to_owned()]).collect(),
        None => {
            return Err(Fault::new(
                Cause::Unsupported,
                format!("runtime {} can't start without a function's code", runtime.name),
            ));
        }
    };
    let beside = unit.map(|unit| extensions::external(unit).map(|name| extension(&name, &env)).collect()).unwrap_or_default();
    let process = ProcSpec {
        argv: argv.into_iter().map(OsString::from).collect(),
        env: env.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
        // The folder exists before code is attached.
        cwd: if unit.is_some() { TASK.to_owned() } else { "/".to_owned() },
        group: Group::Runtime,
        log_frames_env: Some(LOG_FRAMES),
    };
    let processes = std::iter::once(process).chain::<Vec<_>>(beside).collect();
    Ok(StartPlan { processes, mounts, listens: vec![Endpoint::Tcp(port)] })
}

/// A program of `/opt/extensions`. What only a runtime is told, it isn't.
fn extension(name: &str, env: &Vars) -> ProcSpec {
    let shown = |name: &str| !name.starts_with('_') && !["AWS_XRAY_CONTEXT_MISSING", "AWS_EXECUTION_ENV"].contains(&name);
    ProcSpec {
        argv: vec![format!("{OPT}/extensions/{name}").into()],
        env: env.iter().filter(|v| shown(&v.0)).map(|(n, v)| (n.into(), v.into())).collect(),
        cwd: "/".to_owned(),
        group: Group::Extension(name.into()),
        log_frames_env: None,
    }
}

/// The layers, from the lowest up. Content that stands there twice counts where it stands last.
fn layers(unit: &Unit) -> impl Iterator<Item = Mount> + '_ {
    let all = unit.layers.iter().enumerate();
    let last = |(at, layer): &(usize, &Package)| !unit.layers[at + 1..].iter().any(|l| l.path() == layer.path());
    all.filter(last).map(|(_, layer)| Mount { source: layer.path().to_owned(), target: OPT.to_owned() })
}

/// What an unbound runtime is told: its variables and its handler.
pub(super) fn binding(port: u16, unit: &Unit, about: &InstanceFacts) -> Bytes {
    let env: serde_json::Map<_, _> = of_unit(port, unit, about).into_iter().map(|(n, v)| (n, v.into())).collect();
    let document =
        serde_json::json!({ "env": env, "handler": &*unit.handler, "cwd": TASK, "memory_mib": unit.settings.memory_mib });
    Bytes::from(document.to_string())
}

/// Known before any unit is.
fn base(port: u16) -> Vars {
    let at = format!("127.0.0.1:{port}");
    [
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        (LIBRARY_PATH, "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PWD", TASK),
        ("LAMBDA_TASK_ROOT", TASK),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_LAMBDA_RUNTIME_API", &at),
        // Tracing clients send datagrams to this address and expect no answer.
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("AWS_ENDPOINT_URL", &format!("http://{at}")),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .into()
}

/// What depends on the unit and the instance, the user's own variables included.
fn of_unit(port: u16, unit: &Unit, about: &InstanceFacts) -> Vars {
    let mut env = Vars::new();
    for (name, value) in unit.env.iter().filter(|v| !RESERVED.contains(&v.0.as_str())) {
        set(&mut env, name, value);
    }
    if let Some(path) = env.iter_mut().find(|v| v.0 == LIBRARY_PATH) {
        // Without it, a moved interpreter doesn't find itself; last, so that the user's folders come first.
        if !path.1.split(':').any(|p| p == LANG_LIB) {
            path.1 = format!("{}:{LANG_LIB}", path.1);
        }
    }
    let memory = unit.settings.memory_mib.to_string();
    for (name, value) in [
        ("_HANDLER", &*unit.handler),
        ("AWS_REGION", &*about.region),
        ("AWS_DEFAULT_REGION", &*about.region),
        ("AWS_LAMBDA_FUNCTION_NAME", unit.function.as_str()),
        ("AWS_LAMBDA_FUNCTION_VERSION", &*unit.version),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", about.initialization),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &*unit.settings.log.group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", &*about.log_stream),
        ("AWS_LAMBDA_RUNTIME_API", &format!("127.0.0.1:{port}")),
    ] {
        set(&mut env, name, value);
    }
    if !unit.runtime.starts_with("provided") {
        set(&mut env, "AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", unit.runtime));
    }
    if unit.settings.log.json {
        set(&mut env, "AWS_LAMBDA_LOG_FORMAT", "JSON");
        set(&mut env, "AWS_LAMBDA_LOG_LEVEL", unit.settings.log.level.as_deref().unwrap_or("INFO"));
    }
    if let Some(credential) = &about.credential {
        set(&mut env, "AWS_ACCESS_KEY_ID", &credential.access_key_id);
        set(&mut env, "AWS_SECRET_ACCESS_KEY", &credential.secret);
        if let Some(token) = &credential.session_token {
            set(&mut env, "AWS_SESSION_TOKEN", token);
        }
    }
    env
}

fn set(env: &mut Vars, name: &str, value: &str) {
    match env.iter_mut().find(|v| v.0 == name) {
        Some(there) => value.clone_into(&mut there.1),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

fn command(runtime: &Runtime, unit: &Unit) -> Result<Vec<String>, Fault> {
    if runtime.argv.is_empty() {
        return bootstrap(unit).map(|path| vec![path]);
    }
    let command = sized(runtime, unit);
    Ok(match unit.env.iter().find(|v| v.0 == WRAPPER && !v.1.is_empty()) {
        Some((_, wrapper)) => ["/bin/sh", "-c", WRAP, wrapper].map(str::to_owned).into_iter().chain(command).collect(),
        None => command,
    })
}

/// The runtime's command with what depends on the unit: a virtual machine that can't see its limit is told.
fn sized(runtime: &Runtime, unit: &Unit) -> Vec<String> {
    let mut command = runtime.argv.clone();
    let memory = unit.settings.memory_mib;
    if runtime.name.starts_with("nodejs") {
        command.insert(1, format!("--max-old-space-size={}", memory / 10 * 9));
    } else if runtime.name.starts_with("java") {
        command.insert(1, format!("-XX:MaxRAM={memory}m"));
        command.push(unit.handler.to_string());
    }
    command
}

/// The program of a unit that brings its own: in its package, or in a layer. A link is left to the instance, where it resolves to
/// something else than here.
fn bootstrap(unit: &Unit) -> Result<String, Fault> {
    let invalid =
        |message: &str, hint: &str| Err(Fault::new(Cause::InitFailed, message).detail("Runtime.InvalidEntrypoint").hint(hint));
    // The uppermost layer that has it shows it.
    let layered = unit.layers.iter().rev().map(|l| (l.path(), OPT));
    let places = std::iter::once((unit.package.path(), TASK)).chain(layered);
    let found = places.filter_map(|(path, at)| Some((std::fs::symlink_metadata(path.join("bootstrap")).ok()?, at))).next();
    match found {
        Some((found, at)) if found.is_symlink() || found.is_file() && found.permissions().mode() & 0o111 != 0 => {
            Ok(format!("{at}/bootstrap"))
        }
        Some((_, at)) => invalid(&format!("{at}/bootstrap is not an executable file"), "chmod +x bootstrap before packing"),
        None => invalid(
            "couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
            "the package, or a layer, must hold an executable named bootstrap at its top",
        ),
    }
}
