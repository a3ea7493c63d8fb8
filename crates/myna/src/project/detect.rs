//! What kind of function a project is, from its files alone, with the reason for every conclusion: a reason that is shown can
//! be contradicted. Nothing of the project is run.

use super::{
    compiled::{Build, Unbuilt, java, native},
    tree::{Tree, split},
};
use std::path::PathBuf;

/// What runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
    Java,
    /// A program of its own: any `bootstrap`.
    Native,
}

/// One way to see the project as a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub language: Language,
    /// Empty where the files don't tell (Java).
    pub handler: String,
    pub why: String,
    pub contents: Contents,
    /// What its owner should know about it.
    pub notes: Vec<String>,
}

/// Which of the project's files are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    All,
    /// One program, sent as `bootstrap`.
    Program(PathBuf),
    /// All but names that fit these patterns.
    Without(&'static [&'static str]),
}

/// What the files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub candidates: Vec<Candidate>,
    /// It is compiled first: what it is, and the commands.
    pub unbuilt: Option<Unbuilt>,
    /// Files of other systems, with the system's name.
    pub foreign: Vec<(&'static str, String)>,
}

pub fn detect(tree: &dyn Tree) -> Findings {
    let mut found = Findings { foreign: foreign(tree), ..Findings::default() };
    if native(tree, &mut found) {
        return found;
    }
    found.candidates.extend(python(tree));
    if found.candidates.is_empty() {
        found.candidates.extend(node(tree, &mut found.unbuilt));
    }
    if found.candidates.is_empty() {
        found.candidates.extend(java(tree, &mut found.unbuilt));
    }
    found
}

/// The language of a handler that its owner named, by the file that it is in.
pub fn language_of(handler: &str, tree: &dyn Tree) -> Option<Language> {
    if handler.contains("::") {
        return Some(Language::Java);
    }
    let module = handler.rsplit_once('.').map_or(handler, |h| h.0);
    let kinds = [("py", Language::Python), ("mjs", Language::Node), ("js", Language::Node), ("cjs", Language::Node)];
    kinds.into_iter().find(|(ext, _)| tree.has(&format!("{module}.{ext}"))).map(|k| k.1)
}

/// Files by which other systems know their own.
fn foreign(tree: &dyn Tree) -> Vec<(&'static str, String)> {
    // File, a word in it, system.
    const MARKS: [(&str, &str, &str); 11] = [
        ("host.json", "", "Azure Functions"),
        ("stack.yml", "openfaas", "OpenFaaS"),
        ("stack.yaml", "openfaas", "OpenFaaS"),
        ("func.yaml", "schema_version", "Fn"),
        ("func.yaml", "specVersion", "Knative Functions"),
        ("function.yaml", "nuclio", "Nuclio"),
        ("template.yaml", "AWS::Serverless", "AWS SAM"),
        ("template.yml", "AWS::Serverless", "AWS SAM"),
        ("serverless.yml", "", "Serverless Framework"),
        ("requirements.txt", "functions-framework", "Google Cloud Functions"),
        ("package.json", "@google-cloud/functions-framework", "Google Cloud Functions"),
    ];
    let fits = |(file, word, _): &&(&str, &str, &str)| {
        tree.has(file) && (word.is_empty() || tree.text(file).is_some_and(|t| t.contains(word)))
    };
    MARKS.iter().filter(fits).map(|(file, _, system)| (*system, (*file).to_string())).collect()
}

fn python(tree: &dyn Tree) -> Vec<Candidate> {
    let mut found = Vec::new();
    for name in tree.names() {
        let (module, ext) = split(name);
        if ext != "py" || name.matches('/').count() > 1 || is_test(module) {
            continue;
        }
        let text = tree.text(name).unwrap_or_default();
        for function in text.lines().filter_map(python_handler) {
            if module == "lambda_function" && function == "lambda_handler" {
                return vec![candidate(Language::Python, module, function, format!("{name} has Lambda's default handler"), tree)];
            }
            found.push(candidate(Language::Python, module, function, format!("{name} defines {function}(event, context)"), tree));
        }
    }
    nearest(found)
}

/// The name that a top-level line gives to something that looks like a handler.
fn python_handler(line: &str) -> Option<&str> {
    const USUAL: [&str; 3] = ["lambda_handler", "handler", "main"];
    if let Some(rest) = line.strip_prefix("async def ").or_else(|| line.strip_prefix("def ")) {
        let (name, rest) = rest.split_once('(')?;
        let params: Vec<&str> =
            rest.split(')').next()?.split(',').map(|p| p.split([':', '=']).next().unwrap_or(p).trim()).collect();
        let [first, second] = params.as_slice() else { return None };
        let by_param = first.trim_start_matches('_').starts_with("ev") && second.trim_start_matches('_').starts_with(['c', 'C']);
        return (USUAL.contains(&name) || by_param).then_some(name);
    }
    // `handler = Mangum(app)` and the like.
    let (name, value) = line.split_once('=')?;
    (USUAL[..2].contains(&name.trim_end()) && !name.starts_with(' ') && value.contains('(')).then_some(name.trim_end())
}

fn node(tree: &dyn Tree, unbuilt: &mut Option<Unbuilt>) -> Vec<Candidate> {
    let package: serde_json::Value = tree.text("package.json").and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let main = package["main"].as_str().map(|m| m.trim_start_matches("./").to_string());
    let mut found = Vec::new();
    for name in tree.names() {
        let (module, ext) = split(name);
        let near = name.matches('/').count() <= 1 || main.as_deref() == Some(name);
        if !matches!(ext, "js" | "mjs" | "cjs")
            || !near
            || name.starts_with("node_modules/")
            || is_test(module)
            || module.ends_with(".config")
        {
            continue;
        }
        let text = tree.text(name).unwrap_or_default();
        for function in text.lines().filter_map(node_handler) {
            let why = format!("{name} exports {function}");
            let one = candidate(Language::Node, module, function, why, tree);
            if main.as_deref() == Some(name) || (module == "index" && function == "handler") {
                return vec![one];
            }
            found.push(one);
        }
    }
    let typed = tree.names().iter().any(|n| n.ends_with(".ts") && !n.ends_with(".d.ts") && !n.starts_with("node_modules/"));
    if found.is_empty() && typed {
        *unbuilt = Some(Unbuilt {
            what: "TypeScript",
            build: Build::ByHand("npx esbuild index.ts --bundle --platform=node --outfile=index.js"),
        });
    }
    nearest(found)
}

/// `exports.handler =`, `module.exports.handler =`, `export const handler =`, `export async function handler(`.
fn node_handler(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let rest = ["module.exports.", "exports.", "export const ", "export let ", "export async function ", "export function "]
        .iter()
        .find_map(|start| line.strip_prefix(start));
    let name = match rest {
        Some(rest) => rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(""),
        None => {
            let inside = line.strip_prefix("module.exports = {").or_else(|| line.strip_prefix("export {"))?;
            inside
                .trim_end_matches([';', '}', ' '])
                .split(',')
                .map(|n| n.split(':').next().unwrap_or(n).trim())
                .find(|n| is_handler(n))?
        }
    };
    is_handler(name).then_some(name)
}

fn is_handler(name: &str) -> bool {
    name == "handler" || name.ends_with("Handler")
}

fn candidate(language: Language, module: &str, function: &str, why: String, tree: &dyn Tree) -> Candidate {
    Candidate { language, handler: format!("{module}.{function}"), why, contents: Contents::All, notes: notes(language, tree) }
}

/// Libraries that a manifest asks for and the folder doesn't hold.
fn notes(language: Language, tree: &dyn Tree) -> Vec<String> {
    let names = tree.names();
    let holds = |prefix: &str| names.iter().any(|n| n.starts_with(prefix));
    let asks =
        |file: &str| tree.text(file).is_some_and(|t| t.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    let mut notes = Vec::new();
    if language == Language::Python && asks("requirements.txt") && !names.iter().any(|n| n.contains(".dist-info/")) {
        notes.push("requirements.txt asks for libraries that are not in the folder; put them there: pip install -r requirements.txt -t .".into());
    }
    let package: serde_json::Value = tree.text("package.json").and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let depends = package["dependencies"].as_object().is_some_and(|d| !d.keys().all(|k| k.starts_with("@aws-sdk/")));
    if language == Language::Node && depends && !holds("node_modules/") {
        notes.push("package.json asks for libraries that are not in the folder; put them there: npm install --omit=dev".into());
    }
    notes
}

/// Those in the outermost folder: a handler at the root is meant before one in a subfolder.
fn nearest(mut found: Vec<Candidate>) -> Vec<Candidate> {
    let depth = |c: &Candidate| c.handler.matches('/').count();
    let least = found.iter().map(depth).min().unwrap_or(0);
    found.retain(|c| depth(c) == least);
    let usual = |c: &Candidate| c.handler.ends_with(".handler") || c.handler.ends_with(".lambda_handler");
    if found.iter().filter(|c| usual(c)).count() == 1 {
        found.retain(usual);
    }
    found
}

fn is_test(module: &str) -> bool {
    let own = module.rsplit('/').next().unwrap_or(module);
    own.starts_with("test_")
        || own.ends_with("_test")
        || own.ends_with(".test")
        || own.ends_with(".spec")
        || own == "conftest"
        || module.starts_with("tests/")
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
