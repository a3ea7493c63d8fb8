//! What asking for permission costs a call: the evaluator as it is asked, with what a caller of a function usually brings along.

use super::ROUNDS;
use crate::{server::Bench, table::Row};
use model::{Ask, InstanceId, Principal, TenantId, ports::Policy};
use policy::{Brought, Document, Evaluator, IdentityDocuments};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const ASKED: u32 = 100_000;
const GOAL: Duration = Duration::from_micros(5);

/// A role's: what may be logged, what may be called, and what never.
const OF_ROLE: [&str; 3] = [
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}]}"#,
    r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::uploads/${aws:PrincipalAccount}/*"},
        {"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:000000000000:function:worker-*",
         "Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}]}"#,
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","NotAction":["lambda:*","logs:*","s3:*"],"Resource":"*"}]}"#,
];

/// A function's own, with ten statements, the last of which is about this caller.
fn of_function() -> Arc<str> {
    let statement = |n: usize, who: &str| {
        format!(
            r#"{{"Sid":"s{n}","Effect":"Allow","Principal":{who},"Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:000000000000:function:worker-1"}}"#
        )
    };
    let mut all: Vec<_> = (0..9).map(|n| statement(n, &format!(r#"{{"AWS":"arn:aws:iam::000000000000:user/u{n}"}}"#))).collect();
    all.push(statement(9, r#"{"AWS":"arn:aws:iam::000000000000:role/caller"}"#));
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, all.join(",")).into()
}

struct One(Arc<Brought>);

impl IdentityDocuments for One {
    fn of(&self, _: &Principal) -> Arc<Brought> {
        self.0.clone()
    }
}

pub fn rows(_: &Bench) -> anyhow::Result<Vec<Row>> {
    let parse = |text: &&str| Document::parse(text).map(Arc::new).map_err(|e| anyhow::anyhow!("{e}"));
    let documents = OF_ROLE.iter().map(parse).collect::<Result<_, _>>()?;
    let evaluator = Evaluator::new(Arc::new(One(Arc::new(Brought { documents, ..Brought::default() }))));
    let (tenant, policy) = (TenantId::new("000000000000"), of_function());
    let role = Principal::Role { tenant: tenant.clone(), role: "caller".into(), instance: InstanceId::random() };
    let context = [("aws:RequestedRegion", "us-east-1"), ("aws:SecureTransport", "false"), ("aws:ViaAWSService", "false")];
    let one = |resource_policy| {
        let ask = Ask {
            principal: &role,
            action: "lambda:InvokeFunction",
            resource: "arn:aws:lambda:us-east-1:000000000000:function:worker-1",
            owner: &tenant,
            resource_policy,
            trust: false,
            context: &context,
            now_ms: 1_790_000_000_000,
        };
        anyhow::ensure!(evaluator.decide(&ask).allowed(), "the call is refused: {:?}", evaluator.explain(&ask));
        let round = || {
            let began = Instant::now();
            for _ in 0..ASKED {
                std::hint::black_box(evaluator.decide(std::hint::black_box(&ask)));
            }
            began.elapsed() / ASKED
        };
        Ok((0..ROUNDS).map(|_| round()).min().unwrap_or_default())
    };
    let row = |name: &str, took: Duration| {
        Row::absolute(name, format!("{:.2} µs", took.as_nanos() as f64 / 1e3), "≤ 5 µs", took <= GOAL)
    };
    Ok(vec![
        row("permission of a call: a role's three policies", one(None)?),
        row("the same with a function's policy of ten statements", one(Some(&policy))?)
            .note("all that a call is asked for; the audit log has no part in it"),
    ])
}
