//! A platform with one of everything, and the credentials that are tried on it.

use super::super::credentials::SIGNER;
use myna_tests::{Context, Http, Keys, Options, Platform, Response, Result, Value, bail, ensure, json, skip, zip};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

/// Debian's libfaketime: a session lasts a quarter of an hour at least, and none of it is waited for.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const READ_ONLY: [&str; 3] = ["AWSLambda_ReadOnlyAccess", "IAMReadOnlyAccess", "CloudWatchLogsReadOnlyAccess"];
pub const GROUP: &str = "/own/target";

#[derive(Deserialize)]
pub struct Table {
    pub lambda: Operations,
    pub logs: Operations,
    pub sts: Operations,
    pub iam: Operations,
    pub aws: BTreeMap<String, String>,
    pub admin: Routes,
    pub console: Routes,
    pub runtime: BTreeMap<String, toml::Value>,
}

pub type Operations = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
pub struct Routes {
    pub routes: Vec<String>,
}

impl Table {
    /// Each operation with its service and what it is.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let services = [("lambda", &self.lambda), ("logs", &self.logs), ("sts", &self.sts), ("iam", &self.iam)];
        services.into_iter().flat_map(|(service, operations)| {
            operations.iter().flat_map(move |(kind, names)| names.iter().map(move |name| (service, &**kind, &**name)))
        })
    }

    pub fn rows(&self) -> usize {
        self.operations().count() + self.aws.len() + self.admin.routes.len() + self.console.routes.len() + self.runtime.len()
    }
}

/// Who asks.
pub struct Credential {
    pub name: &'static str,
    pub keys: Option<Keys>,
    /// The codes of a refusal as JSON and as XML has them; `None` for a key that is good.
    pub refusal: Option<[&'static str; 2]>,
}

pub struct Rig {
    pub myna: Platform,
    pub table: Table,
    pub credentials: Vec<Credential>,
    /// The administrator of another account.
    pub other: Keys,
    pub download: String,
    /// Of two functions: anybody's, and one that asks for a signature.
    pub urls: [String; 2],
}

impl Rig {
    pub fn start() -> Result<Self> {
        if !Path::new(FAKETIME).exists() {
            return Err(skip(format!("{FAKETIME} is missing: apt-get install libfaketime")));
        }
        let table = toml::from_str(include_str!("../../permissions.toml")).context("permissions.toml")?;
        let mut myna = Platform::prepare(Options::default())?;
        let clock = myna.home().join("clock");
        fs::write(&clock, "+0")?;
        let through = [
            "env".to_owned(),
            format!("LD_PRELOAD={FAKETIME}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
            "FAKETIME_NO_CACHE=1".into(),
        ];
        myna.set_through(&through);
        myna.start_again()?;
        let other = another(&myna)?;
        let mut rig = Self { myna, table, credentials: Vec::new(), other, download: String::new(), urls: Default::default() };
        rig.furnish()?;
        let (expired, download) = rig.of_two_hours_ago(&clock)?;
        rig.download = download;
        let read_only = rig.read_only()?;
        let own = rig.instances_own()?;
        let root = rig.myna.keys();
        let forged = Keys { secret: root.secret.chars().rev().collect(), ..root };
        let credential = |name, keys, refusal| Credential { name, keys, refusal };
        rig.credentials = vec![
            credential("nothing", None, Some(["MissingAuthenticationToken"; 2])),
            credential("a wrong secret", Some(forged), Some(["InvalidSignatureException", "SignatureDoesNotMatch"])),
            credential("an expired session", Some(expired), Some(["ExpiredTokenException", "ExpiredToken"])),
            credential("an instance's own", Some(own), Some(["UnrecognizedClientException", "InvalidClientTokenId"])),
            credential("a read-only key", Some(read_only), None),
        ];
        Ok(rig)
    }

    /// One of everything that an operation may be about.
    fn furnish(&mut self) -> Result<()> {
        for role in ["nothing", "target"] {
            self.iam("CreateRole", &[("RoleName", role), ("AssumeRolePolicyDocument", TRUST)])?;
        }
        let f = self.myna.python("target", "def handler(event, context):\n    print('was called')\n    return 1\n")?;
        f.api("POST", "/versions", &json!({}))?;
        f.api("POST", "/aliases", &json!({"Name": "target", "FunctionVersion": "1"}))?;
        f.operation("PUT", "/2019-09-25/functions/target/event-invoke-config", &json!({"MaximumRetryAttempts": 0}))?;
        let permission = json!({"StatementId": "target", "Action": "lambda:GetLayerVersion", "Principal": "111122223333"});
        let layer = json!({"Content": {"ZipFile": base64(&zip(&[("x", b"x")])?)}});
        f.operation("POST", "/2018-10-31/layers/target/versions", &layer)?;
        f.operation("POST", "/2018-10-31/layers/target/versions/1/policy", &permission)?;
        let key = [("UserName", "target")];
        self.iam("CreateUser", &key)?;
        self.log("CreateLogGroup", &json!({"logGroupName": GROUP}))?;
        self.log("CreateLogStream", &json!({"logGroupName": GROUP, "logStreamName": "target"}))?;
        let mut urls = Vec::new();
        for (name, auth) in [("open", "NONE"), ("closed", "AWS_IAM")] {
            let f = self.myna.python(name, "def handler(event, context): return 'from within'\n")?;
            let made = f.operation("POST", &format!("/2021-10-31/functions/{name}/url"), &json!({"AuthType": auth}))?;
            if auth == "NONE" {
                let all = json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": auth});
                f.api("POST", "/policy", &all)?;
            }
            let url = made["FunctionUrl"].as_str().context("an address")?;
            urls.push(url.trim_start_matches("http://").trim_end_matches('/').to_owned());
        }
        self.urls = urls.try_into().ok().context("two functions")?;
        let source = "import http.client, os\nfrom signer import ask, OWN\n\
             def handler(event, context):\n    if event == 'keys':\n        return OWN\n    \
             if 'raw' not in event:\n        return [ask(**e) for e in event['asks']]\n    out = []\n    \
             for method, path in event['raw']:\n        c = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'], timeout=20)\n        \
             c.request(method, path, '{}', {'content-type': 'application/json'})\n        out.append(c.getresponse().status)\n    return out\n";
        let role = format!("arn:aws:iam::{}:role/nothing", self.myna.ready().account);
        let draft = self.myna.draft("asker", source).file("signer.py", SIGNER).set("Role", role).set("Timeout", 60);
        draft.create()?;
        Ok(())
    }

    /// A session of the administrator's and a code link, both of two hours ago.
    fn of_two_hours_ago(&self, clock: &PathBuf) -> Result<(Keys, String)> {
        fs::write(clock, "-2h")?;
        let said = self.unsigned(
            "POST",
            "/",
            "application/x-www-form-urlencoded",
            "Action=GetSessionToken&Version=2011-06-15&DurationSeconds=900",
        )?;
        let shown = self.unsigned("GET", "/2015-03-31/functions/target", "application/json", "")?;
        fs::write(clock, "+0")?;
        let of = |name: &str| -> Result<String> {
            let rest = said.split_once(&format!("<{name}>")).with_context(|| format!("no {name}: {said}"))?.1;
            Ok(rest.split('<').next().unwrap_or_default().to_owned())
        };
        let keys =
            Keys { id: of("AccessKeyId")?, secret: of("SecretAccessKey")?, token: Some(of("SessionToken")?), ..self.myna.keys() };
        let body = shown.split_once("\r\n\r\n").context("an answer")?.1;
        let shown: Value = serde_json::from_str(body).with_context(|| shown.clone())?;
        let link = shown["Code"]["Location"].as_str().context("a code link")?;
        let at = link.find("/_code/").with_context(|| format!("no code link: {link}"))?;
        Ok((keys, link[at..].to_owned()))
    }

    fn read_only(&self) -> Result<Keys> {
        self.iam("CreateUser", &[("UserName", "reader")])?;
        for policy in READ_ONLY {
            let arn = format!("arn:aws:iam::aws:policy/{policy}");
            self.iam("AttachUserPolicy", &[("UserName", "reader"), ("PolicyArn", &arn)])?;
        }
        let made = self.iam("CreateAccessKey", &[("UserName", "reader")])?;
        let of = |name: &str| {
            made.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split('<').next()).unwrap_or_default().to_owned()
        };
        Ok(Keys { id: of("AccessKeyId"), secret: of("SecretAccessKey"), ..self.myna.keys() })
    }

    fn instances_own(&self) -> Result<Keys> {
        let own = self.myna.function("asker").call(json!("keys"))?;
        let text = |n: usize| own[n].as_str().unwrap_or_default().to_owned();
        ensure!(!text(2).is_empty(), "no credentials: {own}");
        Ok(Keys { id: text(0), secret: text(1), token: Some(text(2)), ..self.myna.keys() })
    }

    fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let rest: String = parameters.iter().map(|(name, value)| format!("&{name}={}", encode(value))).collect();
        let body = format!("Action={action}&Version=2010-05-08{rest}");
        let got =
            self.myna.signed("iam", "POST", "/", &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())?;
        ensure!(got.status == 200, "{action}: {} {}", got.status, got.text());
        Ok(got.text())
    }

    fn log(&self, operation: &str, body: &Value) -> Result<Value> {
        let target = format!("Logs_20140328.{operation}");
        let headers = [("x-amz-target", &*target), ("content-type", "application/x-amz-json-1.1")];
        let got = self.myna.signed("logs", "POST", "/", &headers, body.to_string().as_bytes())?;
        ensure!(got.status == 200, "{operation}: {} {}", got.status, got.text());
        if got.body.is_empty() { Ok(Value::Null) } else { got.json() }
    }

    /// Over the admin socket: the whole answer as text.
    pub fn unsigned(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
        let mut socket = UnixStream::connect(&self.myna.ready().admin)?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        socket.write_all(head.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// `HOST:PORT` of the AWS listener.
    pub fn aws(&self) -> &str {
        self.myna.ready().aws.trim_start_matches("http://")
    }

    /// A request to the AWS listener under a Host of its own, signed if there are keys.
    pub fn send(&self, keys: Option<&Keys>, ask: &Ask<'_>, host: &str) -> Result<Response> {
        let mut headers: Vec<_> = ask.headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        if let Some(keys) = keys {
            let split = ask.path.split_once('?').unwrap_or((&ask.path, ""));
            headers = keys.sign(ask.service, ask.method, host, split, &headers, ask.body.as_bytes());
        }
        headers.push(("host".into(), host.into()));
        Http::default().send(ask.method, &format!("http://{}{}", self.aws(), ask.path), &headers, ask.body.as_bytes())
    }

    /// What the administrator sees of everything that could be changed.
    pub fn seen(&self) -> Result<Value> {
        let mut seen = BTreeMap::new();
        for path in [
            "/2015-03-31/functions/",
            "/2015-03-31/functions/target/configuration",
            "/2015-03-31/functions/target/versions",
            "/2015-03-31/functions/target/aliases",
            "/2015-03-31/functions/target/policy",
            "/2015-03-31/functions/open/policy",
            "/2019-09-25/functions/target/event-invoke-config/list",
            "/2021-10-31/functions/open/url",
            "/2021-10-31/functions/closed/url",
            "/2019-09-30/functions/target/concurrency",
            "/2015-03-31/event-source-mappings/",
            "/2018-10-31/layers",
            "/2018-10-31/layers/target/versions/1/policy",
        ] {
            let got = self.myna.signed("lambda", "GET", path, &[], &[])?;
            seen.insert(path.to_owned(), json!([got.status, got.json()?]));
        }
        for action in ["ListRoles", "ListUsers", "ListPolicies", "GetAccountSummary"] {
            let shown = self.iam(action, &[])?;
            seen.insert(action.into(), shown.split("<ResponseMetadata>").next().unwrap_or_default().into());
        }
        for group in self.log("DescribeLogGroups", &json!({}))?["logGroups"].as_array().into_iter().flatten() {
            let mut group = group.clone();
            // What functions log meanwhile is no change, and neither is the group that their first line makes.
            if group["logGroupName"].as_str().is_some_and(|name| name.starts_with("/aws/lambda/")) {
                continue;
            }
            group.as_object_mut().context("a group")?.remove("storedBytes");
            seen.insert(format!("group {}", group["logGroupName"]), group);
        }
        Ok(serde_json::to_value(seen)?)
    }

    /// The one function that nobody could call still can be, by its owner.
    pub fn target_runs(&self) -> Result<()> {
        self.myna.function("target").call(json!({}))?;
        self.myna.until_logged("target", "was called", 1)
    }
}

fn another(myna: &Platform) -> Result<Keys> {
    let made = myna.verb(&["tenant", "add", "other"])?;
    let text = |name: &str| made["key"][name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {made}"));
    Ok(Keys { id: text("access_key_id")?, secret: text("secret_access_key")?, token: None, ..myna.keys() })
}

/// One request.
pub struct Ask<'a> {
    pub service: &'a str,
    pub method: &'a str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// Fails with everything that was found.
pub fn report(found: Vec<String>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    bail!("{} answers are not as the table says:\n{}", found.len(), found.join("\n"))
}
