//! Who may come in at which door.

use myna_tests::{Http, Keys, Options, Platform, Response, Result, Test, ensure, json, skip, tests};
use std::process::Command;

pub const ALL: &[Test] = tests![
    a_request_without_a_right_signature_is_refused,
    a_web_page_elsewhere_cannot_use_the_local_doors,
    without_signatures_everything_else_is_still_refused,
    a_directory_made_with_signatures_is_not_opened_without,
    another_local_user_reaches_nothing,
];

const LIST: &str = "/2015-03-31/functions/";

fn get(myna: &Platform, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Http::default().send("GET", &format!("{}{path}", myna.ready().aws), &headers, &[])
}

// H76: signed properly, and then one thing is not as it was signed.
fn a_request_without_a_right_signature_is_refused() -> Result<()> {
    let myna = Platform::start()?;
    let host = myna.ready().aws.trim_start_matches("http://").to_owned();
    let sign = |keys: &Keys, service: &str, path: &str| keys.sign(service, "GET", &host, (path, ""), &[], b"");
    let send =
        |headers: &[(String, String)], path: &str| Http::default().send("GET", &format!("http://{host}{path}"), headers, &[]);
    let keys = myna.keys();
    let good = sign(&keys, "lambda", LIST);
    ensure!(send(&good, LIST)?.status == 200);

    let code = |r: &Response| r.header("x-amzn-errortype").unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let unsigned = send(&[], LIST)?;
    ensure!(unsigned.status == 403 && code(&unsigned) == "MissingAuthenticationTokenException", "{unsigned:?}");
    let unknown = send(&sign(&Keys { id: "AKIAIOSFODNN7EXAMPLE".into(), ..keys.clone() }, "lambda", LIST), LIST)?;
    ensure!(unknown.status == 403 && code(&unknown) == "UnrecognizedClientException", "{unknown:?}");
    let wrong = send(&sign(&Keys { secret: "wrong".into(), ..keys.clone() }, "lambda", LIST), LIST)?;
    ensure!(wrong.status == 403 && code(&wrong) == "InvalidSignatureException", "{wrong:?}");

    let mut refused = vec![
        ("another path", send(&good, "/2015-03-31/functions/x")?),
        ("another query", send(&good, &format!("{LIST}?MaxItems=1"))?),
        ("another service's scope", send(&sign(&keys, "sqs", LIST), LIST)?),
        ("another region's scope", send(&sign(&Keys { region: "eu-north-1".into(), ..keys.clone() }, "lambda", LIST), LIST)?),
        ("a token that is none of ours", send(&sign(&Keys { token: Some("t".into()), ..keys.clone() }, "lambda", LIST), LIST)?),
    ];
    let mut added = good.clone();
    added.push(("x-amz-invocation-type".into(), "Event".into()));
    refused.push(("an unsigned x-amz header", send(&added, LIST)?));
    let mut twice = good.clone();
    twice.push((
        "authorization".into(),
        good.iter().find(|(n, _)| n == "authorization").map(|(_, v)| v.clone()).unwrap_or_default(),
    ));
    refused.push(("two Authorization headers", send(&twice, LIST)?));
    refused.push(("both kinds of signature", send(&good, &format!("{LIST}?X-Amz-Signature=00"))?));
    for (what, answer) in refused {
        ensure!([400, 403, 404, 501].contains(&answer.status), "{what} was answered {}: {}", answer.status, answer.text());
    }
    let mut body = myna.keys().sign("lambda", "POST", &host, (LIST, ""), &[], b"{}");
    body.push(("content-type".into(), "application/json".into()));
    let swapped = Http::default().send("POST", &format!("http://{host}{LIST}"), &body, br#"{"FunctionName":"x"}"#)?;
    ensure!(swapped.status == 403, "a body that was not signed was answered {}: {}", swapped.status, swapped.text());
    Ok(())
}

// H28
fn a_web_page_elsewhere_cannot_use_the_local_doors() -> Result<()> {
    let myna = Platform::start_with(Options { args: vec!["--no-auth".into()], ..Options::default() })?;
    ensure!(get(&myna, LIST, &[])?.status == 200, "a local tool needs no signature here");
    for header in [("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null")] {
        let answer = get(&myna, LIST, &[header])?;
        ensure!((400..500).contains(&answer.status), "{header:?} was answered {}: {}", answer.status, answer.text());
        ensure!(answer.header("access-control-allow-origin").is_none(), "{header:?}: {answer:?}");
    }
    Ok(())
}

// H82
fn a_directory_made_with_signatures_is_not_opened_without() -> Result<()> {
    let mut myna = Platform::start()?;
    myna.stop()?;
    myna.set_args(&["--no-auth"]);
    let status = myna.refused()?;
    ensure!(!status.success() && myna.log().contains("--no-auth"), "{status}: {}", myna.log());
    Ok(())
}

// H82
fn without_signatures_everything_else_is_still_refused() -> Result<()> {
    let args = ["--no-auth", "--listen", "0.0.0.0:0"].map(str::to_owned).to_vec();
    let mut beyond = Platform::prepare(Options { args, ..Options::default() })?;
    ensure!(!beyond.refused()?.success());

    let myna = Platform::start_with(Options { args: vec!["--no-auth".into()], ..Options::default() })?;
    if let Some(console) = &myna.ready().console {
        let page = Http::default().get(&format!("{}/", console.replace("console.localhost", "127.0.0.1")))?;
        ensure!(page.status != 200, "the console opened without a login: {page:?}");
    }
    Ok(())
}

// H64
fn another_local_user_reaches_nothing() -> Result<()> {
    if !is_root() {
        return Err(skip("only root can become another user"));
    }
    let myna = Platform::start()?;
    myna.python("mine", "def handler(e, c): return 1")?.call(json!({}))?;
    let nobody = |program: &str, args: &[&str]| -> Result<(bool, String)> {
        let out = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", program])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()?;
        Ok((out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)))
    };
    let admin = myna.ready().admin.display().to_string();
    let dir = myna.dir().display().to_string();
    let environ = format!("/proc/{}/environ", myna.pid());
    let attempts: [(&str, &[&str]); 4] = [
        ("/bin/ls", &[&dir]),
        ("/bin/cat", &[&environ]),
        ("/usr/bin/curl", &["-sf", "--unix-socket", &admin, "http://x/admin/v1/status"]),
        ("/bin/kill", &["-0", &myna.pid().to_string()]),
    ];
    for (program, args) in attempts {
        let (worked, said) = nobody(program, args)?;
        ensure!(!worked, "{program} {args:?} worked for another user: {said}");
    }
    Ok(())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}
