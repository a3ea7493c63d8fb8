//! How much of everything an account has.

use super::{Answer, done};
use crate::aws::{rows, shared::Asked, xml};

pub fn summary(asked: &Asked) -> Answer {
    let count = |kind| asked.platform().resources().list(&asked.tenant, kind, "", "", usize::MAX).len();
    let mut versions = 0;
    for row in &asked.platform().resources().list(&asked.tenant, rows::POLICY, "", "", usize::MAX) {
        versions += rows::decode::<rows::PolicyRow>(row)?.versions.len();
    }
    let entries = [
        ("Users", count(rows::USER)),
        ("UsersQuota", 5000),
        ("Roles", count(rows::ROLE)),
        ("RolesQuota", 1000),
        ("Policies", count(rows::POLICY)),
        ("PoliciesQuota", 1500),
        ("PolicyVersionsInUse", versions),
        ("PolicySizeQuota", 6144),
        ("VersionsPerPolicyQuota", 5),
        ("AccessKeysPerUserQuota", 2),
        ("AttachedPoliciesPerUserQuota", 10),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("UserPolicySizeQuota", 2048),
        ("RolePolicySizeQuota", 10_240),
        ("AssumeRolePolicySizeQuota", 2048),
        ("AccountAccessKeysPresent", 1),
        ("AccountMFAEnabled", 0),
    ];
    let mut out = String::from("<SummaryMap>");
    for (key, value) in entries {
        out.push_str("<entry>");
        xml::element(&mut out, "key", key);
        xml::element(&mut out, "value", &value.to_string());
        out.push_str("</entry>");
    }
    out.push_str("</SummaryMap>");
    done(asked, "GetAccountSummary", Some(&out))
}
