//! What can be set on a function, and what is not there yet, by AWS's SDK.

use myna_tests::{Options, Platform, Result, Test, ensure, json, processes, tests};
use std::thread;

pub const ALL: &[Test] = tests![
    reserved_concurrency_throttles_with_awss_own_exception,
    provisioned_instances_are_ready_before_the_first_call,
    a_revision_id_that_is_old_is_refused,
    what_is_not_there_yet_says_so_and_never_accepts,
    a_dry_run_runs_nothing,
    memory_is_reserved_before_an_instance_starts,
    tags_and_policies_come_back_as_they_were_given,
];

/// Creates `f` before the snippet runs.
const CREATE: &str = r#"
lam.create_function(FunctionName="f", Runtime="python3.11", Role=os.environ["ROLE"], Handler="app.handler",
    Code={"ZipFile": package(app__py="import os\ndef handler(e, c):\n    print('it ran')\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n")})
lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
"#;

fn reserved_concurrency_throttles_with_awss_own_exception() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(&format!(
        r#"{CREATE}
lam.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
none = refused(lam.invoke, FunctionName="f")
lam.delete_function_concurrency(FunctionName="f")
again = lam.invoke(FunctionName="f")["StatusCode"]
return {{"none": none, "again": again, "account": lam.get_account_settings()["AccountLimit"]}}
"#
    ))?;
    let error = &said["none"];
    ensure!(error["Error"]["Code"] == "TooManyRequestsException", "{error}");
    ensure!(error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", "{error}");
    ensure!(error["ResponseMetadata"]["HTTPStatusCode"] == 429, "{error}");
    ensure!(error["ResponseMetadata"]["HTTPHeaders"]["retry-after"].is_string(), "{error}");
    ensure!(said["again"] == 200 && said["account"]["ConcurrentExecutions"].is_u64(), "{said}");
    Ok(())
}

fn provisioned_instances_are_ready_before_the_first_call() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(&format!(
        r#"{CREATE}
version = lam.publish_version(FunctionName="f")["Version"]
first = lam.put_provisioned_concurrency_config(FunctionName="f", Qualifier=version, ProvisionedConcurrentExecutions=2)
for _ in range(200):
    now = lam.get_provisioned_concurrency_config(FunctionName="f", Qualifier=version)
    if now["Status"] != "IN_PROGRESS": break
    time.sleep(0.1)
answer = lam.invoke(FunctionName="f", Qualifier=version, LogType="Tail")
return {{"first": first["Status"], "now": now, "kind": json.load(answer["Payload"]), "log": base64.b64decode(answer["LogResult"])}}
"#
    ))?;
    ensure!(said["first"] == "IN_PROGRESS" && said["now"]["Status"] == "READY", "{said}");
    ensure!(said["now"]["AvailableProvisionedConcurrentExecutions"] == 2, "{said}");
    ensure!(said["kind"] == "provisioned-concurrency", "{said}");
    Ok(())
}

fn a_revision_id_that_is_old_is_refused() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(&format!(
        r#"{CREATE}
old = lam.get_function_configuration(FunctionName="f")["RevisionId"]
lam.update_function_configuration(FunctionName="f", Description="new", RevisionId=old)
lam.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={{"Delay": 1, "MaxAttempts": 20}})
return refused(lam.update_function_configuration, FunctionName="f", Description="newer", RevisionId=old)
"#
    ))?;
    ensure!(
        said["Error"]["Code"] == "PreconditionFailedException" && said["ResponseMetadata"]["HTTPStatusCode"] == 412,
        "{said}"
    );
    Ok(())
}

/// An acknowledgement is a promise: what can't be kept is not acknowledged.
fn what_is_not_there_yet_says_so_and_never_accepts() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(&format!(
        r#"{CREATE}
return [refused(lam.publish_layer_version, LayerName="l", Content={{"S3Bucket": "bucket", "S3Key": "k"}}),
        refused(lam.update_function_code, FunctionName="f", S3Bucket="bucket", S3Key="k")]
"#
    ))?;
    for answer in said.as_array().into_iter().flatten() {
        let status = answer["ResponseMetadata"]["HTTPStatusCode"].as_u64().unwrap_or_default();
        ensure!((400..=501).contains(&status) && status != 500, "{answer}");
        let words = answer["Error"]["Message"].as_str().unwrap_or_default();
        ensure!(!words.is_empty(), "a refusal without a reason: {answer}");
    }
    Ok(())
}

fn a_dry_run_runs_nothing() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("dry", "def handler(e, c):\n    print('it ran')\n")?;
    let answer = f.invoke_bytes("", b"{}", &[("x-amz-invocation-type", "DryRun")])?;
    ensure!(answer.status == 204 && answer.payload.is_empty(), "{answer:?}");
    f.call(json!({}))?;
    myna.until_logged("dry", "it ran", 1)?;
    ensure!(myna.logged("dry", "it ran")? == 1, "the dry run ran");
    Ok(())
}

// D6: room for two instances, and six calls that all want one.
fn memory_is_reserved_before_an_instance_starts() -> Result<()> {
    let config = "[engine]\nmemory_mib = 300\nmemory_overcommit = 1.0\nprestarted = 0\n".to_owned();
    let myna = Platform::start_with(Options { config: Some(config), ..Options::default() })?;
    let name = format!("roomy-{}", std::process::id());
    let source = "import time\ndef handler(e, c):\n    print('begun', flush=True)\n    time.sleep(1.5)\n    return 1\n";
    let marked = json!({"Variables": {"MARK": format!("{name}-marker")}});
    myna.draft(&name, source).set("Timeout", 30).set("Environment", marked).create()?;
    let statuses = thread::scope(|s| -> Result<Vec<u16>> {
        let calls: Vec<_> = (0..6).map(|_| s.spawn(|| myna.function(&name).invoke_bytes("", b"{}", &[]))).collect();
        myna.until_logged(&name, "begun", 2)?;
        let running = processes::with_environment(&format!("{name}-marker")).len();
        ensure!(running <= 2, "{running} instances of 128 MB run in 300 MB");
        calls.into_iter().map(|c| Ok(c.join().expect("a call does not panic")?.status)).collect()
    })?;
    ensure!(statuses.iter().all(|s| [200, 429, 503].contains(s)) && statuses.contains(&200), "{statuses:?}");
    Ok(())
}

fn tags_and_policies_come_back_as_they_were_given() -> Result<()> {
    let myna = Platform::start()?;
    let said = myna.boto3(&format!(
        r#"{CREATE}
arn = lam.get_function(FunctionName="f")["Configuration"]["FunctionArn"]
lam.tag_resource(Resource=arn, Tags={{"team": "blue", "äöü": "ß"}})
lam.untag_resource(Resource=arn, TagKeys=["team"])
added = lam.add_permission(FunctionName="f", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::b")
policy = json.loads(lam.get_policy(FunctionName="f")["Policy"])
lam.remove_permission(FunctionName="f", StatementId="s3")
return {{"tags": lam.list_tags(Resource=arn)["Tags"], "policy": policy, "added": json.loads(added["Statement"]), "gone": refused(lam.get_policy, FunctionName="f")["Error"]["Code"]}}
"#
    ))?;
    ensure!(said["tags"] == json!({"äöü": "ß"}), "{said}");
    let statement = &said["policy"]["Statement"][0];
    ensure!(statement == &said["added"] && statement["Principal"] == json!({"Service": "s3.amazonaws.com"}), "{said}");
    ensure!(statement["Condition"] == json!({"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}), "{said}");
    ensure!(said["gone"] == "ResourceNotFoundException", "{said}");
    Ok(())
}
