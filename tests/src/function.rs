//! Functions as the tests make and call them, over the Lambda API with requests of our own signing: quick, and without an SDK's
//! retries. That AWS's own SDK and command line get the same answers is what the journeys named after them prove.

use crate::{Platform, Response, package};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};
use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The version that every supported Debian has.
const PYTHON: &str = "python3.11";
const ACTIVE_WITHIN: Duration = Duration::from_secs(30);

/// A function about to be created.
pub struct Draft<'a> {
    myna: &'a Platform,
    fields: Map<String, Value>,
    files: Vec<(String, Vec<u8>)>,
}

/// A function that exists.
pub struct Function<'a> {
    myna: &'a Platform,
    pub name: String,
}

/// What Invoke answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// `X-Amz-Function-Error`.
    pub error: Option<String>,
    pub version: Option<String>,
    /// The decoded tail of the log, when it was asked for.
    pub log: Option<String>,
    pub request_id: String,
    /// Whether `Retry-After` was there.
    pub retry_after: bool,
    pub payload: Vec<u8>,
}

impl Platform {
    /// A Python function whose handler is `handler` of this source.
    pub fn python(&self, name: &str, source: &str) -> Result<Function<'_>> {
        self.draft(name, source).create()
    }

    /// The same, with settings to be added.
    pub fn draft(&self, name: &str, source: &str) -> Draft<'_> {
        let fields = json!({
            "FunctionName": name, "Runtime": PYTHON, "Role": self.ready().role, "Handler": "app.handler", "Timeout": 10,
        });
        let Value::Object(fields) = fields else { unreachable!("it was written as an object") };
        Draft { myna: self, fields, files: vec![("app.py".into(), source.into())] }
    }

    /// A function that was created some other way.
    pub fn function(&self, name: &str) -> Function<'_> {
        Function { myna: self, name: name.into() }
    }
}

impl<'a> Draft<'a> {
    /// Any field of CreateFunction, by its own name.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Every file below a folder, under its path in it.
    pub fn folder(mut self, folder: &Path) -> Result<Self> {
        collect(folder, "", &mut self.files).with_context(|| format!("can't read {}", folder.display()))?;
        Ok(self)
    }

    pub fn create(self) -> Result<Function<'a>> {
        let (myna, name) = (self.myna, self.fields["FunctionName"].as_str().unwrap_or_default().to_owned());
        let answer = self.send()?;
        ensure!(answer.status == 201, "CreateFunction answered {}: {}", answer.status, answer.text());
        let function = Function { myna, name };
        function.settled()?;
        Ok(function)
    }

    /// The bare answer of CreateFunction, for drafts that must be refused.
    pub fn send(mut self) -> Result<Response> {
        let files: Vec<(&str, &[u8])> = self.files.iter().map(|(n, c)| (n.as_str(), c.as_slice())).collect();
        let code = json!({ "ZipFile": BASE64.encode(package::zip(&files)?) });
        self.fields.entry("Code").or_insert(code);
        let body = serde_json::to_vec(&self.fields)?;
        self.myna.signed("lambda", "POST", "/2015-03-31/functions", &[("content-type", "application/json")], &body)
    }
}

fn collect(folder: &Path, under: &str, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{under}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}

impl Function<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/2015-03-31/functions/{}{rest}", self.name)
    }

    /// One operation below this function, its JSON answer, any status that is no success an error.
    pub fn api(&self, method: &str, rest: &str, body: &Value) -> Result<Value> {
        self.operation(method, &self.path(rest), body)
    }

    /// The same where the operation has a date of its own in its path.
    pub fn operation(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let got = self.myna.signed("lambda", method, path, &[("content-type", "application/json")], &bytes)?;
        ensure!((200..300).contains(&got.status), "{method} {path} answered {}: {}", got.status, got.text());
        if got.body.is_empty() { Ok(Value::Null) } else { got.json() }
    }

    /// Waits until it is active and its last update is over.
    pub fn settled(&self) -> Result<Value> {
        let until = Instant::now() + ACTIVE_WITHIN;
        loop {
            let now = self.api("GET", "/configuration", &Value::Null)?;
            match (now["State"].as_str(), now["LastUpdateStatus"].as_str()) {
                (Some("Active"), Some("Successful")) => return Ok(now),
                (Some("Failed"), _) | (_, Some("Failed")) => bail!("{} failed: {now}", self.name),
                _ => ensure!(Instant::now() < until, "{} did not settle: {now}", self.name),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// New code of the same one file.
    pub fn update(&self, source: &str) -> Result<Value> {
        let zip = package::zip(&[("app.py", source.as_bytes())])?;
        self.api("PUT", "/code", &json!({ "ZipFile": BASE64.encode(zip) }))?;
        self.settled()
    }

    /// Calls it and expects it to succeed.
    pub fn call(&self, event: Value) -> Result<Value> {
        let answer = self.invoke(&event)?;
        ensure!(answer.status == 200, "Invoke answered {}: {}", answer.status, answer.text());
        ensure!(answer.error.is_none(), "{} failed: {}", self.name, answer.text());
        answer.json()
    }

    /// Calls it and returns whatever came, the tail of its log with it.
    pub fn invoke(&self, event: &Value) -> Result<Answer> {
        self.invoke_bytes("", &serde_json::to_vec(event)?, &[("x-amz-log-type", "Tail")])
    }

    /// Calls it by a version, an alias or none, with any bytes and headers.
    pub fn invoke_bytes(&self, qualifier: &str, payload: &[u8], headers: &[(&str, &str)]) -> Result<Answer> {
        let query = if qualifier.is_empty() { String::new() } else { format!("?Qualifier={qualifier}") };
        let path = self.path(&format!("/invocations{query}"));
        let got = self.myna.signed("lambda", "POST", &path, headers, payload)?;
        let header = |name: &str| got.header(name).map(str::to_owned);
        let log = match header("x-amz-log-result") {
            Some(text) => Some(String::from_utf8_lossy(&BASE64.decode(text).context("the log tail is not base64")?).into_owned()),
            None => None,
        };
        Ok(Answer {
            status: got.status,
            error: header("x-amz-function-error"),
            version: header("x-amz-executed-version"),
            log,
            request_id: header("x-amzn-requestid").unwrap_or_default(),
            retry_after: got.headers.contains_key("retry-after"),
            payload: got.body,
        })
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.payload).with_context(|| format!("the payload is no JSON: {}", self.text()))
    }
}
