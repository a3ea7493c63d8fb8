//! The operations of the AWS APIs.

use super::rig::{Ask, GROUP, Rig, report};
use myna_tests::{Context, Response, Result, Value, ensure, json};

/// Method, path and query of each operation of Lambda, as the router has them.
const LAMBDA: &str = include_str!("../../../crates/dialects/src/aws/lambda/operations.json");

/// A request for an operation, about things that are there. What it wants is asked before its members are looked at, so that they
/// need not be whole.
fn request(lambda: &Value, service: &'static str, name: &str) -> Result<Ask<'static>> {
    let ask = |method: &'static str, path: &str, kind: &str, body: &str| Ask {
        service,
        method,
        path: path.to_owned(),
        headers: vec![("content-type", kind.to_owned())],
        body: body.to_owned(),
    };
    Ok(match service {
        "lambda" => {
            let row =
                lambda.as_array().and_then(|rows| rows.iter().find(|r| r["name"] == name)).context("a row of the router")?;
            let text = |member: &str| row[member].as_str().unwrap_or_default();
            let number = |s: &str| s.contains("VersionNumber");
            let path: Vec<_> = text("path")
                .split('/')
                .map(|s| {
                    if !s.starts_with('{') {
                        s
                    } else if number(s) {
                        "1"
                    } else {
                        "target"
                    }
                })
                .collect();
            let query = if text("query").is_empty() { String::new() } else { format!("?{}", text("query")) };
            let method = ["GET", "POST", "PUT", "DELETE"].into_iter().find(|m| *m == text("method")).context("a method")?;
            let body = if method == "GET" { "" } else { r#"{"FunctionName":"target"}"# };
            ask(method, &format!("{}{query}", path.join("/")), "application/json", body)
        }
        "logs" => {
            // A tail that is allowed would never end; of no group, none begins.
            let many = if name == "StartLiveTail" { json!([]) } else { json!([GROUP]) };
            let body = json!({"logGroupName": GROUP, "logStreamName": "target", "logGroupIdentifiers": many}).to_string();
            let mut ask = ask("POST", "/", "application/x-amz-json-1.1", &body);
            ask.headers.push(("x-amz-target", format!("Logs_20140328.{name}")));
            ask
        }
        _ => {
            let version = if service == "sts" { "2011-06-15" } else { "2010-05-08" };
            // This one is asked for when it is whole.
            let role = "RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Ftarget&RoleSessionName=target";
            let named = if name == "AssumeRole" {
                role
            } else if name.contains("User") || name.contains("AccessKey") {
                "UserName=target"
            } else {
                "RoleName=target"
            };
            let body = format!("Action={name}&Version={version}&{named}");
            ask("POST", "/", "application/x-www-form-urlencoded", &body)
        }
    })
}

/// What of a refusal names it, and whether its status is the service's.
fn refused_as(service: &str, got: &Response, codes: [&str; 2]) -> bool {
    let (status, code) = match service {
        "logs" => (400, codes[0]),
        "lambda" => (403, codes[0]),
        _ => (403, codes[1]),
    };
    let named = got.header("x-amzn-errortype").unwrap_or_default();
    got.status == status && (named.starts_with(code) || got.text().contains(code))
}

const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];

pub fn from_outside(rig: &Rig) -> Result<usize> {
    let lambda: Value = serde_json::from_str(LAMBDA)?;
    let (mut refused, mut answered, mut found) = (0, 0, Vec::new());
    for (service, kind, name) in rig.table.operations() {
        let ask = request(&lambda, service, name).with_context(|| name.to_owned())?;
        for credential in &rig.credentials {
            let got = rig.send(credential.keys.as_ref(), &ask, rig.aws())?;
            let codes = match (credential.refusal, kind) {
                (Some(codes), _) => Some(codes),
                (None, "reads" | "own" | "everyone") => None,
                (None, _) => Some(DENIED),
            };
            let right = match codes {
                Some(codes) => refused_as(service, &got, codes),
                // Perhaps there is no such thing, or too little was said of it.
                None => !matches!(got.status, 401 | 403) && !got.text().contains("AccessDenied"),
            };
            if !right {
                found.push(format!("{service}:{name} ({kind}) by {}: {} {}", credential.name, got.status, got.text()));
            }
            *(if codes.is_some() { &mut refused } else { &mut answered }) += 1;
        }
    }
    report(found)?;
    ensure!(answered > 0, "the read-only key may nothing, so its refusals prove nothing");
    Ok(refused)
}

/// The same over an instance's own socket, with its own credentials and a role that allows nothing.
pub fn from_within(rig: &Rig) -> Result<usize> {
    let lambda: Value = serde_json::from_str(LAMBDA)?;
    let operations: Vec<_> = rig.table.operations().collect();
    let mut asks = Vec::new();
    for (service, _, name) in &operations {
        let ask = request(&lambda, service, name)?;
        let target = ask.headers.iter().find(|(n, _)| *n == "x-amz-target").map(|(_, v)| v.clone());
        asks.push(json!({"service": service, "method": ask.method, "path": ask.path, "body": ask.body, "target": target}));
    }
    let answers = rig.myna.function("asker").call(json!({ "asks": asks }))?;
    let answers = answers
        .as_array()
        .filter(|a| a.len() == operations.len())
        .with_context(|| format!("not all were answered: {answers}"))?;
    let (mut refused, mut found) = (0, Vec::new());
    for ((service, kind, name), answer) in operations.iter().zip(answers) {
        let (status, text) = (answer[0].as_u64().unwrap_or(0), answer[1].as_str().unwrap_or_default());
        let denied = status == 403 || (status == 400 && *service == "logs");
        // Lambda names the error in a header; its sentence says as much.
        let named =
            ["AccessDenied", "reaches the data plane only", "is not authorized to perform"].iter().any(|w| text.contains(w));
        let right = if *kind == "everyone" { status == 200 } else { denied && named };
        if !right {
            found.push(format!("{service}:{name} ({kind}) from within: {status} {text}"));
        }
        refused += usize::from(*kind != "everyone");
    }
    report(found)?;
    Ok(refused)
}

/// By another account's administrator, who names what is ours by its whole ARN, or by the name that it would have in its own account.
/// What is ours stays as it is, which the caller of this sees to; here it must not show either.
pub fn by_another_tenant(rig: &Rig) -> Result<usize> {
    let lambda: Value = serde_json::from_str(LAMBDA)?;
    let (region, ours) = (&rig.myna.keys().region, &rig.myna.ready().account);
    let of = |what: &str| format!("arn:aws:lambda:{region}:{ours}:{what}");
    let (function, layer) = (of("function:target"), of("layer:target"));
    let signing = of("code-signing-config:csc-0123456789abcdefg");
    // Whole for every operation, so that none is refused for what is missing.
    let body = json!({
        "FunctionName": function, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", "Name": "n",
        "FunctionVersion": "1", "AuthType": "NONE", "ReservedConcurrentExecutions": 1, "MaximumRetryAttempts": 1,
        "RecursiveLoop": "Allow", "ProvisionedConcurrentExecutions": 1, "UpdateRuntimeOn": "Auto", "Tags": {"a": "b"},
        "CodeSigningConfigArn": signing, "Content": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
    });
    let grant = json!({"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"});
    let (mut refused, mut found) = (0, Vec::new());
    for (service, kind, name) in rig.table.operations() {
        let mut ask = request(&lambda, service, name)?;
        let about_one = service == "lambda" && ask.path.contains("/target");
        let whole = match &*ask.path {
            path if path.contains("/layers") => &layer,
            path if path.contains("/code-signing-configs") => &signing,
            _ => &function,
        };
        ask.path = ask.path.replacen("/target", &format!("/{}", whole.replace(':', "%3A")), 1);
        if name == "UntagResource" && service == "lambda" {
            ask.path.push_str("?tagKeys=a");
        }
        if service == "lambda" && !ask.body.is_empty() {
            ask.body = if ask.path.contains("/layers") && ask.path.ends_with("/policy") { &grant } else { &body }.to_string();
        }
        ask.body = ask.body.replace("Name=target", &format!("Name=target&RoleArn=arn%3Aaws%3Aiam%3A%3A{ours}%3Arole%2Ftarget"));
        let got = rig.send(Some(&rig.other), &ask, rig.aws())?;
        let shows = got.status < 400 && (got.text().contains(&**ours) || got.text().contains("was called"));
        let right = match (about_one, kind) {
            (true, _) | (_, "calls") => matches!(got.status, 403 | 404),
            _ => got.status < 500 && !shows,
        };
        if !right {
            found.push(format!("{service}:{name} ({kind}) by another tenant: {} {}", got.status, got.text()));
        }
        refused += usize::from(got.status >= 400);
    }
    report(found)?;
    Ok(refused)
}
