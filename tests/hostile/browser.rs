//! What users and functions write, and what a function's own page tries, seen by a real browser.

use crate::journeys::console::{host, link};
use myna_tests::{Browser, Context, Function, Http, Options, Platform, Response, Result, Test, Value, ensure, json, tests};

pub const ALL: &[Test] = tests![
    nothing_shown_in_the_console_runs,
    a_functions_page_reaches_neither_the_console_nor_an_api,
    the_consoles_cookie_passes_no_function,
];

/// Each sets `window.ran` if it is ever taken for markup.
const MARKUP: &[&str] = &[
    "<img src=x onerror=\"window.ran=1\">",
    "</script><script>window.ran=2</script>",
    "\"'><svg onload=window.ran=3>",
    "</pre></td></table><iframe srcdoc=\"<script>parent.ran=4</script>\"></iframe>",
    "javascript:window.ran=5//http://x/",
    "\r\n\r\nevent: line\ndata: {\"at_ms\":0,\"text\":\"forged\"}\n\n",
    "\u{2028}${window.ran=6}`<!--",
];

/// Makes it reachable by everybody and returns its host.
fn open_url(f: &Function<'_>) -> Result<String> {
    let made = f.operation("POST", &format!("/2021-10-31/functions/{}/url", f.name), &json!({"AuthType": "NONE"}))?;
    let everybody =
        json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    f.api("POST", "/policy", &everybody)?;
    let url = made["FunctionUrl"].as_str().context("an address")?;
    Ok(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

/// The page holds no element but its own, and nothing of what it shows has run.
fn unharmed(browser: &Browser) -> Result<()> {
    let found = browser.script("return [window.ran ?? null, document.querySelectorAll('img, svg, iframe, script:not([src=\"/app.js\"]), [onerror], [onload], a[href^=javascript]').length]", &json!([]))?;
    ensure!(found == json!([null, 0]), "something ran, or became markup: {found}");
    Ok(())
}

// H69
fn nothing_shown_in_the_console_runs() -> Result<()> {
    let browser = Browser::open()?;
    let myna = Platform::start()?;
    let source = "import sys\ndef handler(event, context):\n    for text in event['say']:\n        print('said ' + text)\n    sys.stdout.flush()\n    \
                  raise type(event['say'][0], (Exception,), {})(event['say'][1])\n";
    let f = myna.python("markup", source)?;
    browser.go(&link(&myna)?)?;
    browser.until("document.querySelector('#which')?.value === 'markup'")?;
    let answer = f.invoke(&json!({ "say": MARKUP }))?;
    ensure!(answer.error.is_some(), "the function fails with its own type of error");
    // Live, and once more as history.
    for round in ["live", "loaded again"] {
        for text in &MARKUP[..5] {
            let shown = browser.script("return arguments[0]", &json!([text]))?;
            browser.until(&format!("document.querySelector('#log').textContent.includes('said ' + {shown})")).context(round)?;
        }
        browser.until("[...document.querySelectorAll('#invocations tr')].some(r => r.innerText.includes('error'))")?;
        ensure!(
            browser.script("return document.querySelector('#log').textContent.split('\\n').includes('forged')", &json!([]))?
                == false
        );
        unharmed(&browser)?;
        browser.go(&format!("http://{}/", host(&myna)?))?;
    }

    // Whatever name or state may become possible: every text that the page takes from an event.
    browser.until("document.querySelector('#link').textContent === 'live'")?;
    let everything = "
        const [text] = arguments;
        const usage = { invocations: text, errors: text, cold_starts: text, billed_ms: 1, gb_seconds: 1, memory_max_bytes: 1 };
        showSnapshot({ region: text, account: text, endpoint: text,
            functions: [{ name: text, runtime: text, handler: text, memory_mib: text, timeout_ms: 1, versions: text, urls: [text], usage }],
            observed: { instances: [{ id: text, function: text, version: text, tier: text, state: text, provisioned: true, memory_bytes: 1, age: { secs: 1, nanos: 0 }, calls: text }] } });
        addInvocation({ id: text, function: text, status: text, started_ms: 1, steps: { queued_us: 1, sandbox_us: 1, init_us: 1, run_us: 1 },
            usage: { init: null, duration: { secs: 1, nanos: 0 }, memory_max_bytes: 1 } });
        addLine({ at_ms: 0, text });
        return ['#where', '#functions', '#instances', '#invocations', '#log'].filter(at => !document.querySelector(at).textContent.includes(text.slice(0, 8)));";
    for text in MARKUP {
        let missing = browser.script(everything, &json!([text]))?;
        ensure!(missing == json!([]), "{text:?} is not shown in {missing}");
        browser.script("return new Promise(done => setTimeout(done, 50))", &json!([]))?;
        unharmed(&browser)?;
    }
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "the page complains: {complaints:#?}");
    Ok(())
}

/// A page that tries every way out of its origin, and writes down what came of each.
const ATTACK: &str = r#"<!doctype html><title>attack</title><body><script>
(async () => {
  const console_ = 'http://CONSOLE', api = 'http://API', came = {};
  const note = async (name, work) => { try { came[name] = await work() } catch { came[name] = 'failed' } };
  const read = async r => r.type === 'opaque' ? 'opaque' : r.status + ' ' + (await r.text()).slice(0, 40);
  await note('console page', async () => read(await fetch(console_ + '/', { credentials: 'include' })));
  await note('console events', async () => read(await fetch(console_ + '/events', { credentials: 'include' })));
  await note('console opaque', async () => read(await fetch(console_ + '/', { credentials: 'include', mode: 'no-cors' })));
  const load = (tag, src) => new Promise((yes, no) => {
    const e = document.createElement(tag); e.onload = () => yes('loaded'); e.onerror = () => no(); e.src = src; document.body.append(e);
  });
  await note('console script', () => load('script', console_ + '/app.js'));
  await note('console image', () => load('img', console_ + '/icon.svg'));
  await note('console frame', async () => { const f = document.createElement('iframe'); f.src = console_ + '/'; document.body.append(f);
    await new Promise(r => { f.onload = r; setTimeout(r, 2000) }); return f.contentDocument ? 'same origin' : f.contentWindow.length + ' foreign'; });
  await note('console stream', () => new Promise((yes, no) => { const s = new EventSource(console_ + '/events', { withCredentials: true });
    s.onmessage = s.onopen = () => yes('open'); s.onerror = () => { s.close(); no() } }));
  for (const at of [api, 'http://localhost:' + api.split(':')[2], location.origin.replace(/\/\/[^.]*/, '//x')]) {
    const invoke = at + '/2015-03-31/functions/victim/invocations';
    await note('api list ' + at, async () => read(await fetch(at + '/2015-03-31/functions/')));
    await note('api simple ' + at, async () => read(await fetch(invoke, { method: 'POST', mode: 'no-cors', body: '{"by":"page"}', headers: { 'content-type': 'text/plain' } })));
    await note('api json ' + at, async () => read(await fetch(invoke, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })));
    await note('api form ' + at, async () => { const f = document.createElement('form'), t = document.createElement('iframe'); t.name = 'n' + Math.random();
      document.body.append(t); f.method = 'post'; f.action = invoke; f.target = t.name; document.body.append(f); f.submit(); await new Promise(r => setTimeout(r, 300)); return 'sent'; });
    await note('api socket ' + at, () => new Promise((yes, no) => { const s = new WebSocket(at.replace('http', 'ws') + '/'); s.onopen = () => yes('open'); s.onerror = () => no() }));
  }
  for (const domain of ['', '; domain=localhost', '; domain=console.localhost', '; domain=.localhost'])
    for (const name of ['myna_console=planted', '=myna_console=planted']) document.cookie = name + '; path=/' + domain;
  came.cookies = document.cookie;
  window.came = came;
})();
</script>"#;

// H27, H28, H69, H82
fn a_functions_page_reaches_neither_the_console_nor_an_api() -> Result<()> {
    let browser = Browser::open()?;
    // Without signatures nothing but what a browser says of itself stands between a page and the API.
    let myna = Platform::start_with(Options { args: vec!["--no-auth".into()], ..Options::default() })?;
    myna.python("victim", "def handler(event, context):\n    print('was called')\n    return 1\n")?;
    let api = myna.ready().aws.trim_start_matches("http://").to_owned();
    let page = ATTACK.replace("CONSOLE", &host(&myna)?).replace("API", &api);
    let headers = "{'content-type': 'text/html', 'set-cookie': 'myna_console=planted; Domain=localhost; Path=/'}";
    let source = format!(
        "PAGE = {page:?}\ndef handler(event, context):\n    return {{'statusCode': 200, 'headers': {headers}, 'cookies': ['myna_console=planted', 'other=kept'], 'body': PAGE}}\n"
    );
    let at = open_url(&myna.python("attacker", &source)?)?;

    browser.go(&link(&myna)?)?;
    browser.until("document.querySelector('#link')?.textContent === 'live'")?;
    browser.tab()?;
    browser.go(&format!("http://{at}/"))?;
    browser.until("window.came")?;
    let came = browser.script("return window.came", &json!([]))?;
    let all = came.as_object().context("the page notes what came of each attempt")?;
    ensure!(all.len() > 20, "the page did not try everything: {came}");
    for (attempt, end) in all {
        let end = end.as_str().unwrap_or_default();
        let harmless = match attempt.as_str() {
            a if a.starts_with("api simple") => end == "opaque" || end == "failed",
            a if a.starts_with("api form") => end == "sent",
            "console frame" => end == "0 foreign",
            "cookies" => end.contains("other=kept"),
            _ => end == "failed",
        };
        ensure!(harmless, "{attempt}: {end}");
    }
    ensure!(myna.logged("victim", "was called")? == 0, "a page called a function through the API: {came}");
    myna.function("victim").call(json!({}))?;
    myna.until_logged("victim", "was called", 1)?;

    // By path it is sent to the host of its own, and the console still knows its user.
    let id = at.split('.').next().unwrap_or_default();
    browser.go(&format!("http://{api}/_url/{id}/"))?;
    ensure!(browser.address()? == format!("http://{at}/"), "{}", browser.address()?);
    browser.go(&format!("http://{}/", host(&myna)?))?;
    browser.until("document.querySelector('#link')?.textContent === 'live'").context("the console after the attack")?;
    Ok(())
}

// H27
fn the_consoles_cookie_passes_no_function() -> Result<()> {
    let myna = Platform::start()?;
    let answer = "{'statusCode': 200, 'cookies': ['a=1', 'myna_console=x; Path=/', '=myna_console=y'], 'headers': {'Set-Cookie': 'myna_console=z'}, 'body': json.dumps(event)}";
    let f = myna.python("cookies", &format!("import json\ndef handler(event, context):\n    return {answer}\n"))?;
    let at = open_url(&f)?;
    let id = at.split('.').next().unwrap_or_default().to_owned();
    for (path, host) in [("/".to_owned(), at.as_str()), (format!("/_url/{id}/"), myna.ready().aws.trim_start_matches("http://"))]
    {
        let headers = [("host", host), ("cookie", "b=2; myna_console=secret;c=3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let got: Response = Http::default().send("GET", &format!("{}{path}", myna.ready().aws), &headers, &[])?;
        ensure!(got.status == 200, "{got:?}");
        let set: Vec<_> = got.headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()).collect();
        ensure!(set == ["a=1"], "{path}: {set:?}");
        let event: Value = got.json()?;
        ensure!(event["cookies"] == json!(["b=2", "c=3"]) && !event.to_string().contains("secret"), "{path}: {event}");
    }
    Ok(())
}
