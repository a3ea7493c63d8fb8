//! Amazon's own runtime clients, unmodified, against the Runtime API.

use myna_tests::{Context, Options, Platform, Result, Test, Value, deps, ensure, json, skip, tests};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub const ALL: &[Test] = tests![
    amazons_python_clients_run,
    amazons_node_client_runs,
    amazons_go_library_runs,
    amazons_rust_library_runs,
    amazons_java_client_runs,
];

/// What `cargo xtask test` fetched of Amazon's clients, each in a folder of its own.
pub fn client(folder: &str) -> Result<PathBuf> {
    let found = deps().join(folder);
    match found.is_dir() {
        true => Ok(found),
        false => Err(skip(format!("{} is missing; `cargo xtask test` says why it could not be had", found.display()))),
    }
}

/// Started by an exec wrapper in place of Myna's own shim.
pub fn python_wrapper(version: &str) -> String {
    format!("#!/bin/sh\nexport PYTHONPATH=/var/task\nexec /var/lang/bin/python{version} -m awslambdaric \"$_HANDLER\"\n")
}

pub const NODE_WRAPPER: &str = "#!/bin/sh\nexec /var/lang/bin/node /var/task/aws-lambda-ric/bin/index.mjs \"$_HANDLER\"\n";

/// PyPI awslambdaric, each release on the Python that it is for. 3.8 is retired: it needs the operator's mapping.
fn amazons_python_clients_run() -> Result<()> {
    let config = python_3_8().map(|home| format!("[runtimes]\n\"python3.8\" = {home:?}\n"));
    let retired = config.is_some();
    let myna = Platform::start_with(Options { config, ..Options::default() })?;
    let source = "import sys\ndef handler(event, context):\n    print('by', context.function_name)\n    \
                  if event == 'break': raise KeyError('lost')\n    return {'got': event, 'client': 'awslambdaric' in sys.modules}\n";
    let mut ran = 0;
    for (release, version) in [("4.2.2", "3.11"), ("4.0.4", "3.9"), ("2.2.1", "3.8")] {
        let runtime = format!("python{version}");
        let row = myna.runtime(&runtime);
        if (version == "3.8" && !retired) || row.as_ref().is_ok_and(|r| r["found"] == "" && version != "3.8") {
            println!("awslambdaric {release} is not run: no Python {version}");
            continue;
        }
        if version == "3.8" {
            let notes = row?["notes"].to_string();
            ensure!(notes.contains("python3.8 is retired; it runs by the operator's explicit mapping"), "{notes}");
            let own = myna.draft("own", source).set("Runtime", "python3.8").create()?;
            ensure!(own.call(json!("by our shim"))? == json!({"got": "by our shim", "client": false}));
        }
        let f = myna
            .draft("official", source)
            .folder(&client(&format!("awslambdaric-{release}"))?)?
            .file("wrapper", python_wrapper(version))
            .set("Runtime", runtime)
            .set("MemorySize", 256)
            .set("Environment", json!({"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}))
            .create()?;
        ensure!(f.call(json!([1]))? == json!({"got": [1], "client": true}));
        let broken = f.invoke(&json!("break"))?;
        ensure!(broken.json()?["errorType"] == "KeyError" && broken.error.is_some(), "{release}: {}", broken.text());
        ensure!(f.invoke(&json!([2]))?.log.is_some_and(|log| log.contains("by official\n")), "plain prints arrive");
        f.api("DELETE", "", &Value::Null)?;
        ran += 1;
    }
    ensure!(ran > 0, "no client ran");
    Ok(())
}

/// Where pyenv keeps it, when it does.
fn python_3_8() -> Option<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    let mut versions = fs::read_dir(root.join("versions")).ok()?.flatten().map(|e| e.path());
    versions.find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("3.8.")))
}

/// npm aws-lambda-ric with the part of it that is compiled.
fn amazons_node_client_runs() -> Result<()> {
    let folder = client("aws-lambda-ric-3.3.0")?;
    let myna = Platform::start()?;
    if myna.runtime("nodejs20.x")?["found"] == "" {
        return Err(skip("no Node.js 20 on this machine"));
    }
    let source = "export const handler = async (event) => { console.log('in Node'); if (event === 'break') throw new RangeError('lost');\n  \
                  return { got: event, by: process.argv[1] }; };\n";
    let streams = "exports.handler = awslambda.streamifyResponse(async (event, out) => { out.write('one '); out.end('two'); });";
    let make = |name: &str, file: &str, text: &str| {
        myna.draft(name, "")
            .folder(&folder)?
            .file(file, text)
            .file("wrapper", NODE_WRAPPER)
            .set("Runtime", "nodejs20.x")
            .set("Handler", "index.handler")
            .set("MemorySize", 256)
            .set("Environment", json!({"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}))
            .create()
    };
    let f = make("official", "index.mjs", source)?;
    let said = f.invoke(&json!({"grüße": "🙂"}))?;
    ensure!(said.json()? == json!({"got": {"grüße": "🙂"}, "by": "/var/task/aws-lambda-ric/bin/index.mjs"}), "{}", said.text());
    ensure!(said.log.is_some_and(|log| log.contains("\tINFO\tin Node\n")), "what is logged arrives");
    let broken = f.invoke(&json!("break"))?;
    ensure!(broken.json()?["errorType"] == "RangeError" && broken.error.is_some(), "{}", broken.text());
    ensure!(make("streams", "index.js", streams)?.invoke(&json!(1))?.text() == "one two");
    Ok(())
}

fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A template of `myna init`, built and called.
fn template(like: &str) -> Result<()> {
    let myna = Platform::start()?;
    for words in [&["init", "--like", like, "compiled"][..], &["deploy", "compiled", "--build"]] {
        let out = myna.developer(words)?;
        ensure!(out.status.success(), "myna {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr));
    }
    let said = myna.function("compiled").call(json!({"name": "Ada"}))?;
    ensure!(said["greeting"] == "Hello, Ada!", "{said}");
    Ok(())
}

fn amazons_go_library_runs() -> Result<()> {
    if !exists("go") {
        return Err(skip("go is not installed"));
    }
    template("lambda-go")
}

fn amazons_rust_library_runs() -> Result<()> {
    template("lambda-rust")
}

/// The class of one source file without a package, compiled below the platform's home for every Java that is served.
pub fn compiled_class(myna: &Platform, name: &str, source: &str) -> Result<Vec<u8>> {
    if !exists("javac") {
        return Err(skip("javac is not installed"));
    }
    let file = format!("{name}.java");
    fs::write(myna.home().join(&file), source)?;
    let compiled = Command::new("javac").args(["--release", "17", &file]).current_dir(myna.home()).output()?;
    ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
    fs::read(Path::new(myna.home()).join(format!("{name}.class"))).context("javac wrote no class")
}

/// The Maven jar, with a class that needs no library.
fn amazons_java_client_runs() -> Result<()> {
    let myna = Platform::with_runtimes(&["java17"])?;
    let source = "import java.util.Map;\npublic class Hello {\n  public Map<String, Object> handle(Map<String, Object> event) {\n    \
                  System.out.println(\"in Java\");\n    return Map.of(\"greeting\", \"Hello, \" + event.get(\"name\"));\n  }\n}\n";
    let class = compiled_class(&myna, "Hello", source)?;
    let draft = myna.draft("java", "").file("Hello.class", class).set("Runtime", "java17").set("Handler", "Hello::handle");
    let f = draft.set("MemorySize", 512).set("Timeout", 60).create()?;
    let answer = f.invoke(&json!({"name": "Ada"}))?;
    ensure!(answer.error.is_none() && answer.json()? == json!({"greeting": "Hello, Ada"}), "{}", answer.text());
    ensure!(answer.log.is_some_and(|log| log.contains("in Java")));
    let broken = f.invoke(&Value::Array(vec![]))?;
    ensure!(broken.error.is_some(), "an event of another shape: {}", broken.text());
    Ok(())
}
