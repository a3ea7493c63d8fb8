//! Beside other people's servers, with the same handlers: what each of them does less is said with its figure.

use super::{ROUNDS, cold::first_calls};
use crate::{
    deploy::{self, Code},
    load::{self, Measured},
    peers::{self, OFFLINE_FUNCTIONS, Peer, WORKERS},
    reference::median,
    server::{Bench, Myna},
    table::{Goal, Row},
};
use anyhow::Context;
use std::time::{Duration, Instant};

const CALLERS: usize = 64;
const CALLS: usize = CALLERS * 25;

const NODE: &str = "exports.handler = async (event) => ({ statusCode: 200, body: '{}' });\n";
const NODE_FRAMEWORK: &str =
    "require('@google-cloud/functions-framework').http('handler', (request, response) => response.send('{}'));\n";
const PYTHON: &str = "def handler(event, context):\n    return {}\n";
const PYTHON_FRAMEWORK: &str = "def handler(request):\n    return {}\n";

const OFFLINE_LESS: &str = "it runs handlers in worker threads of one process: no sandbox, no memory or processor limits, no \
                            authorisation, no log store, no metering";
const FRAMEWORK_LESS: &str = "it runs one handler inside its web server, several calls at once in a process: no sandbox, limits, \
                              versions, time-outs that kill, log store or metering";
const LOCAL_LESS: &str = "it calls the handler in its own process: no sandbox, limits, isolation between calls or metering";

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let open = Myna::up(bench, "[engine]\nmemory_overcommit = 100.0\n")?;
    deploy::create(&open, "node", &Code::node(NODE)?)?;
    let open_url = deploy::url(&open, "node")?;
    let mut rows = Vec::new();
    for (peer, measure) in [
        ("serverless-offline", offline as fn(&Bench, &Myna, &load::Request) -> anyhow::Result<Vec<Row>>),
        ("lambda-local", local),
        ("functions-framework for Python", framework_python),
        ("functions-framework for Node", framework_node),
    ] {
        rows.extend(measure(bench, &open, &*open_url).unwrap_or_else(|error| vec![Row::failed(peer, &error)]));
    }
    Ok(rows)
}

/// Alternating rounds of 64 callers at each.
fn both(myna: &Myna, ours: &load::Request, peer: &Peer, path: &str) -> anyhow::Result<(Measured, Measured)> {
    let theirs = load::post(&peer.address, path);
    let mut best: Option<(Measured, Measured)> = None;
    // Interpreters compile what they run often: before that they show how they start, not how they serve.
    load::run(myna.address(), ours, CALLERS, CALLS * 3)?;
    load::run(&peer.address, &*theirs, CALLERS, CALLS * 3)?;
    for _ in 0..ROUNDS {
        let (us, them) = (load::run(myna.address(), ours, CALLERS, CALLS)?, load::run(&peer.address, &*theirs, CALLERS, CALLS)?);
        best = Some(best.map_or((us, them), |old| (old.0.best(us), old.1.best(them))));
    }
    best.context("there were rounds")
}

fn throughput(name: String, (us, them): (Measured, Measured), goal: Goal) -> Row {
    Row::ratio(name, us.rate(), them.rate(), us.per_second / them.per_second, goal)
}

fn offline(bench: &Bench, myna: &Myna, url: &load::Request) -> anyhow::Result<Vec<Row>> {
    let peer = peers::serverless_offline(bench, NODE)?;
    let mut firsts = Vec::new();
    for n in 1..OFFLINE_FUNCTIONS {
        let (request, began) = (load::post(&peer.address, &format!("/f{n}")), Instant::now());
        load::once(&peer.address, &*request)?;
        firsts.push(began.elapsed());
    }
    let code = Code::node(NODE)?;
    let ours = (0..ROUNDS).map(|round| first_calls(myna, &code, round, 2)).collect::<anyhow::Result<Vec<Duration>>>()?;
    let both = both(myna, url, &peer, "/f0")?;
    Ok(vec![
        throughput(format!("Node, {CALLERS} callers, against serverless-offline"), both, Goal::AtLeast(5.0)).note(OFFLINE_LESS),
        Row::times(
            "first call of a new Node function, against serverless-offline",
            median(ours),
            median(firsts),
            Goal::AtMost(0.1),
        )
        .note("medians; ours from a pre-started runtime into a sandbox, theirs a new worker thread"),
    ])
}

fn local(bench: &Bench, myna: &Myna, url: &load::Request) -> anyhow::Result<Vec<Row>> {
    let both = both(myna, url, &peers::lambda_local(bench, NODE)?, "/")?;
    Ok(vec![throughput(format!("Node, {CALLERS} callers, against lambda-local"), both, Goal::None).note(LOCAL_LESS)])
}

fn framework_python(bench: &Bench, _: &Myna, _: &load::Request) -> anyhow::Result<Vec<Row>> {
    framework(bench, "Python", &Code::python(PYTHON)?, &peers::functions_framework_python(bench, PYTHON_FRAMEWORK)?)
}

fn framework_node(bench: &Bench, _: &Myna, _: &load::Request) -> anyhow::Result<Vec<Row>> {
    framework(bench, "Node", &Code::node(NODE)?, &peers::functions_framework_node(bench, NODE_FRAMEWORK)?)
}

/// With as many instances as they have processes: calls wait in line for one.
fn framework(bench: &Bench, language: &str, code: &Code, peer: &Peer) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, &format!("[engine]\nprestarted = 0\ninstances_max = {WORKERS}\n"))?;
    deploy::create(&myna, "limited", code)?;
    let both = both(&myna, &*deploy::url(&myna, "limited")?, peer, "/")?;
    let name = format!("{language}, {CALLERS} callers, {WORKERS} processes, against functions-framework");
    Ok(vec![throughput(name, both, Goal::AtLeast(2.0)).note(FRAMEWORK_LESS)])
}
