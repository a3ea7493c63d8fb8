//! A warm call of an empty function: through its URL and through the signed API, beside a bare relay that runs the same program.
//! Myna serves with one thread; so do relay and proxy.

use super::ROUNDS;
use crate::{
    deploy::{self, Code},
    load::{self, Measured},
    reference::disturbed,
    server::{Bench, Myna, Running, free_port, wait_for},
    table::{Goal, Row},
};
use anyhow::Context;
use std::{process::Command, time::Duration};

const CALLS: usize = 5000;

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nmemory_overcommit = 100.0\nprestarted = 0\n")?;
    deploy::create(&myna, "bare", &Code::bare(bench)?)?;
    let (url, api) = (deploy::url(&myna, "bare")?, super::signed::call(&myna, "bare"));
    // A relay per number of callers: one that hands calls round 64 programs would answer a single caller from cold caches.
    let (relay1, _one) = relay(bench, 1)?;
    let (relay64, _many) = relay(bench, 64)?;
    let (proxy, _both) = proxy(bench)?;
    let plain = load::post("127.0.0.1", "/");
    let mut best = [Option::<Measured>::None; 7];
    for _ in 0..ROUNDS {
        let round = [
            load::run(&relay1, &*plain, 1, CALLS)?,
            load::run(myna.address(), &*url, 1, CALLS)?,
            load::run(myna.address(), &*api, 1, CALLS)?,
            load::run(&proxy, &*plain, 1, CALLS)?,
            load::run(&relay64, &*plain, 64, CALLS * 4)?,
            load::run(myna.address(), &*url, 64, CALLS * 4)?,
            load::run(&proxy, &*plain, 64, CALLS * 4)?,
        ];
        for (best, new) in best.iter_mut().zip(round) {
            *best = Some(best.map_or(new, |old| old.best(new)));
        }
    }
    let all: Vec<Measured> = best.into_iter().map(|m| m.context("every row was measured")).collect::<Result<_, _>>()?;
    let [relay1, url1, api1, proxy1, relay64, url64, proxy64] = all[..] else { anyhow::bail!("seven figures were expected") };
    let void = || disturbed("proxy", Duration::from_nanos((proxy1.p50_us * 1000.0) as u64));
    let single = |name, ours: Measured, goal| {
        Row::ratio(name, ours.p50(), relay1.p50(), ours.p50_us / relay1.p50_us, Goal::AtMost(goal)).void_if(void())
    };
    let (name64, ratio64) = ("warm calls through the URL, 64 callers", url64.per_second / relay64.per_second);
    Ok(vec![
        single("warm call through the URL, 1 caller", url1, 1.3).note(format!("bare proxy {}", proxy1.p50())),
        single("the same through Invoke with SigV4", api1, 1.5),
        Row::ratio(name64, url64.rate(), relay64.rate(), ratio64, Goal::AtLeast(0.75))
            .note(format!("bare proxy {}", proxy64.rate()))
            .void_if(void()),
    ])
}

/// The relay with this many bare runtimes, no sandbox around them.
fn relay(bench: &Bench, runtimes: usize) -> anyhow::Result<(String, Vec<Running>)> {
    let (front, back) = (free_port()?, free_port()?);
    let mut all = vec![Running::start(Command::new(bench.program("ref-relay")).args([front.to_string(), back.to_string()]))?];
    wait_for(back)?;
    for _ in 0..runtimes {
        let mut command = Command::new(bench.program("bench-function"));
        all.push(Running::start(command.env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{back}")))?);
    }
    Ok((format!("127.0.0.1:{front}"), all))
}

fn proxy(bench: &Bench) -> anyhow::Result<(String, Vec<Running>)> {
    let (front, back) = (free_port()?, free_port()?);
    let backend = Running::start(Command::new(bench.program("ref-proxy")).args(["backend", &back.to_string()]))?;
    wait_for(back)?;
    let proxy = Running::start(Command::new(bench.program("ref-proxy")).args([front.to_string(), back.to_string()]))?;
    wait_for(front)?;
    Ok((format!("127.0.0.1:{front}"), vec![backend, proxy]))
}
