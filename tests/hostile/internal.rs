//! What only the platform may say, said by a client: headers of its own, and paths of its inner doors.

use super::permissions::rig::Table;
use myna_tests::{Context, Function, Http, Platform, Response, Result, Test, Value, ensure, json, tests};

pub const ALL: &[Test] =
    tests![headers_of_a_platform_are_dropped_where_functions_see_headers, internal_paths_are_the_functions_own_or_nobodys];

const ECHO: &str = "import json, os\ndef handler(event, context):\n    \
    context_ = {'client': getattr(context.client_context, 'custom', None), 'identity': context.identity.cognito_identity_id if context.identity else None, \
    'arn': context.invoked_function_arn, 'id': context.aws_request_id, 'trace': os.environ.get('_X_AMZN_TRACE_ID')}\n    \
    return {'event': event, 'context': context_}\n";

/// Names that only a platform gives to a function, of the systems that this one speaks or will.
const INTERNAL: &[&str] = &[
    "lambda-runtime-aws-request-id",
    "lambda-runtime-deadline-ms",
    "lambda-runtime-invoked-function-arn",
    "lambda-runtime-trace-id",
    "lambda-runtime-client-context",
    "lambda-runtime-cognito-identity",
    "lambda-runtime-function-error-type",
    "x-amzn-trace-id",
    "x-amzn-requestid",
    "x-amzn-tls-version",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-host",
    "knative-serving-default-backend",
    "x-nuclio-function-name",
    "x-fission-function-name",
    "fn-call-id",
    "x-call-id",
];

fn open_url(f: &Function<'_>) -> Result<String> {
    let made = f.operation("POST", &format!("/2021-10-31/functions/{}/url", f.name), &json!({"AuthType": "NONE"}))?;
    let all =
        json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    f.api("POST", "/policy", &all)?;
    let url = made["FunctionUrl"].as_str().context("an address")?;
    Ok(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

fn send(myna: &Platform, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Http::default().send(method, &format!("{}{path}", myna.ready().aws), &headers, &[])
}

// H22
fn headers_of_a_platform_are_dropped_where_functions_see_headers() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("echo", ECHO)?;
    let host = open_url(&f)?;
    let id = host.split('.').next().unwrap_or_default().to_owned();
    for (path, host) in [("/".to_owned(), &*host), (format!("/_url/{id}/"), myna.ready().aws.trim_start_matches("http://"))] {
        let mut headers: Vec<(&str, &str)> = INTERNAL.iter().map(|name| (*name, "planted")).collect();
        headers.extend([("host", host), ("x-own", "kept"), ("lambda-own", "kept"), ("x-amz-meta-own", "kept")]);
        let got = send(&myna, "GET", &path, &headers)?;
        ensure!(got.status == 200, "{}: {}", got.status, got.text());
        let said = got.json()?;
        ensure!(!said.to_string().contains("planted"), "a planted header reached the function: {said}");
        for own in ["x-own", "lambda-own", "x-amz-meta-own"] {
            ensure!(said["event"]["headers"][own] == "kept", "{own} is the client's own: {said}");
        }
        // What it has of these is the platform's.
        ensure!(said["event"]["headers"]["x-forwarded-for"] == "127.0.0.1", "{said}");
    }
    // Invoke: a function sees no headers, and its context is the platform's.
    let headers: Vec<(&str, &str)> =
        INTERNAL.iter().filter(|n| **n != "x-amzn-trace-id").map(|name| (*name, "planted")).collect();
    let answer = f.invoke_bytes("", b"{}", &headers)?;
    let said = answer.json()?;
    ensure!(answer.error.is_none() && !said.to_string().contains("planted"), "{said}");
    ensure!(said["context"]["id"] == *answer.request_id && said["context"]["client"] == Value::Null, "{said}");
    Ok(())
}

/// Of the platform's inner doors, and of other systems'.
const PATHS: &[&str] = &[
    "/2018-06-01/runtime/invocation/next",
    "/2020-01-01/extension/register",
    "/2022-07-01/telemetry",
    "/myna/bind",
    "/_/",
    "/_/health",
    "/_url/",
    "/_code/",
    "/admin",
    "/admin/v1/status",
    "/admin/v1/drain",
    "/metrics",
    "/livez",
    "/readyz",
    "/login",
    "/events",
    "/system/functions",
    "/function/echo",
    "/async-function/echo",
    "/fission-function/echo",
    "/debug/pprof",
    "/2015-03-31/functions/echo/invocations",
    "//admin",
    "/%2e%2e/admin",
    "/x/..;/admin",
    "/function/../system",
];

// H23
fn internal_paths_are_the_functions_own_or_nobodys() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("echo", ECHO)?;
    let host = open_url(&f)?;
    let id = host.split('.').next().unwrap_or_default().to_owned();
    let table: Table = toml::from_str(include_str!("../permissions.toml"))?;
    let routes = table.admin.routes.iter().chain(table.runtime.keys()).filter_map(|r| r.split_once(' ')).map(|(_, path)| path);
    let unknown = "/no-such-path";
    let asked: Vec<&str> = PATHS.iter().copied().chain(routes.filter(|path| !path.contains('{'))).collect();
    let bare = myna.ready().aws.trim_start_matches("http://").to_owned();
    for path in &asked {
        // On a function's own host, and below its path, they are its own.
        for (sent, host) in [((*path).to_owned(), &host), (format!("/_url/{id}{path}"), &bare)] {
            let got = send(&myna, "GET", &sent, &[("host", host)])?;
            ensure!(got.status == 200, "{sent} on {host}: {} {}", got.status, got.text());
            let raw = got.json()?["event"]["rawPath"].clone();
            ensure!(raw.as_str().is_some_and(|raw| !raw.is_empty()), "{sent}: {raw}");
        }
        // On the listener's own, they are answered as any path that nobody has; but for what is there by
        // its book: health, functions by path, downloads, the API.
        if matches!(*path, "/livez" | "/readyz")
            || path.starts_with("/_url/")
            || path.starts_with("/_code/")
            || path.starts_with("/2015-03-31/functions/")
        {
            continue;
        }
        let masked = |text: String, path: &str| text.replace(path, "PATH");
        let (ours, anyones) = (send(&myna, "GET", path, &[("host", &bare)])?, send(&myna, "GET", unknown, &[("host", &bare)])?);
        ensure!(
            (ours.status, masked(ours.text(), path)) == (anyones.status, masked(anyones.text(), unknown)),
            "{path} is known: {ours:?}"
        );
        let signed = |path: &str| -> Result<(u16, Option<String>)> {
            let got = myna.signed("lambda", "GET", path, &[], &[])?;
            Ok((got.status, got.header("x-amzn-errortype").map(str::to_owned)))
        };
        if !path.contains("..") && !path.starts_with("//") {
            ensure!(signed(path)? == signed(unknown)?, "{path} is known to who signs: {:?}", signed(path)?);
        }
    }
    Ok(())
}
