//! Who may do what: users, roles that are assumed, and the roles of functions, with AWS's SDK.

use myna_tests::{Platform, Result, Test, ensure, json};

pub const ALL: &[Test] = myna_tests::tests![
    a_user_may_do_what_its_policies_allow_and_nothing_else,
    a_role_is_assumed_and_a_session_policy_narrows_it,
    a_role_is_given_to_a_function_by_who_may_pass_it,
    a_functions_role_may_what_its_managed_policy_allows,
    a_function_lets_in_whom_its_policy_names,
];

/// Users with keys, clients that are theirs, and refusals as they read them.
const PEOPLE: &str = r#"
iam, sts = boto3.client("iam"), boto3.client("sts")
account = sts.get_caller_identity()["Account"]
def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}
def trust(**principal):
    return policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
def user(name, *statements):
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
def session(of, role, **more):
    c = of.client("sts").assume_role(RoleArn=role, RoleSessionName="s1", **more)["Credentials"]
    return boto3.Session(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
def no(call, **arguments):
    e = refused(call, **arguments)["Error"]
    return [e["Code"], e.get("Message", "")]
LAMBDA = trust(Service="lambda.amazonaws.com")
def function(client, name, role):
    return client.create_function(FunctionName=name, Runtime="python3.11", Role=role, Handler="app.handler",
        Code={"ZipFile": package(app__py="def handler(event, context): return event")})
"#;

fn run(myna: &Platform, snippet: &str) -> Result<serde_json::Value> {
    myna.boto3(&format!("{PEOPLE}{snippet}"))
}

// H53
fn a_user_may_do_what_its_policies_allow_and_nothing_else() -> Result<()> {
    let myna = Platform::start()?;
    let got = run(
        &myna,
        r#"
ann = user("ann")
iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=LAMBDA)["Role"]["Arn"]
function(lam, "f", role)
lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
theirs = ann.client("lambda")
listed = [f["FunctionName"] for f in theirs.list_functions()["Functions"]]
writes = [no(function, client=theirs, name="g", role=role), no(theirs.delete_function, FunctionName="f"),
          no(theirs.update_function_configuration, FunctionName="f", Timeout=5),
          no(theirs.add_permission, FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="*"),
          no(theirs.invoke, FunctionName="f")]
others = [no(ann.client("iam").create_user, UserName="bob"), no(ann.client("logs").describe_log_streams, logGroupName="/other")]
who = ann.client("sts").get_caller_identity()["Arn"]
iam.put_user_policy(UserName="ann", PolicyName="may", PolicyDocument=policy(allow("lambda:InvokeFunction"),
    {"Effect": "Deny", "Action": "lambda:GetFunction", "Resource": "*"}))
invoked = json.load(theirs.invoke(FunctionName="f", Payload="1")["Payload"])
denied = no(theirs.get_function, FunctionName="f")
keys = iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]
iam.update_access_key(UserName="ann", AccessKeyId=keys[0]["AccessKeyId"], Status="Inactive")
inactive = no(theirs.list_functions)
iam.update_access_key(UserName="ann", AccessKeyId=keys[0]["AccessKeyId"], Status="Active")
theirs.list_functions()
iam.delete_access_key(UserName="ann", AccessKeyId=keys[0]["AccessKeyId"])
deleted = no(theirs.list_functions)
return dict(listed=listed, writes=writes, others=others, who=who, invoked=invoked, denied=denied, inactive=inactive, deleted=deleted, account=account)
"#,
    )?;
    let account = got["account"].as_str().unwrap_or_default();
    ensure!(got["listed"] == json!(["f"]) && got["invoked"] == 1, "{got}");
    let says = |action: &str, on: &str, why: &str| {
        json!([
            "AccessDeniedException",
            format!("User: arn:aws:iam::{account}:user/ann is not authorized to perform: {action} on resource: {on} {why}")
        ])
    };
    let because = |action: &str| format!("because no identity-based policy allows the {action} action");
    let f = format!("arn:aws:lambda:us-east-1:{account}:function:f");
    for (at, action) in
        ["CreateFunction", "DeleteFunction", "UpdateFunctionConfiguration", "AddPermission", "InvokeFunction"].iter().enumerate()
    {
        let (action, on) = (format!("lambda:{action}"), if at == 0 { format!("{}g", &f[..f.len() - 1]) } else { f.clone() });
        ensure!(got["writes"][at] == says(&action, &on, &because(&action)), "{}", got["writes"][at]);
    }
    ensure!(got["others"][0][0] == "AccessDenied" && got["others"][1][0] == "AccessDeniedException", "{}", got["others"]);
    ensure!(
        got["denied"] == says("lambda:GetFunction", &f, "with an explicit deny in an identity-based policy"),
        "{}",
        got["denied"]
    );
    ensure!(got["who"] == format!("arn:aws:iam::{account}:user/ann"), "{}", got["who"]);
    ensure!(got["inactive"][0] == "UnrecognizedClientException" && got["deleted"] == got["inactive"], "{got}");
    Ok(())
}

fn a_role_is_assumed_and_a_session_policy_narrows_it() -> Result<()> {
    let mut myna = Platform::start()?;
    let got = run(
        &myna,
        r#"
ann, bob = user("ann", allow("sts:AssumeRole")), user("bob", allow("sts:AssumeRole"))
role = iam.create_role(RoleName="r", Path="/team/", AssumeRolePolicyDocument=trust(AWS=f"arn:aws:iam::{account}:user/ann"))["Role"]["Arn"]
iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=policy(allow(["lambda:ListFunctions", "lambda:GetAccountSettings"])))
whole = session(ann, role)
who = whole.client("sts").get_caller_identity()["Arn"]
whole.client("lambda").list_functions()
beyond = no(whole.client("lambda").list_layers)
narrow = session(ann, role, Policy=policy(allow("lambda:ListFunctions")))
narrow.client("lambda").list_functions()
narrowed = no(narrow.client("lambda").get_account_settings)
untrusted = no(bob.client("sts").assume_role, RoleArn=role, RoleSessionName="s1")
absent = no(ann.client("sts").assume_role, RoleArn=role + "x", RoleSessionName="s1")
unchecked = botocore.config.Config(parameter_validation=False)
short = no(ann.client("sts", config=unchecked).assume_role, RoleArn=role, RoleSessionName="s1", DurationSeconds=899)
long = no(ann.client("sts").assume_role, RoleArn=role, RoleSessionName="s1", DurationSeconds=3601)
token = whole.get_credentials()
forged = no(boto3.Session(token.access_key, token.secret_key, token.token[:-1] + "!").client("lambda").list_functions)
bare = no(boto3.Session(token.access_key, token.secret_key).client("lambda").list_functions)
iam.update_assume_role_policy(RoleName="r", PolicyDocument=trust(AWS=account))
bob_too = session(bob, role).client("sts").get_caller_identity()["Arn"]
carol = no(user("carol").client("sts").assume_role, RoleArn=role, RoleSessionName="s1")
own = ann.client("sts").get_session_token()["Credentials"]
own = boto3.Session(own["AccessKeyId"], own["SecretAccessKey"], own["SessionToken"])
mine = [own.client("sts").get_caller_identity()["Arn"], no(own.client("iam").list_users)[0]]
keep = [token.access_key, token.secret_key, token.token]
return dict(who=who, beyond=beyond, narrowed=narrowed, untrusted=untrusted, absent=absent, short=short, long=long, forged=forged,
            bare=bare, bob=bob_too, carol=carol, mine=mine, keep=keep, account=account)
"#,
    )?;
    let account = got["account"].as_str().unwrap_or_default();
    ensure!(got["who"] == format!("arn:aws:sts::{account}:assumed-role/r/s1") && got["bob"] == got["who"], "{got}");
    let text = |at: &str| got[at][1].as_str().unwrap_or_default().to_owned();
    ensure!(text("beyond").ends_with("because no identity-based policy allows the lambda:ListLayers action"), "{got}");
    ensure!(text("narrowed").ends_with("because no session policy allows the lambda:GetAccountSettings action"), "{got}");
    ensure!(text("untrusted").ends_with("because no role trust policy allows the sts:AssumeRole action"), "{got}");
    ensure!(text("absent") == text("untrusted").replace("user/bob", "user/ann").replace("team/r ", "team/rx "), "{got}");
    ensure!(text("carol").ends_with("because no identity-based policy allows the sts:AssumeRole action"), "{got}");
    ensure!(got["short"][0] == "ValidationError" && text("long").contains("MaxSessionDuration"), "{got}");
    ensure!(got["forged"][0] == "UnrecognizedClientException" && got["bare"] == got["forged"], "{got}");
    ensure!(got["mine"] == json!([format!("arn:aws:iam::{account}:user/ann"), "InvalidClientTokenId"]), "{got}");

    // A session was on disk before its credentials were given out.
    myna.kill()?;
    myna.start_again()?;
    let keep = serde_json::to_string(&got["keep"])?;
    let after = run(
        &myna,
        &format!(
            r#"
kept = boto3.Session(*{keep})
kept.client("lambda").list_functions()
iam.delete_role_policy(RoleName="r", PolicyName="p")
poorer = no(kept.client("lambda").list_functions)[0]
iam.delete_role(RoleName="r")
iam.create_role(RoleName="r", Path="/team/", AssumeRolePolicyDocument=LAMBDA)
return [poorer, no(kept.client("lambda").list_functions)[0], no(kept.client("sts").get_caller_identity)[0]]
"#
        ),
    )?;
    ensure!(after == json!(["AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"]), "{after}");
    Ok(())
}

fn a_role_is_given_to_a_function_by_who_may_pass_it() -> Result<()> {
    let myna = Platform::start()?;
    let got = run(
        &myna,
        r#"
mine = iam.create_role(RoleName="mine", AssumeRolePolicyDocument=LAMBDA)["Role"]["Arn"]
other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=LAMBDA)["Role"]["Arn"]
nobodys = iam.create_role(RoleName="nobodys", AssumeRolePolicyDocument=trust(Service="s3.amazonaws.com"))["Role"]["Arn"]
pass_it = allow("iam:PassRole", mine, Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
ann = user("ann", allow("lambda:*"), pass_it).client("lambda")
elsewhere = allow("iam:PassRole", "*", Condition={"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}})
bob = user("bob", allow("lambda:*"), elsewhere).client("lambda")
not_other = no(function, client=ann, name="f", role=other)
not_there = refused(lam.get_function, FunctionName="f")["Error"]["Code"]
function(ann, "f", mine)
ann.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
change = no(ann.update_function_configuration, FunctionName="f", Role=other)
ann.update_function_configuration(FunctionName="f", Timeout=7)
service = no(function, client=bob, name="g", role=mine)
trusted = no(function, client=lam, name="g", role=nobodys)
return dict(other=not_other, there=not_there, change=change, service=service, trusted=trusted, role=lam.get_function(FunctionName="f")["Configuration"]["Role"], mine=mine, arn=other)
"#,
    )?;
    let other = got["arn"].as_str().unwrap_or_default();
    let end = format!(
        "is not authorized to perform: iam:PassRole on resource: {other} because no identity-based policy allows the iam:PassRole action"
    );
    for at in ["other", "change"] {
        let (code, text) = (&got[at][0], got[at][1].as_str().unwrap_or_default());
        ensure!(*code == "AccessDeniedException" && text.ends_with(&end), "{at}: {got}");
    }
    ensure!(got["there"] == "ResourceNotFoundException" && got["role"] == got["mine"], "{got}");
    ensure!(got["service"][0] == "AccessDeniedException", "{got}");
    let trusted = json!(["InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."]);
    ensure!(got["trusted"] == trusted, "{got}");
    Ok(())
}

fn a_functions_role_may_what_its_managed_policy_allows() -> Result<()> {
    let myna = Platform::with_runtimes(&["python3.11"])?;
    let got = run(
        &myna,
        r#"
role = iam.create_role(RoleName="caller", AssumeRolePolicyDocument=LAMBDA)["Role"]["Arn"]
function(lam, "echo", role)
lam.create_function(FunctionName="caller", Runtime="python3.11", Role=role, Handler="app.handler", Timeout=30, MemorySize=512, Code={"ZipFile": package(app__py='''
import boto3, json
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        return json.load(boto3.client("lambda").invoke(FunctionName="echo", Payload="7")["Payload"])
    except ClientError as e:
        return e.response["Error"]["Code"]
''')})
for f in ("echo", "caller"):
    lam.get_waiter("function_active_v2").wait(FunctionName=f, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
def ask():
    return json.load(lam.invoke(FunctionName="caller")["Payload"])
seen = [ask()]
iam.attach_role_policy(RoleName="caller", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaRole")
seen.append(ask())
own = iam.create_policy(PolicyName="never", PolicyDocument=policy({"Effect": "Deny", "Action": "lambda:Invoke*", "Resource": "*"}))["Policy"]["Arn"]
iam.attach_role_policy(RoleName="caller", PolicyArn=own)
seen.append(ask())
iam.create_policy_version(PolicyArn=own, PolicyDocument=policy({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}), SetAsDefault=True)
seen.append(ask())
iam.put_role_permissions_boundary(RoleName="caller", PermissionsBoundary="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
seen.append(ask())
iam.delete_role_permissions_boundary(RoleName="caller")
iam.detach_role_policy(RoleName="caller", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaRole")
seen.append(ask())
return seen
"#,
    )?;
    let no = "AccessDeniedException";
    ensure!(got == json!([no, 7, no, 7, no, no]), "{got}");
    Ok(())
}

fn a_function_lets_in_whom_its_policy_names() -> Result<()> {
    let myna = Platform::start()?;
    let got = run(
        &myna,
        r#"
role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=LAMBDA)["Role"]["Arn"]
function(lam, "f", role)
lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
ann, bob = user("ann").client("lambda"), user("bob").client("lambda")
lam.add_permission(FunctionName="f", StatementId="a", Action="lambda:InvokeFunction", Principal=f"arn:aws:iam::{account}:user/ann")
lam.add_permission(FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                   SourceArn="arn:aws:s3:::mine", SourceAccount=account)
return [json.load(ann.invoke(FunctionName="f", Payload="3")["Payload"]), no(bob.invoke, FunctionName="f")[0], no(ann.get_function, FunctionName="f")[0]]
"#,
    )?;
    ensure!(got == json!([3, "AccessDeniedException", "AccessDeniedException"]), "{got}");
    Ok(())
}
