//! Which requests change something, by the names that AWS's own trail gives them. Calls of functions change nothing.

use super::{lambda, percent};
use http::{Method, request::Parts};
use model::audit::Act;
use serde::Deserialize;

/// The members that name what is made, where the path doesn't.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(rename = "FunctionName")]
    function: Option<String>,
    #[serde(rename = "logGroupName")]
    group: Option<String>,
}

/// Beginnings of operations that only read.
const READS: &[&str] = &["Get", "List", "Describe", "Filter", "Simulate", "Generate", "Test", "Start", "Stop"];

/// Operations of Lambda that call a function.
const CALLS: &[&str] = &["Invoke", "InvokeAsync", "InvokeWithResponseStream"];
/// Operations of STS that give out credentials.
const GIVEN: &[&str] = &["AssumeRole", "GetSessionToken"];

/// What a request would change; `None` where it only reads or calls.
pub fn of(parts: &Parts, service: &str, body: &[u8]) -> Option<Act> {
    match service {
        "lambda" if parts.method == Method::GET => None,
        "lambda" => {
            let (name, labels) = lambda::operation(&parts.method, parts.uri.path(), parts.uri.query())?;
            if CALLS.contains(&name) {
                return None;
            }
            let resource = labels.into_iter().next().or_else(|| named(body).function).unwrap_or_default();
            Some(Act { action: format!("lambda:{name}"), resource })
        }
        "logs" => {
            let target = parts.headers.get("x-amz-target")?.to_str().ok()?;
            let operation = target.rsplit_once('.').map_or(target, |(_, name)| name);
            // What a function writes of its own is no change of the platform.
            if reads(operation) || operation == "PutLogEvents" {
                return None;
            }
            Some(Act { action: format!("logs:{operation}"), resource: named(body).group.unwrap_or_default() })
        }
        // A session is given out, and kept.
        "sts" => {
            let given = parameter(parts, body, "Action").filter(|a| GIVEN.contains(&a.as_str()))?;
            Some(Act { action: format!("sts:{given}"), resource: parameter(parts, body, "RoleArn").unwrap_or_default() })
        }
        "iam" => {
            let parameter = |name: &str| parameter(parts, body, name);
            let action = parameter("Action")?;
            if reads(&action) {
                return None;
            }
            let names = ["AccessKeyId", "UserName", "RoleName", "GroupName", "PolicyArn", "PolicyName", "InstanceProfileName"];
            Some(Act { action: format!("iam:{action}"), resource: names.into_iter().find_map(parameter).unwrap_or_default() })
        }
        _ => None,
    }
}

/// Of a query request: out of its body, or else out of its query.
fn parameter(parts: &Parts, body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|b| !b.is_empty()).or_else(|| parts.uri.query())?;
    percent::pairs(text).find(|p| p.0 == name).map(|p| p.1.into_owned())
}

fn reads(operation: &str) -> bool {
    READS.iter().any(|beginning| operation.starts_with(beginning))
}

fn named(body: &[u8]) -> Named {
    serde_json::from_slice(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(method: &str, path: &str, service: &str, target: Option<&str>, body: &str) -> Option<(String, String)> {
        let mut request = http::Request::builder().method(method).uri(path);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        of(&parts, service, body.as_bytes()).map(|a| (a.action, a.resource))
    }

    #[test]
    fn changes_are_named_and_calls_and_reads_are_none() {
        let some = |action: &str, resource: &str| Some((action.to_owned(), resource.to_owned()));
        let functions = "/2015-03-31/functions";
        assert_eq!(act("POST", functions, "lambda", None, r#"{"FunctionName":"f"}"#), some("lambda:CreateFunction", "f"));
        assert_eq!(act("DELETE", "/2015-03-31/functions/f", "lambda", None, ""), some("lambda:DeleteFunction", "f"));
        assert_eq!(act("GET", functions, "lambda", None, ""), None);
        assert_eq!(act("POST", "/2015-03-31/functions/f/invocations", "lambda", None, "{}"), None);
        assert_eq!(act("POST", "/2014-11-13/functions/f/invoke-async/", "lambda", None, "{}"), None);
        assert_eq!(act("POST", "/", "iam", None, "Action=DeleteRole&RoleName=r%2F1"), some("iam:DeleteRole", "r/1"));
        assert_eq!(act("POST", "/", "iam", None, "Action=GetRole&RoleName=r"), None);
        let logs = |target, body| act("POST", "/", "logs", Some(target), body);
        assert_eq!(logs("Logs_20140328.DeleteLogGroup", r#"{"logGroupName":"g"}"#), some("logs:DeleteLogGroup", "g"));
        assert_eq!(logs("Logs_20140328.FilterLogEvents", "{}"), None);
        assert_eq!(act("POST", "/", "sts", None, "Action=GetCallerIdentity"), None);
        assert_eq!(act("POST", "/", "sts", None, "Action=GetSessionToken"), some("sts:GetSessionToken", ""));
        assert_eq!(act("GET", "/?Action=AssumeRole&RoleArn=r", "sts", None, ""), some("sts:AssumeRole", "r"));
        // Names that end as the path of a call does.
        let named = "/2015-03-31/functions/pay-invocations";
        assert_eq!(act("DELETE", named, "lambda", None, ""), some("lambda:DeleteFunction", "pay-invocations"));
        let alias = "/2015-03-31/functions/f/aliases/invocations";
        assert_eq!(act("DELETE", alias, "lambda", None, ""), some("lambda:DeleteAlias", "f"));
    }

    /// Every operation of the table that isn't read by GET is a call or a change.
    #[test]
    fn no_operation_of_lambda_is_forgotten() {
        let rows: Vec<serde_json::Value> = serde_json::from_str(lambda::TABLE).unwrap();
        for row in rows.iter().filter(|r| r["method"] != "GET") {
            let (name, path) = (row["name"].as_str().unwrap(), row["path"].as_str().unwrap());
            let path: Vec<_> = path.split('/').map(|s| if s.starts_with('{') { "x" } else { s }).collect();
            let query = row["query"].as_str().map(|q| format!("?{q}")).unwrap_or_default();
            let found = act(row["method"].as_str().unwrap(), &format!("{}{query}", path.join("/")), "lambda", None, "");
            assert_eq!(found.is_none(), name.starts_with("Invoke"), "{name}");
        }
    }
}
