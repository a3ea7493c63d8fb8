//! `myna status`: one page about the running platform.

use crate::{
    admin::wire::{Load, Status},
    cli::{
        Ctx,
        problem::Done,
        units::{ago, bytes},
    },
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna status
  myna status --json | jq .load")]
pub struct Args {}

pub async fn run(ctx: &Ctx, _args: &Args) -> Done {
    let api = super::platform(ctx)?;
    if ctx.out.json {
        ctx.out.json(&api.get("/admin/v1/status").await?);
        return Ok(());
    }
    show(ctx, &api.read("/admin/v1/status").await?);
    Ok(())
}

/// Broken things that are listed.
const DAMAGED_MAX: usize = 20;

fn show(ctx: &Ctx, status: &Status) {
    let load = &status.load;
    let mut rows = vec![
        (
            "platform",
            format!("myna {}, {}, process {}, started {}", status.version, status.phase, status.pid, ago(status.started_ms)),
        ),
        ("directory", status.dir.display().to_string()),
        ("account", format!("{} in {}", status.account, status.region)),
        ("default role", status.default_role.clone()),
        ("signatures", if status.signatures { "checked" } else { "waived (--no-auth)" }.to_string()),
        ("sealed", status.sealed.clone()),
        ("sandbox", status.tier.clone()),
        ("functions", load.functions.to_string()),
        (
            "instances",
            format!("{} ({} idle, {} frozen; {} unbound besides)", load.instances, load.idle, load.frozen, load.unbound),
        ),
        ("calls", format!("{} running, {} waiting", load.running, load.waiting)),
        (
            "memory",
            format!(
                "{} promised to instances{}; the platform itself {}",
                bytes(load.memory_reserved_bytes),
                budget(load),
                bytes(load.rss_bytes)
            ),
        ),
    ];
    if !status.audit.head.is_empty() {
        rows.push(("audit log", format!("{} entries, head {}", status.audit.entries, status.audit.head)));
    }
    if load.journal_dropped > 0 {
        rows.push((
            "dropped",
            format!("{} log lines and records since the start, because the journal was full", load.journal_dropped),
        ));
    }
    ctx.out.pairs(&rows);
    section(ctx, &["listener", "address"], status.listeners.iter().map(|l| vec![l.name.clone(), l.address.clone()]).collect());
    section(
        ctx,
        &["certificate of", "file", "for", "until"],
        status
            .certificates
            .iter()
            .map(|c| vec![c.listener.clone(), c.file.display().to_string(), c.names.join(" "), c.until.clone()])
            .collect(),
    );
    section(
        ctx,
        &["kept", "for", "now"],
        status.retention.iter().map(|r| vec![r.what.clone(), r.keep.clone(), bytes(r.held_bytes)]).collect(),
    );
    for warning in &status.warnings {
        ctx.out.warn(warning);
    }
    for s in &status.still {
        ctx.out.warn(format!("unhealthy: the platform's loop {:?} has stood still for {} s", s.name, s.seconds));
    }
    for damaged in status.damaged.iter().take(DAMAGED_MAX) {
        ctx.out.warn(format!("damaged: {damaged}"));
    }
    if status.damaged.len() > DAMAGED_MAX {
        ctx.out.warn(format!("damaged: {} more; myna verify lists them", status.damaged.len() - DAMAGED_MAX));
    }
    if status.event_loop_restarts > 0 {
        let times = status.event_loop_restarts;
        ctx.out
            .warn(format!("the loop that tries queued events stood still and was started again, {times} times since the start"));
    }
    for l in &status.loops {
        ctx.out.warn(format!("the platform's loop {:?} panicked {} times and was run again: {}", l.name, l.times, l.last));
    }
}

/// Functions rarely use all that they may have, so more is promised than there is: the reader sees both.
fn budget(load: &Load) -> String {
    let (promised, usable) = (load.memory_budget_bytes, load.memory_usable_bytes);
    if promised == 0 || usable == 0 {
        return String::new();
    }
    let times = (promised as f64 / usable as f64 * 10.0).round() / 10.0;
    format!(", {} at most ({} of this machine × {times})", bytes(promised), bytes(usable))
}

fn section(ctx: &Ctx, head: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        ctx.out.line("");
        ctx.out.table(head, &rows);
    }
}
