//! Layers: what a function has at /opt besides its own code, as AWS's clients publish it and as each language finds it.

use crate::journeys::amazon::compiled_class;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use myna_tests::{Context, Function, Platform, Result, Test, Value, ensure, json, skip, tests, zip};
use std::{fs, thread};

pub const ALL: &[Test] = tests![
    layers_lie_over_each_other_in_their_order_and_outlive_their_deletion,
    layers_by_the_aws_command_line,
    what_the_service_refuses_of_layers_is_refused_in_its_words,
    a_layer_of_another_account_is_what_its_operator_says,
    every_instance_has_its_functions_layers_however_it_was_started,
    libraries_programs_and_wrappers_of_a_layer_are_found,
    node_finds_modules_of_layers,
    java_finds_classes_of_layers,
    a_layer_may_bring_the_program_of_a_function_without_a_runtime,
];

const LAYERS: &str = "/2018-10-31/layers";

/// Publishes a version and returns its ARN.
fn publish(myna: &Platform, name: &str, files: &[(&str, &[u8])]) -> Result<String> {
    let body = json!({ "Content": { "ZipFile": BASE64.encode(zip(files)?) } });
    let made = api(myna, "POST", &format!("{LAYERS}/{name}/versions"), &body)?;
    Ok(made["LayerVersionArn"].as_str().context("no ARN")?.to_owned())
}

fn api(myna: &Platform, method: &str, path: &str, body: &Value) -> Result<Value> {
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let got = myna.signed("lambda", method, path, &[("content-type", "application/json")], &bytes)?;
    ensure!((200..300).contains(&got.status), "{method} {path} answered {}: {}", got.status, got.text());
    if got.body.is_empty() { Ok(Value::Null) } else { got.json() }
}

fn given(f: &Function<'_>, layers: &[&str]) -> Result<()> {
    f.api("PUT", "/configuration", &json!({ "Layers": layers }))?;
    f.settled().map(drop)
}

const LOOKS: &str = "import os, sys
def handler(event, context):
    import shared, only_first, plain
    def write(path):
        try:
            open(path, 'w')
        except OSError as e:
            return e.errno
        return 'written'
    seen = {'shared': shared.WHO, 'first': only_first.WHO, 'plain': plain.WHO, 'data': open('/opt/data.txt').read()}
    return dict(seen, opt=sorted(os.listdir('/opt')), new=write('/opt/new'), old=write('/opt/data.txt'),
                owner=os.stat('/opt/data.txt').st_uid, mounts=open('/proc/self/mountinfo').read())
";

fn layers_lie_over_each_other_in_their_order_and_outlive_their_deletion() -> Result<()> {
    let mut myna = Platform::start()?;
    let said = myna.boto3(
        r#"
first = lam.publish_layer_version(LayerName="first", Description="d", LicenseInfo="MIT", CompatibleRuntimes=["python3.11", "python3.12"],
    CompatibleArchitectures=["x86_64"], Content={"ZipFile": package(**{"python/lib/python3.11/site-packages/shared.py": "WHO = 'first'",
    "python/lib/python3.11/site-packages/only_first.py": "WHO = 'first'", "data.txt": "first", "one.txt": "1"})})
second = lam.publish_layer_version(LayerName="second", Content={"ZipFile": package(**{
    "python/lib/python3.11/site-packages/shared.py": "WHO = 'second'", "python/plain.py": "WHO = 'plain'", "data.txt": "second"})})
again = lam.publish_layer_version(LayerName="first", Content={"ZipFile": package(**{"x": "x"})})
return {"first": first, "second": second, "again": again, "got": lam.get_layer_version(LayerName="first", VersionNumber=1),
    "by": lam.get_layer_version_by_arn(Arn=first["LayerVersionArn"]), "layers": lam.list_layers()["Layers"],
    "for": [l["LayerName"] + str(l["LatestMatchingVersion"]["Version"]) for l in lam.list_layers(CompatibleRuntime="python3.12")["Layers"]],
    "versions": [v["Version"] for v in lam.list_layer_versions(LayerName=first["LayerArn"])["LayerVersions"]],
    "page": [p["LayerVersions"][0]["Version"] for p in lam.get_paginator("list_layer_versions").paginate(LayerName="first", PaginationConfig={"PageSize": 1})]}
"#,
    )?;
    ensure!(said["first"]["Version"] == 1 && said["again"]["Version"] == 2 && said["second"]["Version"] == 1, "{said}");
    for (member, expected) in [
        ("LayerArn", json!("arn:aws:lambda:us-east-1:000000000000:layer:first")),
        ("LayerVersionArn", json!("arn:aws:lambda:us-east-1:000000000000:layer:first:1")),
        ("CompatibleRuntimes", json!(["python3.11", "python3.12"])),
        ("CompatibleArchitectures", json!(["x86_64"])),
        ("LicenseInfo", json!("MIT")),
        ("Description", json!("d")),
    ] {
        ensure!(said["got"][member] == expected && said["by"][member] == expected, "{member}: {said}");
    }
    ensure!(said["for"] == json!(["first1"]) && said["versions"] == json!([2, 1]) && said["page"] == json!([2, 1]), "{said}");
    ensure!(said["layers"].as_array().is_some_and(|l| l.len() == 2), "{said}");
    let location = said["got"]["Content"]["Location"].as_str().unwrap_or_default();
    let archive = myna_tests::Http::default().send("GET", location, &[], b"")?;
    ensure!(archive.status == 200 && archive.body.starts_with(b"PK"), "{location} answered {}", archive.status);

    let arns = ["first", "second"].map(|w| said[w]["LayerVersionArn"].as_str().unwrap_or_default().to_owned());
    let f = myna.draft("looks", LOOKS).set("Layers", json!(arns)).create()?;
    let shown = f.settled()?;
    ensure!(shown["Layers"].as_array().is_some_and(|l| l.len() == 2 && l[1]["Arn"] == arns[1].as_str()), "{shown}");
    ensure!(shown["Layers"][0]["CodeSize"] == said["first"]["Content"]["CodeSize"], "{shown}");
    let seen = f.call(json!({}))?;
    ensure!(seen["shared"] == "second" && seen["first"] == "first" && seen["plain"] == "plain", "{seen}");
    ensure!(seen["data"] == "second" && seen["opt"] == json!(["data.txt", "one.txt", "python"]), "{seen}");
    // EROFS: not even root could.
    ensure!(seen["new"] == 30 && seen["old"] == 30, "/opt can be written: {seen}");
    ensure!(!seen["mounts"].to_string().contains("/packages/"), "an instance sees where layers lie on the host: {seen}");
    given(&f, &[&arns[1], &arns[0]])?;
    let seen = f.call(json!({}))?;
    ensure!(seen["shared"] == "first" && seen["data"] == "first", "in the other order: {seen}");

    f.api("POST", "/versions", &json!({}))?;
    for path in ["first/versions/1", "second/versions/1", "second/versions/1"] {
        api(&myna, "DELETE", &format!("{LAYERS}/{path}"), &Value::Null)?;
    }
    let gone = myna.signed("lambda", "GET", &format!("{LAYERS}/first/versions/1"), &[], b"")?;
    ensure!(gone.status == 404, "a deleted version is there: {}", gone.text());
    let refused = myna.draft("late", LOOKS).set("Layers", json!([arns[0]])).send()?;
    ensure!(refused.status == 400 && refused.text().contains("does not exist"), "{}", refused.text());
    myna.stop()?;
    myna.start_again()?;
    let f = myna.function("looks");
    ensure!(f.call(json!({}))?["shared"] == "first", "after its layers were deleted and a new start");
    ensure!(f.invoke_bytes("1", b"{}", &[])?.json()?["shared"] == "first");
    f.update(LOOKS)?;
    ensure!(f.call(json!({}))?["shared"] == "first", "new code keeps the layers");
    given(&f, &[])?;
    ensure!(f.invoke(&json!({}))?.error.is_some(), "without layers there is no module to import");
    let made = publish(&myna, "second", &[("y", b"y")])?;
    ensure!(made.ends_with(":second:2"), "the number of a deleted version was given again: {made}");
    Ok(())
}

fn layers_by_the_aws_command_line() -> Result<()> {
    let myna = Platform::start()?;
    fs::write(myna.home().join("l.zip"), zip(&[("python/greeting.py", b"WORD = 'from the layer'\n")])?)?;
    let code = b"import greeting\ndef handler(event, context):\n    return greeting.WORD\n";
    fs::write(myna.home().join("f.zip"), zip(&[("app.py", code)])?)?;
    let aws = |words: &[&str]| -> Result<Value> {
        let text = myna.aws(&[&["lambda"], words, &["--output", "json"]].concat())?;
        if text.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    };
    let one = ["--layer-name", "greet", "--version-number", "1"];
    let made = aws(&[
        "publish-layer-version",
        "--layer-name",
        "greet",
        "--zip-file",
        "fileb://l.zip",
        "--compatible-runtimes",
        "python3.11",
    ])?;
    let arn = made["LayerVersionArn"].as_str().unwrap_or_default().to_owned();
    let shown = aws(&[&["get-layer-version"][..], &one].concat())?;
    ensure!(shown["LayerVersionArn"] == arn.as_str() && shown["CompatibleRuntimes"] == json!(["python3.11"]), "{shown}");
    ensure!(aws(&["list-layers"])?["Layers"][0]["LayerName"] == "greet");
    let permission = ["--statement-id", "all", "--action", "lambda:GetLayerVersion", "--principal", "*"];
    let added = aws(&[&["add-layer-version-permission"][..], &one, &permission].concat())?;
    ensure!(added["Statement"].as_str().is_some_and(|s| s.contains(&arn)), "{added}");
    let policy = aws(&[&["get-layer-version-policy"][..], &one].concat())?;
    ensure!(
        policy["RevisionId"] == added["RevisionId"] && policy["Policy"].as_str().is_some_and(|p| p.contains("\"all\"")),
        "{policy}"
    );
    aws(&[&["remove-layer-version-permission"][..], &one, &["--statement-id", "all"]].concat())?;

    let role = myna.ready().role.clone();
    let named = ["--function-name", "greets"];
    let rest =
        ["--runtime", "python3.11", "--handler", "app.handler", "--role", &role, "--zip-file", "fileb://f.zip", "--layers", &arn];
    aws(&[&["create-function"][..], &named, &rest].concat())?;
    aws(&[&["wait", "function-active-v2"][..], &named].concat())?;
    aws(&[&["invoke"][..], &named, &["out"]].concat())?;
    ensure!(fs::read_to_string(myna.home().join("out"))? == "\"from the layer\"");
    aws(&[&["delete-layer-version"][..], &one].concat())?;
    ensure!(aws(&["list-layer-versions", "--layer-name", "greet"])?["LayerVersions"] == json!([]));
    let limit = aws(&["get-account-settings"])?;
    ensure!(limit["AccountUsage"]["FunctionCount"] == 1, "{limit}");
    Ok(())
}

fn what_the_service_refuses_of_layers_is_refused_in_its_words() -> Result<()> {
    let myna = Platform::start()?;
    let arns: Vec<String> = (1..=6).map(|n| publish(&myna, &format!("l{n}"), &[("x", b"x")])).collect::<Result<_>>()?;
    let newer = publish(&myna, "l1", &[("y", b"y")])?;
    let draft = || myna.draft("asks", "def handler(event, context): return 1");
    let other = |what: &str| arns[0].replace("layer:l1:1", what);
    let cases = [
        (json!(arns), "InvalidParameterValueException", "Cannot reference more than 5 layers.".to_owned()),
        (
            json!([arns[0], newer]),
            "InvalidParameterValueException",
            format!("{} and {newer} are versions of the same layer.", arns[0]),
        ),
        (json!([other("layer:l1:9")]), "InvalidParameterValueException", "layer:l1:9 does not exist.".to_owned()),
        (json!([other("layer:nobody:1")]), "InvalidParameterValueException", "layer:nobody:1 does not exist.".to_owned()),
        (json!(["l1:1"]), "ValidationException", "at 'layers' failed to satisfy constraint".to_owned()),
        (json!([other("layer:l1")]), "ValidationException", "at 'layers' failed to satisfy constraint".to_owned()),
        (
            json!([arns[0].replace("us-east-1", "eu-west-1")]),
            "InvalidParameterValueException",
            "Layers are expected to be in region us-east-1.".to_owned(),
        ),
    ];
    for (layers, code, words) in cases {
        let got = draft().set("Layers", layers.clone()).send()?;
        let named = got.header("x-amzn-errortype").unwrap_or_default();
        ensure!(
            got.status == 400 && named == code && got.text().contains(&words),
            "{layers}: {} {named} {}",
            got.status,
            got.text()
        );
    }
    // Together they would not fit, alone each does.
    let big = |name: &str| publish(&myna, name, &[("big", &vec![0; 140 << 20]), ("noise", &noise())]);
    let (a, b) = (big("big-a")?, big("big-b")?);
    let got = draft().set("Layers", json!([a, b])).send()?;
    ensure!(got.status == 400 && got.text().contains("Function code combined with layers exceeds the maximum"), "{}", got.text());
    let f = draft().set("Layers", json!([a])).create()?;
    ensure!(f.call(json!({}))? == 1);
    let refused = myna.boto3(
        r#"
lam.add_layer_version_permission(LayerName="l2", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="123456789012")
version = dict(LayerName="l2", VersionNumber=1)
calls = [
    (lam.get_layer_version, dict(LayerName="nobody", VersionNumber=1)),
    (lam.get_layer_version, dict(LayerName="l2", VersionNumber=0)),
    (lam.get_layer_version_policy, dict(LayerName="l3", VersionNumber=1)),
    (lam.add_layer_version_permission, dict(version, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")),
    (lam.add_layer_version_permission, dict(version, StatementId="t", Action="lambda:Invoke", Principal="*")),
    (lam.add_layer_version_permission, dict(version, StatementId="t", Action="lambda:GetLayerVersion", Principal="*", RevisionId="old")),
    (lam.remove_layer_version_permission, dict(version, StatementId="nobody")),
    (lam.publish_layer_version, dict(LayerName="l2", Content={"ZipFile": b"no zip"})),
    (lam.publish_layer_version, dict(LayerName="l2", Content={"ZipFile": package(x="x")}, CompatibleRuntimes=["cobol"])),
    (lam.get_layer_version_by_arn, dict(Arn="arn:aws:lambda:us-east-1:123456789012:layer:other:1")),
]
return [refused(call, **arguments)["Error"]["Code"] for call, arguments in calls]
"#,
    )?;
    let expected = [
        "ResourceNotFoundException",
        "InvalidParameterValueException",
        "ResourceNotFoundException",
        "ResourceConflictException",
        "ValidationException",
        "PreconditionFailedException",
        "ResourceNotFoundException",
        "InvalidParameterValueException",
        "ValidationException",
        "AccessDeniedException",
    ];
    ensure!(refused == json!(expected), "{refused}");
    Ok(())
}

/// What doesn't compress, so that an archive of zeros beside it is no bomb.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..2 << 20).map(|_| next()).collect()
}

fn a_layer_of_another_account_is_what_its_operator_says() -> Result<()> {
    let myna = Platform::start()?;
    let arn = "arn:aws:lambda:us-east-1:123456789012:layer:Monitor:3";
    let draft =
        || myna.draft("watched", "import monitor\ndef handler(event, context): return monitor.WHO").set("Layers", json!([arn]));
    let refused = draft().send()?;
    let command = format!("myna layer map {arn} ");
    ensure!(refused.status == 400 && refused.text().contains(&command), "{}", refused.text());
    let folder = myna.home().join("monitor/python");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("monitor.py"), "WHO = 'stands for it'\n")?;
    // The words of the error, with a path.
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let done = myna.cli(&[&words[..], &["monitor"]].concat())?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let f = draft().create()?;
    ensure!(f.call(json!({}))? == "stands for it");
    let shown = f.settled()?;
    ensure!(shown["Layers"][0]["Arn"] == arn, "{shown}");
    ensure!(myna.boto3(&format!("return lam.get_layer_version_by_arn(Arn='{arn}')['Version']"))? == 3);

    let done = myna.cli(&["layer", "publish", "tools", "monitor", "--runtime", "python3.11", "--json"])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let own = serde_json::from_slice::<Value>(&done.stdout)?["LayerVersionArn"].as_str().unwrap_or_default().to_owned();
    let listed = myna.cli(&["layer", "list"])?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    ensure!(listed.contains(&own) && listed.contains(arn), "{listed}");
    let wrong = myna.cli(&["layer", "map", &own, "monitor"])?;
    let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(!wrong.status.success() && words.contains("myna layer publish tools"), "{words}");
    let nothing = myna.cli(&["layer", "map", "arn:aws:lambda:x", "monitor"])?;
    ensure!(!nothing.status.success());
    fs::create_dir_all(myna.home().join("api"))?;
    fs::write(
        myna.home().join("api/lambda_function.py"),
        "import monitor\ndef lambda_handler(event, context): return monitor.WHO\n",
    )?;
    let deploy = || myna.cli(&["deploy", "api", "--layer", &own]);
    for expected in ["created", "is as it was"] {
        let done = deploy()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(said.contains(expected), "{said}{}", String::from_utf8_lossy(&done.stderr));
    }
    ensure!(myna.function("api").call(json!({}))? == "stands for it");
    let described = myna.cli(&["describe", "api"])?;
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    ensure!(described.lines().any(|l| l.starts_with("layer") && l.ends_with(&own)), "{described}");
    Ok(())
}

/// Runtimes that were started before anybody asked get their layers with their code, those that were not with their sandbox.
fn every_instance_has_its_functions_layers_however_it_was_started() -> Result<()> {
    let myna = Platform::start()?;
    let layer = |who: &str| publish(&myna, who, &[("python/who.py", format!("WHO = '{who}'\n").as_bytes())]);
    let source = "import time\nimport who\ndef handler(event, context):\n    time.sleep(0.3)\n    return [who.WHO, event]\n";
    let (a, b) = (layer("a")?, layer("b")?);
    let functions = [
        (myna.draft("fa", source).set("Layers", json!([a])).create()?, "a"),
        (myna.draft("fb", source).set("Layers", json!([b])).create()?, "b"),
        (myna.draft("none", &source.replace("import who", "class who: WHO = 'none'")).create()?, "none"),
    ];
    let explained = myna.cli(&["explain", "fa"])?;
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    let row = explained.lines().find(|l| l.contains("started before it is called")).unwrap_or_default();
    ensure!(row.contains("yes"), "a function with a layer isn't bound to what was started before: {explained}");
    thread::scope(|scope| -> Result<()> {
        let calls: Vec<_> = (0..12)
            .map(|n| {
                let (f, who) = &functions[n % 3];
                scope.spawn(move || -> Result<()> {
                    let got = f.call(json!(n))?;
                    ensure!(got == json!([who, n]), "call {n} of {who} answered {got}");
                    Ok(())
                })
            })
            .collect();
        calls.into_iter().try_for_each(|c| c.join().expect("a call doesn't panic"))
    })
}

fn libraries_programs_and_wrappers_of_a_layer_are_found() -> Result<()> {
    let myna = Platform::start()?;
    let library =
        ["/usr/lib/x86_64-linux-gnu/libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1", "/usr/lib/aarch64-linux-gnu/libz.so.1"];
    let library =
        library.iter().find_map(|p| fs::read(p).ok()).ok_or_else(|| skip("this machine has no libz.so.1 to put into a layer"))?;
    let files: &[(&str, &[u8])] = &[
        ("lib/libofthelayer.so", &library),
        ("bin/of-the-layer", b"#!/bin/sh\necho run by $0\n"),
        ("wrap", b"#!/bin/sh\nexport WRAPPED=yes\nexec \"$@\"\n"),
    ];
    let arn = publish(&myna, "tools", files)?;
    let source = "import ctypes, os, subprocess
def handler(event, context):
    version = ctypes.CDLL('libofthelayer.so').zlibVersion
    version.restype = ctypes.c_char_p
    return [version().decode()[:2], subprocess.check_output(['of-the-layer'], text=True), os.environ.get('WRAPPED')]
";
    let f = myna.draft("uses", source).set("Layers", json!([arn])).create()?;
    let seen = f.call(json!({}))?;
    ensure!(seen == json!(["1.", "run by /opt/bin/of-the-layer\n", null]), "{seen}");
    f.api("PUT", "/configuration", &json!({ "Environment": { "Variables": { "AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap" } } }))?;
    f.settled()?;
    ensure!(f.call(json!({}))?[2] == "yes");
    Ok(())
}

fn node_finds_modules_of_layers() -> Result<()> {
    let myna = Platform::with_runtimes(&["nodejs20.x"])?;
    let module = |who: &str| format!("module.exports = '{who}';");
    let files = [
        ("nodejs/node_modules/common/index.js", module("common")),
        ("nodejs/node_modules/both/index.js", module("general")),
        ("nodejs/node20/node_modules/both/index.js", module("special")),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, t)| (*n, t.as_bytes())).collect();
    let arn = publish(&myna, "modules", &files)?;
    let code = "exports.handler = async () => [require('common'), require('both')];";
    let draft = myna.draft("asks", "").file("index.js", code).set("Handler", "index.handler").set("Runtime", "nodejs20.x");
    let f = draft.set("Layers", json!([arn])).create()?;
    let seen = f.call(json!({}))?;
    ensure!(seen == json!(["common", "special"]), "{seen}");
    Ok(())
}

fn java_finds_classes_of_layers() -> Result<()> {
    let myna = Platform::with_runtimes(&["java21"])?;
    let greeting = compiled_class(
        &myna,
        "Greeting",
        "public class Greeting { public static String word() { return \"from the layer\"; } }",
    )?;
    let jar = zip(&[("Greeting.class", &greeting)])?;
    let arn = publish(&myna, "jars", &[("java/lib/greeting.jar", &jar)])?;
    let source = "import java.util.Map;\npublic class Hello {\n  public String handle(Map<String, Object> event) throws Exception {\n    \
                  return (String) Class.forName(\"Greeting\").getMethod(\"word\").invoke(null);\n  }\n}\n";
    let class = compiled_class(&myna, "Hello", source)?;
    let draft = myna.draft("asks", "").file("Hello.class", class).set("Handler", "Hello::handle").set("Runtime", "java21");
    let f = draft.set("MemorySize", 512).set("Timeout", 60).set("Layers", json!([arn])).create()?;
    ensure!(f.call(json!({}))? == "from the layer");
    Ok(())
}

fn a_layer_may_bring_the_program_of_a_function_without_a_runtime() -> Result<()> {
    let myna = Platform::start()?;
    let bootstrap = "#!/usr/bin/python3
import json, os, urllib.request as u
base = 'http://%s/2018-06-01/runtime/' % os.environ['AWS_LAMBDA_RUNTIME_API']
while True:
    event = u.urlopen(base + 'invocation/next')
    answer = json.dumps([json.load(event), os.environ['_HANDLER'], __file__]).encode()
    u.urlopen(u.Request(base + 'invocation/%s/response' % event.headers['Lambda-Runtime-Aws-Request-Id'], answer)).read()
";
    let arn = publish(&myna, "runtime", &[("bootstrap", bootstrap.as_bytes())])?;
    let draft = myna.draft("own", "").set("Runtime", "provided.al2023").set("Handler", "any.thing");
    let f = draft.set("Layers", json!([arn])).create()?;
    let seen = f.call(json!(7))?;
    ensure!(seen == json!([7, "any.thing", "/opt/bootstrap"]), "{seen}");
    Ok(())
}
