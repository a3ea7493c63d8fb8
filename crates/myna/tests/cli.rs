//! The real binary's manners: what it says when asked for help, how it ends, and what it sends and shows, against a platform
//! that only plays its part.

#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod platform;

use platform::Played;
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn myna(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myna"));
    // Nothing of whoever runs the tests may show: no other platform, no width of a terminal.
    for name in ["MYNA_DIR", "MYNA_TENANT", "COLUMNS", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "CARGO_TARGET_DIR", "SHELL"] {
        command.env_remove(name);
    }
    command.args(words).env("HOME", home).current_dir(home).output().unwrap()
}
fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}
fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

const VERBS: [&str; 37] = [
    "up",
    "seal",
    "secret",
    "status",
    "init",
    "deploy",
    "dev",
    "invoke",
    "events",
    "dlq",
    "layer",
    "list",
    "describe",
    "logs",
    "versions",
    "alias",
    "concurrency",
    "url",
    "delete",
    "explain",
    "runtime",
    "tenant",
    "audit",
    "doctor",
    "open",
    "demo",
    "env",
    "pause",
    "quarantine",
    "drain",
    "backup",
    "restore",
    "verify",
    "repair",
    "support-bundle",
    "tls",
    "completions",
];

/// After a change that is meant: `MYNA_BLESS=1 cargo test -p myna --test cli`.
#[test]
fn help_reads_as_it_was_last_agreed() {
    let home = home();
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut changed = Vec::new();
    let shorter = [vec!["--help"]];
    let each = VERBS.iter().map(|verb| vec![*verb, "--help"]);
    for words in shorter.into_iter().chain(each) {
        let asked = myna(home.path(), &words);
        assert_eq!(code(&asked), 0, "{words:?}: {}", err(&asked));
        let name = if words.len() == 1 { "myna" } else { words[0] };
        let file = stored.join(format!("{name}.txt"));
        if std::env::var_os("MYNA_BLESS").is_some() {
            fs::write(&file, out(&asked)).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != out(&asked) {
            changed.push(format!("{}:\n{}", file.display(), out(&asked)));
        }
    }
    assert!(changed.is_empty(), "help changed:\n{}", changed.join("\n"));
    let listed = myna(home.path(), &["--help"]);
    assert!(VERBS.iter().all(|verb| out(&listed).contains(&format!("\n  {verb} "))), "VERBS has every verb");
}

#[test]
fn the_exit_code_says_who_is_to_blame() {
    let home = home();
    for (words, expected, said) in [
        (&["lst"][..], 2, "list"),
        (&["invoke"][..], 2, "<NAME>"),
        (&["logs", "x", "--since", "10"][..], 2, "unit"),
        (&["deploy", "no-such-folder"][..], 4, "myna up"),
        (&["list"][..], 4, "myna up"),
        (&["--dir", "nowhere", "status"][..], 4, "nowhere"),
        (&["--dir", "", "status"][..], 4, "no platform runs"),
    ] {
        let ended = myna(home.path(), words);
        assert_eq!(code(&ended), expected, "{words:?}: {}", err(&ended));
        assert!(err(&ended).contains(said), "{words:?} says {said:?}: {}", err(&ended));
        assert_eq!(out(&ended), "", "{words:?}");
    }
    let as_json = myna(home.path(), &["--json", "list"]);
    let error: Value = serde_json::from_str(&err(&as_json)).unwrap();
    assert_eq!(error["error"]["exit"], 4);
}

#[test]
fn verbs_that_need_no_platform_work_without_one() {
    let home = home();
    assert_eq!(code(&myna(home.path(), &["init", "--like", "lambda-python", "hello"])), 0);
    assert!(home.path().join("hello/lambda_function.py").is_file());
    assert_eq!(code(&myna(home.path(), &["init", "--like", "lambda-node", "hello"])), 2, "nothing is overwritten");
    let findings: Value = serde_json::from_str(&out(&myna(home.path(), &["doctor", "--json"]))).unwrap();
    assert!(findings.as_array().unwrap().iter().all(|f| f["what"].is_string() && f["state"].is_string()));
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&myna(home.path(), &["completions", shell])).contains("myna"), "{shell}");
    }
    let unset = out(&myna(home.path(), &["env", "--unset"]));
    assert!(unset.lines().all(|l| l.starts_with("unset AWS_")) && unset.contains("AWS_ENDPOINT_URL"), "{unset}");
}

fn configuration(name: &str) -> Value {
    json!({ "FunctionName": name, "FunctionArn": format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"), "Runtime": "python3.12",
        "Handler": "lambda_function.lambda_handler", "MemorySize": 128, "Timeout": 3, "CodeSize": 300, "State": "Active", "LastUpdateStatus": "Successful",
        "CodeSha256": "3q2+7w==", "LastModified": "2026-01-02T03:04:05.678+0000", "Version": "$LATEST", "Role": "arn:aws:iam::000000000000:role/r" })
}

#[test]
fn a_folder_is_created_with_what_was_found_and_without_what_is_private() {
    let home = home();
    let played = Played::start(&home.path().join(".myna"), |ask, nth| match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/2015-03-31/functions/hello/configuration") if nth == 1 => {
            (404, "ResourceNotFoundException", json!({ "Type": "User", "Message": "Function not found: hello" }))
        }
        ("GET", "/2015-03-31/functions/hello/configuration") => (200, "", configuration("hello")),
        ("GET", "/admin/v1/runtimes?family=python") => (200, "", json!([{ "name": "python3.12", "found": "CPython 3.12" }])),
        ("GET", "/admin/v1/status") => {
            (200, "", json!({ "account": "000000000000", "default_role": "arn:aws:iam::000000000000:role/myna-default" }))
        }
        ("POST", "/2015-03-31/functions") => (201, "", configuration("hello")),
        other => panic!("nobody should ask for {other:?}"),
    });
    assert_eq!(code(&myna(home.path(), &["init", "--like", "lambda-python", "hello"])), 0);
    fs::write(home.path().join("hello/.env"), "SECRET=1").unwrap();
    let deployed = myna(home.path(), &["deploy", "hello", "--env", "A=b"]);
    assert_eq!(code(&deployed), 0, "{}", err(&deployed));
    for words in ["python3.12", "lambda_function.py has Lambda's default handler", "left out  .env, event.json"] {
        assert!(err(&deployed).contains(words), "{words}: {}", err(&deployed));
    }
    assert!(out(&deployed).starts_with("hello created in ") && out(&deployed).contains("deadbeef"), "{}", out(&deployed));
    let sent = played.asked().into_iter().find(|a| a.method == "POST").unwrap();
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["Role"], "arn:aws:iam::000000000000:role/myna-default");
    assert_eq!(body["Environment"]["Variables"]["A"], "b");
    assert_eq!((&body["Timeout"], &body["MemorySize"]), (&json!(10), &json!(128)));
    use base64::Engine;
    let archive = base64::engine::general_purpose::STANDARD.decode(body["Code"]["ZipFile"].as_str().unwrap()).unwrap();
    let archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let names: Vec<String> = archive.file_names().map(|n| n.unwrap().into_owned()).collect();
    assert_eq!(names, ["lambda_function.py"]);
}

#[test]
fn an_answer_goes_to_standard_output_and_a_functions_error_to_the_exit_code() {
    let home = home();
    let _played = Played::start(&home.path().join(".myna"), |ask, _| match ask.path.as_str() {
        "/2015-03-31/functions/good/invocations?Qualifier=live" => {
            (200, "", Value::String(String::from_utf8(ask.body.clone()).unwrap()))
        }
        "/2015-03-31/functions/bad/invocations" => (200, "error:Unhandled", json!({ "errorMessage": "no" })),
        "/2015-03-31/functions/gone/invocations" => {
            (404, "ResourceNotFoundException", json!({ "Message": "Function not found: gone" }))
        }
        "/2015-03-31/functions" => (200, "", json!({ "Functions": [configuration("one"), configuration("evil\u{1b}[2J")] })),
        other => panic!("nobody should ask for {other}"),
    });
    let good = myna(home.path(), &["invoke", "good", "--qualifier", "live", "-d", "[1]"]);
    assert_eq!((code(&good), out(&good).as_str()), (0, "\"[1]\""), "{}", err(&good));
    let bad = myna(home.path(), &["invoke", "bad"]);
    assert_eq!((code(&bad), out(&bad).as_str()), (3, r#"{"errorMessage":"no"}"#));
    assert!(err(&bad).contains("myna logs bad --id"), "{}", err(&bad));
    let gone = myna(home.path(), &["invoke", "gone"]);
    assert_eq!(code(&gone), 5);
    assert!(err(&gone).contains("myna list"), "{}", err(&gone));
    let listed = myna(home.path(), &["list"]);
    let lines: Vec<String> = out(&listed).lines().map(str::to_string).collect();
    assert!(lines[0].starts_with("NAME ") && lines[1].starts_with("one "), "{lines:?}");
    let columns = |line: &str| line.find("python3.12");
    assert_eq!(columns(&lines[1]), columns(&lines[2]), "aligned: {lines:?}");
}
