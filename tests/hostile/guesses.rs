//! What guessing and forging get: the same refusal for what is there and what isn't, whatever was forged.

use super::permissions::rig::Rig;
use crate::journeys::console::{host, link};
use myna_tests::{Context, Http, Keys, Platform, Result, Test, ensure, json, tests};
use std::collections::BTreeSet;

pub const ALL: &[Test] = tests![names_do_not_show_by_errors, forged_tokens_and_links_are_refused];

fn sent(myna: &Platform, keys: &Keys, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, String)> {
    let host = myna.ready().aws.trim_start_matches("http://").to_owned();
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let signed = keys.sign("lambda", method, &host, path.split_once('?').unwrap_or((path, "")), &headers, body);
    let got = Http::default().send(method, &format!("http://{host}{path}"), &signed, body)?;
    Ok((got.status, got.text()))
}

// H33: a user who may do nothing asks about a function that is there, and about one that isn't.
fn names_do_not_show_by_errors() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("there", "def handler(event, context): return event")?;
    f.api("POST", "/versions", &json!({}))?;
    let keys = myna.boto3(
        "iam = boto3.client('iam')\niam.create_user(UserName='nobody')\nk = iam.create_access_key(UserName='nobody')['AccessKey']\nreturn [k['AccessKeyId'], k['SecretAccessKey']]",
    )?;
    let text = |n: usize| keys[n].as_str().unwrap_or_default().to_owned();
    let nobody = Keys { id: text(0), secret: text(1), ..myna.keys() };
    let functions = "/2015-03-31/functions";
    let stream = "/2021-11-15/functions";
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let asks: Vec<(&str, String, Headers<'_>, &str)> = vec![
        ("GET", format!("{functions}/NAME"), &[], ""),
        ("GET", format!("{functions}/NAME/policy"), &[], ""),
        ("GET", format!("{functions}/NAME/configuration?Qualifier=1"), &[], ""),
        ("DELETE", format!("{functions}/NAME"), &[], ""),
        ("PUT", format!("{functions}/NAME/configuration"), &[], "{\"Timeout\":5}"),
        ("POST", functions.to_owned(), &[], "{\"FunctionName\":\"NAME\"}"),
        ("POST", format!("{functions}/NAME/invocations"), &[], "{}"),
        ("POST", format!("{functions}/NAME/invocations?Qualifier=1"), &[], "{}"),
        ("POST", format!("{functions}/NAME/invocations?Qualifier=9"), &[], "{}"),
        ("POST", format!("{functions}/NAME/invocations"), &[("x-amz-invocation-type", "Event")], "{}"),
        ("POST", format!("{functions}/NAME/invocations"), &[("x-amz-invocation-type", "DryRun")], "{}"),
        ("POST", format!("{stream}/NAME/response-streaming-invocations"), &[], "{}"),
    ];
    for (method, path, headers, body) in &asks {
        let of = |name: &str| -> Result<(u16, String)> {
            let (status, text) =
                sent(&myna, &nobody, method, &path.replace("NAME", name), headers, body.replace("NAME", name).as_bytes())?;
            Ok((status, text.replace(&format!("function:{name}"), "function:NAME")))
        };
        let (there, absent) = (of("there")?, of("absent")?);
        ensure!(there == absent && there.0 == 403, "{method} {path} {headers:?}: {there:?} and {absent:?}");
    }
    // Without any right key nobody learns even which keys there are.
    let wrong = |id: &str| {
        sent(
            &myna,
            &Keys { id: id.into(), secret: "x".repeat(40), ..myna.keys() },
            "GET",
            "/2015-03-31/functions/there",
            &[],
            b"",
        )
    };
    ensure!(wrong(&nobody.id)?.0 == wrong("AKIAAAAAAAAAAAAAAAAA")?.0);
    // Whoever may call is told what is missing.
    ensure!(sent(&myna, &myna.keys(), "POST", &format!("{functions}/absent/invocations"), &[], b"{}")?.0 == 404);
    Ok(())
}

/// The same with one character another, at each end and in between.
fn forgeries(text: &str) -> Vec<String> {
    let other = |c: u8| if c == b'a' { b'b' } else { b'a' };
    let mut all: Vec<String> = [0, text.len() / 2, text.len() - 1]
        .into_iter()
        .map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = other(bytes[at]);
            String::from_utf8_lossy(&bytes).into_owned()
        })
        .collect();
    all.extend([
        text[..text.len() - 1].to_owned(),
        format!("{text}a"),
        text.to_ascii_uppercase().to_ascii_lowercase() + "=",
        String::new(),
    ]);
    all
}

// H33
fn forged_tokens_and_links_are_refused() -> Result<()> {
    let rig = Rig::start()?;
    let myna = &rig.myna;
    // Session tokens and secrets.
    let made = myna.boto3("c = boto3.client('sts').get_session_token()['Credentials']\nreturn [c['AccessKeyId'], c['SecretAccessKey'], c['SessionToken']]")?;
    let text = |n: usize| made[n].as_str().unwrap_or_default().to_owned();
    let good = Keys { id: text(0), secret: text(1), token: Some(text(2)), ..myna.keys() };
    let list = |keys: &Keys| sent(myna, keys, "GET", "/2015-03-31/functions/", &[], b"");
    ensure!(list(&good)?.0 == 200, "{:?}", list(&good)?);
    let mut answers = BTreeSet::new();
    let tokens = forgeries(good.token.as_deref().unwrap_or_default()).into_iter().map(Some).chain([None]);
    for token in tokens {
        answers.insert(list(&Keys { token, ..good.clone() })?);
    }
    ensure!(
        answers.iter().all(|(status, _)| *status == 403) && answers.len() == 1,
        "forged session tokens are told apart: {answers:?}"
    );
    for secret in forgeries(&good.secret) {
        ensure!(list(&Keys { secret, ..good.clone() })?.0 == 403);
    }
    let root = myna.keys();
    ensure!(list(&Keys { token: good.token.clone(), ..root })?.0 == 403, "a token of one session with the key of another");

    // Code links: as they were given, and for as long.
    let shown = myna.signed("lambda", "GET", "/2015-03-31/functions/target", &[], &[])?.json()?;
    let link_ = shown["Code"]["Location"].as_str().context("a link")?.to_owned();
    let path = &link_[link_.find("/_code/").context("a link")?..];
    let get = |path: &str| Http::default().get(&format!("{}{path}", myna.ready().aws));
    ensure!(get(path)?.status == 200);
    let capability = path.trim_start_matches("/_code/");
    let forged =
        forgeries(capability).into_iter().map(|c| format!("/_code/{c}")).chain([rig.download.clone(), "/_code/../admin".into()]);
    for path in forged {
        let got = get(&path)?;
        ensure!(got.status == 404 && got.text() == "not found\n", "{path}: {} {}", got.status, got.text());
    }

    // The console's links and cookies.
    let address = host(myna)?;
    let at = address.replace("console.localhost", "127.0.0.1");
    let open = |path: &str, cookie: &str| {
        let headers = [("host", &*address), ("cookie", cookie)].map(|(n, v)| (n.to_owned(), v.to_owned()));
        Http::default().send("GET", &format!("http://{at}{path}"), &headers, &[])
    };
    let login = link(myna)?.split_once(&address).context("a link")?.1.to_owned();
    let token = login.trim_start_matches("/login?token=").to_owned();
    let mut answers = BTreeSet::new();
    for token in forgeries(&token) {
        let got = open(&format!("/login?token={token}"), "")?;
        ensure!(got.header("set-cookie").is_none(), "{token} logged in");
        answers.insert((got.status, got.text()));
    }
    let first = open(&login, "")?;
    let cookie =
        first.header("set-cookie").and_then(|c| c.split(';').next()).context("forgeries have used the link up")?.to_owned();
    answers.insert((open(&login, "")?.status, open(&login, "")?.text()));
    ensure!(answers.len() == 1 && answers.iter().all(|(status, _)| *status == 401), "{answers:?}");
    let name = cookie.trim_start_matches("myna_console=");
    ensure!(open("/", &cookie)?.status == 200);
    for name in forgeries(name).into_iter().chain([token]) {
        ensure!(open("/", &format!("myna_console={name}"))?.status == 401, "{name} is a session");
    }
    Ok(())
}
