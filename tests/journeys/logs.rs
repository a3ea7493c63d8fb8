//! CloudWatch Logs as a place to write to: by the operator, and by function code with its role.

use myna_tests::{Platform, Result, Test, ensure, json};

pub const ALL: &[Test] =
    myna_tests::tests![groups_streams_and_events_of_ones_own, function_code_writes_to_cloudwatch_logs_as_its_role_allows,];

fn groups_streams_and_events_of_ones_own() -> Result<()> {
    let mut myna = Platform::start()?;
    let said = myna.boto3(
        r#"
logs = boto3.client("logs")
logs.create_log_group(logGroupName="/own", tags={"k": "v"})
again = refused(logs.create_log_group, logGroupName="/own")["Error"]["Code"]
nobody = refused(logs.put_log_events, logGroupName="/own", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "x"}])["Error"]["Code"]
logs.create_log_stream(logGroupName="/own", logStreamName="s")
twice = refused(logs.create_log_stream, logGroupName="/own", logStreamName="s")["Error"]["Code"]
empty = logs.describe_log_streams(logGroupName="/own")["logStreams"][0]
now = int(time.time() * 1000)
put = logs.put_log_events(logGroupName="/own", logStreamName="s", sequenceToken="anything", logEvents=[
    {"timestamp": now - 2, "message": "one"}, {"timestamp": now - 1, "message": "two\nlines"}, {"timestamp": now + 3 * 3600_000, "message": "ahead"}])
disorder = refused(logs.put_log_events, logGroupName="/own", logStreamName="s", logEvents=[
    {"timestamp": now, "message": "x"}, {"timestamp": now - 1, "message": "y"}])["Error"]["Message"]
logs.put_retention_policy(logGroupName="/own", retentionInDays=30)
wrong = refused(logs.put_retention_policy, logGroupName="/own", retentionInDays=2)["Error"]["Code"]
query = refused(logs.start_query, logGroupName="/own", startTime=1, endTime=2, queryString="fields @message")["Error"]["Code"]
return {"again": again, "nobody": nobody, "twice": twice, "empty": "firstEventTimestamp" in empty, "wrong": wrong, "query": query,
        "rejected": put["rejectedLogEventsInfo"], "disorder": disorder, "tags": logs.list_tags_log_group(logGroupName="/own")["tags"],
        "group": logs.describe_log_groups()["logGroups"][0]}
"#,
    )?;
    for (which, code) in [
        ("again", "ResourceAlreadyExistsException"),
        ("nobody", "ResourceNotFoundException"),
        ("twice", "ResourceAlreadyExistsException"),
        ("wrong", "InvalidParameterException"),
        ("query", "NotImplementedException"),
    ] {
        ensure!(said[which] == code, "{which}: {said}");
    }
    ensure!(said["rejected"] == json!({"tooNewLogEventStartIndex": 2}) && said["empty"] == false, "{said}");
    ensure!(said["disorder"].as_str().is_some_and(|m| m.contains("chronological")), "{said}");
    ensure!(said["tags"] == json!({"k": "v"}) && said["group"]["retentionInDays"] == 30, "{said}");
    ensure!(said["group"]["logGroupClass"] == "STANDARD", "{said}");
    // What was answered outlives the platform's sudden end.
    myna.kill()?;
    myna.start_again()?;
    let after = myna.boto3(
        r#"
logs = boto3.client("logs")
read = [e["message"].rstrip("\n") for e in logs.get_log_events(logGroupName="/own", logStreamName="s")["events"]]
group = logs.describe_log_groups()["logGroups"][0]
logs.delete_log_stream(logGroupName="/own", logStreamName="s")
streams = logs.describe_log_streams(logGroupName="/own")["logStreams"]
logs.delete_log_group(logGroupName="/own")
return {"read": read, "days": group["retentionInDays"], "streams": streams, "groups": logs.describe_log_groups()["logGroups"]}
"#,
    )?;
    ensure!(after == json!({"read": ["one", "two\nlines"], "days": 30, "streams": [], "groups": []}), "{after}");
    Ok(())
}

const WRITER: &str = r#"
iam = boto3.client("iam")
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="writer", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
lam.create_function(FunctionName="writer", Runtime="python3.11", Role=role, Handler="app.handler", Timeout=30, MemorySize=512, Code={"ZipFile": package(app__py='''
import boto3, time
from botocore.config import Config
from botocore.exceptions import ClientError
logs = boto3.client("logs", config=Config(retries={"total_max_attempts": 1}))
def handler(event, context):
    group, stream = event["group"], event["stream"]
    try:
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": int(time.time() * 1000), "message": "audited"}])
        return "written"
    except ClientError as e:
        return e.response["Error"]
''')})
lam.get_waiter("function_active_v2").wait(FunctionName="writer", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
def allow(actions, resource):
    iam.put_role_policy(RoleName="writer", PolicyName="may", PolicyDocument=json.dumps({"Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]}))
def write(group):
    return json.load(lam.invoke(FunctionName="writer", Payload=json.dumps({"group": group, "stream": "s"}))["Payload"])
"#;

fn function_code_writes_to_cloudwatch_logs_as_its_role_allows() -> Result<()> {
    let myna = Platform::with_runtimes(&["python3.11"])?;
    let said = myna.boto3(&format!(
        r#"{WRITER}
nothing = write("/audit/a")
allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:*:*:log-group:/audit/*")
both = write("/audit/a")
other = write("/elsewhere")
read = boto3.client("logs").filter_log_events(logGroupName="/audit/a")["events"] if both == "written" else []
return {{"nothing": nothing, "both": both, "other": other, "read": [e["message"].strip() for e in read]}}"#
    ))?;
    for (which, group) in [("nothing", "/audit/a"), ("other", "/elsewhere")] {
        ensure!(said[which]["Code"] == "AccessDeniedException", "{which}: {said}");
        let told = said[which]["Message"].as_str().unwrap_or_default();
        ensure!(told.contains("logs:CreateLogGroup") && told.contains(group), "{which}: {said}");
    }
    ensure!(said["both"] == "written" && said["read"] == json!(["audited"]), "{said}");
    Ok(())
}
