//! Versions and aliases: what was published stays as it was, and an alias decides who gets what.

use myna_tests::{Platform, Result, Test, Value, ensure, json, tests};
use std::collections::BTreeMap;

pub const ALL: &[Test] = tests![
    a_published_version_stays_as_it_was,
    an_alias_divides_its_calls_by_weight,
    publishing_twice_without_a_change_makes_one_version,
];

fn source(answer: &str) -> String {
    format!("def handler(event, context):\n    return ['{answer}', context.function_version]\n")
}

fn a_published_version_stays_as_it_was() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("dated", &source("first"))?;
    let one = f.api("POST", "/versions", &json!({"Description": "the first"}))?;
    ensure!(one["Version"] == "1", "{one}");
    f.update(&source("second"))?;
    let answer = f.invoke_bytes("1", b"{}", &[])?;
    ensure!(answer.json()? == json!(["first", "1"]) && answer.version.as_deref() == Some("1"), "{}", answer.text());
    ensure!(f.call(json!({}))? == json!(["second", "$LATEST"]));
    let unknown = f.invoke_bytes("7", b"{}", &[])?;
    ensure!(unknown.status == 404, "{}", unknown.text());
    Ok(())
}

fn an_alias_divides_its_calls_by_weight() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("split", &source("a"))?;
    f.api("POST", "/versions", &json!({}))?;
    f.update(&source("b"))?;
    f.api("POST", "/versions", &json!({}))?;
    let weights = json!({"Name": "live", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}});
    f.api("POST", "/aliases", &weights)?;
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        let answer = f.invoke_bytes("live", b"{}", &[])?;
        let body = answer.json()?;
        ensure!(body[1].as_str() == answer.version.as_deref(), "the header names the version that ran: {answer:?}");
        *counts.entry(body[0].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    // 50 are expected; eight standard deviations off would be an error of ours, not of chance.
    let second = counts.get("b").copied().unwrap_or(0);
    ensure!((2..=98).contains(&second) && counts.len() == 2, "{counts:?}");
    f.api("PUT", "/aliases/live", &json!({"FunctionVersion": "2", "RoutingConfig": {"AdditionalVersionWeights": {}}}))?;
    ensure!(f.invoke_bytes("live", b"{}", &[])?.json()? == json!(["b", "2"]));
    Ok(())
}

fn publishing_twice_without_a_change_makes_one_version() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("same", &source("x"))?;
    let numbers: Vec<Value> =
        (0..2).map(|_| Ok(f.api("POST", "/versions", &json!({}))?["Version"].clone())).collect::<Result<_>>()?;
    ensure!(numbers == ["1", "1"], "{numbers:?}");
    Ok(())
}
