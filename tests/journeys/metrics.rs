//! Metrics: what a scraper sees of calls, events and doors, and that the shipped alerts speak of what there is.

use myna_tests::{Http, Options, Platform, Result, Test, bail, deps, ensure, skip};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = myna_tests::tests![
    what_happens_is_counted,
    alerts_and_book_name_what_is_shown,
    promtool_finds_no_fault_with_page_and_alerts,
    a_real_prometheus_scrapes_it_and_evaluates_the_alerts,
];

const PATIENCE: Duration = Duration::from_secs(60);
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// With a listener on a free port.
fn listening() -> Result<(Platform, String)> {
    let config = Some("[metrics]\nlisten = \"127.0.0.1:0\"\n".into());
    let myna = Platform::start_with(Options { config, ..Options::default() })?;
    let status = myna.verb(&["status"])?;
    let all = status["listeners"].as_array().cloned().unwrap_or_default();
    let url = all.iter().find(|l| l["name"] == "metrics").and_then(|l| l["address"].as_str()).unwrap_or_default().to_owned();
    ensure!(url.ends_with("/metrics"), "{status}");
    Ok((myna, url))
}

/// Calls of both outcomes, an event, a refused request.
fn used(myna: &Platform) -> Result<()> {
    let f = myna.python("f", "def handler(event, context):\n    return 1 // event['n']")?;
    f.call(myna_tests::json!({"n": 1}))?;
    f.call(myna_tests::json!({"n": 1}))?;
    let failed = f.invoke_bytes("", b"{\"n\": 0}", &[])?;
    ensure!(failed.status == 200, "{}", failed.text());
    let sent = f.invoke_bytes("", b"{\"n\": 1}", &[("x-amz-invocation-type", "Event")])?;
    ensure!(sent.status == 202, "{}", sent.text());
    let unsigned = Http::default().get(&format!("{}/2015-03-31/functions", myna.ready().aws))?;
    ensure!(unsigned.status == 403, "{}", unsigned.text());
    Ok(())
}

fn page(url: &str) -> Result<String> {
    let got = Http::default().get(url)?;
    ensure!(got.status == 200, "{} {}", got.status, got.text());
    Ok(got.text())
}

/// Samples by name and labels.
fn samples(page: &str) -> Result<BTreeMap<String, f64>> {
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { bail!("no sample: {line}") };
        ensure!(all.insert(name.to_owned(), value.parse()?).is_none(), "twice: {name}");
    }
    Ok(all)
}

/// Waits until a sample has a value: records are counted a moment after the answer.
fn until(url: &str, name: &str, value: f64) -> Result<BTreeMap<String, f64>> {
    let began = Instant::now();
    loop {
        let all = samples(&page(url)?)?;
        if all.get(name) == Some(&value) {
            return Ok(all);
        }
        if began.elapsed() > PATIENCE {
            bail!("{name} is {:?}, not {value}", all.get(name));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn what_happens_is_counted() -> Result<()> {
    let (myna, url) = listening()?;
    used(&myna)?;
    let account = &myna.ready().account;
    let of = |name: &str, more: &str| format!("{name}{{tenant=\"{account}\",function=\"f\"{more}}}");
    // Two calls and an event.
    let all = until(&url, &of("myna_invocations_total", ",outcome=\"ok\""), 3.0)?;
    let all_ended = until(&url, "myna_queue_ended_total{outcome=\"succeeded\"}", 1.0)?;
    for (name, value) in [
        (of("myna_invocations_total", ",outcome=\"error\""), 1.0),
        (of("myna_invocation_duration_seconds_count", ""), 4.0),
        (of("myna_invocation_duration_seconds_bucket", ",le=\"+Inf\""), 4.0),
        ("myna_ready".into(), 1.0),
        ("myna_functions".into(), 1.0),
        ("myna_queue_accepted_total".into(), 1.0),
        ("myna_loop_panics_total{loop=\"any\"}".into(), 0.0),
        ("myna_event_loop_restarts_total".into(), 0.0),
        ("myna_denied_requests_total{door=\"aws\"}".into(), 1.0),
        ("myna_http_requests_total{door=\"aws\",status=\"403\"}".into(), 1.0),
        ("myna_records_lost_total".into(), 0.0),
    ] {
        ensure!(all.get(&name) == Some(&value), "{name} is {:?}, not {value}", all.get(&name));
    }
    let bucket = |le: &str| all.get(&of("myna_invocation_duration_seconds_bucket", &format!(",le=\"{le}\"")));
    ensure!(bucket("0.001") <= bucket("1.0") && bucket("1.0") <= bucket("900.0"), "{all:?}");
    ensure!(all[&of("myna_cold_starts_total", "")] >= 1.0, "{all:?}");
    ensure!(all_ended["myna_queue_events"] == 0.0 && all_ended["myna_queue_due_age_seconds"] == 0.0, "{all_ended:?}");
    let instances: f64 = all.iter().filter(|(n, _)| n.starts_with("myna_instances{")).map(|(_, v)| v).sum();
    ensure!(instances >= 1.0 && all["myna_memory_reserved_bytes"] > 0.0, "{all:?}");
    ensure!(all["process_resident_memory_bytes"] > 1e6 && all["process_open_fds"] > 3.0, "{all:?}");
    ensure!(all["myna_store_bytes{area=\"queue\"}"] > 0.0 && all["myna_disk_free_bytes"] > 0.0, "{all:?}");
    // Nothing else is on that listener, and no other method.
    let base = url.trim_end_matches("/metrics");
    for other in ["/", "/admin/v1/status", "/metrics/", "/2015-03-31/functions"] {
        ensure!(Http::default().get(&format!("{base}{other}"))?.status == 404, "{other}");
    }
    ensure!(Http::default().send("POST", &url, &[], b"")?.status == 405, "POST is answered");
    // The form is the one that was asked for.
    let accept = [("accept".to_owned(), "application/openmetrics-text; version=1.0.0".to_owned())];
    let open = Http::default().send("GET", &url, &accept, b"")?;
    ensure!(open.header("content-type").is_some_and(|t| t.starts_with("application/openmetrics-text")), "{:?}", open.headers);
    ensure!(open.text().ends_with("# EOF\n") && open.text().contains("# TYPE myna_invocations counter"), "{}", open.text());
    Ok(())
}

/// Names of families, of which some are histograms: their samples end otherwise.
fn families(page: &str) -> BTreeSet<String> {
    page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)).collect()
}

/// Words of a text that are a metric's name.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|w| w.starts_with("myna_") || w.starts_with("process_")).map(str::to_owned).collect()
}

fn alerts_and_book_name_what_is_shown() -> Result<()> {
    let (myna, url) = listening()?;
    used(&myna)?;
    let shown = families(&page(&url)?);
    let book = fs::read_to_string(format!("{DOCS}/metrics.md"))?;
    let table = book.split_once("## The metrics").and_then(|(_, rest)| rest.split_once("## The alerts"));
    let Some((table, runbook)) = table else { bail!("the book's headings are others") };
    ensure!(names(table) == shown, "the book and the page differ: {:?}", names(table).symmetric_difference(&shown));
    let rules = fs::read_to_string(format!("{DOCS}/alerts/myna.rules.yml"))?;
    let asked: BTreeSet<String> =
        rules.lines().filter(|l| !l.contains("runbook:") && !l.contains("alert:")).flat_map(names).collect();
    ensure!(asked.len() > 10 && asked.is_subset(&shown), "alerts ask for what isn't there: {:?}", asked.difference(&shown));
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    let explained: BTreeSet<&str> = runbook.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    ensure!(alerts == explained, "alerts without a runbook, or the reverse: {:?}", alerts.symmetric_difference(&explained));
    for alert in alerts {
        let link = format!("runbook: docs/metrics.md#{}", alert.to_lowercase());
        ensure!(rules.contains(&link), "{alert} lacks {link}");
    }
    Ok(())
}

/// A program of Debian's package `prometheus`, unpacked among the tests' packages or installed.
fn program(name: &str) -> Result<PathBuf> {
    let places = [deps().join("prometheus/usr/bin").join(name), Path::new("/usr/bin").join(name)];
    let found = places.into_iter().find(|p| p.exists());
    found.ok_or_else(|| skip(format!("{name} is missing: `cargo xtask test` fetches Debian's package prometheus")))
}

fn promtool_finds_no_fault_with_page_and_alerts() -> Result<()> {
    let promtool = program("promtool")?;
    let rules = Command::new(&promtool).args(["check", "rules"]).arg(format!("{DOCS}/alerts/myna.rules.yml")).output()?;
    let said = String::from_utf8_lossy(&[rules.stdout, rules.stderr].concat()).into_owned();
    ensure!(rules.status.success() && said.contains("SUCCESS"), "{said}");
    let (myna, url) = listening()?;
    used(&myna)?;
    let file = myna.home().join("page");
    fs::write(&file, page(&url)?)?;
    let checked = Command::new(&promtool).args(["check", "metrics"]).stdin(fs::File::open(&file)?).output()?;
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    ensure!(checked.status.success() && said.trim().is_empty(), "{said}");
    Ok(())
}

/// Ended with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_real_prometheus_scrapes_it_and_evaluates_the_alerts() -> Result<()> {
    let prometheus = program("prometheus")?;
    let (myna, url) = listening()?;
    used(&myna)?;
    let target = url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let home = myna.home().join("prometheus");
    fs::create_dir_all(&home)?;
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{DOCS}/alerts/myna.rules.yml]\n\
         scrape_configs: [{{job_name: myna, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
    );
    fs::write(home.join("prometheus.yml"), config)?;
    let log = fs::File::create(home.join("log"))?;
    let mut c = Command::new("setpriv");
    c.args(["--pdeathsig", "KILL", "--"]).arg(prometheus).arg(format!("--config.file={}/prometheus.yml", home.display()));
    c.arg(format!("--storage.tsdb.path={}/data", home.display())).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let server = Server(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    let ask = |path: &str| -> Option<myna_tests::Value> { Http::default().get(&format!("{api}{path}")).ok()?.json().ok() };
    let scraped = || {
        let found = ask("/query?query=sum(myna_invocations_total)");
        found.is_some_and(|f| f["data"]["result"][0]["value"][1] == "4")
    };
    let evaluated = || {
        let all = ask("/rules").map(|r| r["data"]["groups"][0]["rules"].clone());
        let rules = all.as_ref().and_then(|r| r.as_array()).cloned().unwrap_or_default();
        // Each was evaluated, none has an error, none fires at a platform that is well.
        rules.len() > 10
            && rules.iter().all(|r| r["health"] == "ok")
            && rules.iter().all(|r| r["state"] != "firing" || r["name"] == "MynaDiskNearlyFull")
    };
    let began = Instant::now();
    while !(scraped() && evaluated()) {
        if began.elapsed() > PATIENCE {
            let said = fs::read_to_string(home.join("log"))?;
            bail!("it didn't scrape or evaluate: {:?} {:?}\n{said}", ask("/targets"), ask("/rules"));
        }
        thread::sleep(Duration::from_millis(200));
    }
    drop(server);
    Ok(())
}
