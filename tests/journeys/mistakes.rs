//! The common mistakes. Each is told with the thing that it is about, what was to be done with it, and what to do next.

use super::command_line::folder;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use myna_tests::{Platform, Result, Test, Value, ensure, json, tests};
use std::fs;

pub const ALL: &[Test] =
    tests![a_mistake_on_the_command_line_is_told_with_its_next_step, a_mistake_in_a_request_is_told_in_the_services_form,];

struct Mistake {
    words: &'static [&'static str],
    exit: i32,
    /// The object, and what was to be done with it.
    about: &'static [&'static str],
    /// In the line that begins with `next:`, or after it.
    next: &'static str,
}

const fn mistake(words: &'static [&'static str], exit: i32, about: &'static [&'static str], next: &'static str) -> Mistake {
    Mistake { words, exit, about, next }
}

const MISTAKES: &[Mistake] = &[
    mistake(&["--dir", "/nonexistent", "list"], 4, &["no platform directory", "/nonexistent"], "myna up --dir /nonexistent"),
    mistake(&["invoke", "nobody"], 5, &["Function not found", "function:nobody"], "myna list"),
    mistake(&["invoke", "there:9"], 5, &["Function not found", "function:there:9"], "myna versions there"),
    mistake(&["invoke", "there", "--qualifier", "gone"], 5, &["function:there:gone"], "myna alias there"),
    mistake(&["invoke", "my function"], 2, &["'my function'", "functionName"], "letters, digits"),
    mistake(&["invoke", "there", "-d", "{"], 2, &["Could not parse", "json"], "-d takes JSON"),
    mistake(&["invoke", "there", "-d", "@gone.json"], 2, &["the event gone.json can't be read"], "-d @FILE"),
    mistake(&["invoke", "there", "-d", "@huge.json"], 2, &["smaller than 6291456 bytes"], "its name into the event"),
    mistake(&["describe", "nobody"], 5, &["function:nobody"], "myna list"),
    mistake(&["logs", "nobody"], 5, &["nobody"], "myna list"),
    mistake(&["explain", "nobody"], 5, &["nobody"], "myna list"),
    mistake(&["delete", "nobody", "--yes"], 5, &["function:nobody"], "myna list"),
    mistake(&["delete", "there"], 2, &["there is not deleted"], "--yes"),
    mistake(&["alias", "set", "there", "live", "9"], 5, &["function:there:9"], "myna versions there"),
    mistake(&["deploy", "gone"], 2, &["gone can't be read"], "myna init"),
    mistake(&["deploy", "empty"], 2, &["no function was found in", "empty"], "--handler"),
    mistake(&["deploy", "code", "--runtime", "cobol85"], 2, &["cobol85", "'runtime'"], "myna runtime list"),
    mistake(&["deploy", "code", "--name", "my code"], 2, &["'my code'", "functionName"], "letters, digits"),
    mistake(&["deploy", "broken"], 2, &["broken/myna.toml", "line 1"], "[function]"),
    mistake(&["deploy", "misplaced"], 2, &["misplaced/myna.toml", "timeout"], "[function]"),
    mistake(&["deploy", "many"], 2, &["many holds projects, and is none itself"], "many/one"),
    mistake(&["concurrency", "provision", "there", "live", "1"], 5, &["function:there:live"], "myna alias there"),
    mistake(&["dev", "gone"], 2, &["gone can't be read"], "myna init"),
    mistake(&["dev", "code/lambda_function.py"], 2, &["is not a folder"], "myna deploy"),
    mistake(&["runtime", "install", "cobol85"], 1, &["there is no runtime \"cobol85\""], "python3"),
    mistake(&["init", "--like", "lambda-python", "code"], 2, &["code/lambda_function.py is there already"], "another folder"),
];

// D4
fn a_mistake_on_the_command_line_is_told_with_its_next_step() -> Result<()> {
    let myna = Platform::start()?;
    myna.python("there", "def handler(event, context): return event")?;
    let code = ("lambda_function.py", "def lambda_handler(event, context):\n    return 1\n");
    folder(&myna, "code", &[code])?;
    folder(&myna, "broken", &[code, ("myna.toml", "[function")])?;
    folder(&myna, "misplaced", &[code, ("myna.toml", "timeout = 3\n")])?;
    folder(&myna, "many/one", &[code, ("myna.toml", "")])?;
    fs::create_dir(myna.home().join("empty"))?;
    fs::write(myna.home().join("huge.json"), format!("\"{}\"", "x".repeat(7 << 20)))?;
    for wrong in MISTAKES {
        let out = myna.cli(wrong.words)?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let what = format!("myna {}: {}\n{said}", wrong.words.join(" "), out.status);
        ensure!(out.status.code() == Some(wrong.exit), "not {}: {what}", wrong.exit);
        ensure!(out.stdout.is_empty(), "it also answers: {what}{}", String::from_utf8_lossy(&out.stdout));
        let (error, next) = said.split_once("\nnext:").unwrap_or((&said, ""));
        ensure!(error.contains("error: ") && wrong.about.iter().all(|a| error.contains(a)), "{:?}: {what}", wrong.about);
        ensure!(next.contains(wrong.next), "no next step {:?}: {what}", wrong.next);

        let json = [&["--json"], wrong.words].concat();
        let out = myna.cli(&json)?;
        let told: Value = serde_json::from_slice(&out.stderr).unwrap_or_default();
        let told = &told["error"];
        ensure!(out.status.code() == Some(wrong.exit) && told["exit"] == wrong.exit, "--json: {what}{told}");
        ensure!(told["hint"].as_str().is_some_and(|h| h.contains(wrong.next)), "--json: {what}{told}");
    }
    Ok(())
}

// D4
fn a_mistake_in_a_request_is_told_in_the_services_form() -> Result<()> {
    let myna = Platform::start()?;
    myna.python("there", "def handler(event, context): return event")?;
    let role = myna.ready().role.clone();
    let creation = |field: &str, value: Value| {
        let mut body =
            json!({"FunctionName": "made", "Runtime": "python3.11", "Role": role, "Handler": "a.b", "Code": {"ZipFile": ""}});
        body[field] = value;
        body
    };
    const FUNCTIONS: &str = "/2015-03-31/functions";
    let no_zip = json!({"ZipFile": BASE64.encode("no zip")});
    // Method, path and body; status and code; what the text names.
    type Row = (&'static str, &'static str, Value, u16, &'static str, &'static [&'static str]);
    let rows: Vec<Row> = vec![
        ("GET", "/2015-03-31/functions/nobody", Value::Null, 404, "ResourceNotFoundException", &["Function not found", "nobody"]),
        (
            "POST",
            FUNCTIONS,
            creation("Runtime", json!("cobol85")),
            400,
            "InvalidParameterValueException",
            &["cobol85", "runtime"],
        ),
        ("POST", FUNCTIONS, creation("Role", json!("me")), 400, "ValidationException", &["'me'", "role"]),
        ("POST", FUNCTIONS, creation("Timeout", json!(901)), 400, "ValidationException", &["901", "timeout", "900"]),
        ("POST", FUNCTIONS, creation("Code", no_zip), 400, "InvalidParameterValueException", &["unzip"]),
        (
            "POST",
            FUNCTIONS,
            creation("Layers", json!(["arn:aws:lambda:us-east-1:000000000000:layer:l:1"])),
            400,
            "InvalidParameterValueException",
            &["Layer version", "layer:l:1 does not exist"],
        ),
        (
            "POST",
            "/2015-03-31/functions/there/aliases",
            json!({"Name": "live", "FunctionVersion": "9"}),
            404,
            "ResourceNotFoundException",
            &["there:9"],
        ),
        (
            "POST",
            "/2025-11-30/capacity-providers",
            json!({}),
            501,
            "NotImplementedException",
            &["CreateCapacityProvider", "docs/dialects/aws.md"],
        ),
        ("POST", "/2099-01-01/functions", json!({}), 404, "UnknownOperationException", &["POST /2099-01-01/functions"]),
    ];
    for (method, path, body, status, code, about) in rows {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body)? };
        let got = myna.signed("lambda", method, path, &[("content-type", "application/json")], &bytes)?;
        let named = got.header("x-amzn-errortype").unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
        ensure!((got.status, named.as_str()) == (status, code), "{method} {path} {body}: {} {named} {}", got.status, got.text());
        ensure!(about.iter().all(|a| got.text().contains(a)), "{about:?} in {method} {path}: {}", got.text());
    }
    let elsewhere = myna.signed("sqs", "POST", "/", &[("x-amz-target", "AmazonSQS.SendMessage")], b"{}")?;
    ensure!(elsewhere.status == 501 && elsewhere.text().contains("myna does not serve sqs"), "{}", elsewhere.text());
    Ok(())
}
