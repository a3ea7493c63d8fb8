//! Variables that are secrets: the reference is what is stored and shown, and what the engine is told to fill in.

use super::{Bench, creation};
use crate::aws::lambda::secrets::{User, users};
use bytes::Bytes;
use model::{
    Expect, Key, TenantId, Write,
    ports::Platform,
    secret::{KIND, SecretState, SecretUse},
};
use serde_json::{Value, json};

const F: &str = "/2015-03-31/functions";

fn tenant() -> TenantId {
    TenantId::new("000000000000")
}

fn with(name: &str, variables: &Value) -> Value {
    let mut body = creation(name);
    body["Environment"] = json!({ "Variables": variables });
    body
}

impl Bench {
    async fn secret(&self, name: &str) {
        let write = Write::Put { key: Key::new(&tenant(), KIND, name), body: Bytes::from_static(b"{}"), expect: Expect::Any };
        Platform::resources(&*self.platform).commit(vec![write]).await.unwrap();
    }
}

#[tokio::test]
async fn a_reference_is_stored_shown_and_told_the_engine() {
    let bench = Bench::new().await;
    bench.secret("db/x").await;
    let variables = json!({ "AA": "plain", "BB": "myna:secret:db/x", "CC": "myna:secret::db/x" });
    assert_eq!(bench.json("POST", F, with("f", &variables)).await.status, 201);
    assert_eq!(bench.settled("f").await["Environment"]["Variables"], variables);
    let function = bench.platform.function("f");
    let unit = &function.versions["$LATEST"];
    let env: Vec<(&str, &str)> = unit.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(env, [("AA", "plain"), ("BB", ""), ("CC", "myna:secret:db/x")]);
    let used = SecretUse { variable: "BB".into(), secret: "db/x".into(), state: SecretState::Missing };
    assert_eq!((unit.secrets.as_slice(), unit.made), ([used].as_slice(), unit.revision));
    // Whoever uses it is found in every version, published ones too.
    assert_eq!(bench.json("POST", &format!("{F}/f/versions"), json!({})).await.status, 201);
    let clear = json!({ "Environment": { "Variables": {} } });
    assert_eq!(bench.json("PUT", &format!("{F}/f/configuration"), clear).await.status, 200);
    bench.settled("f").await;
    let user = User { function: "f".into(), version: "1".into(), variable: "BB".into() };
    let found = users(&*bench.platform, &tenant(), Some("db/x")).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("db/x".to_owned(), user)]);
    assert!(users(&*bench.platform, &tenant(), Some("db")).unwrap().is_empty());
    assert!(users(&*bench.platform, &TenantId::new("111111111111"), None).unwrap().is_empty());
}

#[tokio::test]
async fn a_reference_that_leads_nowhere_is_refused_with_what_to_do() {
    let bench = Bench::new().await;
    bench.secret("there").await;
    bench.function("f").await;
    for (value, says) in [
        ("myna:secret:none", "myna secret put none"),
        ("myna:secret:", "1 to 256 characters"),
        ("myna:secret:../there", "no part between slashes"),
        ("myna:secret:the re", "letters, digits"),
    ] {
        let body = json!({ "Environment": { "Variables": { "TOKEN": value } } });
        for got in [
            bench.json("PUT", &format!("{F}/f/configuration"), body.clone()).await,
            bench.json("POST", F, with("g", &body["Environment"]["Variables"])).await,
        ] {
            let (status, code, text) = got.error();
            assert_eq!((status, &*code), (400, "InvalidParameterValueException"), "{value}: {text}");
            assert!(text.contains("Environment.Variables.TOKEN: ") && text.contains(says), "{value}: {text}");
        }
    }
    // What was accepted may be changed otherwise, whatever became of its secret.
    let body = json!({ "Environment": { "Variables": { "TOKEN": "myna:secret:there" } } });
    assert_eq!(bench.json("PUT", &format!("{F}/f/configuration"), body).await.status, 200);
    bench.settled("f").await;
    let gone = Write::Delete { key: Key::new(&tenant(), KIND, "there"), expect: Expect::Any };
    Platform::resources(&*bench.platform).commit(vec![gone]).await.unwrap();
    assert_eq!(bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Timeout": 9 })).await.status, 200);
}
