//! `myna audit`: who changed what, and who was refused.

use crate::{
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
        units::{ago, now_ms},
    },
    platform::{Api, find, http::segment},
};
use std::time::Duration;
use store::audit::{Numbered, Verified};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  myna audit                                     the newest entries
  myna audit --since 2h --action lambda:Delete
  myna audit --tenant 000000000000 -n 500 --json
  myna audit verify                              follow the chain of hashes
  myna audit verify --head 9f86d081…             with the hash of an entry, noted before")]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Entries of the last so many seconds, minutes, hours or days: 90s, 15m, 2h, 7d.
    #[arg(long, value_parser = span)]
    since: Option<Duration>,
    /// Of actions that begin so.
    #[arg(long)]
    action: Option<String>,
    /// How many, at most.
    #[arg(short = 'n', default_value_t = 50)]
    limit: u32,
}

#[derive(clap::Subcommand)]
enum What {
    /// Check that no entry was changed, removed, moved or cut off.
    Verify {
        /// The hash of an entry, as an earlier check showed it.
        #[arg(long)]
        head: Option<String>,
    },
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time; write it like 90s, 15m, 2h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    // The operator's log; a tenant that was removed has entries in it all the same.
    let api = find::find(ctx).map(|place| Api::new(place.dir))?;
    match &args.what {
        Some(What::Verify { head }) => verify(ctx, &api, head.as_deref()).await,
        None => list(ctx, &api, args).await,
    }
}

async fn list(ctx: &Ctx, api: &Api, args: &Args) -> Done {
    let mut path = format!("/admin/v1/audit?limit={}", args.limit);
    if let Some(since) = args.since {
        let span_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        path.push_str(&format!("&since_ms={}", now_ms().saturating_sub(span_ms)));
    }
    for (parameter, value) in [("tenant", &ctx.tenant), ("action", &args.action)] {
        if let Some(value) = value {
            path.push_str(&format!("&{parameter}={}", segment(value)));
        }
    }
    let entries: Vec<Numbered> = api.read(&path).await?;
    if ctx.out.json {
        ctx.out.json(&entries);
        return Ok(());
    }
    if entries.is_empty() {
        ctx.out.note("there is none");
        return Ok(());
    }
    let row = |n: &Numbered| {
        let e = &n.entry;
        [&n.seq.to_string(), &ago(e.at_ms), &e.tenant, &e.principal, &e.source, &e.action, &e.resource, &e.outcome]
            .map(String::clone)
            .to_vec()
    };
    let head = ["#", "when", "tenant", "who", "from", "action", "on", "outcome"];
    ctx.out.table(&head, &entries.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn verify(ctx: &Ctx, api: &Api, head: Option<&str>) -> Done {
    let path = match head {
        Some(head) => format!("/admin/v1/audit/verify?head={}", segment(head)),
        None => "/admin/v1/audit/verify".to_owned(),
    };
    let found: Verified = api.read(&path).await?;
    if ctx.out.json {
        ctx.out.json(&found);
    } else {
        for finding in &found.findings {
            ctx.out.warn(&finding.what);
        }
        if found.findings.is_empty() {
            ctx.out
                .good(format!("{} entries, {} to {}, follow each other without a gap", found.entries, found.first, found.last));
            ctx.out.line(format!("head {}", found.head));
        }
    }
    if found.findings.is_empty() { Ok(()) } else { Err(Problem::silent(Exit::Failed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("15m"), Ok(Duration::from_secs(900)));
        for wrong in ["", "m", "15", "15y", "-1h", "ä", "99999999999999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
