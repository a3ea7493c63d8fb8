//! Functions behind an address of their own.

use myna_tests::{Function, Http, Platform, Response, Result, Test, Value, anyhow, ensure, json, tests};

pub const ALL: &[Test] = tests![
    an_open_address_answers_by_name_and_by_path,
    an_address_with_iam_wants_a_signature,
    a_failing_function_is_a_bad_gateway
];

/// The id is the first label of the address's host.
pub fn url(f: &Function<'_>, auth: &str) -> Result<(String, String)> {
    let made = f.operation("POST", &format!("/2021-10-31/functions/{}/url", f.name), &json!({"AuthType": auth}))?;
    let url = made["FunctionUrl"].as_str().ok_or_else(|| anyhow!("no address: {made}"))?.to_owned();
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let id = host.split('.').next().unwrap_or_default().to_owned();
    Ok((host, id))
}

pub fn open_to_all(f: &Function<'_>) -> Result<()> {
    let everybody =
        json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    f.api("POST", "/policy", &everybody).map(|_| ())
}

pub fn send(myna: &Platform, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Http::default().send(method, &format!("{}{path}", myna.ready().aws), &headers, body)
}

fn an_open_address_answers_by_name_and_by_path() -> Result<()> {
    let myna = Platform::start()?;
    let source = "def handler(event, context):\n    if event['rawPath'] == '/teapot':\n        \
                  return {'statusCode': 418, 'headers': {'x-kind': 'tea'}, 'cookies': ['a=1', 'b=2'], 'body': 'short'}\n    return event\n";
    let f = myna.python("web", source)?;
    let (host, id) = url(&f, "NONE")?;
    open_to_all(&f)?;
    let by_name =
        send(&myna, "POST", "/some/path?q=1&q=2", &[("host", &host), ("cookie", "c=3"), ("content-type", "text/plain")], b"hi")?;
    let event = by_name.json()?;
    ensure!(by_name.status == 200, "{}", by_name.text());
    let expected = [
        ("version", json!("2.0")),
        ("rawPath", json!("/some/path")),
        ("rawQueryString", json!("q=1&q=2")),
        ("queryStringParameters", json!({"q": "1,2"})),
        ("cookies", json!(["c=3"])),
        ("body", json!("hi")),
        ("isBase64Encoded", json!(false)),
    ];
    for (field, value) in expected {
        ensure!(event[field] == value, "{field} is {}: {event}", event[field]);
    }
    ensure!(event["requestContext"]["http"]["method"] == "POST", "{event}");

    let tea = send(&myna, "GET", &format!("/_url/{id}/teapot"), &[], &[])?;
    ensure!(tea.status == 418 && tea.header("x-kind") == Some("tea") && tea.text() == "short", "{tea:?}");
    let cookies: Vec<_> = tea.headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()).collect();
    ensure!(cookies == ["a=1", "b=2"], "{cookies:?}");
    let binary = send(&myna, "POST", &format!("/_url/{id}/"), &[("content-type", "image/png")], &[0, 255, 1])?.json()?;
    ensure!(binary["isBase64Encoded"] == true && binary["body"] == "AP8B", "{binary}");
    Ok(())
}

fn an_address_with_iam_wants_a_signature() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python(
        "private",
        "def handler(event, context):\n    return event['requestContext']['authorizer']['iam']['accountId']\n",
    )?;
    let (_, id) = url(&f, "AWS_IAM")?;
    let path = format!("/_url/{id}/");
    let unsigned = send(&myna, "GET", &path, &[], &[])?;
    ensure!(unsigned.status == 403, "{}", unsigned.text());
    let signed = myna.signed("lambda", "GET", &path, &[], &[])?;
    ensure!(signed.status == 200 && signed.text() == myna.ready().account, "{}: {}", signed.status, signed.text());
    Ok(())
}

fn a_failing_function_is_a_bad_gateway() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("fails", "def handler(event, context):\n    raise RuntimeError('its own business')\n")?;
    let (host, _) = url(&f, "NONE")?;
    open_to_all(&f)?;
    let answer = send(&myna, "GET", "/", &[("host", &host)], &[])?;
    ensure!(answer.status == 502 && !answer.text().contains("its own business"), "{}: {}", answer.status, answer.text());
    let other = if host.starts_with('0') { "1" } else { "0" };
    let unknown: Response = send(&myna, "GET", "/", &[("host", &format!("{other}{}", &host[1..]))], &[])?;
    ensure!(
        unknown.status == 403 && unknown.json()? == json!({"Message": Value::Null}),
        "{}: {}",
        unknown.status,
        unknown.text()
    );
    Ok(())
}
