//! AWS's own clients, unchanged: the SDK for Python, the command line, and the SDK inside a function.

use myna_tests::{Platform, Result, Test, Value, ensure, json, tests, zip};
use std::fs;

pub const ALL: &[Test] = tests![
    create_function_and_invoke_by_boto3,
    create_function_and_invoke_by_the_aws_command_line,
    a_refusal_reaches_boto3_as_its_own_exception,
    a_function_calls_another_with_boto3_as_far_as_its_role_allows,
];

/// The first thing that anyone tries.
fn create_function_and_invoke_by_boto3() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(
        r#"
made = lam.create_function(FunctionName="hello", Runtime="python3.11", Role=os.environ["ROLE"], Handler="app.handler",
    Code={"ZipFile": package(app__py="def handler(event, context):\n    return {'got': event, 'name': context.function_name}\n")})
lam.get_waiter("function_active_v2").wait(FunctionName="hello", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
answer = lam.invoke(FunctionName="hello", Payload=json.dumps({"x": [1, 2, None]}))
return {"state": made["State"], "status": answer["StatusCode"], "version": answer["ExecutedVersion"],
        "error": answer.get("FunctionError"), "payload": json.load(answer["Payload"]),
        "listed": [f["FunctionName"] for f in lam.list_functions()["Functions"]]}
"#,
    )?;
    ensure!(said["state"] == "Pending", "a new function begins as Pending: {said}");
    ensure!(said["status"] == 200 && said["version"] == "$LATEST" && said["error"].is_null(), "{said}");
    ensure!(said["payload"] == json!({"got": {"x": [1, 2, null]}, "name": "hello"}), "{said}");
    ensure!(said["listed"] == json!(["hello"]), "{said}");
    Ok(())
}

fn create_function_and_invoke_by_the_aws_command_line() -> Result<()> {
    let myna = Platform::start()?;
    let code = b"def handler(event, context):\n    print('seen by the tail')\n    return event['n'] + 1\n";
    fs::write(myna.home().join("f.zip"), zip(&[("app.py", code)])?)?;
    let role = myna.ready().role.clone();
    let (name, runtime) = (["--function-name", "inc"], ["--runtime", "python3.11", "--handler", "app.handler", "--role", &role]);
    let words =
        [&["lambda", "create-function"][..], &name, &runtime, &["--zip-file", "fileb://f.zip", "--output", "json"]].concat();
    let made: Value = serde_json::from_str(&myna.aws(&words)?)?;
    ensure!(made["FunctionName"] == "inc" && made["Handler"] == "app.handler", "{made}");
    myna.aws(&[&["lambda", "wait", "function-active-v2"][..], &name].concat())?;

    let options = [
        "--cli-binary-format",
        "raw-in-base64-out",
        "--payload",
        r#"{"n": 41}"#,
        "--log-type",
        "Tail",
        "--output",
        "json",
        "out",
    ];
    let answer: Value = serde_json::from_str(&myna.aws(&[&["lambda", "invoke"][..], &name, &options].concat())?)?;
    ensure!(answer["StatusCode"] == 200 && answer["LogResult"].is_string(), "{answer}");
    ensure!(fs::read_to_string(myna.home().join("out"))? == "42");
    let logs = myna.aws(&["logs", "tail", "/aws/lambda/inc", "--since", "5m"])?;
    ensure!(logs.contains("seen by the tail"), "aws logs tail printed: {logs}");
    Ok(())
}

fn a_refusal_reaches_boto3_as_its_own_exception() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(
        r#"
missing = refused(lam.get_function, FunctionName="nobody")
lam.create_function(FunctionName="once", Runtime="python3.11", Role=os.environ["ROLE"], Handler="app.handler",
    Code={"ZipFile": package(app__py="def handler(e, c): return e")})
again = refused(lam.create_function, FunctionName="once", Runtime="python3.11", Role=os.environ["ROLE"], Handler="app.handler",
    Code={"ZipFile": package(app__py="def handler(e, c): return e")})
return {"missing": missing, "again": again}
"#,
    )?;
    let code = |which: &str| (said[which]["Error"]["Code"].clone(), said[which]["ResponseMetadata"]["HTTPStatusCode"].clone());
    ensure!(code("missing") == (json!("ResourceNotFoundException"), json!(404)), "{said}");
    ensure!(code("again") == (json!("ResourceConflictException"), json!(409)), "{said}");
    Ok(())
}

/// The SDK inside finds its endpoint and its role's credentials in the environment; the role decides what it may do.
fn a_function_calls_another_with_boto3_as_far_as_its_role_allows() -> Result<()> {
    let myna = Platform::with_runtimes(&["python3.11"])?;
    let said = myna.boto3(
        r#"
iam = boto3.client("iam")
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="caller", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
def make(name, role, code):
    made = lam.create_function(FunctionName=name, Runtime="python3.11", Role=role, Handler="app.handler", Timeout=30,
        Code={"ZipFile": package(app__py=code)})
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return made["FunctionArn"]
inner = make("inner", os.environ["ROLE"], "def handler(e, c): return e['n'] * 2")
make("other", os.environ["ROLE"], "def handler(e, c): return 'reached'")
make("outer", role, '''
import boto3, json
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        answer = boto3.client("lambda").invoke(FunctionName=event["call"], Payload=json.dumps({"n": 21}))
        return {"said": json.load(answer["Payload"]), "as": boto3.client("sts").get_caller_identity()["Arn"]}
    except ClientError as e:
        return {"refused": e.response["Error"]["Code"]}
''')
def outer(call):
    return json.load(lam.invoke(FunctionName="outer", Payload=json.dumps({"call": call}))["Payload"])
before = outer("inner")
iam.put_role_policy(RoleName="caller", PolicyName="may", PolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": inner}]}))
return {"before": before, "inner": outer("inner"), "other": outer("other")}
"#,
    )?;
    ensure!(said["before"]["refused"] == "AccessDeniedException", "a role without a policy may call nothing: {said}");
    ensure!(said["inner"]["said"] == 42, "{said}");
    ensure!(said["inner"]["as"].as_str().is_some_and(|a| a.contains(":assumed-role/caller/")), "{said}");
    ensure!(said["other"]["refused"] == "AccessDeniedException", "the policy names one function: {said}");
    Ok(())
}
