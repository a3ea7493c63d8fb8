//! The effective values of a function and where each comes from, as far as its unit tells; the composition adds what the
//! machine decides.

use super::wire::Explained;
use crate::cli::units::{bytes, span};
use model::{Function, Unit, limits};
use std::time::Duration;

pub fn rows(function: &Function, unit: &Unit, concurrency: u32) -> Vec<Explained> {
    let s = &unit.settings;
    let mut rows = vec![
        row("name", &*unit.resource_name, "the owner"),
        row("version", &*unit.version, "newest code"),
        row("code", short(unit.package.digest()), "the archive's SHA-256"),
        row("runtime", &*unit.runtime, "the owner"),
        row("handler", &*unit.handler, "the owner"),
        row("contract", unit.contract, format!("a function of {}", unit.dialect)),
        row("sandbox", unit.tier.name(), "the platform's setting"),
        row("role", unit.role.as_deref().unwrap_or("none"), "the owner"),
        owned("memory", format!("{} MB", s.memory_mib), s.memory_mib == 128),
        owned("timeout", span(s.timeout), s.timeout == Duration::from_secs(3)),
        owned("/tmp", format!("{} MB", s.tmp_mib), s.tmp_mib == 512),
        row("initialisation", format!("at most {}", span(s.init_timeout)), "the dialect"),
        row("request", format!("at most {}", bytes(s.request_bytes_max as u64)), "the dialect"),
        row(
            "answer",
            format!("at most {} whole, {} streamed", bytes(s.reply_bytes_max as u64), bytes(s.stream_bytes_max)),
            "the dialect",
        ),
        row("variables", unit.env.len().to_string(), "the owner"),
        row(
            "log group",
            &*s.log.group,
            if *s.log.group == *format!("/aws/lambda/{}", unit.function) { "default" } else { "the owner" },
        ),
        row(
            "log format",
            if s.log.json { "JSON" } else { "Text" },
            if s.log.json { "the owner" } else { "default, or the owner's same choice" },
        ),
    ];
    rows.push(match function.concurrency.reserved {
        Some(n) => row("concurrency", format!("at most {n}, kept for it"), "reserved concurrency"),
        None => row("concurrency", format!("at most {} together with the others", concurrency), "the account's limit"),
    });
    rows.extend(
        function
            .concurrency
            .provisioned
            .iter()
            .map(|(q, n)| row(&format!("kept ready ({q})"), n.to_string(), "provisioned concurrency")),
    );
    rows.push(row(
        "waiting",
        format!("{} calls, {} each", limits::WAITING_PER_FUNCTION_MAX, span(s.wait_max())),
        "a minute, or initialisation and timeout when these are more",
    ));
    rows.push(row("frozen", format!("after {} idle", span(limits::FREEZE_AFTER)), "Myna's limit"));
    rows.push(row("calls in a row", format!("{} functions deep", limits::HOPS_MAX), "Myna's limit"));
    rows
}

fn row(name: &str, value: impl Into<String>, from: impl Into<String>) -> Explained {
    Explained { name: name.to_string(), value: value.into(), from: from.into() }
}

/// The stored document doesn't tell a default from the same value set by hand; neither is pretended.
fn owned(name: &str, value: String, is_default: bool) -> Explained {
    row(name, value, if is_default { "default, or the owner's same choice" } else { "the owner" })
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
