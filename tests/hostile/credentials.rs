//! What an instance's own credentials are good for, and how long.

use myna_tests::{Function, Http, Keys, Platform, Result, Test, Value, ensure, json, processes, soon, tests};

pub const ALL: &[Test] = tests![
    credentials_work_from_their_own_instance_only,
    an_instances_credentials_reach_no_control_plane_whatever_its_role_allows,
    credentials_end_with_the_role_and_with_the_version,
];

/// Signature Version 4 by hand, so that a function can sign with any keys and ask for anything.
pub(super) const SIGNER: &str = r#"
import datetime, hashlib, hmac, http.client, os, posixpath
NAMES = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']
OWN = [os.environ.get(n) for n in NAMES]
def ask(service, method, path, body='', keys=None, target=None):
    (key, secret, token), host = keys or OWN, os.environ['AWS_ENDPOINT_URL'].split('//')[1]
    body, now = body.encode(), datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
    kind = 'application/x-www-form-urlencoded' if service in ('sts', 'iam') else 'application/x-amz-json-1.1'
    headers = {'content-type': kind, 'host': host, 'x-amz-date': now, 'x-amz-security-token': token}
    if target:
        headers['x-amz-target'] = target
    names = ';'.join(sorted(headers))
    lines = ''.join('%s:%s\n' % (n, headers[n]) for n in sorted(headers))
    bare, _, query = path.partition('?')
    plain = posixpath.normpath(bare) if '/..' in bare else bare
    query = '&'.join(sorted(p if '=' in p else p + '=' for p in query.split('&') if p))
    signed = '\n'.join([method, plain, query, lines, names, hashlib.sha256(body).hexdigest()])
    scope = '/'.join([now[:8], os.environ['AWS_REGION'], service, 'aws4_request'])
    text = '\n'.join(['AWS4-HMAC-SHA256', now, scope, hashlib.sha256(signed.encode()).hexdigest()])
    mac = ('AWS4' + secret).encode()
    for part in scope.split('/') + [text]:
        mac = hmac.new(mac, part.encode(), hashlib.sha256).digest()
    headers['authorization'] = 'AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s' % (key, scope, names, mac.hex())
    c = http.client.HTTPConnection(host, timeout=20)
    c.request(method, path, body, headers)
    answer = c.getresponse()
    return [answer.status, answer.read().decode('utf-8', 'replace')]
"#;
const INVOKE_ECHO: &str = "/2015-03-31/functions/echo/invocations";
const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const ALL_ALLOWED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// A function that makes the requests of its event, with its own keys or with those that it is given.
fn asker<'a>(myna: &'a Platform, role: &str) -> Result<Function<'a>> {
    let source = "from signer import ask, OWN\ndef handler(event, context):\n    \
                  return OWN if event == 'keys' else [ask(*e) for e in event]\n";
    myna.draft("asker", source).file("signer.py", SIGNER).set("Role", role).set("Timeout", 60).create()
}

fn iam(myna: &Platform, action: &str, rest: &str) -> Result<()> {
    let body = format!("Action={action}&Version=2010-05-08{rest}");
    let got = myna.signed("iam", "POST", "/", &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())?;
    ensure!(got.status == 200, "{action} answered {}: {}", got.status, got.text());
    Ok(())
}

/// A role that may do everything, as far as its policy goes.
fn mighty(myna: &Platform) -> Result<String> {
    let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    iam(myna, "CreateRole", &format!("&RoleName=mighty&AssumeRolePolicyDocument={}", encode(trust)))?;
    iam(myna, "PutRolePolicy", &format!("&RoleName=mighty&PolicyName=all&PolicyDocument={}", encode(ALL_ALLOWED)))?;
    Ok(format!("arn:aws:iam::{}:role/mighty", myna.ready().account))
}

fn echo(myna: &Platform) -> Result<Function<'_>> {
    myna.python("echo", "def handler(event, context): return event\n")
}

/// The keys of an asker's instance.
fn keys(asker: &Function<'_>) -> Result<Value> {
    let keys = asker.call(json!("keys"))?;
    ensure!(keys.as_array().is_some_and(|k| k.len() == 3 && k.iter().all(Value::is_string)), "no credentials: {keys}");
    Ok(keys)
}

/// How the host's own door answers whoever signs with these.
fn from_the_host(myna: &Platform, keys: &Value) -> Result<u16> {
    let text = |n: usize| keys[n].as_str().unwrap_or_default().to_owned();
    let keys = Keys { id: text(0), secret: text(1), token: Some(text(2)), ..myna.keys() };
    let host = myna.ready().aws.trim_start_matches("http://").to_owned();
    let headers = [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    let signed = keys.sign("sts", "POST", &host, ("/", ""), &headers, WHO.as_bytes());
    Ok(Http::default().send("POST", &format!("http://{host}/"), &signed, WHO.as_bytes())?.status)
}

// H68
fn credentials_work_from_their_own_instance_only() -> Result<()> {
    let myna = Platform::start()?;
    let asker = asker(&myna, &mighty(&myna)?)?;
    let own = keys(&asker)?;
    let who = |keys: &Value| -> Result<Value> { Ok(asker.call(json!([["sts", "POST", "/", WHO, keys]]))?[0].clone()) };
    ensure!(who(&Value::Null)?[0] == 200, "{}", who(&Value::Null)?);
    ensure!(from_the_host(&myna, &own)? == 403, "an instance's credentials worked from the host");
    // The administrator's own, and those of an instance that is gone, from within an instance.
    let ready = myna.ready();
    let administrators = who(&json!([ready.access_key_id, ready.secret_access_key, ""]))?;
    ensure!(administrators[0] == 403, "the administrator's key worked from an instance: {administrators}");
    asker.api("PUT", "/configuration", &json!({"Description": "another revision, another instance"}))?;
    asker.settled()?;
    ensure!(keys(&asker)? != own, "a new instance has the credentials of the old one");
    let old = who(&own)?;
    ensure!(old[0] == 403, "another instance's credentials worked: {old}");
    ensure!(from_the_host(&myna, &own)? == 403);
    Ok(())
}

// H68
fn an_instances_credentials_reach_no_control_plane_whatever_its_role_allows() -> Result<()> {
    let myna = Platform::start()?;
    let asker = asker(&myna, &mighty(&myna)?)?;
    echo(&myna)?;
    let works = asker.call(json!([["lambda", "POST", INVOKE_ECHO, "1"], ["sts", "POST", "/", WHO]]))?;
    ensure!(works[0] == json!([200, "1"]) && works[1][0] == 200, "the data plane: {works}");

    let (echo, f) = ("/2015-03-31/functions/echo", "/2015-03-31/functions");
    let create = json!({"FunctionName": "planted", "Runtime": "python3.11", "Role": myna.ready().role, "Handler": "app.handler", "Code": {"ZipFile": ""}});
    let mut verbs: Vec<Value> = Vec::new();
    for (method, path, body) in [
        ("POST", f.to_owned(), create.to_string()),
        ("GET", f.to_owned(), String::new()),
        ("GET", format!("{f}/"), String::new()),
        ("GET", echo.to_owned(), String::new()),
        ("GET", format!("{echo}/configuration"), String::new()),
        ("PUT", format!("{echo}/configuration"), json!({"Role": myna.ready().role}).to_string()),
        ("PUT", format!("{echo}/code"), "{}".into()),
        ("POST", format!("{echo}/policy"), "{}".into()),
        ("POST", format!("{echo}/versions"), "{}".into()),
        ("POST", format!("{echo}/aliases"), "{}".into()),
        ("POST", "/2021-10-31/functions/echo/url".into(), r#"{"AuthType":"NONE"}"#.into()),
        ("PUT", "/2017-10-31/functions/echo/concurrency".into(), r#"{"ReservedConcurrentExecutions":0}"#.into()),
        ("GET", "/2016-08-19/account-settings".into(), String::new()),
        ("DELETE", echo.to_owned(), String::new()),
        // The same by paths that look like a call.
        ("DELETE", format!("{echo}/invocations/.."), String::new()),
        ("POST", format!("{echo}/invocations/../versions"), "{}".into()),
        ("POST", format!("{echo}/invocations/"), "1".into()),
        ("DELETE", format!("{echo}/invocations"), String::new()),
    ] {
        verbs.push(json!(["lambda", method, path, body]));
    }
    for action in ["ListRoles", "CreateRole&RoleName=x", "PutRolePolicy&RoleName=mighty", "DeleteRole&RoleName=mighty"] {
        verbs.push(json!(["iam", "POST", "/", format!("Action={action}&Version=2010-05-08")]));
    }
    for operation in ["DescribeLogGroups", "FilterLogEvents", "DeleteLogGroup"] {
        verbs.push(json!([
            "logs",
            "POST",
            "/",
            r#"{"logGroupName":"/aws/lambda/echo"}"#,
            null,
            format!("Logs_20140328.{operation}")
        ]));
    }
    verbs.push(json!(["sts", "POST", "/", "Action=AssumeRole&Version=2011-06-15&RoleArn=x&RoleSessionName=y"]));
    // A service that is none doesn't lead anywhere else.
    verbs.push(json!(["s3", "GET", "/2015-03-31/functions/", ""]));
    verbs.push(json!(["lambda-url", "GET", "/", ""]));
    let answers = asker.call(json!(verbs))?;
    for (asked, answer) in verbs.iter().zip(answers.as_array().into_iter().flatten()) {
        // CloudWatch Logs says every refusal with 400.
        let denied = answer[1].as_str().is_some_and(|text| text.contains("AccessDenied"));
        ensure!([403, 501].map(Value::from).contains(&answer[0]) || denied, "{asked} was answered {answer}");
        ensure!(!answer.to_string().contains(&myna.ready().secret_access_key), "{asked}: a secret in {answer}");
    }
    ensure!(answers.as_array().is_some_and(|a| a.len() == verbs.len()), "{answers}");
    ensure!(myna.function("echo").call(json!(2))? == 2);
    Ok(())
}

// H68
fn credentials_end_with_the_role_and_with_the_version() -> Result<()> {
    let myna = Platform::start()?;
    let asker = asker(&myna, &mighty(&myna)?)?;
    echo(&myna)?;
    let both = json!([["lambda", "POST", INVOKE_ECHO, "1"], ["sts", "POST", "/", WHO]]);
    let before = asker.call(both.clone())?;
    ensure!(before[0][0] == 200 && before[1][0] == 200, "{before}");
    let own = keys(&asker)?;
    iam(&myna, "DeleteRolePolicy", "&RoleName=mighty&PolicyName=all")?;
    let poorer = asker.call(both.clone())?;
    ensure!(poorer[0][0] == 403 && poorer[1][0] == 200, "after its policy was taken away: {poorer}");
    iam(&myna, "DeleteRole", "&RoleName=mighty")?;
    let nobody = asker.call(both.clone())?;
    ensure!(nobody[0][0] == 403 && nobody[1][0] == 403, "after its role was deleted: {nobody}");
    ensure!(keys(&asker)? == own, "the instance is another one, so this test proved nothing");

    // A version's instance goes with it, and a process that it left behind goes too.
    let marker = format!("left-behind-{}", myna.pid());
    let source = format!(
        "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['{marker}', '600'], executable='/bin/sleep')\n    return 1\n"
    );
    let f = myna.draft("lasting", &source).create()?;
    f.api("POST", "/versions", &json!({}))?;
    let answer = f.invoke_bytes("1", b"1", &[])?;
    ensure!(answer.status == 200 && answer.error.is_none(), "{}", answer.text());
    ensure!(soon(|| processes::with(&marker).len() == 1), "no process was left behind");
    f.api("DELETE", "?Qualifier=1", &Value::Null)?;
    ensure!(soon(|| processes::with(&marker).is_empty()), "a deleted version's instance is still there");
    Ok(())
}
