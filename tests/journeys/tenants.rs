//! More tenants than one: two AWS accounts on one platform, each with AWS's SDK and the command line.

use myna_tests::{Context, Options, Platform, Result, Test, Value, ensure, json, tests};
use std::{fs, path::PathBuf};

pub const ALL: &[Test] = tests![
    two_tenants_do_not_see_each_other,
    another_account_gets_in_where_a_policy_names_it_and_nowhere_else,
    what_is_not_theirs_looks_like_what_is_not_there_and_is_stored_for_itself,
    verbs_act_for_the_tenant_that_is_named,
    a_tenant_has_no_more_than_its_quota,
    a_tenant_is_whole_after_a_kill_and_gone_after_its_removal,
    another_tenants_secret_is_none,
    a_layer_of_another_account_counts_as_stored,
];

/// The two accounts as clients of AWS's SDK: `a` is the platform's own, `b` the other one.
const TWO: &str = r#"
class Account:
    def __init__(self, session):
        self.session = session
        self.lam, self.logs, self.iam, self.sts = (session.client(s) for s in ("lambda", "logs", "iam", "sts"))
        self.id = self.sts.get_caller_identity()["Account"]
        self.role = f"arn:aws:iam::{self.id}:role/myna-default"
    def function(self, name, text, **more):
        source = f"import json\ndef handler(event, context):\n    print('said-by-{text}')\n    return ['{text}', context.invoked_function_arn]"
        got = self.lam.create_function(FunctionName=name, Runtime="python3.11", Role=self.role, Handler="app.handler",
            Code={"ZipFile": package(app__py=source)}, **more)
        self.lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        return got["FunctionArn"]
    def call(self, name, **more):
        return json.load(self.lam.invoke(FunctionName=name, **more)["Payload"])
def no(call, **arguments):
    e = refused(call, **arguments)["Error"]
    return [e["Code"], e.get("Message", "")]
a, b = Account(boto3.Session()), Account(boto3.Session(*KEY))
"#;

/// A tenant, and what its clients need; `more` are options of `tenant add`.
fn add(myna: &Platform, name: &str, more: &[&str]) -> Result<Value> {
    myna.verb(&[&["tenant", "add", name], more].concat())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A snippet with both accounts.
fn both(myna: &Platform, made: &Value, snippet: &str) -> Result<Value> {
    let key = [text(&made["key"]["access_key_id"]), text(&made["key"]["secret_access_key"])];
    myna.boto3(&format!("KEY = {}\n{TWO}{snippet}", json!(key)))
}

fn two_tenants_do_not_see_each_other() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &[])?;
    let account = text(&made["account"]);
    ensure!(account.len() == 12 && account != myna.ready().account, "{made}");
    let got = both(
        &myna,
        &made,
        r#"
fa, fb = a.function("f", "a"), b.function("f", "b")
b.function("only-b", "b")
url = b.lam.create_function_url_config(FunctionName="f", AuthType="AWS_IAM")["FunctionUrl"]
listed = [sorted(f["FunctionName"] for f in x.lam.list_functions()["Functions"]) for x in (a, b)]
calls = [a.call("f"), b.call("f")]
arns = [no(a.lam.invoke, FunctionName=fb), no(b.lam.invoke, FunctionName=fa),
        no(a.lam.invoke, FunctionName=fb, InvocationType="Event"), no(a.lam.invoke, FunctionName=fb, InvocationType="DryRun")]
reads = [no(call, FunctionName=fb)[0] for call in (a.lam.get_function, a.lam.get_function_configuration, a.lam.get_policy,
    a.lam.list_versions_by_function, a.lam.list_aliases, a.lam.get_function_url_config, a.lam.delete_function, a.lam.get_function_concurrency)]
reads += [no(a.lam.update_function_configuration, FunctionName=fb, Timeout=5)[0],
          no(a.lam.list_tags, Resource=fb)[0], no(a.lam.get_function, FunctionName="only-b")[0]]
def url_as(x):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    import urllib.request, urllib.error
    port = os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1]
    host = url.split("/")[2].split(":")[0] + ":" + port
    r = AWSRequest("GET", f"http://{host}/", headers={"host": host})
    SigV4Auth(x.session.get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(r)
    try:
        return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", headers=dict(r.headers))).status
    except urllib.error.HTTPError as e:
        return e.code
urls = [url_as(a), url_as(b)]
def said(x, **more):
    until = time.time() + 20
    while True:
        events = [e["message"] for e in x.logs.filter_log_events(**more)["events"] if "said-by" in e["message"]]
        if events or time.time() > until:
            return sorted({e.strip() for e in events})
logs = [said(x, logGroupName="/aws/lambda/f") for x in (a, b)]
group = f"arn:aws:logs:{os.environ['AWS_REGION']}:{b.id}:log-group:/aws/lambda/f"
absent = f"arn:aws:logs:{os.environ['AWS_REGION']}:{b.id}:log-group:/aws/lambda/no-such"
theirs = [no(a.logs.filter_log_events, logGroupIdentifier=group), no(a.logs.filter_log_events, logGroupIdentifier=absent),
          no(a.logs.filter_log_events, logGroupName="/aws/lambda/only-b")]
groups = [sorted(g["logGroupName"] for g in x.logs.describe_log_groups()["logGroups"]) for x in (a, b)]
trust = {"Effect": "Allow", "Principal": {"AWS": b.id}, "Action": "sts:AssumeRole"}
b.iam.create_role(RoleName="secret-role", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust}))
b.iam.create_user(UserName="bob")
people = [[r["RoleName"] for r in a.iam.list_roles()["Roles"]], [u["UserName"] for u in a.iam.list_users()["Users"]],
          no(a.iam.get_role, RoleName="secret-role")[0]]
event = b.lam.invoke(FunctionName="f", InvocationType="Event", Payload="1")["ResponseMetadata"]["RequestId"]
limits = [x.lam.get_account_settings()["AccountUsage"]["FunctionCount"] for x in (a, b)]
return dict(fa=fa, fb=fb, ids=[a.id, b.id], listed=listed, calls=calls, arns=arns, reads=reads, urls=urls, logs=logs, theirs=theirs,
    groups=groups, people=people, event=event, limits=limits)
"#,
    )?;
    let own = &myna.ready().account;
    ensure!(got["ids"] == json!([own, account]), "{got}");
    ensure!(got["listed"] == json!([["f"], ["f", "only-b"]]) && got["limits"] == json!([1, 2]), "{got}");
    ensure!(got["calls"] == json!([["a", got["fa"]], ["b", got["fb"]]]), "{got}");
    ensure!(text(&got["fb"]).contains(&format!(":{account}:function:f")), "{got}");
    for refused in got["arns"].as_array().context("refusals")? {
        ensure!(refused[0] == "AccessDeniedException", "{got}");
    }
    for (at, code) in got["reads"].as_array().context("refusals")?.iter().enumerate() {
        ensure!(code == "AccessDeniedException" || (code == "ResourceNotFoundException" && at == 10), "{at}: {got}");
    }
    ensure!(got["urls"] == json!([403, 200]), "{got}");
    ensure!(got["logs"] == json!([["said-by-a"], ["said-by-b"]]), "{got}");
    ensure!(got["theirs"][0] == got["theirs"][1] && got["theirs"][1] == got["theirs"][2], "{got}");
    ensure!(got["groups"][0] == json!(["/aws/lambda/f"]), "{got}");
    ensure!(got["people"] == json!([[], [], "NoSuchEntity"]), "{got}");
    // By the command line too: an event by its id, records, and what was written down of each.
    let event = text(&got["event"]);
    ensure!(!myna.cli(&["events", "show", &event])?.status.success(), "another tenant's event is shown");
    myna.verb(&["--tenant", "acme", "events", "show", &event])?;
    let entries = |tenant: &str| -> Result<Vec<String>> {
        let all = myna.verb(&["audit", "--tenant", tenant, "-n", "500"])?;
        Ok(all.as_array().context("entries")?.iter().map(|e| text(&e["tenant"])).collect())
    };
    for (named, account) in [("acme", &account), ("default", own)] {
        let found = entries(named)?;
        ensure!(!found.is_empty() && found.iter().all(|t| t == account), "{named}: {found:?}");
    }
    Ok(())
}

// H38
fn another_account_gets_in_where_a_policy_names_it_and_nowhere_else() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &["--account", "210987654321"])?;
    let got = both(
        &myna,
        &made,
        r#"
fa, fb = a.function("f", "a"), b.function("f", "b")
before = no(a.lam.invoke, FunctionName=fb)
b.lam.add_permission(FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal=a.id)
after = [a.call(fb), a.call(f"{b.id}:function:f")]
queued = a.lam.invoke(FunctionName=fb, InvocationType="Event", Payload="1")["StatusCode"]
a.iam.create_user(UserName="ann")
key = a.iam.create_access_key(UserName="ann")["AccessKey"]
ann = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"]).client("lambda")
user = [no(ann.invoke, FunctionName=fb)[0]]
a.iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": fb}}))
user.append(json.load(ann.invoke(FunctionName=fb)["Payload"])[0])
b.lam.remove_permission(FunctionName="f", StatementId="s")
withdrawn = no(a.lam.invoke, FunctionName=fb)
# A layer: refused when a function is made and when it is changed, until its policy names the account.
layer = b.lam.publish_layer_version(LayerName="l", Content={"ZipFile": package(**{"python/shared__py": "WORD = 'of-b'"})})["LayerVersionArn"]
source = package(app__py="import shared\ndef handler(e, c):\n    return shared.WORD")
def uses(**more):
    return a.lam.create_function(FunctionName="uses", Runtime="python3.11", Role=a.role, Handler="app.handler", Code={"ZipFile": source}, **more)
layers = [no(uses, Layers=[layer]), no(uses, Layers=[layer.rsplit(":", 1)[0] + ":99"]),
          no(a.lam.update_function_configuration, FunctionName="f", Layers=[layer]), no(a.lam.get_layer_version_by_arn, Arn=layer)[0]]
b.lam.add_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal=a.id)
shown = a.lam.get_layer_version_by_arn(Arn=layer)["LayerVersionArn"]
uses(Layers=[layer])
a.lam.get_waiter("function_active_v2").wait(FunctionName="uses", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
word = a.call("uses")
# What a function has, it keeps.
b.lam.remove_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s")
b.lam.delete_layer_version(LayerName="l", VersionNumber=1)
a.lam.update_function_configuration(FunctionName="uses", Timeout=7)
a.lam.get_waiter("function_updated_v2").wait(FunctionName="uses", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
kept = a.call("uses")
# Roles: no function has another account's, and only its trust policy lets another account assume one.
role = b.iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"AWS": b.id}, "Action": "sts:AssumeRole"}}))["Role"]["Arn"]
b.iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": "lambda:List*", "Resource": "*"}}))
given = [no(a.lam.create_function, FunctionName="g", Runtime="python3.11", Role=role, Handler="app.handler", Code={"ZipFile": source}),
         no(a.lam.update_function_configuration, FunctionName="f", Role=role)]
assumed = [no(a.sts.assume_role, RoleArn=role, RoleSessionName="s1"), no(a.sts.assume_role, RoleArn=role + "x", RoleSessionName="s1")]
b.iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps({"Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"AWS": a.id}, "Action": "sts:AssumeRole"}}))
c = a.sts.assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
inside = boto3.Session(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
who = inside.client("sts").get_caller_identity()
names = [f["FunctionName"] for f in inside.client("lambda").list_functions()["Functions"]]
destination = no(a.lam.put_function_event_invoke_config, FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": fb}})[0]
return dict(before=before, after=after, queued=queued, user=user, withdrawn=withdrawn, layer=layer, layers=layers, shown=shown, word=word,
    kept=kept, given=given, assumed=assumed, who=[who["Account"], who["Arn"]], names=names, destination=destination, b=b.id)
"#,
    )?;
    ensure!(got["b"] == "210987654321", "{got}");
    let denied = |refused: &Value| refused[0] == "AccessDeniedException" && text(&refused[1]).contains("resource-based policy");
    ensure!(denied(&got["before"]) && denied(&got["withdrawn"]), "{got}");
    ensure!(got["after"][0][0] == "b" && got["after"][1][0] == "b" && got["queued"] == 202, "{got}");
    // A user of another account needs its own policy's word besides.
    ensure!(got["user"] == json!(["AccessDeniedException", "b"]), "{got}");
    let layer = text(&got["layer"]);
    let absent = format!("{}99", layer.trim_end_matches('1'));
    let same = text(&got["layers"][0][1]).replace(&layer, "L") == text(&got["layers"][1][1]).replace(&absent, "L");
    ensure!(got["layers"][0][0] == "InvalidParameterValueException" && got["layers"][2][0] == got["layers"][0][0], "{got}");
    ensure!(same, "{got}");
    ensure!(got["layers"][3] == "AccessDeniedException" && got["shown"] == got["layer"], "{got}");
    ensure!(got["word"] == "of-b" && got["kept"] == "of-b", "{got}");
    for refused in [&got["given"][0], &got["given"][1]] {
        ensure!(*refused == json!(["AccessDeniedException", "Cross-account pass role is not allowed."]), "{got}");
    }
    let same = text(&got["assumed"][1][1]).replace("role/rx", "role/r");
    ensure!(got["assumed"][0][0] == "AccessDenied" && text(&got["assumed"][0][1]) == same, "{got}");
    ensure!(got["who"][0] == got["b"] && got["names"] == json!(["f"]), "{got}");
    ensure!(got["destination"] == "InvalidParameterValueException", "{got}");
    Ok(())
}

/// Folders of packages, by account, with the digests in them.
fn stored(myna: &Platform, account: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let folder = myna.dir().join("packages").join(account);
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

// H87
fn what_is_not_theirs_looks_like_what_is_not_there_and_is_stored_for_itself() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &[])?;
    let got = both(
        &myna,
        &made,
        r#"
zip = package(app__py="def handler(e, c):\n    return 1")
for x in (a, b):
    x.lam.create_function(FunctionName="f", Runtime="python3.11", Role=x.role, Handler="app.handler", Code={"ZipFile": zip})
    x.lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
region = os.environ["AWS_REGION"]
def of(x, name):
    return f"arn:aws:lambda:{region}:{x.id}:function:{name}"
# Another account's function that is there, one that isn't, and one of an account that isn't there, in the same words.
def said(kind, arn):
    r = refused(a.lam.invoke, FunctionName=arn, InvocationType=kind)
    return [r["ResponseMetadata"]["HTTPStatusCode"], r["Error"]["Code"], r["Error"]["Message"].replace(arn, "ARN")]
calls = [[said(kind, arn) for arn in (of(b, "f"), of(b, "g"), f"arn:aws:lambda:{region}:999988887777:function:f")]
         for kind in ("RequestResponse", "Event", "DryRun")]
qualified = [said("RequestResponse", of(b, name) + ":live") for name in ("f", "g")]
reads = [no(a.lam.get_function, FunctionName=of(b, name)) for name in ("f", "g")]
digests = [x.lam.get_function_configuration(FunctionName="f")["CodeSha256"] for x in (a, b)]
links = [x.lam.get_function(FunctionName="f")["Code"]["Location"] for x in (a, b)]
return dict(calls=calls, qualified=qualified, reads=reads, digests=digests, links=links)
"#,
    )?;
    for kind in got["calls"].as_array().context("calls")? {
        ensure!(kind[0] == kind[1] && kind[1] == kind[2] && kind[0][0] == 403, "{kind}");
    }
    ensure!(got["qualified"][0] == got["qualified"][1] && got["reads"][0] == got["reads"][1], "{got}");
    ensure!(got["digests"][0] == got["digests"][1] && got["links"][0] != got["links"][1], "{got}");
    // Stored and unpacked once for each: who uploads what another has is told nothing by it.
    let account = text(&made["account"]);
    let (own, theirs) = (stored(&myna, &myna.ready().account)?, stored(&myna, &account)?);
    ensure!(own.len() == 1 && theirs.len() == 1 && own[0].file_name() == theirs[0].file_name(), "{own:?} {theirs:?}");
    ensure!(own[0].join("code/app.py").is_file() && theirs[0].join("code/app.py").is_file(), "{own:?} {theirs:?}");
    Ok(())
}

fn verbs_act_for_the_tenant_that_is_named() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &[])?;
    let account = text(&made["account"]);
    let folder = myna.home().join("hello");
    fs::create_dir(&folder)?;
    fs::write(
        folder.join("app.py"),
        "def handler(event, context):\n    print('here')\n    return context.invoked_function_arn\n",
    )?;
    fs::write(folder.join("myna.toml"), "[function]\nname = \"hello\"\nruntime = \"python3.11\"\nhandler = \"app.handler\"\n")?;
    let path = folder.display().to_string();
    let as_acme = |words: &[&str]| myna.verb(&[words, &["--tenant", "acme"]].concat());
    as_acme(&["deploy", &path])?;
    let names =
        |list: &Value| -> Vec<String> { list.as_array().into_iter().flatten().map(|f| text(&f["FunctionName"])).collect() };
    ensure!(names(&as_acme(&["list"])?) == ["hello"] && names(&myna.verb(&["list"])?).is_empty());
    ensure!(names(&myna.verb(&["list", "--tenant", &account])?) == ["hello"], "by account");
    let said = myna.cli(&["invoke", "hello", "--tenant", "acme"])?;
    ensure!(String::from_utf8_lossy(&said.stdout).contains(&format!(":{account}:function:hello")), "{said:?}");
    for words in [
        &["describe", "hello"][..],
        &["logs", "hello"],
        &["explain", "hello"],
        &["versions", "hello"],
        &["pause", "hello"],
        &["events", "pause", "hello"],
        &["delete", "hello", "--yes"],
    ] {
        let done = myna.cli(words)?;
        ensure!(done.status.code() != Some(0), "myna {words:?} found another tenant's function");
    }
    as_acme(&["pause", "hello"])?;
    ensure!(!myna.cli(&["invoke", "hello", "--tenant", "acme"])?.status.success(), "it is paused");
    as_acme(&["pause", "hello", "--resume"])?;
    let unknown = myna.cli(&["list", "--tenant", "nobody"])?;
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(unknown.status.code() == Some(5) && told.contains("nobody") && told.contains("myna tenant list"), "{told}");
    let env = myna.verb(&["env", "--tenant", "acme"])?;
    ensure!(env["AWS_ACCESS_KEY_ID"] == made["key"]["access_key_id"], "{env}");
    ensure!(env["AWS_SECRET_ACCESS_KEY"] == made["key"]["secret_access_key"], "{env}");
    let profile = myna.verb(&["env", "--profile", "--tenant", "acme"])?;
    ensure!(profile["AWS_PROFILE"] == "myna-acme", "{profile}");
    // Keys come and go.
    let more = myna.verb(&["tenant", "key", "acme", "--new"])?;
    let keys = |shown: Value| shown["keys"].as_array().map_or(0, Vec::len);
    ensure!(keys(myna.verb(&["tenant", "show", "acme"])?) == 2);
    ensure!(!myna.cli(&["tenant", "key", "acme", "--new"])?.status.success(), "a third key");
    let revoked = text(&made["key"]["access_key_id"]);
    ensure!(keys(myna.verb(&["tenant", "key", "acme", "--revoke", &revoked])?) == 1);
    let refused = both(&myna, &made, "return 1\n");
    ensure!(refused.is_err_and(|e| format!("{e:#}").contains("InvalidClientTokenId")), "a revoked key signs");
    let got = both(&myna, &json!({ "key": more }), "return b.id\n")?;
    ensure!(got == json!(account), "{got}");
    for wrong in [&["tenant", "add", "acme"][..], &["tenant", "add", "Big"], &["tenant", "add", "x", "--account", "12"]] {
        ensure!(!myna.cli(wrong)?.status.success(), "{wrong:?}");
    }
    Ok(())
}

fn a_tenant_has_no_more_than_its_quota() -> Result<()> {
    let config = "[quotas]\nfunctions = 3\n".to_owned();
    let myna = Platform::start_with(Options { config: Some(config), ..Options::default() })?;
    let made = add(&myna, "acme", &["--functions", "1", "--concurrency", "7"])?;
    let got = both(
        &myna,
        &made,
        r#"
limit = b.lam.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
b.function("f", "b")
second = no(b.function, name="g", text="b")
for name in ("f", "g", "h"):
    a.function(name, "a")
fourth = no(a.function, name="i", text="a")
return dict(limit=limit, second=second, fourth=fourth)
"#,
    )?;
    ensure!(got["limit"] == 7, "{got}");
    for refused in ["second", "fourth"] {
        ensure!(got[refused][0] == "CodeStorageExceededException", "{got}");
    }
    // What is changed holds at once.
    myna.verb(&["tenant", "quota", "acme", "--functions", "9", "--storage", "1KiB", "--call-rate", "1/s", "--events", "2"])?;
    let got = both(
        &myna,
        &made,
        r#"
big = no(b.lam.create_function, FunctionName="big", Runtime="python3.11", Role=b.role, Handler="app.handler",
    Code={"ZipFile": package(app__py='#' + base64.b64encode(os.urandom(3000)).decode())})
def many(x, times):
    out, until = [], time.time() + 20
    while len(out) < times and time.time() < until and not (out and isinstance(out[-1], list)):
        try:
            out.append(x.lam.invoke(FunctionName="f")["StatusCode"])
        except ClientError as e:
            out.append([e.response["Error"]["Code"], e.response.get("Reason"), "retry-after" in e.response["ResponseMetadata"]["HTTPHeaders"]])
    return out
return dict(big=big, many=many(b, 1000), others=many(a, 5))
"#,
    )?;
    ensure!(got["big"] == json!(["CodeStorageExceededException", "Code storage limit exceeded."]), "{got}");
    let many = got["many"].as_array().context("answers")?;
    let throttled = json!(["TooManyRequestsException", "FunctionInvocationRateLimitExceeded", true]);
    ensure!(many[0] == 200 && many.contains(&throttled), "{got}");
    ensure!(got["others"] == json!([200, 200, 200, 200, 200]), "one tenant's rate is not another's: {got}");
    myna.verb(&["tenant", "quota", "acme", "--call-rate", "none", "--rate", "1/s"])?;
    myna.verb(&["events", "pause", "f", "--tenant", "acme"])?;
    let got = both(
        &myna,
        &made,
        r#"
def event():
    return b.lam.invoke(FunctionName="f", InvocationType="Event", Payload="1")["StatusCode"]
def tried(call):
    try:
        return call()
    except ClientError as e:
        return [e.response["Error"]["Code"], e.response.get("Reason")]
events, until = [], time.time() + 20
while time.time() < until and not (events and isinstance(events[-1], list)):
    events.append(tried(event))
asked, until = [], time.time() + 20
while time.time() < until and not (asked and isinstance(asked[-1], list)):
    asked.append(tried(lambda: len(b.lam.list_functions()["Functions"])))
return dict(events=events, asked=asked, others=[len(a.lam.list_functions()["Functions"]) for _ in range(6)])
"#,
    )?;
    let events = got["events"].as_array().context("answers")?;
    ensure!(
        events[..2] == [json!(202), json!(202)] && events.last().is_some_and(|e| e[0] == "TooManyRequestsException"),
        "{got}"
    );
    let asked = got["asked"].as_array().context("answers")?;
    ensure!(asked.contains(&json!(["TooManyRequestsException", "CallerRateLimitExceeded"])), "{got}");
    ensure!(got["others"] == json!([3, 3, 3, 3, 3, 3]), "{got}");
    let shown = myna.verb(&["tenant", "quota", "acme", "--reset"])?;
    ensure!(shown["quota"]["functions"] == 3 && shown["quota"]["requests"] == 0 && shown["changed"] == json!({}), "{shown}");
    Ok(())
}

/// Files below a folder that hold a text.
fn holding(folder: PathBuf, wanted: &str) -> Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![folder]);
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?);
        } else if meta.is_file() && fs::read(&path).unwrap_or_default().windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

fn a_tenant_is_whole_after_a_kill_and_gone_after_its_removal() -> Result<()> {
    let mut myna = Platform::start()?;
    let made = add(&myna, "acme", &[])?;
    let account = text(&made["account"]);
    myna.kill()?;
    myna.start_again()?;
    let fill = r#"
for x in (a, b):
    x.function("f", "marker-of-" + x.id)
    x.call("f")
b.lam.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
b.lam.invoke(FunctionName="f", InvocationType="Event", Payload="1")
b.iam.create_user(UserName="bob")
key = b.iam.create_access_key(UserName="bob")["AccessKey"]
return [key["AccessKeyId"], key["SecretAccessKey"]]
"#;
    let bob = both(&myna, &made, fill)?;
    myna.until_logged("f", "marker", 1)?;
    myna.verb(&["events", "pause", "f", "--tenant", "acme"])?;
    let waits = "return b.lam.invoke(FunctionName=\"f\", InvocationType=\"Event\", Payload=\"1\")[\"StatusCode\"]\n";
    ensure!(both(&myna, &made, waits)? == 202);
    let refused = myna.cli(&["tenant", "remove", "acme"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("--force"), "{refused:?}");
    ensure!(!myna.cli(&["tenant", "remove", "default", "--force"])?.status.success(), "the platform's own account is removed");
    let keys = || fs::read_to_string(myna.dir().join("keys"));
    ensure!(keys()?.contains(&account), "a tenant has a data key of its own");
    myna.verb(&["tenant", "remove", "acme", "--force"])?;
    ensure!(!keys()?.contains(&account), "its data key is there");
    ensure!(!myna.dir().join("packages").join(&account).exists() && !myna.dir().join("logs").join(&account).exists());
    for key in [&made["key"]["access_key_id"], &bob[0]] {
        let session = format!("c = boto3.client('sts', aws_access_key_id={key}, aws_secret_access_key='x' * 40)\n");
        let got = myna.boto3(&format!("{session}return refused(c.get_caller_identity)['Error']['Code']\n"))?;
        ensure!(got == "InvalidClientTokenId", "{got}");
    }
    // The other's is all there, and nothing of the removed one after the next start: neither in files, nor by another's asking.
    myna.verb(&["invoke", "f"])?;
    myna.stop()?;
    let marker = format!("marker-of-{account}");
    let found = holding(myna.dir(), &marker)?;
    ensure!(found.is_empty(), "{marker} is in {found:?}");
    myna.start_again()?;
    myna.verb(&["invoke", "f"])?;
    ensure!(myna.verb(&["tenant", "list"])?.as_array().map(Vec::len) == Some(1));
    // The account may be another's from now on, who finds nothing of the former one.
    let again = add(&myna, "other", &["--account", &account])?;
    let got = both(
        &myna,
        &again,
        r#"
return [b.lam.list_functions()["Functions"], b.logs.describe_log_groups()["logGroups"], b.iam.list_users()["Users"]]
"#,
    )?;
    ensure!(got == json!([[], [], []]), "{got}");
    ensure!(myna.verb(&["events", "--tenant", "other"])? == json!([]));
    Ok(())
}

// H38
fn another_tenants_secret_is_none() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &[])?;
    let put = |more: &[&str], name: &str, value: &str| -> Result<()> {
        let done = myna.cli_with(&[more, &["secret", "put", name]].concat(), value.as_bytes())?;
        ensure!(done.status.success(), "secret put {name}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    put(&[], "ours", "of the default tenant")?;
    put(&[], "both", "of the default tenant")?;
    put(&["--tenant", "acme"], "both", "of acme")?;
    let got = both(
        &myna,
        &made,
        r#"
source = "import os\ndef handler(e, c): return os.environ.get('TOKEN')"
def of(name):
    return dict(Environment={"Variables": {"TOKEN": "myna:secret:" + name}})
def make(x, name, **more):
    x.lam.create_function(FunctionName=name, Runtime="python3.11", Role=x.role, Handler="app.handler",
        Code={"ZipFile": package(app__py=source)}, **more)
    x.lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
make(a, "f", **of("both"))
make(b, "f", **of("both"))
create = [no(b.lam.create_function, FunctionName="g", Runtime="python3.11", Role=b.role, Handler="app.handler",
    Code={"ZipFile": package(app__py=source)}, **of(name)) for name in ("ours", "none")]
update = [no(b.lam.update_function_configuration, FunctionName="f", **of(name)) for name in ("ours", "none")]
return dict(calls=[a.call("f"), b.call("f")], create=create, update=update)
"#,
    )?;
    ensure!(got["calls"] == json!(["of the default tenant", "of acme"]), "{got}");
    for refused in [&got["create"], &got["update"]] {
        // Word for word as of one that nobody has.
        let [theirs, none] = [&refused[0], &refused[1]].map(|r| r.to_string());
        ensure!(theirs.contains("InvalidParameterValue") && theirs.replace("ours", "none") == none, "{got}");
    }
    let listed = myna.verb(&["--tenant", "acme", "secret", "list"])?;
    ensure!(listed.as_array().map(Vec::len) == Some(1), "{listed}");
    ensure!(!myna.cli(&["--tenant", "acme", "secret", "delete", "ours"])?.status.success());
    ensure!(myna.verb(&["secret", "list"])?.as_array().map(Vec::len) == Some(2));
    Ok(())
}

// H16
fn a_layer_of_another_account_counts_as_stored() -> Result<()> {
    let myna = Platform::start()?;
    let made = add(&myna, "acme", &["--storage", "2KiB"])?;
    let made_by_a = "layer = a.lam.publish_layer_version(LayerName='l', Content={'ZipFile': package(x=base64.b64encode(os.urandom(5000)).decode())})['LayerVersionArn']\n\
         a.lam.add_layer_version_permission(LayerName='l', VersionNumber=1, StatementId='s', Action='lambda:GetLayerVersion', Principal=b.id)\n";
    let small = "def make(name, **more):\n    \
         return dict(FunctionName=name, Runtime='python3.11', Role=b.role, Handler='app.handler', Code={'ZipFile': package(app__py='def handler(e, c): return 1')}, **more)\n\
         stored = lambda: b.lam.get_account_settings()['AccountUsage']['TotalCodeSize']\n";
    let first = both(
        &myna,
        &made,
        &format!(
            "{made_by_a}{small}b.lam.create_function(**make('plain'))\nbefore = stored()\nreturn [layer, before, no(b.lam.create_function, **make('more', Layers=[layer])), stored()]"
        ),
    )?;
    ensure!(first[2] == json!(["CodeStorageExceededException", "Code storage limit exceeded."]), "{first}");
    ensure!(first[1] == first[3] && first[1].as_u64().is_some_and(|n| n < 1024), "{first}");
    myna.verb(&["tenant", "quota", "acme", "--storage", "1MiB"])?;
    let layer = &first[0];
    let then = both(
        &myna,
        &made,
        &format!(
            "{small}b.lam.create_function(**make('more', Layers=[{layer}]))\none = stored()\nb.lam.create_function(**make('again', Layers=[{layer}]))\nreturn [one, stored()]"
        ),
    )?;
    let (one, two) = (then[0].as_u64().unwrap_or(0), then[1].as_u64().unwrap_or(0));
    ensure!(one > 3_500 && two - one < 1024, "it counts once, however many functions use it: {first} {then}");
    Ok(())
}
