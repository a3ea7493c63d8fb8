//! How requests name a layer: by its name or its ARN, and a version by a number besides or by an ARN that ends in one.

use super::super::{Op, policy::document};
use crate::aws::{
    check::Checks,
    fault::WireError,
    names::{account_id, all_digits, word},
    rows::{self, LayerVersionRow},
};
use model::{Ask, Expect, TenantId};
use std::sync::Arc;

const NAME_LENGTH_MAX: usize = 140;
const NAME_PATTERN: &str = r"(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+";

/// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`, perhaps with `:VERSION`.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerArn<'a> {
    pub region: &'a str,
    pub account: &'a str,
    pub name: &'a str,
    pub version: Option<u64>,
}

pub fn parse(text: &str) -> Option<LayerArn<'_>> {
    let fields: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "lambda", region, account, "layer", name, version @ ..] = &fields[..] else { return None };
    let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let version = match version {
        [] => None,
        [number] if all_digits(number) => Some(number.parse().ok()?),
        _ => return None,
    };
    let whole = plain(partition) && plain(region) && account_id(account) && word(name) && text.len() <= NAME_LENGTH_MAX;
    whole.then_some(LayerArn { region, account, name, version })
}

pub fn layer_arn(region: &str, account: &TenantId, name: &str) -> String {
    format!("arn:aws:lambda:{region}:{account}:layer:{name}")
}

pub fn version_arn(region: &str, account: &TenantId, name: &str, number: u64) -> String {
    format!("{}:{number}", layer_arn(region, account, name))
}

/// A published version with the revision under which it was read.
pub struct Found {
    pub name: String,
    pub version: LayerVersionRow,
    pub expect: Expect,
}

impl Op {
    /// The layer that the path names.
    pub(super) fn layer(&self) -> Result<String, WireError> {
        let text = self.label(0);
        let mut checks = Checks::default();
        checks.length(text, "layerName", 1, NAME_LENGTH_MAX);
        let arn = parse(text).filter(|a| a.version.is_none());
        if arn.is_none() && !word(text) {
            checks.pattern(text, "layerName", NAME_PATTERN);
        }
        checks.into_result()?;
        let Some(arn) = arn else { return Ok(text.to_owned()) };
        self.own(&arn, text)?;
        Ok(arn.name.to_owned())
    }

    /// A version that another account here has, when its policy lets this caller use it.
    pub(super) fn shared_version(
        &self,
        arn: &LayerArn<'_>,
        text: &str,
    ) -> Result<Option<(TenantId, LayerVersionRow)>, WireError> {
        let owner = TenantId::new(arn.account);
        let Some(number) = arn.version.filter(|_| owner != self.asked.tenant && arn.region == self.asked.region()) else {
            return Ok(None);
        };
        let name = rows::version_name(arn.name, number);
        let row: Option<LayerVersionRow> = self.asked.shared.row(&owner, rows::LAYER_VERSION, &name)?;
        let Some(version) = row.filter(|version| !version.policy.is_empty()) else { return Ok(None) };
        let policy = Arc::from(document(&version.policy));
        let allowed = self.asked.platform().policy().decide(&Ask {
            principal: &self.asked.principal,
            action: "lambda:GetLayerVersion",
            resource: text,
            owner: &owner,
            resource_policy: Some(&policy),
            trust: false,
            context: &[],
            now_ms: self.asked.shared.now_ms(),
        });
        Ok(allowed.allowed().then_some((owner, version)))
    }

    /// What is somebody else's, or elsewhere, is not to be had here.
    pub(super) fn own(&self, arn: &LayerArn<'_>, text: &str) -> Result<(), WireError> {
        if arn.account == self.asked.tenant.as_str() && arn.region == self.asked.region() {
            return Ok(());
        }
        let action = format!("lambda:{}", self.operation.name);
        let who = crate::aws::names::caller_arn(&self.asked.principal);
        Err(WireError::access_denied(format!(
            "User: {who} is not authorized to perform: {action} on resource: {text} because no resource-based policy allows the {action} action"
        )))
    }

    pub(super) fn number(&self) -> Result<u64, WireError> {
        let text = self.label(1);
        let number: i64 =
            text.parse().map_err(|_| WireError::serialization(format!("VersionNumber: expected a number, found {text:?}")))?;
        u64::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| WireError::invalid("Layer Version Cannot be less than 1"))
    }

    /// The version that the path names; `absent` words that there is none.
    pub(super) fn layer_version(&self, absent: impl FnOnce(String) -> WireError) -> Result<Found, WireError> {
        let (name, number) = (self.layer()?, self.number()?);
        match self.stored(&name, number)? {
            Some(found) => Ok(found),
            None => Err(absent(version_arn(self.asked.region(), &self.asked.tenant, &name, number))),
        }
    }

    pub(super) fn stored(&self, name: &str, number: u64) -> Result<Option<Found>, WireError> {
        let row = self.asked.shared.raw(&self.asked.tenant, rows::LAYER_VERSION, &rows::version_name(name, number));
        let Some(row) = row else { return Ok(None) };
        let expect = Expect::Revision(row.revision);
        Ok(Some(Found { name: name.to_owned(), version: rows::decode(&row)?, expect }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_taken_apart_and_nothing_else_is_taken_for_one() {
        let whole = parse("arn:aws:lambda:us-east-1:123456789012:layer:my_layer:7").unwrap();
        assert_eq!(whole, LayerArn { region: "us-east-1", account: "123456789012", name: "my_layer", version: Some(7) });
        assert_eq!(parse("arn:aws-cn:lambda:cn-north-1:123456789012:layer:x").unwrap().version, None);
        for bad in [
            "x",
            "arn:aws:lambda:us-east-1:12:layer:x:1",
            "arn:aws:lambda:us-east-1:123456789012:function:x:1",
            "arn:aws:lambda:us-east-1:123456789012:layer:x/y:1",
            "arn:aws:lambda:us-east-1:123456789012:layer:x:one",
            "arn:aws:lambda:us-east-1:123456789012:layer:x:1:2",
            "arn:aws:lambda:us-east-1:123456789012:layer::1",
            "arn:aws:lambda:us-east-1:123456789012:layer:x:99999999999999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
