//! A real browser: Debian's Chromium, driven by ChromeDriver (W3C WebDriver, "Endpoints"), with a profile of its own.

use crate::{Http, skip};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
/// A folder for pictures of what the tests saw, for whoever wants to look.
const PICTURES: &str = "MYNA_TEST_PICTURES";
/// What the driver says before the number of the port that it chose.
const STARTED: &str = "started successfully on port ";
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// Chromium talks to nobody on its own account.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
];

pub struct Browser {
    driver: Child,
    /// `http://127.0.0.1:PORT/session/ID`.
    session: String,
    http: Http,
    _profile: TempDir,
}

impl Browser {
    pub fn open() -> Result<Self> {
        for program in [CHROMIUM, DRIVER] {
            if !Path::new(program).exists() {
                return Err(skip(format!("{program} is missing: apt-get install chromium chromium-driver")));
            }
        }
        let profile = tempfile::Builder::new().prefix("myna-browser-").tempdir_in("/var/tmp")?;
        let mut c = Command::new("setpriv");
        c.args(["--pdeathsig", "KILL", "--", DRIVER, "--port=0"]).env("HOME", profile.path()).process_group(0);
        let mut driver =
            c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("can't start chromedriver")?;
        let said = BufReader::new(driver.stdout.take().expect("stdout is piped"));
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|l| l.split_once(STARTED).map(|(_, rest)| rest.trim_end_matches('.').to_owned()));
        let mut browser = Self { driver, session: String::new(), http: Http::default(), _profile: profile };
        let base = format!("http://127.0.0.1:{}/session", port.context("chromedriver ended before it was ready")?);
        let data = format!("--user-data-dir={}", browser._profile.path().join("data").display());
        let args: Vec<&str> = FLAGS.iter().copied().chain([data.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": args},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let made = answered(&browser.http, "POST", &base, &wanted)?;
        browser.session = format!("{base}/{}", made["sessionId"].as_str().context("a session has an id")?);
        Ok(browser)
    }

    fn say(&self, path: &str, body: &Value) -> Result<Value> {
        answered(&self.http, "POST", &format!("{}{path}", self.session), body)
    }

    pub fn go(&self, url: &str) -> Result<()> {
        self.say("/url", &json!({ "url": url })).map(drop)
    }

    /// The address that is shown.
    pub fn address(&self) -> Result<String> {
        self.script("return location.href", &json!([])).map(|v| v.as_str().unwrap_or_default().to_owned())
    }

    /// Runs JavaScript in the page and returns what it returns; of a promise, what it resolves to.
    pub fn script(&self, source: &str, args: &Value) -> Result<Value> {
        self.say("/execute/sync", &json!({ "script": source, "args": args }))
    }

    /// Waits until an expression is true.
    pub fn until(&self, expression: &str) -> Result<()> {
        let until = Instant::now() + SHOWN_WITHIN;
        while self.script(&format!("return Boolean({expression})"), &json!([]))? != true {
            if Instant::now() > until {
                let page = self.script("return document.documentElement.innerText", &json!([]))?;
                bail!("never true in the page: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Another tab, which becomes the current one.
    pub fn tab(&self) -> Result<()> {
        let made = self.say("/window/new", &json!({"type": "tab"}))?;
        self.say("/window", &json!({"handle": made["handle"]})).map(drop)
    }

    /// Closes the current tab; the first one becomes the current one.
    pub fn close_tab(&self) -> Result<()> {
        let left = answered(&self.http, "DELETE", &format!("{}/window", self.session), &Value::Null)?;
        self.say("/window", &json!({"handle": left[0]})).map(drop)
    }

    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.say("/window/rect", &json!({"width": width, "height": height})).map(drop)
    }

    /// What the page's console said since this was last asked: errors of scripts, refusals of policies, failed requests.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.say("/se/log", &json!({"type": "browser"}))?;
        Ok(log.as_array().into_iter().flatten().filter_map(|l| l["message"].as_str()).map(str::to_owned).collect())
    }

    /// The addresses of all requests to anybody since this was last asked; those within the browser are none.
    pub fn requests(&self) -> Result<Vec<String>> {
        let log = self.say("/se/log", &json!({"type": "performance"}))?;
        let messages = log.as_array().into_iter().flatten().filter_map(|l| l["message"].as_str());
        let events = messages.filter_map(|m| m.parse::<Value>().ok());
        let sent = events.filter(|e| e["message"]["method"] == "Network.requestWillBeSent");
        let asked = sent.filter_map(|e| e["message"]["params"]["request"]["url"].as_str().map(str::to_owned));
        Ok(asked.filter(|url| !url.starts_with("chrome://") && !url.starts_with("data:")).collect())
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        self.say("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// Keeps a picture where somebody asked for pictures.
    pub fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os(PICTURES) else { return Ok(()) };
        use base64::{Engine, engine::general_purpose::STANDARD};
        let taken = answered(&self.http, "GET", &format!("{}/screenshot", self.session), &Value::Null)?;
        let png = STANDARD.decode(taken.as_str().context("a picture is text")?)?;
        fs::create_dir_all(&folder)?;
        Ok(fs::write(Path::new(&folder).join(format!("{name}.png")), png)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // If it can't end properly, the signal ends it.
            answered(&self.http, "DELETE", &self.session, &Value::Null).ok();
        }
        if let Some(group) = Pid::from_raw(self.driver.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.driver.wait().ok();
    }
}

/// One command; its error is the driver's own.
fn answered(http: &Http, method: &str, url: &str, body: &Value) -> Result<Value> {
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let got = http.send(method, url, &headers, &bytes)?;
    let mut answer = got.json()?;
    ensure!(got.status == 200, anyhow!("the browser refused: {}", answer["value"]["message"].as_str().unwrap_or_default()));
    Ok(answer["value"].take())
}
