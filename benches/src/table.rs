//! Figures as a table for people and as JSON for comparison.

use serde::Serialize;
use std::{fs, path::Path, process::Command, time::Duration};

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The bench row that gave it.
    pub bench: &'static str,
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
    /// The figure is told and not judged.
    None,
}

impl Row {
    pub fn plain(name: impl Into<String>, ours: impl Into<String>) -> Self {
        Self {
            bench: "",
            name: name.into(),
            ours: ours.into(),
            reference: String::new(),
            ratio: None,
            goal: String::new(),
            verdict: "",
            note: String::new(),
        }
    }
    pub fn ratio(name: impl Into<String>, ours: String, reference: String, ratio: f64, goal: Goal) -> Self {
        let (goal, met) = match goal {
            Goal::AtMost(g) => (format!("≤ {g} ×"), Some(ratio <= g)),
            Goal::AtLeast(g) => (format!("≥ {g} ×"), Some(ratio >= g)),
            Goal::None => (String::new(), None),
        };
        Self { reference, ratio: Some(ratio), goal, verdict: met.map_or("", verdict), ..Self::plain(name, ours) }
    }
    /// Both are durations; a smaller one is better.
    pub fn times(name: impl Into<String>, ours: Duration, reference: Duration, goal: Goal) -> Self {
        Self::ratio(name, ms(ours), ms(reference), ours.as_secs_f64() / reference.as_secs_f64(), goal)
    }
    pub fn absolute(name: impl Into<String>, ours: String, goal: impl Into<String>, met: bool) -> Self {
        Self { goal: goal.into(), verdict: verdict(met), ..Self::plain(name, ours) }
    }
    pub fn failed(name: &str, error: &anyhow::Error) -> Self {
        Self { verdict: "failed", note: format!("{error:#}"), ..Self::plain(name, "") }
    }
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        self.note = [self.note.as_str(), note.as_ref()].into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join("; ");
        self
    }
    /// The reference was disturbed: the row says nothing.
    pub fn void_if(self, why: Option<String>) -> Self {
        match why {
            Some(why) => Self { verdict: "void", ..self }.note(why),
            None => self,
        }
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

pub fn ms(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") }
}

/// One run of the benchmarks, and where it ran.
#[derive(Serialize)]
pub struct Run {
    pub date: String,
    pub machine: String,
    pub commit: String,
    pub command: String,
    pub rows: Vec<Row>,
}

impl Run {
    pub fn begin(asked: &[String]) -> Self {
        Self {
            date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
            machine: machine(),
            commit: commit(),
            command: ["cargo xtask bench"].into_iter().chain(asked.iter().map(String::as_str)).collect::<Vec<_>>().join(" "),
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, bench: &'static str, rows: Vec<Row>) {
        self.rows.extend(rows.into_iter().map(|row| Row { bench, ..row }));
    }

    /// A Markdown table, with what it was measured on above it.
    pub fn text(&self) -> String {
        let mut out = format!("{}; {}; commit {}; `{}`\n\n", self.date, self.machine, self.commit, self.command);
        out += "| row | what | Myna | reference | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        for r in &self.rows {
            let ratio = r.ratio.map(|x| format!("{x:.2}")).unwrap_or_default();
            let last = [r.verdict, &r.note].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("; ");
            let last = last.replace('|', "\\|").replace('\n', " ");
            out += &format!("| {} | {} | {} | {} | {ratio} | {} | {last} |\n", r.bench, r.name, r.ours, r.reference, r.goal);
        }
        out
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        fs::write(folder.join(format!("{stamp}.json")), serde_json::to_vec_pretty(self)?)?;
        fs::write(folder.join("latest.md"), self.text())?;
        Ok(())
    }
}

/// What the kernel calls the processor, and how many of it there are.
pub fn processor() -> (String, usize) {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|l| l.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |l| l.trim_start_matches([' ', '\t', ':'])).to_owned();
    (model, std::thread::available_parallelism().map_or(1, |n| n.get()))
}

fn machine() -> String {
    let (model, cores) = processor();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    format!("{cores} cores of {model}, {} GiB, Linux {}", kib.unwrap_or(0) >> 20, kernel.trim())
}

/// The commit that is checked out, marked where files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no", "--", ":!../docs/benchmarks.md"]) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head} with changes"),
    }
}
