//! Everything that a verb shows goes through here: results on standard output, what is said about them on standard error.
//! Colour only ever underlines what the words say already, and only on a terminal whose user has not refused it.

use super::{
    problem::Problem,
    progress::{Progress, Style},
    safe::{clean, clean_line},
};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

pub struct Out {
    pub json: bool,
    /// Other people's text is shown as it is.
    raw: bool,
    stdout: Terminal,
    stderr: Terminal,
}

#[derive(Clone, Copy)]
struct Terminal {
    is: bool,
    colour: bool,
}

#[derive(Clone, Copy)]
pub enum Tone {
    Good,
    Bad,
    Quiet,
    Strong,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Good => "\u{1b}[32m",
            Tone::Bad => "\u{1b}[31m",
            Tone::Quiet => "\u{1b}[2m",
            Tone::Strong => "\u{1b}[1m",
        }
    }
}

impl Out {
    pub fn new(json: bool, raw: bool) -> Self {
        let wanted =
            std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let of = |is: bool| Terminal { is, colour: is && wanted };
        Self { json, raw, stdout: of(io::stdout().is_terminal()), stderr: of(io::stderr().is_terminal()) }
    }

    /// Somebody watches and can answer.
    pub fn interactive(&self) -> bool {
        !self.json && self.stderr.is && io::stdin().is_terminal()
    }
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout.is
    }
    pub fn raw(&self) -> bool {
        self.raw
    }

    /// One line of the result.
    pub fn line(&self, text: impl AsRef<str>) {
        self.write(&mut io::stdout().lock(), &format!("{}\n", self.shown(text.as_ref(), self.stdout)));
    }

    /// The result as JSON: readable on a terminal, one line for a program.
    pub fn json(&self, value: &impl Serialize) {
        let text = if self.stdout.is { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(text.expect("values that verbs print have string keys only"));
    }

    /// Bytes that a function answered or logged: unchanged for a program, cleaned for a terminal.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let written = if self.stdout.is && !self.raw {
            let text = clean(&String::from_utf8_lossy(bytes)).into_owned();
            stdout.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") })
        } else {
            stdout.write_all(bytes)
        };
        leave_on_error(written.and_then(|()| stdout.flush()));
    }

    /// One line about what is going on.
    pub fn note(&self, text: impl AsRef<str>) {
        self.err(Tone::Quiet, "", text.as_ref());
    }
    pub fn good(&self, text: impl AsRef<str>) {
        self.err(Tone::Good, "", text.as_ref());
    }
    pub fn warn(&self, text: impl AsRef<str>) {
        self.err(Tone::Bad, "warning: ", text.as_ref());
    }

    /// What ended the verb.
    pub fn problem(&self, problem: &Problem) {
        if problem.message.is_empty() {
            return;
        }
        if self.json {
            let error = serde_json::json!({ "error": { "exit": problem.exit as u8, "code": problem.code, "message": problem.message, "hint": problem.hint } });
            self.write(&mut io::stderr().lock(), &format!("{error}\n"));
            return;
        }
        self.err(Tone::Bad, "error: ", &problem.message);
        if let Some(hint) = &problem.hint {
            for (i, line) in hint.lines().enumerate() {
                self.err(Tone::Strong, if i == 0 { "next:  " } else { "       " }, line);
            }
        }
    }

    pub fn progress(&self) -> Progress {
        Progress::new(if self.json {
            Style::Silent
        } else if self.stderr.is {
            Style::Live
        } else {
            Style::Lines
        })
    }

    /// For work that is over before anybody wonders.
    pub fn no_progress(&self) -> Progress {
        Progress::new(Style::Silent)
    }

    /// Columns as wide as what is in them, long sentences on several lines; the head is what tells them apart without colour.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        let rows: Vec<Vec<Vec<String>>> =
            rows.iter().map(|row| row.iter().map(|cell| wrapped(&self.cell(cell), CELL_MAX)).collect()).collect();
        let widest = |i: usize| rows.iter().flat_map(|row| &row[i]).map(|line| width(line)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(|i| widest(i).max(width(head[i]))).collect();
        let lay = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, wide) in cells.zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', wide - width(cell) + 2));
            }
            line.trim_end().to_string()
        };
        let titles: Vec<String> = head.iter().map(|h| h.to_uppercase()).collect();
        let mut text = self.painted(self.stdout, Tone::Quiet, &lay(&mut titles.iter().map(String::as_str)));
        for row in &rows {
            for n in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
                text.push('\n');
                text.push_str(&lay(&mut row.iter().map(|cell| cell.get(n).map_or("", String::as_str))));
            }
        }
        text.push('\n');
        self.write(&mut io::stdout().lock(), &text);
    }

    /// Names with their values, the values in one column.
    pub fn pairs(&self, rows: &[(&str, String)]) {
        let wide = rows.iter().map(|r| width(r.0)).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in rows {
            let name = format!("{name}{}", " ".repeat(wide - width(name)));
            let mut lines = value.lines();
            text.push_str(&format!(
                "{}  {}\n",
                self.painted(self.stdout, Tone::Quiet, &name),
                self.cell(lines.next().unwrap_or("")).trim_end()
            ));
            for more in lines {
                text.push_str(&format!("{}  {}\n", " ".repeat(wide), self.cell(more)));
            }
        }
        self.write(&mut io::stdout().lock(), &text);
    }

    fn cell(&self, text: &str) -> String {
        if self.raw || !self.stdout.is { text.replace(['\n', '\t'], " ") } else { clean_line(text) }
    }
    fn shown(&self, text: &str, at: Terminal) -> String {
        if self.raw || !at.is { text.to_string() } else { clean(text).into_owned() }
    }
    fn painted(&self, at: Terminal, tone: Tone, text: &str) -> String {
        if at.colour { format!("{}{text}\u{1b}[0m", tone.code()) } else { text.to_string() }
    }
    fn err(&self, tone: Tone, label: &str, text: &str) {
        if self.json && label.is_empty() {
            return;
        }
        let text = self.shown(text, self.stderr);
        let line = if label.is_empty() {
            self.painted(self.stderr, tone, &text)
        } else {
            self.painted(self.stderr, tone, label) + &text
        };
        self.write(&mut io::stderr().lock(), &format!("{line}\n"));
    }
    fn write(&self, to: &mut dyn Write, text: &str) {
        leave_on_error(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
    }
}

/// Whoever read our output has gone (`myna logs | head`): nothing is left to do, and that is no defect.
fn leave_on_error(written: io::Result<()>) {
    const AS_IF_BY_SIGPIPE: i32 = 141;
    if written.is_err() {
        std::process::exit(AS_IF_BY_SIGPIPE);
    }
}

/// Characters of a cell's line; a sentence goes on below.
const CELL_MAX: usize = 64;

/// Lines of at most so many characters, broken between words; a word that is longer stays whole.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && width(line) + 1 + width(word) > most {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn sentences_are_broken_between_words_and_names_are_not() {
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("arn:aws:lambda:us-east-1", 7), ["arn:aws:lambda:us-east-1"]);
    }
}
