//! What a project becomes on the platform. Said on the command line wins over `myna.toml`, that over what the function already
//! has, that over what the files tell; and for every value it is known which it was.

use super::{
    detect::{Candidate, Contents, Findings, Language, language_of},
    options::Options,
    runtime, settings,
    source::Source,
    tree::Tree,
};
use crate::{
    admin::wire::RuntimeRow,
    cli::{out::Out, problem::Problem},
    platform::lambda::Config,
};
use std::{collections::BTreeMap, io::Write};

#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub runtime: Value,
    pub handler: Value,
    pub contents: Contents,
    pub notes: Vec<String>,
    /// MiB, where it was said.
    pub memory: Option<u32>,
    /// Seconds, where it was said.
    pub timeout: Option<u32>,
    pub description: Option<String>,
    pub role: Option<String>,
    /// All layers, where any were said.
    pub layers: Option<Vec<String>>,
    /// All variables, where any were said.
    pub env: Option<BTreeMap<String, String>>,
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub is: String,
    pub why: String,
}

fn value(is: impl Into<String>, why: impl Into<String>) -> Value {
    Value { is: is.into(), why: why.into() }
}

/// The function's name, which must be known before it can be asked what the function already has.
pub fn name(source: &Source, options: &Options) -> String {
    options.name.clone().or_else(|| source.settings.name.clone()).unwrap_or_else(|| source.default_name())
}

/// A plan that may still lack its runtime.
pub struct Draft {
    plan: Plan,
    undecided: Option<Language>,
}

impl Draft {
    /// The language whose runtimes must be known to complete it.
    pub fn undecided(&self) -> Option<Language> {
        self.undecided
    }

    pub fn decide(mut self, source: &Source, runtimes: &[RuntimeRow]) -> Result<Plan, Problem> {
        if let Some(language) = self.undecided {
            self.plan.runtime = runtime::choose(language, &*source.tree(), runtimes).map(|c| value(c.name, c.why))?;
        }
        Ok(self.plan)
    }
}

pub fn draft(source: &Source, options: &Options, existing: Option<&Config>, out: &Out) -> Result<Draft, Problem> {
    let (settings, tree) = (&source.settings, source.tree());
    let mut findings = source.findings();
    let notes = one_system(&findings, source, options, out)?;
    let said = first([(&options.handler, "--handler"), (&settings.handler, "myna.toml")]);
    let said_runtime = first([(&options.runtime, "--runtime"), (&settings.runtime, "myna.toml")]);
    let before = existing.filter(|c| language_of(&c.handler, &*tree).is_some()).map(|c| value(&c.handler, "as deployed before"));

    let (handler, language, contents, mut more) = match said.or(before) {
        // A program is started by its name, whatever its handler is called.
        Some(handler) if findings.candidates.iter().any(|c| c.language == Language::Native) => {
            let c = findings.candidates.swap_remove(0);
            (handler, c.language, c.contents, c.notes)
        }
        Some(handler) => {
            let language =
                language_of(&handler.is, &*tree).or_else(|| said_runtime.as_ref().and_then(|r| language_of_runtime(&r.is)));
            let language = language.ok_or_else(|| {
                Problem::usage(format!("no file of {} holds the handler {}", source.path.display(), handler.is))
                    .hint("say the runtime too: --runtime python3.12")
            })?;
            let found = findings.candidates.iter().find(|c| c.handler == handler.is);
            (handler, language, Contents::All, found.map(|c| c.notes.clone()).unwrap_or_default())
        }
        None => {
            let c = pick(findings, source, out)?;
            (value(c.handler, c.why), c.language, c.contents, c.notes)
        }
    };
    let kept =
        existing.filter(|c| language_of_runtime(&c.runtime) == Some(language)).map(|c| value(&c.runtime, "as deployed before"));
    let asked = || runtime::choose(language, &*tree, &[]).ok().map(|c| value(c.name, c.why));
    let runtime = said_runtime.or(kept).or_else(asked);
    let undecided = runtime.is_none().then_some(language);
    more.extend(notes);
    let plan = Plan {
        name: name(source, options),
        runtime: runtime.unwrap_or_else(|| value("", "")),
        handler,
        contents,
        notes: more,
        memory: options.memory.or(settings.memory),
        timeout: options.timeout.or(settings.timeout),
        description: options.description.clone().or_else(|| settings.description.clone()),
        role: options.role.clone().or_else(|| settings.role.clone()),
        layers: Some(&options.layers).filter(|l| !l.is_empty()).or(settings.layers.as_ref()).cloned(),
        env: env(options, settings.env.as_ref(), existing),
    };
    Ok(Draft { plan, undecided })
}

fn first(said: [(&Option<String>, &str); 2]) -> Option<Value> {
    said.into_iter().find_map(|(v, why)| v.as_ref().map(|v| value(v, why)))
}

/// A table in `myna.toml` is the whole environment; `--env` adds to it, or to what the function has.
fn env(
    options: &Options,
    table: Option<&BTreeMap<String, String>>,
    existing: Option<&Config>,
) -> Option<BTreeMap<String, String>> {
    if table.is_none() && options.env.is_empty() {
        return None;
    }
    let mut all = table.cloned().unwrap_or_else(|| existing.map(|c| c.environment.variables.clone()).unwrap_or_default());
    all.extend(options.env.iter().cloned());
    Some(all)
}

fn language_of_runtime(name: &str) -> Option<Language> {
    let families =
        [("python", Language::Python), ("nodejs", Language::Node), ("java", Language::Java), ("provided", Language::Native)];
    families.into_iter().find(|f| name.starts_with(f.0)).map(|f| f.1)
}

/// Where files of another system lie beside it, its owner must say that a Lambda function is meant. Tools that describe Lambda
/// functions are no other system; what they say isn't read, and that is said.
fn one_system(findings: &Findings, source: &Source, options: &Options, out: &Out) -> Result<Vec<String>, Problem> {
    const LAMBDA_TOOLS: [&str; 2] = ["AWS SAM", "Serverless Framework"];
    let mut notes = Vec::new();
    for (system, file) in &findings.foreign {
        if LAMBDA_TOOLS.contains(system) {
            notes.push(format!("{file} ({system}) is not read; what it sets must be said here or in myna.toml"));
            continue;
        }
        if options.system.is_some() || source.settings.system.as_deref() == Some("lambda") {
            continue;
        }
        let what = format!("{file} says that {} was written for {system}", source.path.display());
        if findings.candidates.is_empty() {
            return Err(Problem::usage(format!("{what}, which this version of Myna can't run")));
        }
        let also = &findings.candidates[0].why;
        if !ask(out, &format!("{what}; but {also}. Deploy it as a Lambda function?")) {
            return Err(Problem::usage(format!("{what}; but {also}")).hint("say which is meant: --as lambda"));
        }
    }
    if let Some(system) = source.settings.system.as_deref().filter(|s| *s != "lambda") {
        return Err(Problem::usage(format!("myna.toml says as = {system:?}, and this version of Myna knows \"lambda\" only")));
    }
    Ok(notes)
}

fn pick(mut findings: Findings, source: &Source, out: &Out) -> Result<Candidate, Problem> {
    let path = source.path.display();
    let below = projects_below(&findings, &*source.tree());
    if !below.is_empty() {
        let list: Vec<String> = below.iter().map(|folder| source.path.join(folder).display().to_string()).collect();
        return Err(
            Problem::usage(format!("{path} holds projects, and is none itself")).hint(format!("name one:\n{}", list.join("\n")))
        );
    }
    match (findings.candidates.len(), findings.unbuilt) {
        (1, _) => {
            let only = findings.candidates.remove(0);
            if only.handler.is_empty() {
                return Err(Problem::usage(format!("{}, but not which method is the handler", only.why)).hint("--handler com.example.App::handleRequest"));
            }
            Ok(only)
        }
        (0, Some(unbuilt)) => Err(Problem::usage(format!("{path} is {} that is not built yet", unbuilt.what)).hint(match unbuilt.build.command() {
            Some(_) => format!("build it: {}\nor let me: add --build", unbuilt.build.shown()),
            None => format!("build it: {}", unbuilt.build.shown()),
        })),
        (0, None) => Err(Problem::usage(format!("no function was found in {path}"))
            .hint("looked for: a Python file with def handler(event, context), a JavaScript file that exports handler,\na bootstrap, Java classes. Say it: --handler FILE.FUNCTION; or begin with: myna init --like lambda-python")),
        _ => {
            let list: Vec<String> = findings.candidates.iter().map(|c| format!("--handler {:<30} {}", c.handler, c.why)).collect();
            let problem = Problem::usage(format!("{path} holds {} possible handlers", list.len())).hint(format!("say which is meant:\n{}", list.join("\n")));
            choose(out, &findings.candidates).map_or(Err(problem), |at| Ok(findings.candidates.swap_remove(at)))
        }
    }
}

/// Folders that say of themselves that they are projects, where nothing of the folder around them is one.
fn projects_below(findings: &Findings, tree: &dyn Tree) -> Vec<String> {
    if tree.has(settings::FILE) || findings.candidates.iter().any(|c| !c.handler.contains('/')) {
        return Vec::new();
    }
    let folder =
        |name: &str| Some(name.strip_suffix(settings::FILE)?.strip_suffix('/')?.to_string()).filter(|f| !f.contains('/'));
    tree.names().into_iter().filter_map(folder).collect()
}

fn ask(out: &Out, question: &str) -> bool {
    out.interactive()
        && answer(out, &format!("{question} [y/N]")).is_some_and(|a| matches!(a.to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn choose(out: &Out, candidates: &[Candidate]) -> Option<usize> {
    if !out.interactive() {
        return None;
    }
    for (i, c) in candidates.iter().enumerate() {
        out.note(format!("  {}  {:<30} {}", i + 1, c.handler, c.why));
    }
    let number: usize = answer(out, "which handler is meant?")?.parse().ok()?;
    (1..=candidates.len()).contains(&number).then(|| number - 1)
}

/// One line from whoever sits there.
pub fn answer(out: &Out, question: &str) -> Option<String> {
    out.note(question);
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(temp.path().join(name), text).unwrap();
        }
        temp
    }
    fn rows() -> Vec<RuntimeRow> {
        let row = |name: &str| RuntimeRow { name: name.into(), found: "x".into(), ..Default::default() };
        vec![row("python3.11"), row("python3.12"), row("nodejs20.x")]
    }
    fn planned(temp: &tempfile::TempDir, options: &Options, existing: Option<&Config>) -> Result<Plan, Problem> {
        let source = Source::open(temp.path(), &[], Vec::new()).unwrap();
        draft(&source, options, existing, &Out::new(true, false))?.decide(&source, &rows())
    }
    const PYTHON: (&str, &str) = ("lambda_function.py", "def lambda_handler(event, context):\n  return 1");

    #[test]
    fn options_win_over_the_file_over_what_was_over_what_is_found() {
        let temp = folder(&[PYTHON, ("other.py", "def run(event, context): pass")]);
        let none = Options::default();
        let found = planned(&temp, &none, None).unwrap();
        assert_eq!((found.runtime.is.as_str(), found.handler.is.as_str()), ("python3.12", "lambda_function.lambda_handler"));

        let existing = Config { runtime: "python3.11".into(), handler: "other.run".into(), ..Config::default() };
        let kept = planned(&temp, &none, Some(&existing)).unwrap();
        assert_eq!((kept.runtime.is.as_str(), kept.handler.is.as_str()), ("python3.11", "other.run"));

        let gone = Config { runtime: "nodejs20.x".into(), handler: "index.handler".into(), ..Config::default() };
        let anew = planned(&temp, &none, Some(&gone)).unwrap();
        assert_eq!((anew.runtime.is.as_str(), anew.handler.is.as_str()), ("python3.12", "lambda_function.lambda_handler"));

        fs::write(
            temp.path().join("myna.toml"),
            "[function]\nname = \"n\"\nhandler = \"other.run\"\nmemory = 256\n[function.env]\nA = \"1\"",
        )
        .unwrap();
        let filed = planned(&temp, &none, None).unwrap();
        assert_eq!((filed.name.as_str(), filed.handler.is.as_str(), filed.memory), ("n", "other.run", Some(256)));
        let options = Options {
            handler: Some("lambda_function.lambda_handler".into()),
            memory: Some(512),
            env: vec![("B".into(), "2".into())],
            ..Options::default()
        };
        let said = planned(&temp, &options, None).unwrap();
        assert_eq!((said.handler.why.as_str(), said.memory, said.env.unwrap().len()), ("--handler", Some(512), 2));
    }

    #[test]
    fn variables_are_added_to_what_is_there_unless_a_table_says_all() {
        let mut existing = Config::default();
        existing.environment.variables.insert("OLD".into(), "1".into());
        let options = Options { env: vec![("NEW".into(), "2".into())], ..Options::default() };
        assert_eq!(env(&options, None, Some(&existing)).unwrap().len(), 2);
        assert_eq!(env(&options, Some(&BTreeMap::new()), Some(&existing)).unwrap().len(), 1);
        assert_eq!(env(&Options::default(), None, Some(&existing)), None);
    }

    #[test]
    fn doubt_is_an_error_with_the_words_that_end_it() {
        let two = planned(
            &folder(&[("a.py", "def run(event, context): 1"), ("b.py", "def run(event, context): 1")]),
            &Options::default(),
            None,
        )
        .unwrap_err();
        assert!(two.hint.unwrap().contains("--handler a.run"));
        let azure = folder(&[PYTHON, ("host.json", "{}")]);
        assert!(planned(&azure, &Options::default(), None).unwrap_err().hint.unwrap().contains("--as lambda"));
        let options = Options { system: Some(super::super::options::System::Lambda), ..Options::default() };
        assert!(planned(&azure, &options, None).is_ok());
        let rust = folder(&[("Cargo.toml", "[package]\nname = \"no-such-program\"\n[dependencies]\nlambda_runtime = \"1\"")]);
        assert!(planned(&rust, &Options::default(), None).unwrap_err().hint.unwrap().contains("cargo build --release"));
        assert!(
            planned(&folder(&[("README.md", "")]), &Options::default(), None).unwrap_err().hint.unwrap().contains("--handler")
        );
    }
}
