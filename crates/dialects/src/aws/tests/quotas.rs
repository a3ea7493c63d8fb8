//! H16: whoever deploys without end meets an end.

use super::{Bench, creation};
use crate::aws::{fault::WireError, limits, rows};
use bytes::Bytes;
use model::{
    Cause, Expect, Fault, Key, TenantId, Write,
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

/// A full account is no matter of trying again.
#[test]
fn h16_rows_that_are_used_up_are_not_called_busy() {
    let error = WireError::from(Fault::new(Cause::Exhausted, "it has its rows already").detail("rows"));
    assert_eq!((error.status, error.code, error.retry_after), (400, "CodeStorageExceededException", None));
    let busy = WireError::from(Fault::new(Cause::Exhausted, "no memory is left"));
    assert_eq!((busy.status, busy.code), (429, "TooManyRequestsException"));
}
