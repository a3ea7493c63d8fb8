//! What each operation of the Lambda API is asked for: its action, its resource and the condition keys that the Service
//! Authorization Reference gives it ("Actions, resources, and condition keys for AWS Lambda"). Also who may give which role to a
//! function, and whether a role lets itself be given to one.

use super::{Op, source};
use crate::aws::{
    access::{self, Question},
    fault::WireError,
    names::{self, Group},
    rows::{self, RoleRow, SourceRow},
    shared::Asked,
};
use model::{Ask, Principal};
use serde::Deserialize;
use std::sync::Arc;

/// The service that takes on a function's role.
const SERVICE: &str = "lambda.amazonaws.com";

/// Members that conditions may ask for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Named {
    function_name: Option<String>,
    auth_type: Option<String>,
    function_url_auth_type: Option<String>,
    principal: Option<String>,
    layers: Vec<String>,
}

/// May the sender do this at all? Calls of functions are asked elsewhere, by the engine.
pub fn authorise(op: &Op) -> Result<(), WireError> {
    if matches!(op.asked.principal, Principal::Root { .. }) {
        return Ok(());
    }
    // What can't be read is refused by the operation, after this. Twice the same name is refused there too.
    let wanted = matches!(
        op.operation.name,
        "CreateFunction"
            | "UpdateFunctionConfiguration"
            | "CreateEventSourceMapping"
            | "UpdateEventSourceMapping"
            | "AddPermission"
            | "CreateFunctionUrlConfig"
            | "UpdateFunctionUrlConfig"
    );
    let named: Named = if wanted { serde_json::from_slice(&op.asked.body).unwrap_or_default() } else { Named::default() };
    let function = event_source_of(op, &named)?;
    let mut keys: Vec<(&str, &str)> = named.layers.iter().map(|layer| ("lambda:Layer", &**layer)).collect();
    keys.extend(function.as_deref().map(|arn| ("lambda:FunctionArn", arn)));
    keys.extend(named.principal.as_deref().map(|who| ("lambda:Principal", who)));
    keys.extend(
        named.auth_type.as_deref().or(named.function_url_auth_type.as_deref()).map(|t| ("lambda:FunctionUrlAuthType", t)),
    );
    let action = match op.operation.name {
        "GetLayerVersionByArn" => "GetLayerVersion",
        name => name,
    };
    let (action, resource) = (format!("lambda:{action}"), resource(op, &named));
    access::control(&op.asked, Question::new(&action, &resource).keys(keys))
}

/// A function's full ARN, however it was named; the text itself when it is no name.
fn function_arn(op: &Op, text: &str, qualifier: Option<&str>) -> String {
    match names::parse(op.asked.region(), &op.asked.tenant, text, qualifier, Group::Reader) {
        Ok(named) => op.arn(&named.name, named.qualifier.as_deref()),
        Err(_) if text.starts_with("arn:") => text.to_owned(),
        Err(_) => op.arn(text, None),
    }
}

fn resource(op: &Op, named: &Named) -> String {
    let (region, account) = (op.asked.region(), &op.asked.tenant);
    let label = |at: usize| op.labels.get(at).map_or("", String::as_str);
    let layer = |rest: &str| match label(0) {
        arn if arn.starts_with("arn:") => format!("{arn}{rest}"),
        name => format!("arn:aws:lambda:{region}:{account}:layer:{name}{rest}"),
    };
    match op.operation.name {
        "CreateFunction" => named.function_name.as_deref().map_or_else(|| "*".into(), |name| function_arn(op, name, None)),
        "ListLayers" => "*".into(),
        "GetLayerVersionByArn" => op.asked.query("Arn").map_or_else(|| "*".into(), |arn| arn.into_owned()),
        "PublishLayerVersion" | "ListLayerVersions" => layer(""),
        name if name.contains("LayerVersion") => layer(&format!(":{}", label(1))),
        name if name.ends_with("EventSourceMapping") => match label(0) {
            "" => "*".into(),
            uuid => source::arn(op, uuid),
        },
        // The configuration itself; one that is given to a function is asked for as the function.
        "CreateCodeSigningConfig" | "ListCodeSigningConfigs" => "*".into(),
        name if name.ends_with("CodeSigningConfig") && !name.contains("Function") => label(0).to_owned(),
        "ListFunctionsByCodeSigningConfig" => label(0).to_owned(),
        // Tags may be of anything.
        "ListTags" | "TagResource" | "UntagResource" => label(0).to_owned(),
        // Aliases and versions are asked for as what they belong to.
        name if name.contains("Alias") => function_arn(op, label(0), None),
        _ if label(0).is_empty() => "*".into(),
        _ => function_arn(op, label(0), op.asked.query("Qualifier").as_deref().filter(|q| !q.is_empty())),
    }
}

/// The function of an event source mapping, as the condition key `lambda:FunctionArn` has it: the one that is named now and,
/// where there is a mapping already, must be the one that it has.
fn event_source_of(op: &Op, named: &Named) -> Result<Option<String>, WireError> {
    if !op.operation.name.ends_with("EventSourceMapping") {
        return Ok(None);
    }
    if let Some(name) = &named.function_name {
        return Ok(Some(function_arn(op, name, None)));
    }
    let Some(uuid) = op.labels.first() else { return Ok(None) };
    let row: Option<SourceRow> = op.asked.shared.row(&op.asked.tenant, rows::SOURCE, uuid)?;
    Ok(row.map(|row| op.arn(&row.function, row.qualifier.as_deref())))
}

/// May the sender give this role to a function, and may functions have it? A role that wasn't made here is accepted: what an
/// instance holds of it is good for nothing.
pub fn pass_role(asked: &Asked, role: &str) -> Result<(), WireError> {
    if !matches!(asked.principal, Principal::Root { .. }) {
        access::control(asked, Question::new("iam:PassRole", role).keys([("iam:PassedToService", SERVICE)]))?;
    }
    let row: Option<RoleRow> = asked.shared.row(&asked.tenant, rows::ROLE, names::role_name(role))?;
    let Some(row) = row else { return Ok(()) };
    let trust: Arc<str> = row.trust.into();
    let decision = asked.platform().policy().decide(&Ask {
        principal: &Principal::Service { name: SERVICE.into() },
        action: "sts:AssumeRole",
        resource: role,
        owner: &asked.tenant,
        resource_policy: Some(&trust),
        trust: true,
        context: &[("aws:SourceAccount", asked.tenant.as_str())],
        now_ms: asked.shared.now_ms(),
    });
    if decision.allowed() {
        return Ok(());
    }
    Err(WireError::invalid("The role defined for the function cannot be assumed by Lambda."))
}
