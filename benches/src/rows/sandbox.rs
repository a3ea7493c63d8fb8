//! A sandbox alone, without an engine: from asking for it to the first byte of a static program in it.

use super::ROUNDS;
use crate::{
    program,
    reference::{disturbed, durations, median},
    server::Bench,
    table::{Goal, Row},
};
use anyhow::Context;
use model::{
    InstanceId,
    ports::Sandbox,
    sandbox::{Endpoint, Group, Limits, Mount, Network, ProcSpec, Spec},
};
use sandbox_process::{Config, Process};
use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

const RUNS: usize = 20;
/// Before a start that comes alone.
const REST_MS: u64 = 50;

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let (code, empty) = (folder.path().join("code"), folder.path().join("empty"));
    std::fs::create_dir(&code)?;
    std::fs::create_dir(&empty)?;
    program::write(&code.join("static"))?;
    let text = |p: &Path| p.to_str().map(str::to_owned).context("a temporary folder has a plain name");
    let (empty, static_program) = (text(&empty)?, text(&code.join("static"))?);

    let process = Process::start(Config::new(folder.path().join("state")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut best = [(Duration::MAX, Duration::MAX); 2];
    for _ in 0..ROUNDS {
        for (best, rest) in best.iter_mut().zip([REST_MS, 0]) {
            let runs = (0..RUNS).map(|_| {
                runtime.block_on(async {
                    tokio::time::sleep(Duration::from_millis(rest)).await;
                    once(&process, &code).await
                })
            });
            best.0 = best.0.min(median(runs.collect::<anyhow::Result<_>>()?));
            let bare = durations(bench, "ref-launch", &[&empty, &static_program, &RUNS.to_string(), &rest.to_string()])?;
            best.1 = best.1.min(median(bare));
        }
    }
    process.close();
    let [alone, in_a_row] = best;
    let row = |name, (ours, bare), goal| Row::times(name, ours, bare, goal).void_if(disturbed("launch", bare));
    let note = "ours besides: user namespace, ids of its own, control groups, sized tmpfs, listener inside; it keeps a few blank \
                sandboxes ready for starts like the last one, the bare launcher keeps nothing";
    Ok(vec![
        row("process sandbox to the first byte of a static program, own network", alone, Goal::AtMost(1.3)).note(note),
        row("the same, one right after the other", in_a_row, Goal::None).note("nothing is ready then"),
    ])
}

async fn once(process: &Arc<Process>, code: &Path) -> anyhow::Result<Duration> {
    const MIB: u64 = 1 << 20;
    let spec = Spec {
        id: InstanceId::random(),
        tenant: None,
        limits: Limits {
            memory_bytes: 256 * MIB,
            cpu_millis: 1000,
            pids: 64,
            tmp_bytes: 16 * MIB,
            tmp_inodes: 1000,
            descriptors: 1024,
        },
        mounts: vec![Mount { source: code.to_owned(), target: "/var/task".into() }],
        network: Network::Loopback,
        listens: vec![Endpoint::Tcp(9001)],
    };
    let run = ProcSpec {
        argv: vec!["/var/task/static".into()],
        env: vec![],
        cwd: "/".into(),
        group: Group::Runtime,
        log_frames_env: None,
    };
    let began = Instant::now();
    let instance = process.create(&spec).await?;
    let started = instance.spawn(run).await?;
    tokio::net::unix::pipe::Receiver::from_owned_fd(started.output)?.read_u8().await?;
    let took = began.elapsed();
    instance.kill().await;
    Ok(took)
}
