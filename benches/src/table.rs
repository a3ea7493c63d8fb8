//! Figures as a table for people and as JSON for comparison.

use serde::Serialize;
use std::{fs, path::Path};

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    /// What was measured of Myna, with its unit.
    pub ours: String,
    /// The same of the reference, where there is one.
    pub reference: String,
    /// Ours as against the reference's.
    pub ratio: Option<f64>,
    pub goal: String,
    /// `met`, `missed`, `void` or `failed`, or empty where there is no goal.
    pub verdict: &'static str,
    pub note: String,
}

/// What a ratio should be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    pub fn ratio(name: impl Into<String>, ours: String, reference: String, ratio: f64, goal: Goal) -> Self {
        let (goal, met) = match goal {
            Goal::AtMost(g) => (format!("≤ {g} ×"), ratio <= g),
            Goal::AtLeast(g) => (format!("≥ {g} ×"), ratio >= g),
        };
        let verdict = if met { "met" } else { "missed" };
        Self { name: name.into(), ours, reference, ratio: Some(ratio), goal, verdict, note: String::new() }
    }
    pub fn absolute(name: impl Into<String>, ours: String, goal: impl Into<String>, met: bool) -> Self {
        let verdict = if met { "met" } else { "missed" };
        Self { name: name.into(), ours, reference: String::new(), ratio: None, goal: goal.into(), verdict, note: String::new() }
    }
    pub fn plain(name: impl Into<String>, ours: String) -> Self {
        Self {
            name: name.into(),
            ours,
            reference: String::new(),
            ratio: None,
            goal: String::new(),
            verdict: "",
            note: String::new(),
        }
    }
    pub fn failed(name: &str, error: &anyhow::Error) -> Self {
        let note = format!("{error:#}");
        Self {
            name: name.into(),
            ours: String::new(),
            reference: String::new(),
            ratio: None,
            goal: String::new(),
            verdict: "failed",
            note,
        }
    }
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A Markdown table with the date and the machine above it.
pub fn text(rows: &[Row]) -> String {
    let mut out =
        format!("{}\n\n| what | Myna | reference | ratio | goal | |\n| --- | --- | --- | --- | --- | --- |\n", machine());
    for r in rows {
        let ratio = r.ratio.map(|x| format!("{x:.2}")).unwrap_or_default();
        let last = [r.verdict, &r.note].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("; ");
        out.push_str(&format!("| {} | {} | {} | {ratio} | {} | {last} |\n", r.name, r.ours, r.reference, r.goal));
    }
    out
}

pub fn write(folder: &Path, rows: &[Row], text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    fs::write(folder.join(format!("{stamp}.json")), serde_json::to_vec_pretty(rows)?)?;
    fs::write(folder.join("latest.md"), text)?;
    Ok(())
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown processor", |l| l.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let date = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M");
    format!("{date}, {model}, {cores} cores, Linux {}, `cargo xtask bench`", kernel.trim())
}
