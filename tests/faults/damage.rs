//! Each kind of file of a real directory, damaged in each way, and a real start on it. What must come of it is the table in
//! docs/operations.md, which this reads: what is promised there is what is tried here.

use myna_tests::{Context, Platform, Result, Test, Value, bail, ensure, json, scaled, tests};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub const ALL: &[Test] = tests![a_damaged_file_is_named_or_refused_and_its_bytes_are_never_served];

const BOOK: &str = include_str!("../../docs/operations.md");
const ANSWERS: &str = "
def handler(event, context):
    print('called with', event)
    return {'right': event}
";
/// What a platform may take to look at a damaged directory.
const RESIDENT_MAX: u64 = 256 << 20;
/// Of the table's columns.
const WAYS: &[&str] = &["a bit flipped", "cut in half", "zeroes", "missing", "another file"];
/// More than a segment's preamble, and nobody's.
const FOREIGN: &[u8] = b"this is no file of Myna's, whatever its name says. ";

/// A row: the file as the book calls it, and what may come of each way of damaging it.
struct Row {
    file: String,
    outcomes: Vec<Vec<String>>,
}

fn promised() -> Result<Vec<Row>> {
    let table = BOOK.split("## What comes of a damaged file").nth(1).context("the book has the table")?;
    let lines = table.lines().skip_while(|l| !l.starts_with("| file")).skip(2).take_while(|l| l.starts_with('|'));
    let rows = lines.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let file = cells.next().context("a row has a file")?.trim_matches('`').to_owned();
        let outcomes: Vec<Vec<String>> = cells.map(|c| c.split(" or ").map(|w| w.trim().to_owned()).collect()).collect();
        ensure!(outcomes.len() == WAYS.len(), "{line}");
        for word in outcomes.iter().flatten() {
            ensure!(["starts", "named", "refuses"].contains(&word.as_str()), "{word:?} in {line}");
        }
        Ok(Row { file, outcomes })
    });
    rows.collect()
}

/// The file that a name of the table means: each star stands for the first name in order that leads to one.
fn file(dir: &Path, name: &str) -> Result<PathBuf> {
    fn found(at: &Path, parts: &[&str]) -> Option<PathBuf> {
        let Some((part, rest)) = parts.split_first() else { return at.is_file().then(|| at.to_owned()) };
        if !part.contains('*') {
            return found(&at.join(part), rest);
        }
        let (before, after) = part.split_once('*')?;
        let mut names: Vec<_> = fs::read_dir(at).ok()?.flatten().map(|e| e.file_name()).collect();
        names.sort();
        let fits = |n: &str| n.starts_with(before) && n.ends_with(after) && n.len() >= before.len() + after.len();
        names.iter().filter(|n| n.to_str().is_some_and(fits)).find_map(|n| found(&at.join(n), rest))
    }
    found(dir, &name.split('/').collect::<Vec<_>>()).with_context(|| format!("{name} is not in the directory"))
}

fn damage(path: &Path, way: &str, round: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    ensure!(!bytes.is_empty(), "{} is empty", path.display());
    match way {
        "a bit flipped" => {
            // Where something is written: a segment of the queue is mostly zeroes ahead of need.
            let last = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
            let at = (last + 1) * (1 + round % 7) / 8;
            bytes[at.min(last)] ^= 1 << (round % 8);
        }
        "cut in half" => bytes.truncate(bytes.len() / 2),
        "zeroes" => bytes.fill(0),
        "missing" => return Ok(fs::remove_file(path)?),
        "another file" => bytes = FOREIGN.repeat(1000),
        other => bail!("nobody knows the way {other:?}"),
    }
    Ok(fs::write(path, bytes)?)
}

/// A directory with something of everything in it.
fn furnished() -> Result<Platform> {
    let mut myna = Platform::start()?;
    let f = myna.python("answers", ANSWERS)?;
    for n in 0..5 {
        ensure!(f.call(json!(n))? == json!({"right": n}));
    }
    myna.python("waits", ANSWERS)?;
    myna.verb(&["events", "pause", "waits"])?;
    // One in the index, one with a file of its own.
    for size in [10, 200_000] {
        let event = Value::String("x".repeat(size)).to_string();
        let sent = myna.function("waits").invoke_bytes("", event.as_bytes(), &[("x-amz-invocation-type", "Event")])?;
        ensure!(sent.status == 202, "{}", sent.text());
    }
    ensure!(myna.stop()?.success());
    Ok(myna)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(done.success(), "{} can't be copied: {done}", from.display());
    Ok(())
}

fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

/// One start on a damaged directory: what came of it, in the table's words.
fn outcome(myna: &mut Platform, path: &Path, case: &str) -> Result<&'static str> {
    let before = myna.log().lines().count();
    let started = myna.start_again();
    let log: Vec<String> = myna.log().lines().skip(before).map(str::to_owned).collect();
    let said = log.join("\n");
    ensure!(!said.contains("panicked at"), "{case}: {said}");
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Err(error) = started {
        let text = format!("{error:#}");
        ensure!(text.contains("never ready"), "{case}: {text}");
        ensure!(said.contains(&name), "{case}: the refusal names no {name}: {said}");
        ensure!(said.contains("repair") || said.contains("backup") || said.contains("another"), "{case}: no next step: {said}");
        ensure!(text.contains("exit status: 6") || text.contains("exit status: 1"), "{case}: {text}");
        let damaged = said.contains("is damaged");
        ensure!(damaged == text.contains("exit status: 6"), "{case}: the exit code is documented as 6: {text}");
        return Ok("refuses");
    }
    // What is answered is right, or a clear error where the function itself is what was lost.
    let answer = myna.function("answers").invoke(&json!("asked"))?;
    let status = myna.verb(&["status"])?;
    let damaged = status["damaged"].as_array().cloned().unwrap_or_default();
    if answer.status == 200 {
        ensure!(answer.json()? == json!({"right": "asked"}), "{case}: served {}", answer.text());
    } else {
        ensure!(!damaged.is_empty() && answer.text().len() > 20, "{case}: {} {}", answer.status, answer.text());
    }
    let resident = myna_tests::processes::resident(myna.pid())?;
    ensure!(resident < RESIDENT_MAX, "{case}: {resident} bytes");
    // Those that wait are tried: what is damaged becomes a dead letter and nothing else.
    let _ = myna.cli(&["events", "resume", "waits"])?;
    let (verified, audited) = (myna.cli(&["verify", "--json"])?, myna.cli(&["audit", "verify"])?);
    let ends = myna_tests::soon(|| {
        let lanes = myna.verb(&["events"]).unwrap_or_default();
        lanes.as_array().is_none_or(|rows| rows.iter().all(|row| row["queued"].as_u64().unwrap_or(0) == 0))
    });
    let dead = myna.verb(&["dlq", "list"])?;
    let log = myna.log().lines().skip(before).map(str::to_owned).collect::<Vec<_>>().join("\n");
    ensure!(ends || !damaged.is_empty(), "{case}: events wait on: {log}");
    ensure!(myna.stop()?.success(), "{case}: it doesn't stop");
    let named = !damaged.is_empty()
        || !verified.status.success()
        || !audited.status.success()
        || dead.as_array().is_some_and(|d| !d.is_empty())
        || log.contains("torn off or damaged");
    Ok(if named { "named" } else { "starts" })
}

// F17, F18
fn a_damaged_file_is_named_or_refused_and_its_bytes_are_never_served() -> Result<()> {
    let rows = promised()?;
    let mut myna = furnished()?;
    let base = myna.home().join("base");
    copy(&myna.dir(), &base)?;
    let starts = scaled("starts on a damaged directory", 24, 200);
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::<&str, usize>::new());
    let every: Vec<(&Row, usize)> = (0..WAYS.len()).flat_map(|n| rows.iter().map(move |row| (row, n))).collect();
    // With a step that shares no divisor with their number all cases come up, those of each file and of each way spread.
    let step = (7..).find(|step| coprime(*step, every.len())).unwrap_or(1);
    for round in 0..starts {
        let (row, way) = every[round * step % every.len()];
        let case = format!("{}, {}", row.file, WAYS[way]);
        copy(&base, &myna.dir())?;
        let path = file(&myna.dir(), &row.file)?;
        damage(&path, WAYS[way], round)?;
        let came = outcome(&mut myna, &path, &case)?;
        *seen.entry(came).or_default() += 1;
        if !row.outcomes[way].iter().any(|o| o == came) {
            wrong.push(format!("{case}: {came}, and the book says {}", row.outcomes[way].join(" or ")));
        }
    }
    println!("starts on a damaged directory: {seen:?}");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A whole one is not called damaged.
    copy(&base, &myna.dir())?;
    ensure!(outcome(&mut myna, Path::new("nothing"), "nothing")? == "starts", "a whole directory is called damaged");
    Ok(())
}
