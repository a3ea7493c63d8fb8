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

const RUNS: usize = 40;

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
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let runs = (0..RUNS).map(|_| runtime.block_on(once(&process, &code))).collect::<anyhow::Result<_>>()?;
        ours = ours.min(median(runs));
        bare = bare.min(median(durations(bench, "ref-launch", &[&empty, &static_program, &RUNS.to_string()])?));
    }
    process.close();
    let row = Row::times("process sandbox to the first byte of a static program, own network", ours, bare, Goal::AtMost(1.3));
    let note = "ours besides: user namespace, ids of its own, control groups, sized tmpfs, listener inside; it keeps some networks \
                and groups ready between starts, the bare launcher keeps nothing";
    Ok(vec![row.note(note).void_if(disturbed("launch", bare))])
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
