//! Who else may use a layer version: AddLayerVersionPermission, GetLayerVersionPolicy, RemoveLayerVersionPermission. Asked
//! when an account names a version of another one.

use super::{
    super::{Answer, Op, policy::document},
    named::{Found, version_arn},
};
use crate::aws::{check::Checks, fault::WireError, limits, names::account_id, rows};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const ACTION: &str = "lambda:GetLayerVersion";
const NONE: &str = "No policy is associated with the given resource.";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Add {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    organization_id: Option<String>,
}

fn root(principal: &str) -> Option<&str> {
    let (partition, rest) = principal.strip_prefix("arn:")?.split_once(":iam::")?;
    let account = rest.strip_suffix(":root")?;
    (partition.starts_with("aws") && account_id(account)).then_some(account)
}

impl Add {
    fn check(&self) -> Result<(), WireError> {
        let mut checks = Checks::default();
        checks.statement_id(self.statement_id.as_deref());
        match self.action.as_deref() {
            None => checks.missing("action"),
            Some(ACTION) => {}
            Some(other) => checks.pattern(other, "action", ACTION),
        }
        match self.principal.as_deref() {
            None => checks.missing("principal"),
            Some(p) if p == "*" || account_id(p) || root(p).is_some() => {}
            Some(other) => checks.pattern(other, "principal", r"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root"),
        }
        if let Some(id) = self.organization_id.as_deref() {
            let tail = id.strip_prefix("o-").unwrap_or_default();
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            if !(10..=32).contains(&tail.len()) || !tail.bytes().all(plain) {
                checks.pattern(id, "organizationId", "o-[a-z0-9]{10,32}");
            }
        }
        checks.into_result()
    }

    fn statement(&self, resource: &str) -> Value {
        let principal = self.principal.as_deref().unwrap_or_default();
        let principal = match principal {
            "*" => Value::from("*"),
            account if account_id(account) => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
            arn => json!({ "AWS": arn }),
        };
        let mut statement = Map::new();
        statement.insert("Sid".into(), self.statement_id.as_deref().into());
        statement.insert("Effect".into(), "Allow".into());
        statement.insert("Principal".into(), principal);
        statement.insert("Action".into(), ACTION.into());
        statement.insert("Resource".into(), resource.into());
        if let Some(id) = &self.organization_id {
            statement.insert("Condition".into(), json!({ "StringEquals": { "aws:PrincipalOrgID": id } }));
        }
        Value::Object(statement)
    }
}

impl Op {
    fn policed(&self) -> Result<Found, WireError> {
        self.layer_version(|arn| WireError::not_found(format!("Layer version {arn} does not exist.")))
    }

    fn guarded(&self, found: &Found) -> Result<(), WireError> {
        match self.asked.query("RevisionId") {
            Some(id) if *id != *found.version.revision_id => Err(WireError::stale("GetLayerPolicy")),
            _ => Ok(()),
        }
    }

    async fn keep(&self, mut found: Found) -> Result<String, WireError> {
        found.version.revision_id = rows::new_id();
        let name = rows::version_name(&found.name, found.version.number);
        let write = rows::put(&self.asked.tenant, rows::LAYER_VERSION, name, &found.version, found.expect);
        self.asked.shared.commit(vec![write]).await?;
        Ok(found.version.revision_id)
    }
}

pub async fn add_permission(op: Op) -> Answer {
    let asked: Add = op.members()?;
    asked.check()?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let mut found = op.policed()?;
    op.guarded(&found)?;
    let sid = asked.statement_id.as_deref().unwrap_or_default();
    if found.version.policy.iter().any(|s| s["Sid"] == sid) {
        return Err(WireError::conflict(format!(
            "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
        )));
    }
    let statement = asked.statement(&version_arn(op.asked.region(), &op.asked.tenant, &found.name, found.version.number));
    found.version.policy.push(statement.clone());
    if document(&found.version.policy).len() > limits::POLICY_BYTES_MAX {
        let text = format!("The final policy size is bigger than the limit ({}).", limits::POLICY_BYTES_MAX);
        return Err(WireError::new(400, "PolicyLengthExceededException", text));
    }
    let revision = op.keep(found).await?;
    op.done(&json!({ "Statement": statement.to_string(), "RevisionId": revision }))
}

pub fn policy(op: &Op) -> Answer {
    let found = op.policed()?;
    if found.version.policy.is_empty() {
        return Err(WireError::not_found(NONE));
    }
    op.done(&json!({ "Policy": document(&found.version.policy), "RevisionId": found.version.revision_id }))
}

pub async fn remove_permission(op: Op) -> Answer {
    let sid = op.label(2).to_owned();
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let mut found = op.policed()?;
    op.guarded(&found)?;
    if !found.version.policy.iter().any(|s| s["Sid"] == sid.as_str()) {
        return Err(WireError::not_found(format!("Statement {sid} is not found in resource policy.")));
    }
    found.version.policy.retain(|s| s["Sid"] != sid.as_str());
    op.keep(found).await?;
    op.done_empty()
}
