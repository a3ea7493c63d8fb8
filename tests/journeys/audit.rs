//! The audit log as its operator sees it: what clients changed, who was refused, and what was done to the log itself.

use myna_tests::{Context, Platform, Result, Test, Value, ensure, tests};
use std::fs;

pub const ALL: &[Test] =
    tests![changes_and_refusals_are_in_a_chain_that_shows_what_was_done_to_it, the_log_of_a_killed_platform_is_whole];

const ECHO: &str = "def handler(event, context): return event";

fn actions(entries: &Value) -> Vec<String> {
    entries.as_array().into_iter().flatten().filter_map(|e| e["action"].as_str().map(str::to_owned)).collect()
}

fn changes_and_refusals_are_in_a_chain_that_shows_what_was_done_to_it() -> Result<()> {
    let mut myna = Platform::start()?;
    let f = myna.python("echo", ECHO)?;
    let log = || myna.verb(&["audit", "-n", "1000"]);
    let begun = log()?;
    let first = actions(&begun);
    for wanted in ["platform:CreateAccessKey", "platform:Start", "lambda:CreateFunction"] {
        ensure!(first.iter().any(|a| a == wanted), "{wanted} is not in {first:?}");
    }
    // Calls write nothing.
    for n in 0..5 {
        f.call(n.into())?;
    }
    ensure!(actions(&log()?).len() == first.len(), "a call has an entry");
    myna.boto3(
        "
lam.update_function_configuration(FunctionName='echo', Environment={'Variables': {'TOKEN': 'very-secret-value'}})
lam.get_waiter('function_updated_v2').wait(FunctionName='echo')
lam.tag_resource(Resource=lam.get_function(FunctionName='echo')['Configuration']['FunctionArn'], Tags={'a': 'b'})
lam.delete_function(FunctionName='echo')
# A service whose operation is a parameter, asked by GET, and by POST at a path that would be a call of another service.
import urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
def signed(method, path, body):
    request = AWSRequest(method, lam.meta.endpoint_url + path, data=body, headers={'Content-Type': 'application/x-www-form-urlencoded'})
    SigV4Auth(boto3.Session().get_credentials(), 'iam', 'us-east-1').add_auth(request)
    sent = urllib.request.Request(request.url, data=body, headers=dict(request.headers), method=method)
    assert urllib.request.urlopen(sent).status == 200
signed('GET', '/?Action=CreateUser&UserName=byget&Version=2010-05-08', None)
signed('POST', '/x/invocations', b'Action=CreateUser&UserName=bypath&Version=2010-05-08')
# Names that end as the path of a call does.
lam.create_function(FunctionName='pay-invocations', Runtime='python3.11', Role=os.environ['ROLE'], Handler='app.handler',
                    Code={'ZipFile': package(app__py='def handler(e, c): return e')})
lam.get_waiter('function_active_v2').wait(FunctionName='pay-invocations')
lam.add_permission(FunctionName='pay-invocations', StatementId='invocations', Action='lambda:InvokeFunction', Principal='*')
lam.remove_permission(FunctionName='pay-invocations', StatementId='invocations')
lam.delete_function(FunctionName='pay-invocations')
boto3.client('sts', endpoint_url=lam.meta.endpoint_url).get_session_token()
bad = boto3.client('lambda', endpoint_url=lam.meta.endpoint_url, region_name='us-east-1',
                   aws_access_key_id='AKIAGUESSEDGUESSED22', aws_secret_access_key='x')
for _ in range(40):
    try:
        bad.delete_function(FunctionName='echo')
        raise SystemExit('a guessed key works')
    except bad.exceptions.ClientError as e:
        assert e.response['ResponseMetadata']['HTTPStatusCode'] == 403, e
return 0
",
    )?;
    let all = log()?;
    let entries: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let one = |action: &str| entries.iter().find(|e| e["action"] == action && e["resource"] != "pay-invocations");
    let deleted = one("lambda:DeleteFunction").context("the deletion has no entry")?;
    ensure!(deleted["resource"] == "echo" && deleted["outcome"] == "ok" && deleted["principal"] == "root", "{deleted}");
    ensure!(deleted["source"] == "aws 127.0.0.1" && deleted["tenant"] == "000000000000", "{deleted}");
    ensure!(deleted["request_id"].as_str().is_some_and(|id| id.len() == 36), "{deleted}");
    for wanted in ["lambda:UpdateFunctionConfiguration", "lambda:TagResource"] {
        ensure!(one(wanted).is_some(), "{wanted} has no entry: {:?}", actions(&all));
    }
    for user in ["byget", "bypath"] {
        let made = entries.iter().any(|e| e["action"] == "iam:CreateUser" && e["resource"] == user);
        ensure!(made, "user {user} was made without an entry");
    }
    for (action, on) in [
        ("lambda:DeleteFunction", "pay-invocations"),
        ("lambda:RemovePermission", "pay-invocations"),
        ("sts:GetSessionToken", ""),
    ] {
        ensure!(entries.iter().any(|e| e["action"] == action && e["resource"] == on), "{action} {on} has no entry");
    }
    ensure!(!all.to_string().contains("very-secret-value"), "a value is in the log");
    let denied: Vec<_> = entries.iter().filter(|e| e["principal"] == "key AKIAGUESSEDGUESSED22").collect();
    ensure!((1..=6).contains(&denied.len()), "{} entries of a flood", denied.len());
    ensure!(denied[0]["outcome"].as_str().is_some_and(|o| o.starts_with("denied: UnrecognizedClient")), "{}", denied[0]);
    ensure!(myna.verb(&["audit", "--action", "lambda:Delete"])?.as_array().is_some_and(|a| a.len() == 2));
    ensure!(myna.verb(&["audit", "--tenant", "999999999999"])? == Value::Array(Vec::new()));
    ensure!(myna.verb(&["audit", "--since", "1h", "-n", "2"])?.as_array().is_some_and(|a| a.len() == 2));

    let whole = myna.verb(&["audit", "verify"])?;
    ensure!(whole["findings"] == Value::Array(Vec::new()), "{whole}");
    let head = whole["head"].as_str().unwrap_or_default().to_owned();
    let status = myna.verb(&["status"])?;
    ensure!(status["audit"]["entries"].as_u64().is_some_and(|n| n >= 6), "{}", status["audit"]);
    myna.stop()?;
    myna.start_again()?;
    let again = myna.verb(&["audit", "verify", "--head", &head])?;
    ensure!(again["found_head"] == whole["last"] && again["findings"] == Value::Array(Vec::new()), "{again}");
    // 40 refusals, each of them counted by the end.
    let all = myna.verb(&["audit", "-n", "1000"])?;
    let of_key = all.as_array().into_iter().flatten().filter(|e| e["principal"] == "key AKIAGUESSEDGUESSED22");
    let counted: u64 = of_key.map(|e| e["count"].as_u64().unwrap_or(1)).sum();
    ensure!(counted == 40, "{counted} refusals are counted");

    // Somebody takes the deletion out.
    myna.stop()?;
    let file = myna.dir().join("audit/00000001.seg");
    let bytes = fs::read(&file)?;
    let at = bytes.windows(21).position(|w| w == b"lambda:DeleteFunction").context("the deletion is on the disk")?;
    let mut changed = bytes.clone();
    changed[at..at + 21].copy_from_slice(b"lambda:UpdateFunction");
    fs::write(&file, changed)?;
    myna.start_again()?;
    let done = myna.cli(&["audit", "verify"])?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let seq = deleted["seq"].to_string();
    ensure!(done.status.code() == Some(1) && said.contains(&format!("entry {seq} ")), "{}: {said}", done.status);
    Ok(())
}

fn the_log_of_a_killed_platform_is_whole() -> Result<()> {
    let mut myna = Platform::start()?;
    for n in 0..3 {
        myna.python(&format!("f{n}"), ECHO)?;
        myna.kill()?;
        myna.start_again()?;
        let found = myna.verb(&["audit", "verify"])?;
        ensure!(found["findings"] == Value::Array(Vec::new()), "{found}");
        let made = myna.verb(&["audit", "--action", "lambda:CreateFunction"])?;
        ensure!(made.as_array().is_some_and(|a| a.len() == n + 1), "an answered change has no entry after a kill: {made}");
    }
    Ok(())
}
