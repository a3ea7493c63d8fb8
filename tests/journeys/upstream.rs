//! Services that Myna lacks: named, or passed on to where the operator has them. Played by moto's server.

use myna_tests::{Options, Platform, Result, Test, bail, deps, ensure, json, processes};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

pub const ALL: &[Test] = myna_tests::tests![
    a_service_that_is_missing_is_named_and_goes_nowhere,
    a_service_that_is_missing_is_passed_on_as_the_role_allows,
];

struct Moto(Child, u16);

impl Moto {
    fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut c = Command::new(deps().join("venv/bin/moto_server"));
        c.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Self(c.spawn()?, port);
        if !processes::soon(|| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            bail!("moto's server does not listen on port {port}");
        }
        Ok(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A function that keeps a file in S3 and reads it back, and its role `keeper`, which may what `allowed` says.
const KEEPER: &str = r#"
iam = boto3.client("iam")
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="keeper", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
lam.create_function(FunctionName="keeper", Runtime="python3.11", Role=role, Handler="app.handler", Timeout=30, MemorySize=512, Code={"ZipFile": package(app__py='''
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
def handler(event, context):
    try:
        s3.put_object(Bucket=event["bucket"], Key="a b/c//d+e", Body=b"kept " * 1000)
        return s3.get_object(Bucket=event["bucket"], Key="a b/c//d+e")["Body"].read().decode()[:5]
    except ClientError as e:
        return e.response["Error"]
''')})
lam.get_waiter("function_active_v2").wait(FunctionName="keeper", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
def allow(*actions):
    iam.put_role_policy(RoleName="keeper", PolicyName="may", PolicyDocument=json.dumps({"Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "arn:aws:s3:::box/*"}]}))
def keep(bucket):
    return json.load(lam.invoke(FunctionName="keeper", Payload=json.dumps({"bucket": bucket}))["Payload"])
"#;

fn with_boto3(myna: &Platform) -> Result<()> {
    let installed = myna.developer(&["runtime", "install", "python3.11"])?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Ok(())
}

fn a_service_that_is_missing_is_named_and_goes_nowhere() -> Result<()> {
    let myna = Platform::start()?;
    with_boto3(&myna)?;
    let said = myna.boto3(&format!("{KEEPER}\nallow('s3:*')\nreturn keep('box')"))?;
    ensure!(said["Code"] == "NotImplementedException", "{said}");
    ensure!(said["Message"].as_str().is_some_and(|m| m.contains("[upstream.s3]")), "the next step is missing: {said}");
    Ok(())
}

fn a_service_that_is_missing_is_passed_on_as_the_role_allows() -> Result<()> {
    let moto = Moto::start()?;
    let config = format!("[upstream.s3]\nurl = \"http://127.0.0.1:{}\"\n", moto.1);
    let myna = Platform::start_with(Options { config: Some(config), ..Options::default() })?;
    with_boto3(&myna)?;
    let said = myna.boto3(&format!(
        "{KEEPER}
boto3.client('s3').create_bucket(Bucket='box')
boto3.client('s3').create_bucket(Bucket='other')
nothing = keep('box')
allow('s3:PutObject')
half = keep('box')
allow('s3:PutObject', 's3:GetObject')
return {{'nothing': nothing, 'half': half, 'both': keep('box'), 'other': keep('other'),
        'kept': [o['Key'] for o in boto3.client('s3').list_objects_v2(Bucket='box')['Contents']]}}"
    ))?;
    for (which, action) in [("nothing", "s3:PutObject"), ("half", "s3:GetObject"), ("other", "s3:PutObject")] {
        ensure!(said[which]["Code"] == "AccessDeniedException", "{which}: {said}");
        ensure!(said[which]["Message"].as_str().is_some_and(|m| m.contains(action)), "{which}: {said}");
    }
    ensure!(said["both"] == "kept " && said["kept"] == json!(["a b/c//d+e"]), "{said}");
    // The upstream knows the operator's key only: for another tenant there is none.
    let made = myna.verb(&["tenant", "add", "acme"])?;
    let theirs = myna.boto3(&format!(
        "s3 = boto3.client('s3', aws_access_key_id={}, aws_secret_access_key={})
return [refused(s3.list_buckets)['Error']['Code'], refused(s3.get_object, Bucket='box', Key='a b/c//d+e')['Error']['Code']]",
        made["key"]["access_key_id"], made["key"]["secret_access_key"]
    ))?;
    ensure!(theirs == json!(["NotImplementedException", "NotImplementedException"]), "{theirs}");
    drop(moto);
    let gone = myna.boto3("return refused(boto3.client('s3').list_buckets)")?;
    ensure!(gone["ResponseMetadata"]["HTTPStatusCode"] == 503, "{gone}");
    Ok(())
}
