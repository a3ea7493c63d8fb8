//! IAM (query protocol, 2010-05-08): roles, users, their access keys and the policies of both. What policies mean is decided by
//! the platform's one evaluator; here they are kept, checked for form, and shown.

mod account;
mod amazon;
mod entity;
mod form;
mod held;
mod keys;
mod managed;
mod policies;
mod rights;
mod roles;
mod users;

pub use held::{Held, document as managed_document, held};
pub use keys::secret;

use super::{
    access::{self, Question},
    fault::WireError,
    respond::Reply,
    shared::Asked,
    sts::unserved,
    xml,
};
use entity::Kind;
use form::Form;
use model::Principal;

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

type Answer = Result<Reply, WireError>;

/// What is served: an operation that is not named here is not, whatever is written for it below.
pub(super) const OPERATIONS: &[&str] = &[
    "CreateRole",
    "GetRole",
    "ListRoles",
    "UpdateRole",
    "UpdateRoleDescription",
    "UpdateAssumeRolePolicy",
    "DeleteRole",
    "CreateUser",
    "GetUser",
    "ListUsers",
    "UpdateUser",
    "DeleteUser",
    "PutRolePolicy",
    "PutUserPolicy",
    "GetRolePolicy",
    "GetUserPolicy",
    "ListRolePolicies",
    "ListUserPolicies",
    "DeleteRolePolicy",
    "DeleteUserPolicy",
    "AttachRolePolicy",
    "AttachUserPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "ListAttachedRolePolicies",
    "ListAttachedUserPolicies",
    "PutRolePermissionsBoundary",
    "PutUserPermissionsBoundary",
    "DeleteRolePermissionsBoundary",
    "DeleteUserPermissionsBoundary",
    "TagRole",
    "TagUser",
    "UntagRole",
    "UntagUser",
    "ListRoleTags",
    "ListUserTags",
    "CreateAccessKey",
    "ListAccessKeys",
    "UpdateAccessKey",
    "DeleteAccessKey",
    "CreatePolicy",
    "GetPolicy",
    "ListPolicies",
    "DeletePolicy",
    "ListEntitiesForPolicy",
    "CreatePolicyVersion",
    "GetPolicyVersion",
    "ListPolicyVersions",
    "DeletePolicyVersion",
    "SetDefaultPolicyVersion",
    "GetAccountSummary",
];

pub async fn handle(asked: &Asked) -> Answer {
    let form = Form::of(asked);
    let action = form.get("Action").ok_or_else(|| WireError::new(400, "MissingAction", "the request names no Action"))?;
    authorise(asked, action, &form)?;
    if !OPERATIONS.contains(&action) {
        return Err(unserved(action));
    }
    let (role, user) = (Kind::Role, Kind::User);
    match action {
        "CreateRole" => roles::create(asked, &form).await,
        "GetRole" => roles::get(asked, &form),
        "ListRoles" => roles::list(asked, &form),
        "UpdateRole" => roles::update(asked, &form).await,
        "UpdateRoleDescription" => roles::describe(asked, &form).await,
        "UpdateAssumeRolePolicy" => roles::trust(asked, &form).await,
        "DeleteRole" => roles::delete(asked, &form).await,
        "CreateUser" => users::create(asked, &form).await,
        "GetUser" => users::get(asked, &form),
        "ListUsers" => users::list(asked, &form),
        "UpdateUser" => users::update(asked, &form).await,
        "DeleteUser" => users::delete(asked, &form).await,
        "PutRolePolicy" => rights::put(asked, &form, role).await,
        "PutUserPolicy" => rights::put(asked, &form, user).await,
        "GetRolePolicy" => rights::get(asked, &form, role),
        "GetUserPolicy" => rights::get(asked, &form, user),
        "ListRolePolicies" => rights::list(asked, &form, role),
        "ListUserPolicies" => rights::list(asked, &form, user),
        "DeleteRolePolicy" => rights::delete(asked, &form, role).await,
        "DeleteUserPolicy" => rights::delete(asked, &form, user).await,
        "AttachRolePolicy" => rights::attach(asked, &form, role).await,
        "AttachUserPolicy" => rights::attach(asked, &form, user).await,
        "DetachRolePolicy" => rights::detach(asked, &form, role).await,
        "DetachUserPolicy" => rights::detach(asked, &form, user).await,
        "ListAttachedRolePolicies" => rights::attached(asked, &form, role),
        "ListAttachedUserPolicies" => rights::attached(asked, &form, user),
        "PutRolePermissionsBoundary" => rights::bound(asked, &form, role).await,
        "PutUserPermissionsBoundary" => rights::bound(asked, &form, user).await,
        "DeleteRolePermissionsBoundary" => rights::unbound(asked, &form, role).await,
        "DeleteUserPermissionsBoundary" => rights::unbound(asked, &form, user).await,
        "TagRole" => rights::tag(asked, &form, role).await,
        "TagUser" => rights::tag(asked, &form, user).await,
        "UntagRole" => rights::untag(asked, &form, role).await,
        "UntagUser" => rights::untag(asked, &form, user).await,
        "ListRoleTags" => rights::tags(asked, &form, role),
        "ListUserTags" => rights::tags(asked, &form, user),
        "CreateAccessKey" => keys::create(asked, &form).await,
        "ListAccessKeys" => keys::list(asked, &form),
        "UpdateAccessKey" => keys::update(asked, &form).await,
        "DeleteAccessKey" => keys::delete(asked, &form).await,
        "CreatePolicy" => managed::create(asked, &form).await,
        "GetPolicy" => managed::get(asked, &form),
        "ListPolicies" => managed::list(asked, &form),
        "DeletePolicy" => managed::delete(asked, &form).await,
        "ListEntitiesForPolicy" => managed::entities(asked, &form),
        "CreatePolicyVersion" => policies::create(asked, &form).await,
        "GetPolicyVersion" => policies::get(asked, &form),
        "ListPolicyVersions" => policies::list(asked, &form),
        "DeletePolicyVersion" => policies::delete(asked, &form).await,
        "SetDefaultPolicyVersion" => policies::set_default(asked, &form).await,
        "GetAccountSummary" => account::summary(asked),
        action => Err(unserved(action)),
    }
}

/// The resource of each operation as the Service Authorization Reference has it: the role, user or policy that is named.
fn authorise(asked: &Asked, action: &str, form: &Form) -> Result<(), WireError> {
    let refuse = |e: WireError| WireError { code: if e.status == 403 { "AccessDenied" } else { e.code }, ..e };
    if matches!(asked.principal, Principal::Root { .. }) {
        return Ok(());
    }
    // Credentials with a token of a user's own don't reach IAM, as on AWS without a second factor.
    if let Principal::Session(session) = &asked.principal
        && !matches!(session.holder, model::Holder::Role { .. })
    {
        return Err(WireError::new(403, "InvalidClientTokenId", "The security token included in the request is invalid"));
    }
    let resource = resource(asked, action, form);
    let action = format!("iam:{action}");
    let keys = [("iam:PolicyARN", form.get("PolicyArn")), ("iam:PermissionsBoundary", form.get("PermissionsBoundary"))];
    let ask = |resource: &str| {
        let keys = keys.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
        access::control(asked, Question { keys: keys.collect(), ..Question::new(&action, resource) }).map_err(refuse)
    };
    ask(&resource)?;
    // Renamed, a user is another resource, which must be allowed too.
    match (form.get("UserName"), form.get("NewUserName"), form.get("NewPath")) {
        (Some(name), new, path) if new.is_some() || path.is_some() => {
            let old = resource.rsplit_once('/').map_or("/", |(before, _)| before.split_once(":user").map_or("", |(_, p)| p));
            let path = path.map_or_else(|| format!("{old}/"), str::to_owned);
            let renamed = Kind::User.arn(asked, &path, new.unwrap_or(name));
            ask(&renamed)
        }
        _ => Ok(()),
    }
}

fn resource(asked: &Asked, action: &str, form: &Form) -> String {
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let path = form.get("Path");
    match action {
        "ListRoles" => format!("arn:aws:iam::{}:role{prefix}", asked.tenant),
        "ListUsers" => format!("arn:aws:iam::{}:user{prefix}", asked.tenant),
        "ListPolicies" => format!("arn:aws:iam::{}:policy{prefix}", asked.tenant),
        "CreatePolicy" => managed::arn(&asked.tenant, path.unwrap_or("/"), form.get("PolicyName").unwrap_or_default()),
        "GetAccountSummary" => "*".into(),
        _ => match (form.get("RoleName"), form.get("UserName"), form.get("PolicyArn")) {
            (Some(name), ..) => entity::arn_by_name(asked, Kind::Role, path, name),
            (_, Some(name), _) => entity::arn_by_name(asked, Kind::User, path, name),
            (.., Some(policy)) => policy.to_owned(),
            // Who names nobody means themselves.
            _ if action.contains("AccessKey") || action == "GetUser" => super::names::caller_arn(&asked.principal),
            _ => "*".into(),
        },
    }
}

fn done(asked: &Asked, action: &str, inner: Option<&str>) -> Answer {
    Ok(xml::success(action, NAMESPACE, inner, &asked.id.to_string()))
}

fn no_entity(text: String) -> WireError {
    WireError::new(404, "NoSuchEntity", text)
}

fn quota(name: &str, most: usize) -> WireError {
    WireError::new(409, "LimitExceeded", format!("Cannot exceed quota for {name}: {most}"))
}

fn invalid(text: impl Into<String>) -> WireError {
    WireError::new(400, "ValidationError", text)
}
