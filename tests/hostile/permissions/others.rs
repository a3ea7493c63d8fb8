//! What is no operation of an API: the rest of the AWS listener, the admin socket, the console, an instance's own door.

use super::rig::{Ask, Rig, report};
use crate::journeys::console::{host, link};
use myna_tests::{Context, Http, Result, Signal, bail, ensure, json};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

fn plain(method: &'static str, path: &str) -> Ask<'static> {
    Ask { service: "lambda", method, path: path.to_owned(), headers: Vec::new(), body: String::new() }
}

/// By each credential: health is open, a capability is its own proof, a URL is as its owner decided.
pub fn listener(rig: &Rig) -> Result<usize> {
    let (mut refused, mut found) = (0, Vec::new());
    let mut must = |what: String, got: myna_tests::Response, right: bool, no: bool| {
        if !right {
            found.push(format!("{what}: {} {}", got.status, got.text()));
        }
        refused += usize::from(no);
    };
    for (route, who) in &rig.table.aws {
        for credential in &rig.credentials {
            let (keys, by) = (credential.keys.as_ref(), credential.name);
            match (who.as_str(), route.as_str()) {
                ("open", _) => {
                    let path = route.strip_prefix("GET ").context("only GET is open")?;
                    let got = rig.send(None, &plain("GET", path), rig.aws())?;
                    let right = got.status == 200 && got.text() == "ok\n";
                    must(format!("{route} by anybody"), got, right, false);
                }
                ("capability", _) => {
                    let (text, tag) = rig.download.rsplit_once('.').context("a capability is signed")?;
                    let forged = format!("{text}.{}", tag.chars().rev().collect::<String>());
                    for path in [&rig.download, &forged, "/_code/", "/_code/x.y"] {
                        let got = rig.send(keys, &plain("GET", path), rig.aws())?;
                        let right = got.status == 404 && got.text() == "not found\n";
                        must(format!("{path} by {by}"), got, right, true);
                    }
                }
                ("url", route) => {
                    for (at, open) in rig.urls.iter().zip([true, false]) {
                        let id = at.split('.').next().unwrap_or_default();
                        let (path, host) =
                            if route.contains("_url") { (format!("/_url/{id}/"), rig.aws()) } else { ("/".into(), &**at) };
                        let got = rig.send(keys, &plain("GET", &path), host)?;
                        let right =
                            if open { got.status == 200 } else { got.status == 403 && !got.text().contains("from within") };
                        must(format!("{host}{path} by {by}"), got, right, !open);
                    }
                }
                ("signed", _) => {}
                (other, _) => bail!("{route}: {other} is nothing that a route can be"),
            }
        }
    }
    report(found)?;
    Ok(refused)
}

/// A client of the socket that is another user; it says `METHOD PATH` and how it was answered, a line each.
const ANOTHER: &str = r#"
import socket, sys
for route in sys.stdin.read().splitlines():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    try:
        s.connect(sys.argv[1])
        s.sendall((route + " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").encode())
        print("answered" if s.recv(1) else "closed")
    except (BrokenPipeError, ConnectionResetError):
        print("closed")
"#;

/// A route with something in each brace.
fn filled(route: &str) -> String {
    let segments = route.split('/').map(|s| if s.starts_with('{') { "target" } else { s });
    segments.collect::<Vec<_>>().join("/")
}

/// Another user finds nobody there, even where the file lets them in; by the AWS listener the paths lead nowhere.
pub fn admin(rig: &Rig) -> Result<usize> {
    let routes: Vec<String> = rig.table.admin.routes.iter().map(|r| filled(r)).collect();
    let (mut refused, mut found) = (0, Vec::new());
    if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        let socket = &rig.myna.ready().admin;
        let kept: Vec<_> = socket.ancestors().take_while(|p| p.starts_with(rig.myna.home())).collect();
        let modes: Vec<_> = kept.iter().map(|p| Ok((*p, fs::metadata(p)?.permissions()))).collect::<Result<_>>()?;
        for path in &kept {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        }
        let client = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "/usr/bin/python3", "-c", ANOTHER])
            .arg(socket)
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let said = client.and_then(|mut client| {
            std::io::Write::write_all(&mut client.stdin.take().expect("it was piped"), routes.join("\n").as_bytes())?;
            client.wait_with_output()
        });
        for (path, mode) in modes {
            fs::set_permissions(path, mode)?;
        }
        let said = said?;
        let lines: Vec<_> = std::str::from_utf8(&said.stdout)?.lines().collect();
        ensure!(lines.len() == routes.len(), "{lines:?} {}", String::from_utf8_lossy(&said.stderr));
        found
            .extend(routes.iter().zip(&lines).filter(|(_, l)| **l != "closed").map(|(r, l)| format!("{r} by another user: {l}")));
        refused += routes.len();
        let own = rig.unsigned("GET", "/admin/v1/status", "application/json", "")?;
        ensure!(own.starts_with("HTTP/1.1 200"), "its own user was answered {own}");
    } else {
        println!("H53: only root can become another user; the admin socket is not tried by one");
    }
    for route in &routes {
        let (method, path) = route.split_once(' ').context("a method")?;
        let method = if method == "GET" { "GET" } else { "POST" };
        // Health is on that listener too, for anybody.
        if path == "/livez" || path == "/readyz" {
            continue;
        }
        for (by, keys, status) in [("nobody", None, 403), ("the administrator", Some(rig.myna.keys()), 404)] {
            let got = rig.send(keys.as_ref(), &plain(method, path), rig.aws())?;
            if got.status != status {
                found.push(format!("{route} on the AWS listener by {by}: {} {}", got.status, got.text()));
            }
            refused += 1;
        }
    }
    report(found)?;
    Ok(refused)
}

/// Out of turn, for another's invocation, or without an extension's identifier.
pub fn runtime(rig: &Rig) -> Result<usize> {
    let asker = rig.myna.function("asker");
    let mut rows = Vec::new();
    for (route, answer) in &rig.table.runtime {
        let Some(status) = answer.as_integer() else { continue };
        let route = route.replace("{id}", "11111111-2222-4333-8444-555555555555");
        let (method, path) = route.split_once(' ').context("a method")?;
        rows.push((method.to_owned(), path.to_owned(), status));
    }
    let raw: Vec<_> = rows.iter().map(|(method, path, _)| json!([method, path])).collect();
    let got = asker.call(json!({ "raw": raw }))?;
    let (mut refused, mut found) = (0, Vec::new());
    for ((method, path, wanted), status) in rows.iter().zip(got.as_array().into_iter().flatten()) {
        if *status != json!(wanted) {
            found.push(format!("{method} {path} from within: {status}, not {wanted}"));
        }
        refused += usize::from(*wanted >= 400);
        // Nobody outside has such a path.
        for (keys, expected) in [(None, 403), (Some(rig.myna.keys()), 404)] {
            let method = ["GET", "POST", "PUT"].into_iter().find(|m| m == method).context("a method")?;
            let outside = rig.send(keys.as_ref(), &plain(method, path), rig.aws())?;
            if outside.status != expected {
                found.push(format!("{method} {path} on the AWS listener: {} {}", outside.status, outside.text()));
            }
            refused += 1;
        }
    }
    report(found)?;
    ensure!(got.as_array().map(Vec::len) == Some(rows.len()), "{got}");
    Ok(refused)
}

/// Without a cookie, with a forged one, by another host, by another method; and with one from before a restart.
pub fn console(rig: &mut Rig) -> Result<usize> {
    let (mut refused, mut found) = (0, Vec::new());
    let address = host(&rig.myna)?;
    let login = link(&rig.myna)?;
    let login = login.split_once(&address).context("a link to the console")?.1.to_owned();
    let ask = |at: &str, method: &str, path: &str, host: &str, cookie: &str| {
        let headers = [("host", host), ("cookie", cookie)].map(|(n, v)| (n.to_owned(), v.to_owned()));
        Http::default().send(method, &format!("http://{}{path}", at.replace("console.localhost", "127.0.0.1")), &headers, &[])
    };
    let first = ask(&address, "GET", &login, &address, "")?;
    let cookie = first.header("set-cookie").and_then(|c| c.split(';').next()).context("a login")?.to_owned();
    let forged: String = format!("myna_console={}", cookie.trim_start_matches("myna_console=").chars().rev().collect::<String>());
    for path in &rig.table.console.routes {
        // A used link is as good as none.
        let path = if path == "/login" { &login } else { path };
        let evil = address.replace("console.localhost", "evil.example");
        let tries = [
            ("no cookie", "GET", &address, "", 401),
            ("a forged cookie", "GET", &address, &*forged, 401),
            ("another host", "GET", &evil, &*cookie, 421),
            ("another method", "POST", &address, &*cookie, 405),
        ];
        for (what, method, host, cookie, status) in tries {
            let got = ask(&address, method, path, host, cookie)?;
            if got.status != status || got.header("set-cookie").is_some() {
                found.push(format!("{path} with {what}: {} {}", got.status, got.text()));
            }
            refused += 1;
        }
    }
    ensure!(ask(&address, "GET", "/", &address, &cookie)?.status == 200, "the cookie is good, or its refusals prove nothing");
    // By itself: sessions end with the process.
    rig.myna.signal(Signal::TERM)?;
    rig.myna.ended()?;
    rig.myna.start_again()?;
    let address = host(&rig.myna)?;
    for path in &rig.table.console.routes {
        let got = ask(&address, "GET", path, &address, &cookie)?;
        if got.status != 401 {
            found.push(format!("{path} with a cookie from before a restart: {} {}", got.status, got.text()));
        }
        refused += 1;
    }
    report(found)?;
    Ok(refused)
}
