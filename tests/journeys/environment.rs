//! What a function finds around it: the variables, files, limits and user of AWS Lambda, and nothing else.

use myna_tests::{Platform, Result, Test, Value, ensure, json, tests};
use std::collections::BTreeMap;

pub const ALL: &[Test] = tests![variables_files_and_limits_are_lambdas, an_exec_wrapper_gets_the_command_or_the_call_its_exit];

const SOURCE: &str = r#"
import os, pwd, resource, sys
def write(path):
    try:
        open(path, 'w').close()
        return 'written'
    except OSError as e:
        return e.strerror
def handler(event, context):
    limits = {n: resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[0] for n in ('CORE', 'NOFILE', 'NPROC', 'STACK', 'MEMLOCK')}
    modes = {p: oct(os.stat(p).st_mode & 0o7777) + ' ' + str(os.stat(p).st_uid) for p in ('/var/task', '/opt', '/tmp')}
    space = os.statvfs('/tmp')
    return {
        'env': dict(os.environ), 'limits': limits, 'modes': modes, 'cwd': os.getcwd(), 'stdin': sys.stdin.read(),
        'user': pwd.getpwuid(os.getuid()).pw_name, 'root': os.getuid() == 0 or os.geteuid() == 0, 'tmp': space.f_blocks * space.f_frsize,
        'writes': {p: write(p + '/x') for p in ('/var/task', '/opt', '/var/runtime', '/var/lang', '', '/etc', '/tmp')},
        'path': [p for p in sys.path if p.startswith(('/var/task', '/opt'))],
    }
"#;

fn variables_files_and_limits_are_lambdas() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna
        .draft("looks", SOURCE)
        .set("MemorySize", 256)
        .set("EphemeralStorage", json!({"Size": 600}))
        .set("Environment", json!({"Variables": {"MINE": "ü =1"}}))
        .create()?;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let said = f.invoke_bytes("", b"{}", &[("x-amzn-trace-id", trace)])?.json()?;
    let expected = [
        ("_HANDLER", "app.handler"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_NAME", "looks"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/looks"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LANG", "en_US.UTF-8"),
        ("LD_LIBRARY_PATH", "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"),
        ("MINE", "ü =1"),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        ("PWD", "/var/task"),
        ("TZ", ":UTC"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("_X_AMZN_TRACE_ID", trace),
    ];
    // Whose values differ from instance to instance, or are this platform's own.
    let present = [
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LC_CTYPE",
        "PYTHONPATH",
    ];
    let mut env: BTreeMap<String, Value> = serde_json_map(&said["env"]);
    for (name, value) in expected {
        ensure!(env.remove(name) == Some(json!(value)), "{name} is not {value:?}: {}", said["env"][name]);
    }
    for name in present {
        ensure!(env.remove(name).is_some_and(|v| v != ""), "{name} is missing: {}", said["env"]);
    }
    ensure!(env.is_empty(), "not on AWS Lambda: {env:?}");

    let limits = json!({"CORE": 1, "NOFILE": 1024, "NPROC": 1024, "STACK": 8_388_608, "MEMLOCK": 65_536});
    ensure!(said["limits"] == limits, "{}", said["limits"]);
    ensure!(said["modes"] == json!({"/var/task": "0o755 0", "/opt": "0o755 0", "/tmp": "0o1777 0"}), "{}", said["modes"]);
    let read_only = "Read-only file system";
    for (path, wrote) in serde_json_map(&said["writes"]) {
        ensure!(wrote == if path == "/tmp" { "written" } else { read_only }, "{path:?}: {wrote}");
    }
    ensure!(
        said["user"] == "sbx_user1051" && said["root"] == false && said["cwd"] == "/var/task" && said["stdin"] == "",
        "{said}"
    );
    ensure!(said["tmp"] == 600 << 20, "{}", said["tmp"]);
    let path = ["/var/task", "/opt/python/lib/python3.11/site-packages", "/opt/python"];
    ensure!(said["path"].as_array().is_some_and(|p| p[..3] == path.map(Value::from)), "{}", said["path"]);

    let second = f.call(json!({}))?;
    let own = second["env"]["_X_AMZN_TRACE_ID"].as_str().unwrap_or_default();
    ensure!(own.starts_with("Root=1-") && own != trace, "each call has a trace of its own: {own}");
    Ok(())
}

fn serde_json_map(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().into_iter().flatten().map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// What follows is the wrapper's to start; one that isn't there, or can't be run, ends as it does on AWS Lambda.
fn an_exec_wrapper_gets_the_command_or_the_call_its_exit() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os, sys\ndef handler(event, context):\n    return [os.environ.get('WRAPPED'), os.environ.get('ORIGINAL'), sys.argv[1:]]\n";
    let wrapper = "#!/bin/sh\nexport WRAPPED=yes ORIGINAL=\"$1\"\nexec \"$@\"\n";
    for (path, expected) in
        [("/var/task/wrapper", Ok(())), ("/var/task/nothing", Err("exit status 127")), ("/var/task", Err("exit status 127"))]
    {
        let draft = myna.draft("wrapped", source).file("wrapper", wrapper);
        let f = draft.set("Environment", json!({"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": path}})).create()?;
        let answer = f.invoke(&json!({}))?;
        match expected {
            Ok(()) => {
                let said = answer.json()?;
                let original = said[1].as_str().unwrap_or_default();
                ensure!(said[0] == "yes" && original.starts_with("/var/lang/bin/python") && said[2] == json!([]), "{said}");
            }
            Err(status) => {
                ensure!(answer.error.is_some() && answer.json()?["errorType"] == "Runtime.ExitError", "{}", answer.text());
                ensure!(answer.text().contains(status), "{path}: {}", answer.text());
            }
        }
        f.api("DELETE", "", &Value::Null)?;
    }
    Ok(())
}
