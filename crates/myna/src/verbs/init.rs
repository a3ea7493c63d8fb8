//! `myna init`: a function to begin with, which deploys and answers as it is written.

use crate::cli::{
    Ctx,
    problem::{Doing, Done, Problem},
};
use serde_json::json;
use std::{fs, path::PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna init --like lambda-python hello
  myna init --like lambda-rust hello && myna deploy hello --build
  myna init --like lambda-node             in this folder, when nothing is in the way")]
pub struct Args {
    /// Which system and language it is for.
    #[arg(long, value_enum)]
    like: Like,
    /// The folder to write it into.
    #[arg(value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(clippy::enum_variant_names)] // the next systems are on their way
pub enum Like {
    LambdaPython,
    LambdaNode,
    LambdaRust,
    LambdaGo,
}

/// Files of a template: name and text.
type Files = &'static [(&'static str, &'static str)];

const EVENT: (&str, &str) = ("event.json", include_str!("../templates/event.json"));

impl Like {
    fn files(self) -> Files {
        match self {
            Like::LambdaPython => &[("lambda_function.py", include_str!("../templates/lambda-python/lambda_function.py")), EVENT],
            Like::LambdaNode => &[("index.mjs", include_str!("../templates/lambda-node/index.mjs")), EVENT],
            Like::LambdaRust => &[
                ("Cargo.toml", include_str!("../templates/lambda-rust/Cargo.toml.in")),
                ("src/main.rs", include_str!("../templates/lambda-rust/main.rs.in")),
                (".gitignore", "/target\n"),
                EVENT,
            ],
            Like::LambdaGo => &[
                ("go.mod", include_str!("../templates/lambda-go/go.mod.in")),
                ("go.sum", include_str!("../templates/lambda-go/go.sum.in")),
                ("main.go", include_str!("../templates/lambda-go/main.go.in")),
                (".gitignore", "/bootstrap\n"),
                EVENT,
            ],
        }
    }
    fn built(self) -> bool {
        matches!(self, Like::LambdaRust | Like::LambdaGo)
    }
}

pub fn run(ctx: &Ctx, args: &Args) -> Done {
    fs::create_dir_all(&args.path).doing(format!("the folder {} can't be made", args.path.display()))?;
    let dir = args.path.canonicalize().doing(format!("the folder {} can't be read", args.path.display()))?;
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_else(|| "function".into());
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    // A package of Rust's can't begin with a digit.
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("fn-{name}") } else { name };
    let settings = format!(
        "# What `myna deploy` can't read off the files.\n[function]\nname = \"{name}\"\nmemory = \"128MB\"\ntimeout = \"10s\"\nexclude = [\"event.json\"]\n"
    );
    let mut files: Vec<(&str, String)> =
        args.like.files().iter().map(|(file, text)| (*file, text.replace("PROJECT_NAME", &name))).collect();
    files.push(("myna.toml", settings));
    if let Some((taken, _)) = files.iter().find(|(file, _)| dir.join(file).symlink_metadata().is_ok()) {
        return Err(Problem::usage(format!("{} is there already, and nothing is overwritten", dir.join(taken).display()))
            .hint("name another folder"));
    }
    for (file, text) in &files {
        let path = dir.join(file);
        let folder = path.parent().expect("a joined path has a parent");
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).doing(format!("{} can't be written", path.display()))?;
    }
    if ctx.out.json {
        ctx.out.json(&json!({ "name": name, "dir": dir, "files": files.iter().map(|f| f.0).collect::<Vec<_>>() }));
        return Ok(());
    }
    let (shown, build) = (args.path.display(), if args.like.built() { " --build" } else { "" });
    ctx.out.line(format!("{shown}: {}", files.iter().map(|f| f.0).collect::<Vec<_>>().join(", ")));
    ctx.out.note(format!("next:\n  myna up                              in another terminal\n  myna deploy {shown}{build}\n  myna invoke {name} -d @{}", args.path.join("event.json").display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::out::Out,
        project::{detect::Language, source::Source},
    };

    #[test]
    fn what_is_written_is_recognised_and_nothing_is_overwritten() {
        for (like, language) in [
            (Like::LambdaPython, Some(Language::Python)),
            (Like::LambdaNode, Some(Language::Node)),
            (Like::LambdaRust, None),
            (Like::LambdaGo, None),
        ] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path().join("my function");
            let ctx = Ctx { dir: None, tenant: None, out: Out::new(true, false) };
            let args = Args { like, path: dir.clone() };
            run(&ctx, &args).unwrap();
            let source = Source::open(&dir, &[], Vec::new()).unwrap();
            assert_eq!(source.settings.name.as_deref(), Some("my-function"));
            let found = source.findings();
            assert_eq!(found.candidates.first().map(|c| c.language), language, "{like:?}");
            assert_eq!(found.unbuilt.is_some(), language.is_none(), "{like:?}");
            assert!(run(&ctx, &args).is_err_and(|p| p.message.contains("nothing is overwritten")));
        }
    }
}
