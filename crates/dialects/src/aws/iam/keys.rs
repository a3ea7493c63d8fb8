//! Users' access keys. A secret is shown once, when it is made.

use super::{
    Answer, done,
    entity::{self, Kind},
    form::{Form, Page},
    invalid, no_entity, quota, users,
};
use crate::aws::{
    fault::WireError,
    logs,
    rows::{self, AccessKeyRow},
    shared::Asked,
    sts, xml,
};
use model::Expect;
use ring::rand::{SecureRandom, SystemRandom};

const KEYS_MAX: usize = 2;

/// Random text of a secret's or a token's alphabet; an error when the machine gives no randomness.
pub fn secret(len: usize) -> Result<String, WireError> {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; len];
    SystemRandom::new().fill(&mut bytes).map_err(|_| WireError::internal("the machine gives no random bytes"))?;
    Ok(bytes.iter().map(|b| char::from(BASE64[usize::from(b & 63)])).collect())
}

/// Who a request is about: the user it names, or who sent it.
fn user<'a>(asked: &'a Asked, form: &'a Form) -> Result<&'a str, WireError> {
    if form.get("UserName").is_some() {
        return Kind::User.name(form);
    }
    entity::caller_name(asked).ok_or_else(|| invalid("Must specify userName when calling with non-User credentials"))
}

/// All keys of a user, by id.
pub fn of(asked: &Asked, user: &str) -> Result<Vec<(String, AccessKeyRow)>, WireError> {
    let mut keys = Vec::new();
    for row in &asked.platform().resources().list(&asked.tenant, rows::ACCESS_KEY, "", "", usize::MAX) {
        let key: AccessKeyRow = rows::decode(row)?;
        if key.user == user {
            keys.push((row.key.name.to_string(), key));
        }
    }
    Ok(keys)
}

pub async fn create(asked: &Asked, form: &Form) -> Answer {
    let user = user(asked, form)?;
    let _one = asked.shared.writing.lock().await;
    users::load(asked, user)?;
    if of(asked, user)?.len() >= KEYS_MAX {
        return Err(quota("AccessKeysPerUser", KEYS_MAX));
    }
    let id = sts::new_key_id("AKIA")?;
    let key = AccessKeyRow { user: user.to_owned(), secret: secret(40)?, active: true, created_ms: asked.shared.now_ms() };
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::ACCESS_KEY, &id, &key, Expect::Absent)]).await?;
    let mut out = String::from("<AccessKey>");
    xml::element(&mut out, "UserName", user);
    xml::element(&mut out, "AccessKeyId", &id);
    xml::element(&mut out, "Status", "Active");
    xml::element(&mut out, "SecretAccessKey", &key.secret);
    xml::element(&mut out, "CreateDate", &logs::time(key.created_ms));
    out.push_str("</AccessKey>");
    done(asked, "CreateAccessKey", Some(&out))
}

pub fn list(asked: &Asked, form: &Form) -> Answer {
    let user = user(asked, form)?;
    users::load(asked, user)?;
    let page = Page::of(form, of(asked, user)?);
    let out = page.render("AccessKeyMetadata", |out, id, key| {
        out.push_str("<member>");
        xml::element(out, "UserName", &key.user);
        xml::element(out, "AccessKeyId", id);
        xml::element(out, "Status", if key.active { "Active" } else { "Inactive" });
        xml::element(out, "CreateDate", &logs::time(key.created_ms));
        out.push_str("</member>");
    });
    done(asked, "ListAccessKeys", Some(&out))
}

fn load(asked: &Asked, form: &Form) -> Result<(String, AccessKeyRow), WireError> {
    let user = user(asked, form)?;
    let id = form.name("AccessKeyId", "accessKeyId", 128)?;
    let key: Option<AccessKeyRow> = asked.shared.row(&asked.tenant, rows::ACCESS_KEY, id)?;
    let key = key.filter(|k| k.user == user);
    Ok((id.to_owned(), key.ok_or_else(|| no_entity(format!("The Access Key with id {id} cannot be found.")))?))
}

pub async fn update(asked: &Asked, form: &Form) -> Answer {
    let active = match form.text("Status", "status", 16)? {
        "Active" => true,
        "Inactive" => false,
        other => {
            let text = "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive], not";
            return Err(invalid(format!("{text} {other:?}")));
        }
    };
    let _one = asked.shared.writing.lock().await;
    let (id, mut key) = load(asked, form)?;
    key.active = active;
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::ACCESS_KEY, id, &key, Expect::Any)]).await?;
    done(asked, "UpdateAccessKey", None)
}

pub async fn delete(asked: &Asked, form: &Form) -> Answer {
    let _one = asked.shared.writing.lock().await;
    let (id, _) = load(asked, form)?;
    asked.shared.commit(vec![rows::delete(&asked.tenant, rows::ACCESS_KEY, id)]).await?;
    done(asked, "DeleteAccessKey", None)
}
