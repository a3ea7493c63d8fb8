//! The console: a page of its own for whoever holds a link, live, in a real browser.

use myna_tests::{Browser, Context, Http, Options, Platform, Response, Result, Test, ensure, json, soon, tests};
use std::fs;

pub const ALL: &[Test] = tests![
    a_link_opens_the_console_once_and_on_its_own_host_only,
    the_page_shows_what_runs_as_it_runs,
    a_closed_tab_is_forgotten_and_an_open_one_holds_nothing_up,
];

/// The link that a user gets.
pub fn link(myna: &Platform) -> Result<String> {
    let out = myna.cli(&["open", "--print"])?;
    ensure!(out.status.success(), "myna open: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// `console.localhost:PORT`.
pub fn host(myna: &Platform) -> Result<String> {
    let address = myna.ready().console.clone().context("there is a console")?;
    Ok(address.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

/// A request to the console's port, by whatever name.
fn ask(myna: &Platform, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let at = host(myna)?.replace("console.localhost", "127.0.0.1");
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Http::default().send(method, &format!("http://{at}{path}"), &headers, &[])
}

// H69
fn a_link_opens_the_console_once_and_on_its_own_host_only() -> Result<()> {
    let myna = Platform::start()?;
    let (link, host) = (link(&myna)?, host(&myna)?);
    let path = link.strip_prefix(&format!("http://{host}")).with_context(|| format!("another host: {link}"))?;
    let get = |path: &str, cookie: &str| ask(&myna, "GET", path, &[("host", &host), ("cookie", cookie)]);

    ensure!(get("/", "")?.status == 401, "the page opens without a login");
    ensure!(get("/login?token=0000", "")?.status == 401, "any token logs in");
    let first = get(path, "")?;
    let set = first.header("set-cookie").with_context(|| format!("no login: {first:?}"))?.to_owned();
    let (cookie, attributes) = set.split_once("; ").context("a cookie has attributes")?;
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        ensure!(attributes.split("; ").any(|a| a == attribute), "{attribute} is missing: {set}");
    }
    ensure!(!attributes.to_ascii_lowercase().contains("domain"), "{set}");
    let again = get(path, "")?;
    ensure!(again.status == 401 && again.header("set-cookie").is_none(), "the link worked twice: {again:?}");

    let page = get("/", cookie)?;
    ensure!(page.status == 200, "{page:?}");
    let policy = page.header("content-security-policy").context("a policy")?;
    ensure!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    ensure!(get("/", &format!("myna_console=planted; {cookie}"))?.status == 200, "a planted cookie locks the user out");
    ensure!(get("/", "myna_console=planted")?.status == 401);
    ensure!(ask(&myna, "POST", "/", &[("host", &host), ("cookie", cookie)])?.status == 405);

    let port = host.rsplit_once(':').context("a port")?.1;
    for other in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("evil.example:{port}"),
        format!("x.console.localhost:{port}"),
        "console.localhost".into(),
        "console.localhost:1".into(),
    ] {
        let answer = ask(&myna, "GET", "/", &[("host", &other), ("cookie", cookie)])?;
        ensure!(answer.status == 421, "{other} was answered {}: {}", answer.status, answer.text());
    }
    Ok(())
}

fn the_page_shows_what_runs_as_it_runs() -> Result<()> {
    let browser = Browser::open()?;
    let myna = Platform::start()?;
    let source = "import time\ntime.sleep(0.05)\ndef handler(event, context):\n    print('said', event['word'])\n    return event['word']\n";
    let f = myna.draft("talker", source).set("MemorySize", 256).create()?;
    f.operation("POST", "/2021-10-31/functions/talker/url", &json!({"AuthType": "NONE"}))?;
    let (host, link) = (host(&myna)?, link(&myna)?);

    browser.requests()?; // those of the browser's own first page
    browser.go(&link)?;
    let rows = |table: &str, texts: &[&str]| {
        let has: Vec<_> = texts.iter().map(|t| format!("r.innerText.includes({t:?})")).collect();
        format!("[...document.querySelectorAll('#{table} tr')].some(r => {})", has.join(" && "))
    };
    browser.until("document.querySelector('#link')?.textContent === 'live'")?;
    ensure!(browser.address()? == format!("http://{host}/"), "{}", browser.address()?);
    browser.until(&rows("functions", &["talker", "python3", "256 MB", ".lambda-url.us-east-1.localhost"]))?;
    browser.until("document.querySelector('#no-invocations').checkVisibility()")?;

    // From here on nothing is loaded again: what appears was sent.
    browser.script("window.untouched = true", &json!([]))?;
    f.call(json!({"word": "one"}))?;
    browser.until(&rows("instances", &["talker", "$LATEST", "process", "MiB", "1"]))?;
    browser.until(&rows("invocations", &["talker", "ok", "cold", "ms", "MiB"]))?;
    browser.until("document.querySelector('#log').textContent.includes('said one')")?;
    f.call(json!({"word": "two"}))?;
    browser.until(&rows("invocations", &["talker", "ok", "warm"]))?;
    browser.until("document.querySelector('#log').textContent.includes('said two')")?;
    ensure!(f.invoke(&json!({}))?.error.is_some(), "an event without the word fails");
    browser.until(&rows("invocations", &["talker", "error"]))?;
    browser.until(&rows("functions", &["talker", "3\t1\t1"]))?;
    browser.until("document.querySelector('#log').textContent.includes('KeyError')")?;
    let newest = browser.script("return document.querySelector('#invocations tr').innerText", &json!([]))?;
    ensure!(newest.as_str().is_some_and(|t| t.contains("error")), "the newest is not on top: {newest}");
    let steps = browser.script(
        "return [...document.querySelector('#invocations tr:last-child .bar').children].map(i => i.offsetWidth)",
        &json!([]),
    )?;
    ensure!(
        steps.as_array().is_some_and(|s| s.len() == 4 && s[2].as_u64() > Some(0)),
        "the first call's initialisation has no width: {steps}"
    );
    ensure!(browser.script("return window.untouched", &json!([]))? == true, "the page was loaded again");

    pictures(&browser)?;
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "the page complains: {complaints:#?}");
    let own = format!("http://{host}/");
    let asked = browser.requests()?;
    let foreign: Vec<&String> = asked.iter().filter(|r| !r.starts_with(&own)).collect();
    ensure!(asked.iter().any(|r| r.ends_with("/events")), "the browser's own record lacks what was asked: {asked:#?}");
    ensure!(foreign.is_empty(), "the page asks elsewhere: {foreign:#?}");
    Ok(())
}

/// Light, dark and narrow; nothing but the tables may be wider than the page.
fn pictures(browser: &Browser) -> Result<()> {
    browser.picture("console-light")?;
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.devtools("Emulation.setEmulatedMedia", &dark)?;
    browser.picture("console-dark")?;
    browser.devtools(
        "Emulation.setDeviceMetricsOverride",
        &json!({"width": 390, "height": 1400, "deviceScaleFactor": 1, "mobile": true}),
    )?;
    browser.picture("console-narrow")?;
    let wide = browser.script("return [document.documentElement.scrollWidth, innerWidth]", &json!([]))?;
    ensure!(wide[0].as_u64() <= wide[1].as_u64(), "on a narrow screen the page is wider than it: {wide}");
    Ok(())
}

fn sockets(myna: &Platform) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", myna.pid())).into_iter().flatten().flatten();
    fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

// H69, F44
fn a_closed_tab_is_forgotten_and_an_open_one_holds_nothing_up() -> Result<()> {
    let browser = Browser::open()?;
    // Instances have sockets too, and none may come or go while they are counted.
    let config = Some("[engine]\nprestarted = 0\n".to_owned());
    let mut myna = Platform::start_with(Options { config, ..Options::default() })?;
    myna.python("quiet", "def handler(e, c): return 1")?.settled()?;
    browser.go(&link(&myna)?)?;
    let live = "document.querySelector('#link')?.textContent === 'live' && document.querySelector('#which').value === 'quiet'";
    browser.until(live)?;
    for _ in 0..3 {
        browser.tab()?;
        browser.go(&format!("http://{}/", host(&myna)?))?;
        browser.until(live)?;
        // Connections that rest stay; those of the tab's two streams end with it.
        let with = sockets(&myna);
        browser.close_tab()?;
        ensure!(soon(|| sockets(&myna) + 2 <= with), "of {with} sockets {} are left of a closed tab", sockets(&myna));
    }
    browser.go(&format!("http://{}/", host(&myna)?))?;
    browser.until(live)?;
    ensure!(myna.stop()?.success());
    ensure!(!myna.log().contains("were cut"), "an open tab had to be cut off: {}", myna.log());
    browser.until("document.querySelector('#link').textContent.includes('trying again')")?;
    Ok(())
}
