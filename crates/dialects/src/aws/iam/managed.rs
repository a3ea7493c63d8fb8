//! Managed policies: the account's own, and AWS's, which every account has.

use super::{
    Answer, amazon, done,
    entity::Kind,
    form::{self, Form, Page},
    no_entity, quota,
};
use crate::aws::{
    fault::WireError,
    logs,
    rows::{self, PolicyRow, PolicyVersion, Rights, RoleRow, UserRow},
    shared::Asked,
    sts, xml,
};
use model::{DocumentKind, Expect, TenantId};
use std::collections::BTreeMap;

const POLICIES_MAX: usize = 1500;
const CHARS_MAX: usize = 6144;
/// What AWS's own policies are shown to be made at: they have no history here.
const AMAZON_MS: u64 = 1_420_070_400_000;

pub fn arn(tenant: &TenantId, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{tenant}:policy{path}{name}")
}

/// The name in the ARN of one of the account's own policies.
pub fn name_of<'a>(tenant: &TenantId, arn: &'a str) -> Option<&'a str> {
    let rest = arn.strip_prefix("arn:aws:iam::")?.strip_prefix(tenant.as_str())?.strip_prefix(":policy/")?;
    rest.rsplit('/').next()
}

fn not_found(arn: &str) -> WireError {
    no_entity(format!("Policy {arn} was not found."))
}

/// One of the account's own.
pub fn load(asked: &Asked, arn: &str) -> Result<(String, PolicyRow), WireError> {
    let name = name_of(&asked.tenant, arn).ok_or_else(|| not_found(arn))?;
    let row: Option<PolicyRow> = asked.shared.row(&asked.tenant, rows::POLICY, name)?;
    let row = row.filter(|p| self::arn(&asked.tenant, &p.path, name) == arn);
    Ok((name.to_owned(), row.ok_or_else(|| not_found(arn))?))
}

/// As [`load`], to be changed: AWS's can't be.
pub fn load_own(asked: &Asked, arn: &str) -> Result<(String, PolicyRow), WireError> {
    if amazon::find(arn).is_some() {
        return Err(WireError::new(403, "AccessDenied", "Policy is outside your own account."));
    }
    load(asked, arn)
}

pub fn exists(asked: &Asked, arn: &str) -> bool {
    amazon::find(arn).is_some() || load(asked, arn).is_ok()
}

/// A document that may be a managed policy's.
pub fn checked<'a>(asked: &Asked, form: &'a Form) -> Result<&'a str, WireError> {
    let document = form.document(asked, "PolicyDocument", "policyDocument", DocumentKind::Identity)?;
    if form::size(document) > CHARS_MAX {
        return Err(quota("PolicySize", CHARS_MAX));
    }
    Ok(document)
}

pub async fn save(asked: &Asked, name: &str, policy: &PolicyRow) -> Result<(), WireError> {
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::POLICY, name, policy, Expect::Any)]).await
}

/// Who has a policy attached, and who is bounded by it.
struct Uses {
    attached: Vec<(Kind, String, String)>,
    bounded: Vec<(Kind, String, String)>,
}

fn uses(asked: &Asked, arn: &str) -> Result<Uses, WireError> {
    let mut uses = Uses { attached: Vec::new(), bounded: Vec::new() };
    let mut add = |kind, name: &str, id: String, rights: &Rights| {
        let entry = (kind, name.to_owned(), id);
        if rights.attached.contains(arn) {
            uses.attached.push(entry.clone());
        }
        if rights.boundary.as_deref() == Some(arn) {
            uses.bounded.push(entry);
        }
    };
    let rows_of = |kind: Kind| asked.platform().resources().list(&asked.tenant, kind.rows(), "", "", usize::MAX);
    for row in &rows_of(Kind::Role) {
        let role: RoleRow = rows::decode(row)?;
        add(Kind::Role, &row.key.name, role.id, &role.rights);
    }
    for row in &rows_of(Kind::User) {
        let user: UserRow = rows::decode(row)?;
        add(Kind::User, &row.key.name, user.id, &user.rights);
    }
    Ok(uses)
}

/// How a policy is shown.
struct Shown<'a> {
    arn: String,
    name: &'a str,
    path: &'a str,
    id: String,
    description: &'a str,
    default: u32,
    created_ms: u64,
    updated_ms: u64,
    tags: &'a BTreeMap<String, String>,
}

impl Shown<'_> {
    /// With what only one policy's own answer has.
    fn whole(&self, asked: &Asked) -> Result<String, WireError> {
        let mut out = self.short(asked, "Policy")?;
        out.truncate(out.len() - "</Policy>".len());
        if !self.description.is_empty() {
            xml::element(&mut out, "Description", self.description);
        }
        form::write_tags(&mut out, self.tags);
        out.push_str("</Policy>");
        Ok(out)
    }

    fn short(&self, asked: &Asked, element: &str) -> Result<String, WireError> {
        let uses = uses(asked, &self.arn)?;
        let mut out = format!("<{element}>");
        xml::element(&mut out, "PolicyName", self.name);
        xml::element(&mut out, "PolicyId", &self.id);
        xml::element(&mut out, "Arn", &self.arn);
        xml::element(&mut out, "Path", self.path);
        xml::element(&mut out, "DefaultVersionId", &format!("v{}", self.default));
        xml::element(&mut out, "AttachmentCount", &uses.attached.len().to_string());
        xml::element(&mut out, "PermissionsBoundaryUsageCount", &uses.bounded.len().to_string());
        xml::element(&mut out, "IsAttachable", "true");
        xml::element(&mut out, "CreateDate", &logs::time(self.created_ms));
        xml::element(&mut out, "UpdateDate", &logs::time(self.updated_ms));
        out.push_str(&format!("</{element}>"));
        Ok(out)
    }
}

fn own<'a>(asked: &Asked, name: &'a str, policy: &'a PolicyRow) -> Shown<'a> {
    Shown {
        arn: arn(&asked.tenant, &policy.path, name),
        name,
        path: &policy.path,
        id: policy.id.clone(),
        description: &policy.description,
        default: policy.default,
        created_ms: policy.created_ms,
        updated_ms: policy.updated_ms,
        tags: &policy.tags,
    }
}

fn amazons(managed: &amazon::Managed) -> Shown<'_> {
    static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();
    Shown {
        arn: managed.arn(),
        name: &managed.name,
        path: &managed.path,
        id: sts::fixed_id("ANPA", &managed.name),
        description: &managed.description,
        default: 1,
        created_ms: AMAZON_MS,
        updated_ms: AMAZON_MS,
        tags: &NO_TAGS,
    }
}

pub async fn create(asked: &Asked, form: &Form) -> Answer {
    let name = form.name("PolicyName", "policyName", 128)?;
    let document = checked(asked, form)?;
    let (path, tags) = (form.path()?, form.tags()?);
    let description = form.get("Description").unwrap_or_default();
    if description.chars().count() > 1000 {
        return Err(super::invalid(
            "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000",
        ));
    }
    let shared = &asked.shared;
    let _one = shared.writing.lock().await;
    if shared.raw(&asked.tenant, rows::POLICY, name).is_some() {
        let text = format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(WireError::new(409, "EntityAlreadyExists", text));
    }
    if shared.platform.resources().list(&asked.tenant, rows::POLICY, "", "", POLICIES_MAX).len() >= POLICIES_MAX {
        return Err(quota("PoliciesPerAccount", POLICIES_MAX));
    }
    let now = shared.now_ms();
    let policy = PolicyRow {
        id: sts::new_id("ANPA"),
        path: path.to_owned(),
        description: description.to_owned(),
        created_ms: now,
        updated_ms: now,
        default: 1,
        last: 1,
        versions: BTreeMap::from([(1, PolicyVersion { document: document.to_owned(), created_ms: now })]),
        tags,
    };
    save(asked, name, &policy).await?;
    let mut out = own(asked, name, &policy).short(asked, "Policy")?;
    if !policy.tags.is_empty() {
        out = own(asked, name, &policy).whole(asked)?;
    }
    done(asked, "CreatePolicy", Some(&out))
}

pub fn get(asked: &Asked, form: &Form) -> Answer {
    let arn = form.policy_arn()?;
    if let Some(managed) = amazon::find(arn) {
        return done(asked, "GetPolicy", Some(&amazons(managed).whole(asked)?));
    }
    let (name, policy) = load(asked, arn)?;
    done(asked, "GetPolicy", Some(&own(asked, &name, &policy).whole(asked)?))
}

pub fn list(asked: &Asked, form: &Form) -> Answer {
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let (mine, theirs) = match form.get("Scope").unwrap_or("All") {
        "All" => (true, true),
        "Local" => (true, false),
        "AWS" => (false, true),
        other => {
            let text = "1 validation error detected: Value at 'scope' failed to satisfy constraint: Member must satisfy enum value set: [All, AWS, Local], not";
            return Err(super::invalid(format!("{text} {other:?}")));
        }
    };
    let mut all: BTreeMap<String, Shown<'_>> = BTreeMap::new();
    let mut owned = Vec::new();
    if mine {
        for row in &asked.platform().resources().list(&asked.tenant, rows::POLICY, "", "", usize::MAX) {
            owned.push((row.key.name.to_string(), rows::decode::<PolicyRow>(row)?));
        }
    }
    // The account's own come first where both have a name.
    all.extend(owned.iter().map(|(name, policy)| (format!("{name}/0"), own(asked, name, policy))));
    if theirs {
        all.extend(amazon::all().iter().map(|managed| (format!("{}/1", managed.name), amazons(managed))));
    }
    let mut shown = Vec::new();
    for (key, policy) in all.into_iter().filter(|(_, p)| p.path.starts_with(prefix)) {
        let used = || uses(asked, &policy.arn).map(|u| !u.attached.is_empty());
        if form.get("OnlyAttached") != Some("true") || used()? {
            shown.push((key, policy));
        }
    }
    let Page { items, more } = Page::of(form, shown);
    let items: Result<Vec<_>, WireError> =
        items.into_iter().map(|(key, policy)| Ok((key, policy.short(asked, "member")?))).collect();
    let out = Page { items: items?, more }.render("Policies", |out, _, text| out.push_str(text));
    done(asked, "ListPolicies", Some(&out))
}

pub async fn delete(asked: &Asked, form: &Form) -> Answer {
    let arn = form.policy_arn()?;
    let _one = asked.shared.writing.lock().await;
    let (name, policy) = load_own(asked, arn)?;
    let conflict = |text: &str| Err(WireError::new(409, "DeleteConflict", text));
    let uses = uses(asked, arn)?;
    if !uses.attached.is_empty() || !uses.bounded.is_empty() {
        return conflict("Cannot delete a policy attached to entities.");
    }
    if policy.versions.len() > 1 {
        return conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        );
    }
    asked.shared.commit(vec![rows::delete(&asked.tenant, rows::POLICY, name)]).await?;
    done(asked, "DeletePolicy", None)
}

pub fn entities(asked: &Asked, form: &Form) -> Answer {
    let arn = form.policy_arn()?;
    if !exists(asked, arn) {
        return Err(not_found(arn));
    }
    let uses = uses(asked, arn)?;
    let found = match form.get("PolicyUsageFilter") {
        Some("PermissionsBoundary") => uses.bounded,
        _ => uses.attached,
    };
    let wanted = |kind: Kind| form.get("EntityFilter").is_none_or(|filter| filter == kind.title());
    // One list of both, so that a page may end anywhere in it.
    let all = found.into_iter().filter(|(kind, ..)| wanted(*kind));
    let mut all: Vec<_> = all.map(|(kind, name, id)| (format!("{}/{name}", kind.word()), (kind, name, id))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let page = Page::of(form, all);
    let mut out = String::from("<PolicyGroups></PolicyGroups>");
    for kind in [Kind::User, Kind::Role] {
        out.push_str(&format!("<Policy{}s>", kind.title()));
        for (_, (_, name, id)) in page.items.iter().filter(|(_, item)| item.0 == kind) {
            out.push_str("<member>");
            xml::element(&mut out, &format!("{}Name", kind.title()), name);
            xml::element(&mut out, &format!("{}Id", kind.title()), id);
            out.push_str("</member>");
        }
        out.push_str(&format!("</Policy{}s>", kind.title()));
    }
    xml::element(&mut out, "IsTruncated", if page.more { "true" } else { "false" });
    if let (true, Some((last, _))) = (page.more, page.items.last()) {
        xml::element(&mut out, "Marker", last);
    }
    done(asked, "ListEntitiesForPolicy", Some(&out))
}
