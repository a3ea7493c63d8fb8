//! `myna status`: one page about the running platform.

use crate::{
    admin::wire::Status,
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

fn show(ctx: &Ctx, status: &Status) {
    let load = &status.load;
    let budget = if load.memory_budget_bytes > 0 { format!(" of {}", bytes(load.memory_budget_bytes)) } else { String::new() };
    let mut rows = vec![
        (
            "platform",
            format!("myna {}, {}, process {}, started {}", status.version, status.phase, status.pid, ago(status.started_ms)),
        ),
        ("directory", status.dir.display().to_string()),
        ("account", format!("{} in {}", status.account, status.region)),
        ("default role", status.default_role.clone()),
        ("signatures", if status.signatures { "checked" } else { "waived (--no-auth)" }.to_string()),
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
                "{}{budget} reserved for instances; the platform itself {}",
                bytes(load.memory_reserved_bytes),
                bytes(load.rss_bytes)
            ),
        ),
    ];
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
        &["kept", "for", "now"],
        status.retention.iter().map(|r| vec![r.what.clone(), r.keep.clone(), bytes(r.held_bytes)]).collect(),
    );
    for warning in &status.warnings {
        ctx.out.warn(warning);
    }
}

fn section(ctx: &Ctx, head: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        ctx.out.line("");
        ctx.out.table(head, &rows);
    }
}
