//! Resource policies of a function, a version or an alias: AddPermission, RemovePermission, GetPolicy.

use super::{Answer, Op, functions};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    names::{self, Group, LATEST, account_id},
    rows::{self, FunctionRow},
    rows::{AliasRow, VersionRow},
};
use model::{Expect, Write};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Add {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    revision_id: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
}

/// The whole document, as GetPolicy returns it and as the evaluator reads it.
pub fn document(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string()
}

pub async fn add(op: Op) -> Answer {
    let asked: Add = op.members()?;
    asked.check()?;
    let named = op.named(Group::Reader)?;
    let qualifier = named.qualifier.as_deref();
    refuse_latest(qualifier)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) =
        op.load(&named.name).map_err(|e| if e.status == 404 { op.not_found(&named.name, qualifier) } else { e })?;
    let current = revision(&op, &named.name, qualifier, &row)?;
    if asked.revision_id.as_ref().is_some_and(|r| *r != current) {
        return Err(WireError::stale("GetPolicy"));
    }
    let statement = asked.statement(&op.arn(&named.name, qualifier))?;
    let sid = asked.statement_id.as_deref().unwrap_or_default();
    let statements = row.policies.entry(qualifier.unwrap_or_default().to_owned()).or_default();
    if statements.iter().any(|s| s["Sid"] == sid) {
        return Err(WireError::conflict(format!(
            "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
        )));
    }
    statements.push(statement.clone());
    if document(statements).len() > limits::POLICY_BYTES_MAX {
        return Err(WireError::new(
            400,
            "PolicyLengthExceededException",
            format!("The final policy size is bigger than the limit ({}).", limits::POLICY_BYTES_MAX),
        ));
    }
    write(&op, &named.name, qualifier, row, expect).await?;
    op.done(&json!({ "Statement": statement.to_string() }))
}

fn refuse_latest(qualifier: Option<&str>) -> Result<(), WireError> {
    match qualifier {
        Some(LATEST) => Err(WireError::invalid("We currently do not support adding policies for $LATEST.")),
        _ => Ok(()),
    }
}

impl Add {
    fn check(&self) -> Result<(), WireError> {
        let mut checks = Checks::default();
        checks.statement_id(self.statement_id.as_deref());
        match self.action.as_deref() {
            None => checks.missing("action"),
            Some(action) => {
                let verb = action.strip_prefix("lambda:");
                if action != "*" && !verb.is_some_and(|v| v == "*" || !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphabetic()))
                {
                    checks.pattern(action, "action", "(lambda:[*]|lambda:[a-zA-Z]+|[*])");
                }
            }
        }
        match self.principal.as_deref() {
            None => checks.missing("principal"),
            Some(p) if p.is_empty() || p.chars().any(char::is_whitespace) => checks.pattern(p, "principal", r"[^\s]+"),
            Some(_) => {}
        }
        if let Some(account) = self.source_account.as_deref().filter(|a| !account_id(a)) {
            checks.pattern(account, "sourceAccount", r"\d{12}");
        }
        if let Some(kind) = self.function_url_auth_type.as_deref() {
            checks.one_of(kind, "functionUrlAuthType", &["NONE", "AWS_IAM"]);
        }
        checks.into_result()
    }

    fn statement(&self, resource: &str) -> Result<Value, WireError> {
        let principal = self.principal.as_deref().unwrap_or_default();
        let principal = if principal == "*" {
            Value::from("*")
        } else if principal.ends_with(".amazonaws.com") {
            json!({ "Service": principal })
        } else if account_id(principal) {
            json!({ "AWS": format!("arn:aws:iam::{principal}:root") })
        } else if principal.starts_with("arn:aws") {
            json!({ "AWS": principal })
        } else {
            return Err(WireError::invalid("The provided principal was invalid. Please check the principal and try again."));
        };
        let mut statement = Map::new();
        statement.insert("Sid".into(), self.statement_id.as_deref().into());
        statement.insert("Effect".into(), "Allow".into());
        statement.insert("Principal".into(), principal);
        statement.insert("Action".into(), self.action.as_deref().into());
        statement.insert("Resource".into(), resource.into());
        let mut equals = Map::new();
        let mut set = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                equals.insert(key.into(), value.as_str().into());
            }
        };
        set("lambda:FunctionUrlAuthType", &self.function_url_auth_type);
        set("aws:PrincipalOrgID", &self.principal_org_id);
        set("AWS:SourceAccount", &self.source_account);
        set("lambda:EventSourceToken", &self.event_source_token);
        let mut condition = Map::new();
        if !equals.is_empty() {
            condition.insert("StringEquals".into(), Value::Object(equals));
        }
        if let Some(via) = self.invoked_via_function_url {
            condition.insert("Bool".into(), json!({ "lambda:InvokedViaFunctionUrl": via.to_string() }));
        }
        if let Some(arn) = &self.source_arn {
            condition.insert("ArnLike".into(), json!({ "AWS:SourceArn": arn }));
        }
        if !condition.is_empty() {
            statement.insert("Condition".into(), Value::Object(condition));
        }
        Ok(Value::Object(statement))
    }
}

/// The revision of what a policy hangs on, which guards its policy too.
fn revision(op: &Op, name: &str, qualifier: Option<&str>, row: &FunctionRow) -> Result<String, WireError> {
    match qualifier {
        None => Ok(row.latest.revision_id.clone()),
        Some(q) if names::all_digits(q) => Ok(functions::resolve(op, name, qualifier)?.1.revision_id),
        Some(alias) => Ok(alias_row(op, name, alias)?.revision_id),
    }
}

fn alias_row(op: &Op, name: &str, alias: &str) -> Result<AliasRow, WireError> {
    let row = op.asked.shared.row(&op.asked.tenant, rows::ALIAS, &format!("{name}/{alias}"))?;
    row.ok_or_else(|| WireError::not_found(format!("Cannot find alias arn: {}", op.arn(name, Some(alias)))))
}

/// Store the changed policies, and give whatever they hang on a new revision.
async fn write(op: &Op, name: &str, qualifier: Option<&str>, mut row: FunctionRow, expect: Expect) -> Result<(), WireError> {
    let tenant = &op.asked.tenant;
    row.policies.retain(|_, statements| !statements.is_empty());
    let mut writes: Vec<Write> = Vec::new();
    match qualifier {
        None => row.latest.revision_id = rows::new_id(),
        Some(number) if names::all_digits(number) => {
            let key = rows::version_name(name, number.parse().map_err(|_| op.not_found(name, qualifier))?);
            let mut version: VersionRow =
                op.asked.shared.row(tenant, rows::VERSION, &key)?.ok_or_else(|| op.not_found(name, qualifier))?;
            version.config.revision_id = rows::new_id();
            writes.push(rows::put(tenant, rows::VERSION, &key, &version, Expect::Any));
        }
        Some(alias) => {
            let mut found = alias_row(op, name, alias)?;
            found.revision_id = rows::new_id();
            writes.push(rows::put(tenant, rows::ALIAS, format!("{name}/{alias}"), &found, Expect::Any));
        }
    }
    writes.push(rows::put(tenant, rows::FUNCTION, name, &row, expect));
    op.asked.shared.commit(writes).await
}

pub async fn remove(op: Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let (sid, qualifier) = (op.label(1).to_owned(), named.qualifier.as_deref());
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) =
        op.load(&named.name).map_err(|_| WireError::not_found("No policy is associated with the given resource."))?;
    let current = revision(&op, &named.name, qualifier, &row)?;
    let statements = row.policies.entry(qualifier.unwrap_or_default().to_owned()).or_default();
    if statements.is_empty() {
        return Err(WireError::not_found("No policy is associated with the given resource."));
    }
    if !statements.iter().any(|s| s["Sid"] == sid.as_str()) {
        return Err(WireError::not_found(format!("Statement {sid} is not found in resource policy.")));
    }
    if op.asked.query("RevisionId").is_some_and(|r| r != current) {
        return Err(WireError::stale("GetPolicy"));
    }
    statements.retain(|s| s["Sid"] != sid.as_str());
    write(&op, &named.name, qualifier, row, expect).await?;
    op.done_empty()
}

pub fn get(op: &Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let qualifier = named.qualifier.as_deref();
    let (row, _) = op.load(&named.name).map_err(|e| if e.status == 404 { op.not_found(&named.name, qualifier) } else { e })?;
    let current = revision(op, &named.name, qualifier, &row)?;
    let statements = row.policies.get(qualifier.unwrap_or_default()).filter(|s| !s.is_empty());
    let statements = statements.ok_or_else(|| WireError::not_found("The resource you requested does not exist."))?;
    op.done(&json!({ "Policy": document(statements), "RevisionId": current }))
}
