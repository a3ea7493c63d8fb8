//! Amazon's own runtime clients, unmodified, against the Runtime API.

use myna_tests::{Context, Platform, Result, Test, Value, deps, ensure, json, skip, tests, zip};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

pub const ALL: &[Test] =
    tests![amazons_python_client_runs, amazons_go_library_runs, amazons_rust_library_runs, amazons_java_client_runs];

/// PyPI awslambdaric, started by an exec wrapper in place of Myna's own shim.
fn amazons_python_client_runs() -> Result<()> {
    let folder = deps().join("awslambdaric-4.2.2");
    ensure!(folder.is_dir(), "{} is missing: `cargo xtask test` installs it", folder.display());
    let myna = Platform::start()?;
    let interpreter = myna.python("asks", "import sys\ndef handler(e, c): return sys.executable")?.call(json!({}))?;
    let interpreter = interpreter.as_str().context("a path")?.to_owned();
    let wrapper = format!(
        "#!{interpreter}\nimport os, sys\nos.environ['PYTHONPATH'] = '/var/task'\n\
         os.execv({interpreter:?}, [{interpreter:?}, '-m', 'awslambdaric', os.environ['_HANDLER']])\n"
    );
    let source = "import sys\ndef handler(event, context):\n    print('by', context.function_name)\n    \
                  if event == 'break': raise KeyError('lost')\n    return {'got': event, 'client': 'awslambdaric' in sys.modules}\n";
    let f = myna
        .draft("official", source)
        .folder(&folder)?
        .file("wrapper", wrapper)
        .set("MemorySize", 256)
        .set("Environment", json!({"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}))
        .create()?;
    ensure!(f.call(json!([1]))? == json!({"got": [1], "client": true}));
    let broken = f.invoke(&json!("break"))?;
    ensure!(broken.json()?["errorType"] == "KeyError" && broken.error.is_some(), "{}", broken.text());
    ensure!(f.invoke(&json!([2]))?.log.is_some_and(|log| log.contains("by official\n")), "plain prints arrive");
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

/// The Maven jar, with a class that needs no library.
fn amazons_java_client_runs() -> Result<()> {
    if !exists("javac") {
        return Err(skip("javac is not installed"));
    }
    let myna = Platform::start()?;
    let installed = myna.developer(&["runtime", "install", "java17"])?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let source = "import java.util.Map;\npublic class Hello {\n  public Map<String, Object> handle(Map<String, Object> event) {\n    \
                  System.out.println(\"in Java\");\n    return Map.of(\"greeting\", \"Hello, \" + event.get(\"name\"));\n  }\n}\n";
    fs::write(myna.home().join("Hello.java"), source)?;
    let compiled = Command::new("javac").args(["--release", "17", "Hello.java"]).current_dir(myna.home()).output()?;
    ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
    let class = fs::read(Path::new(myna.home()).join("Hello.class"))?;
    let draft =
        myna.draft("java", "").set("Runtime", "java17").set("Handler", "Hello::handle").set("MemorySize", 512).set("Timeout", 60);
    let encoded = base64_of(&zip(&[("Hello.class", &class)])?);
    let f = draft.set("Code", json!({ "ZipFile": encoded })).create()?;
    let answer = f.invoke(&json!({"name": "Ada"}))?;
    ensure!(answer.error.is_none() && answer.json()? == json!({"greeting": "Hello, Ada"}), "{}", answer.text());
    ensure!(answer.log.is_some_and(|log| log.contains("in Java")));
    let broken = f.invoke(&Value::Array(vec![]))?;
    ensure!(broken.error.is_some(), "an event of another shape: {}", broken.text());
    Ok(())
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
