//! Every runtime name that a function may give, on what this machine or a registry has; and `myna runtime` as a user meets it.

use crate::journeys::amazon::compiled_class;
use myna_tests::{Context, Options, Platform, Result, Test, ensure, json, tests};

macro_rules! each {
    ($($test:ident: $name:literal),* $(,)?) => {
        pub const EACH: &[Test] = tests![$($test),*];
        $(fn $test() -> Result<()> { serves($name) })*
    };
}

each! {
    python3_9_serves: "python3.9",
    python3_10_serves: "python3.10",
    python3_11_serves: "python3.11",
    python3_12_serves: "python3.12",
    python3_13_serves: "python3.13",
    python3_14_serves: "python3.14",
    nodejs18_serves: "nodejs18.x",
    nodejs20_serves: "nodejs20.x",
    nodejs22_serves: "nodejs22.x",
    nodejs24_serves: "nodejs24.x",
    java17_serves: "java17",
    java21_serves: "java21",
    java25_serves: "java25",
}

pub const ALL: &[Test] = tests![
    the_sdk_that_node_is_given_calls_another_function,
    an_install_tells_its_steps_and_what_is_missing,
    a_retired_runtime_runs_only_where_it_is_mapped,
];

const PYTHON: &str = "import os, sys, boto3\ndef handler(event, context):\n    return {'version': '%d.%d' % sys.version_info[:2], \
                      'as': os.environ['AWS_EXECUTION_ENV'], 'n': event['n'], 'sdk': boto3.__name__}\n";
const NODE: &str = "const { LambdaClient } = require('@aws-sdk/client-lambda');\nexports.handler = async (event) => ({\n  \
                    version: process.versions.node.split('.')[0], as: process.env.AWS_EXECUTION_ENV, n: event.n, sdk: typeof LambdaClient });\n";
const JAVA: &str = "import java.util.Map;\npublic class Hello {\n  public Map<String, Object> handle(Map<String, Object> event) {\n    \
                    return Map.of(\"version\", System.getProperty(\"java.specification.version\"), \"as\", System.getenv(\"AWS_EXECUTION_ENV\"), \
                    \"n\", event.get(\"n\"), \"sdk\", \"none\");\n  }\n}\n";

/// A function of this runtime answers, twice by the same instance, in the version that it was promised, with the SDK beside it.
fn serves(name: &str) -> Result<()> {
    let myna = Platform::with_runtimes(&[name])?;
    let version = name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim_end_matches(".x");
    let (draft, sdk) = match name {
        _ if name.starts_with("python") => (myna.draft("asks", PYTHON), "boto3"),
        _ if name.starts_with("nodejs") => {
            (myna.draft("asks", "").file("index.js", NODE).set("Handler", "index.handler"), "@aws-sdk/client-lambda")
        }
        _ => {
            let class = compiled_class(&myna, "Hello", JAVA)?;
            (myna.draft("asks", "").file("Hello.class", class).set("Handler", "Hello::handle"), "aws-lambda-java-core")
        }
    };
    let f = draft.set("Runtime", name).set("MemorySize", 512).set("Timeout", 60).create()?;
    let row = myna.runtime(name)?;
    for n in 1..=2 {
        let said = f.call(json!({ "n": n }))?;
        ensure!(said["n"] == n && said["as"] == format!("AWS_Lambda_{name}").as_str(), "{said}");
        let stands_in =
            row["notes"].to_string().contains(&format!("{name} runs on {} here", said["version"].as_str().unwrap_or("?")));
        ensure!(said["version"] == version || stands_in, "{name} is served by {} and doesn't say so: {row}", said["version"]);
        ensure!(said["sdk"] == "none" || said["sdk"] == "boto3" || said["sdk"] == "function", "{said}");
    }
    let shown = myna.cli(&["describe", "asks"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let found = row["found"].as_str().unwrap_or_default();
    ensure!(shown.contains(found) && shown.contains(&format!("{sdk} ")), "describe shows neither {found:?} nor {sdk}:\n{shown}");
    Ok(())
}

/// In both kinds of modules, once while the module is loaded, as far as its role allows.
fn the_sdk_that_node_is_given_calls_another_function() -> Result<()> {
    let myna = Platform::with_runtimes(&["nodejs20.x"])?;
    let said = myna.boto3(
        r#"
iam = boto3.client("iam")
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="caller", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
iam.put_role_policy(RoleName="caller", PolicyName="may", PolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:*:*:function:inner"}]}))
def make(name, role, **files):
    lam.create_function(FunctionName=name, Runtime="nodejs20.x", Role=role, Handler="index.handler", Timeout=30, MemorySize=512,
        Code={"ZipFile": package(**files)})
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
make("inner", os.environ["ROLE"], index__js="exports.handler = async (event) => event.n * 2")
common = """
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');
const client = new LambdaClient({});
const call = async (FunctionName, n) => JSON.parse(Buffer.from((await client.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify({ n }) }))).Payload));
exports.handler = async () => ({
    said: await call('inner', 21), as: (await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn,
    other: await call('common', 1).catch((e) => e.name) });
"""
module = """
import { LambdaClient, InvokeCommand } from '@aws-sdk/client-lambda';
const client = new LambdaClient({});
const call = async (n) => JSON.parse(Buffer.from((await client.send(new InvokeCommand({ FunctionName: 'inner', Payload: JSON.stringify({ n }) }))).Payload));
const first = await call(1);
export const handler = async () => [first, await call(2)];
"""
make("common", role, index__js=common)
make("module", role, index__mjs=module)
return {name: json.load(lam.invoke(FunctionName=name, Payload="{}")["Payload"]) for name in ("common", "module")}
"#,
    )?;
    ensure!(said["common"]["said"] == 42 && said["module"] == json!([2, 4]), "{said}");
    ensure!(said["common"]["as"].as_str().is_some_and(|a| a.contains(":assumed-role/caller/")), "{said}");
    ensure!(said["common"]["other"] == "AccessDeniedException", "{said}");
    Ok(())
}

/// Without a registry, since no test may depend on how quick one is.
fn an_install_tells_its_steps_and_what_is_missing() -> Result<()> {
    let nowhere = "http://127.0.0.1:9/";
    let env =
        [("npm_config_registry", nowhere), ("npm_config_fetch_retries", "0"), ("PIP_INDEX_URL", nowhere), ("PIP_RETRIES", "1")];
    let env = env.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    let myna = Platform::start_with(Options { env, ..Options::default() })?;
    let said = |words: &[&str]| -> Result<(i32, String)> {
        let out = myna.cli(&[&["runtime", "install"], words].concat())?;
        Ok((out.status.code().context("it was killed")?, String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    let (code, text) = said(&["nodejs22.x"])?;
    for part in ["fetching Node.js 22 from npm", "npm ", "127.0.0.1:9"] {
        ensure!(code == 1 && text.contains(part), "without a registry, no {part:?} in: {text}");
    }
    ensure!(!text.contains("A complete log"), "npm's cause is told, not where its log lies: {text}");
    let (code, text) = said(&["python3.11"])?;
    ensure!(code == 1 && text.contains("fetching boto3 from PyPI") && text.contains("onnection refused"), "{text}");
    let (code, text) = said(&["nodejs16.x"])?;
    ensure!(code == 1 && text.contains("runtime nodejs16.x is retired") && text.contains("runtimes.\"nodejs16.x\""), "{text}");
    ensure!(!text.contains("fetching"), "nothing is fetched for a name that would not run: {text}");
    let (code, text) = said(&["cobol"])?;
    ensure!(code == 1 && text.contains("no runtime \"cobol\"") && text.contains("nodejs22.x, nodejs24.x"), "{text}");
    let missing = myna.runtime("nodejs24.x")?;
    let origin = missing["origin"].as_str().unwrap_or_default();
    for part in ["no Node.js 24 for runtime nodejs24.x: looked for node in ", "pyenv, asdf and nvm", "search path"] {
        ensure!(missing["found"] != "" || origin.contains(part), "{missing}");
    }
    Ok(())
}

fn a_retired_runtime_runs_only_where_it_is_mapped() -> Result<()> {
    let myna = Platform::with_runtimes(&["nodejs20.x"])?;
    let draft = myna.draft("old", "").file("index.js", "exports.handler = async () => 1").set("Handler", "index.handler");
    let refused = draft.set("Runtime", "nodejs16.x").create().err().context("a retired runtime serves")?.to_string();
    for part in ["InvalidRuntime", "runtime nodejs16.x is retired; map it to a program"] {
        ensure!(refused.contains(part), "{refused}");
    }
    let program = myna.runtime("nodejs20.x")?["program"].as_str().context("a program")?.to_owned();
    // A version that is not the name's own is no answer to it.
    let config = format!("[runtimes]\n\"nodejs16.x\" = {program:?}\n\"provided\" = \"provided\"\n");
    let mapped = Platform::start_with(Options { config: Some(config), ..Options::default() })?;
    let row = mapped.runtime("nodejs16.x")?;
    ensure!(row["found"] == "" && row["origin"].as_str().is_some_and(|o| o.contains("is 20.") && o.contains(&program)), "{row}");
    let row = mapped.runtime("provided")?;
    ensure!(row["notes"].to_string().contains("provided is retired; it runs by the operator's explicit mapping"), "{row}");
    let bootstrap = "#!/bin/sh\nwhile :; do\n  head=$(mktemp)\n  event=$(curl -sS -D \"$head\" \"http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next\")\n  \
                     id=$(grep -i '^lambda-runtime-aws-request-id:' \"$head\" | tr -d '\\r' | cut -d' ' -f2)\n  \
                     curl -sS -d \"[$event]\" \"http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response\" > /dev/null\ndone\n";
    let f = mapped.draft("older", "").file("bootstrap", bootstrap).set("Runtime", "provided").set("Handler", "any").create()?;
    ensure!(f.call(json!({"a": 1}))? == json!([{"a": 1}]));
    Ok(())
}
