//! First calls of new functions: from a pre-started runtime and from nothing, beside the same interpreter with the least loop
//! around the same handler, in the same namespaces and with the same processor share.

use super::ROUNDS;
use crate::{
    deploy::{self, Code, NODE, PYTHON},
    reference::{disturbed, durations, median},
    server::{Bench, Myna, invoke},
    table::{Goal, Row},
};
use anyhow::Context;
use std::time::{Duration, Instant};

/// First calls per round.
const CALLS: usize = 4;
/// As many of each runtime are kept ready by default.
const SHELF: u64 = 2;

pub struct Language {
    pub name: &'static str,
    runtime: &'static str,
    file: &'static str,
    pub code: &'static str,
    /// What the references run: a loop, and a waiting process.
    scripts: [&'static str; 2],
    floors: [&'static str; 2],
    /// How our own shim starts it, so that the reference skips what we skip.
    flags: &'static [&'static str],
}

pub const LANGUAGES: [Language; 2] = [
    Language {
        name: "Python",
        runtime: "python3.11",
        file: "app.py",
        code: PYTHON,
        scripts: ["loop.py", "assign.py"],
        floors: ["spawn-python", "assign-python"],
        flags: &["-S"],
    },
    Language {
        name: "Node",
        runtime: "nodejs20.x",
        file: "app.js",
        code: NODE,
        scripts: ["loop.cjs", "assign.cjs"],
        floors: ["spawn-node", "assign-node"],
        flags: &[],
    },
];

impl Language {
    pub fn package(&self) -> anyhow::Result<Code> {
        Code::new(self.runtime, self.file, self.code.as_bytes())
    }

    /// What a start of ours does beyond the bare one's.
    fn besides(&self) -> &'static str {
        match self.runtime.starts_with("nodejs") {
            true => {
                "ours with a heap limit that fits the function's size, for which Node gives up its ready-made code: a fifth of the time"
            }
            false => "",
        }
    }

    /// The program that Myna runs for it: a version manager's shim of the same name would cost more than what is measured.
    fn interpreter(&self, myna: &Myna) -> anyhow::Result<String> {
        let rows = myna.admin("GET", &format!("/admin/v1/runtimes?family={}", self.runtime), b"")?;
        let row = rows.as_array().and_then(|all| all.iter().find(|r| r["name"] == self.runtime));
        let program = row.and_then(|r| r["program"].as_str()).filter(|p| !p.is_empty());
        Ok(program.with_context(|| format!("no program for {} in {rows}", self.runtime))?.to_owned())
    }
}

/// What the references of one language are started with.
pub struct Bare<'a> {
    bench: &'a Bench,
    language: &'a Language,
    folder: tempfile::TempDir,
    interpreter: String,
}

impl<'a> Bare<'a> {
    pub fn new(bench: &'a Bench, language: &'a Language, myna: &Myna) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("code"))?;
        std::fs::create_dir(folder.path().join("empty"))?;
        std::fs::write(folder.path().join("code").join(language.file), language.code)?;
        Ok(Self { bench, language, folder, interpreter: language.interpreter(myna)? })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
    fn command(&self, script: &str) -> Vec<String> {
        let flags = self.language.flags.iter().map(|f| (*f).to_owned());
        [self.interpreter.clone()].into_iter().chain(flags).chain([self.bench.frozen(script)]).collect()
    }

    /// From nothing: to the first answer, or with several at once until the last has asked for work.
    pub fn spawn(&self, runs: usize, at_once: usize) -> anyhow::Result<Vec<Duration>> {
        let mut args = vec![self.path("empty")];
        args.extend(self.command(self.language.scripts[0]));
        args.extend([self.path("code"), runs.to_string(), at_once.to_string()]);
        durations(self.bench, "ref-spawn", &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Started before, and given its code.
    fn assign(&self, runs: usize) -> anyhow::Result<Vec<Duration>> {
        let mut args = vec![self.path("empty"), self.path("code"), runs.to_string()];
        args.extend(self.command(self.language.scripts[1]));
        durations(self.bench, "ref-assign", &args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for language in &LANGUAGES {
        let (prestarted, spawned) = (Myna::up(bench, "")?, Myna::up(bench, "[engine]\nprestarted = 0\n")?);
        let (code, bare) = (language.package()?, Bare::new(bench, language, &spawned)?);
        let mut best = [Duration::MAX; 4];
        for round in 0..ROUNDS {
            let figures = [
                first_calls(&prestarted, &code, round, SHELF)?,
                median(bare.assign(CALLS)?),
                first_calls(&spawned, &code, round, 0)?,
                median(bare.spawn(CALLS, 1)?),
            ];
            best.iter_mut().zip(figures).for_each(|(best, new)| *best = (*best).min(new));
        }
        let [ours_assigned, assigned, ours_spawned, spawned] = best;
        let name = |how| format!("first call of a new {} function, {how}", language.name);
        rows.push(
            Row::times(name("pre-started"), ours_assigned, assigned, Goal::AtMost(1.5))
                .note("bare: a waiting process is told a folder over a socket; ours besides: an API call in, a thaw, a mount, limits")
                .void_if(disturbed(language.floors[1], assigned)),
        );
        rows.push(
            Row::times(name("spawned"), ours_spawned, spawned, Goal::AtMost(1.3))
                .note(language.besides())
                .void_if(disturbed(language.floors[0], spawned)),
        );
    }
    Ok(rows)
}

/// The median of some first calls, each of a function that was just made.
pub fn first_calls(myna: &Myna, code: &Code, round: usize, shelf: u64) -> anyhow::Result<Duration> {
    let mut all = Vec::new();
    for n in 0..CALLS {
        let name = format!("first-{round}-{n}");
        deploy::create(myna, &name, code)?;
        deploy::wait_unbound(myna, shelf)?;
        let began = Instant::now();
        invoke(&myna.ready.admin, &name, b"{}")?;
        all.push(began.elapsed());
    }
    Ok(median(all))
}
