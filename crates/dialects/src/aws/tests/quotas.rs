//! H16: whoever deploys without end meets an end.

use super::{Bench, creation};
use crate::aws::{fault::WireError, limits, rows};
use bytes::Bytes;
use model::{
    Cause, Expect, Fault, Key, Principal, TenantId, Write,
    ports::{Platform, Resources},
};
use serde_json::{Value, json};

const F: &str = "/2015-03-31/functions";

fn tenant() -> TenantId {
    TenantId::new("000000000000")
}

impl Bench {
    fn rows(&self) -> &dyn Resources {
        Platform::resources(&*self.platform)
    }
    /// The row of the first one, under more names.
    async fn copy(&self, kind: &'static str, first: &str, names: impl Iterator<Item = String>) {
        let body = self.rows().get(&Key::new(&tenant(), kind, first)).unwrap().body;
        let put = |name| Write::Put { key: Key::new(&tenant(), kind, name), body: body.clone(), expect: Expect::Absent };
        self.rows().commit(names.map(put).collect()).await.unwrap();
    }
    async fn full(&self, path: &str, body: Value) {
        let (status, code, text) = self.json("POST", path, body).await.error();
        assert_eq!((status, &*code), (400, "CodeStorageExceededException"), "{text}");
        assert!(text.contains("at most 10000"), "{text}");
    }
}

#[tokio::test]
async fn h16_an_account_holds_so_many_functions() {
    let bench = Bench::new().await;
    bench.function("f").await;
    bench.copy(rows::FUNCTION, "f", (1..model::Quota::default().functions).map(|n| format!("g{n}"))).await;
    bench.full(F, creation("one-more")).await;
    assert_eq!(bench.lambda("GET", &format!("{F}/one-more"), "").await.status, 404);
    // What is there can still be changed, and makes room when it goes.
    assert_eq!(bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Timeout": 9 })).await.status, 200);
    assert_eq!(bench.lambda("DELETE", &format!("{F}/g1"), "").await.status, 204);
    bench.function("one-more").await;
    bench.full(F, creation("and-another")).await;
}

#[tokio::test]
async fn h16_a_function_holds_so_many_versions() {
    let bench = Bench::new().await;
    bench.function("f").await;
    assert_eq!(bench.json("POST", &format!("{F}/f/versions"), json!({})).await.json()["Version"], "1");
    let most = limits::VERSIONS_MAX as u64;
    bench.copy(rows::VERSION, &rows::version_name("f", 1), (2..=most).map(|n| rows::version_name("f", n))).await;
    let key = Key::new(&tenant(), rows::FUNCTION, "f");
    let mut row: Value = serde_json::from_slice(&bench.rows().get(&key).unwrap().body).unwrap();
    row["last_version"] = json!(most);
    bench.rows().commit(vec![Write::Put { key, body: Bytes::from(row.to_string()), expect: Expect::Any }]).await.unwrap();
    bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Timeout": 9 })).await;
    bench.settled("f").await;
    bench.full(&format!("{F}/f/versions"), json!({})).await;
    // A deleted version makes room, and its number is not given again.
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f?Qualifier=7"), "").await.status, 204);
    assert_eq!(bench.json("POST", &format!("{F}/f/versions"), json!({})).await.json()["Version"], (most + 1).to_string());
}

/// Another account that a role trusts may give itself many sessions of it, and never all that there is room for.
#[tokio::test]
async fn h16_sessions_of_other_accounts_leave_room_for_the_roles_own() {
    let bench = Bench::new().await;
    let everybody = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}"#;
    let trust: String = everybody.bytes().map(|b| format!("%{b:02X}")).collect();
    let role = format!("Action=CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}");
    assert_eq!(bench.query("iam", &role, bench.platform.root()).await.status, 200);
    let other = || Principal::Root { tenant: TenantId::new("111111111111") };
    let assume = "Action=AssumeRole&RoleSessionName=mine&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fr";
    let first = bench.query("sts", assume, other()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let id = bench.rows().list(&tenant(), rows::SESSION, "", "", 2)[0].key.name.to_string();
    bench.copy(rows::SESSION, &id, (1..5_000).map(|n| format!("ASIA{n}"))).await;
    let refused = bench.query("sts", assume, other()).await;
    assert!(refused.status == 400 && refused.text().contains("Throttling"), "{}", refused.text());
    let own = bench.query("sts", assume, bench.platform.root()).await;
    assert_eq!(own.status, 200, "{}", own.text());
}

/// A full account is no matter of trying again.
#[test]
fn h16_rows_that_are_used_up_are_not_called_busy() {
    let error = WireError::from(Fault::new(Cause::Exhausted, "it has its rows already").detail("rows"));
    assert_eq!((error.status, error.code, error.retry_after), (400, "CodeStorageExceededException", None));
    let busy = WireError::from(Fault::new(Cause::Exhausted, "no memory is left"));
    assert_eq!((busy.status, busy.code), (429, "TooManyRequestsException"));
}
