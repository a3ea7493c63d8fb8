//! The policies of a role or a user: inline ones, attached ones, the boundary; and tags, which conditions may ask for.

use super::{
    Answer, done,
    entity::{Entity, Kind},
    form::{self, Form, Page},
    managed, no_entity, quota,
};
use crate::aws::{fault::WireError, percent, shared::Asked, xml};
use model::DocumentKind;

/// Characters of all inline policies (IAM User Guide, "IAM and AWS STS quotas"; white space doesn't count).
const ROLE_CHARS_MAX: usize = 10_240;
const USER_CHARS_MAX: usize = 2048;
const ATTACHED_MAX: usize = 10;

fn policy_name(form: &Form) -> Result<&str, WireError> {
    form.name("PolicyName", "policyName", 128)
}

/// One entity, changed and saved, one change at a time.
async fn change(
    asked: &Asked,
    form: &Form,
    kind: Kind,
    change: impl FnOnce(&mut Entity) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let name = kind.name(form)?;
    let _one = asked.shared.writing.lock().await;
    let mut entity = kind.load(asked, name)?;
    change(&mut entity)?;
    entity.save(asked).await
}

pub async fn put(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    let policy = policy_name(form)?;
    let text = form.document(asked, "PolicyDocument", "policyDocument", DocumentKind::Identity)?;
    change(asked, form, kind, |entity| {
        let name = entity.name.clone();
        let policies = &mut entity.rights_mut().policies;
        policies.insert(policy.to_owned(), text.to_owned());
        let most = if kind == Kind::Role { ROLE_CHARS_MAX } else { USER_CHARS_MAX };
        if policies.values().map(|p| form::size(p)).sum::<usize>() > most {
            let text = format!("Maximum policy size of {most} bytes exceeded for {} {name}", kind.word());
            return Err(WireError::new(409, "LimitExceeded", text));
        }
        Ok(())
    })
    .await?;
    done(asked, &format!("Put{}Policy", kind.title()), None)
}

fn no_policy(kind: Kind, policy: &str) -> WireError {
    no_entity(format!("The {} policy with name {policy} cannot be found.", kind.word()))
}

pub fn get(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    let (name, policy) = (kind.name(form)?, policy_name(form)?);
    let entity = kind.load(asked, name)?;
    let text = entity.rights().policies.get(policy).ok_or_else(|| no_policy(kind, policy))?;
    let mut out = String::new();
    xml::element(&mut out, &format!("{}Name", kind.title()), name);
    xml::element(&mut out, "PolicyName", policy);
    xml::element(&mut out, "PolicyDocument", &percent::encode(text));
    done(asked, &format!("Get{}Policy", kind.title()), Some(&out))
}

pub fn list(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    let entity = kind.load(asked, kind.name(form)?)?;
    let page = Page::of(form, entity.rights().policies.keys().map(|name| (name.clone(), ())));
    let out = page.render("PolicyNames", |out, name, ()| xml::element(out, "member", name));
    done(asked, &format!("List{}Policies", kind.title()), Some(&out))
}

pub async fn delete(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    let policy = policy_name(form)?;
    let gone = |entity: &mut Entity| match entity.rights_mut().policies.remove(policy) {
        Some(_) => Ok(()),
        None => Err(no_policy(kind, policy)),
    };
    change(asked, form, kind, gone).await?;
    done(asked, &format!("Delete{}Policy", kind.title()), None)
}

fn attachable(asked: &Asked, arn: &str) -> Result<(), WireError> {
    match managed::exists(asked, arn) {
        true => Ok(()),
        false => Err(no_entity(format!("Policy {arn} does not exist or is not attachable."))),
    }
}

pub async fn attach(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    let arn = form.policy_arn()?;
    change(asked, form, kind, |entity| {
        attachable(asked, arn)?;
        let attached = &mut entity.rights_mut().attached;
        attached.insert(arn.to_owned());
        if attached.len() > ATTACHED_MAX {
            return Err(quota(&format!("PoliciesPer{}", kind.title()), ATTACHED_MAX));
        }
        Ok(())
    })
    .await?;
    done(asked, &format!("Attach{}Policy", kind.title()), None)
}

pub async fn detach(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    let arn = form.policy_arn()?;
    let gone = |entity: &mut Entity| match entity.rights_mut().attached.remove(arn) {
        true => Ok(()),
        false => Err(no_entity(format!("Policy {arn} was not found."))),
    };
    change(asked, form, kind, gone).await?;
    done(asked, &format!("Detach{}Policy", kind.title()), None)
}

pub fn attached(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    let entity = kind.load(asked, kind.name(form)?)?;
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let inside = |arn: &&String| arn.split_once(":policy").is_some_and(|(_, path)| path.starts_with(prefix));
    let page = Page::of(form, entity.rights().attached.iter().filter(inside).map(|arn| (arn.clone(), ())));
    let out = page.render("AttachedPolicies", |out, arn, ()| {
        out.push_str("<member>");
        xml::element(out, "PolicyName", arn.rsplit('/').next().unwrap_or_default());
        xml::element(out, "PolicyArn", arn);
        out.push_str("</member>");
    });
    done(asked, &format!("ListAttached{}Policies", kind.title()), Some(&out))
}

/// The boundary that a request wants to set, if it names one.
pub fn boundary(asked: &Asked, form: &Form) -> Result<Option<String>, WireError> {
    let Some(arn) = form.get("PermissionsBoundary") else { return Ok(None) };
    match managed::exists(asked, arn) {
        true => Ok(Some(arn.to_owned())),
        false => Err(no_entity(format!("Scope ARN: {arn} does not exist or is not attachable."))),
    }
}

pub async fn bound(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    form.text("PermissionsBoundary", "permissionsBoundary", 2048)?;
    change(asked, form, kind, |entity| {
        entity.rights_mut().boundary = boundary(asked, form)?;
        Ok(())
    })
    .await?;
    done(asked, &format!("Put{}PermissionsBoundary", kind.title()), None)
}

pub async fn unbound(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    change(asked, form, kind, |entity| match entity.rights_mut().boundary.take() {
        Some(_) => Ok(()),
        None => Err(no_entity(format!("{} does not have a permission boundary.", entity.name))),
    })
    .await?;
    done(asked, &format!("Delete{}PermissionsBoundary", kind.title()), None)
}

pub async fn tag(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    kind.name(form)?;
    let added = form.tags()?;
    change(asked, form, kind, |entity| {
        let tags = &mut entity.rights_mut().tags;
        tags.extend(added);
        form::tags_fit(tags)
    })
    .await?;
    done(asked, &format!("Tag{}", kind.title()), None)
}

pub async fn untag(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    change(asked, form, kind, |entity| {
        form.members("TagKeys").for_each(|key| {
            entity.rights_mut().tags.remove(key);
        });
        Ok(())
    })
    .await?;
    done(asked, &format!("Untag{}", kind.title()), None)
}

pub fn tags(asked: &Asked, form: &Form, kind: Kind) -> Answer {
    let entity = kind.load(asked, kind.name(form)?)?;
    let page = Page::of(form, entity.rights().tags.clone());
    let out = page.render("Tags", |out, key, value| form::write_tag(out, key, value));
    done(asked, &format!("List{}Tags", kind.title()), Some(&out))
}
