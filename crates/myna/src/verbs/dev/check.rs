//! A syntax error shown at the save, not at the next call: the language itself is asked to read the file, without running it.

use crate::{admin::wire::RuntimeRow, platform::Api};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// Asks the interpreter that will run the function.
pub struct Checker(Option<(Kind, PathBuf)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Python,
    Node,
}

const PYTHON: &str = "\
import sys
for path in sys.argv[1:]:
    name = path.rsplit('/', 1)[-1]
    try:
        compile(open(path, 'rb').read(), name, 'exec')
    except (SyntaxError, ValueError) as error:
        at = getattr(error, 'lineno', None)
        said = f'{type(error).__name__}: {getattr(error, \"msg\", error)}'
        print(f'{name}:{at}: {said}' if at else f'{name}: {said}')
";

impl Checker {
    /// For the runtime of that name; where its program isn't known, nothing is checked.
    pub async fn for_runtime(api: &Api, runtime: &str) -> Self {
        let rows: Vec<RuntimeRow> = api.read(&format!("/admin/v1/runtimes?family={runtime}")).await.unwrap_or_default();
        let program = rows.into_iter().find(|r| r.name == runtime).and_then(|r| r.program);
        let kind =
            if runtime.starts_with("python") { Some(Kind::Python) } else { runtime.starts_with("nodejs").then_some(Kind::Node) };
        Self(kind.zip(program))
    }

    /// What is wrong with these files, an entry each.
    pub async fn check(&self, files: &[PathBuf]) -> Vec<String> {
        /// More at once come from an installation or a checkout, not from somebody's editor.
        const FILES_MAX: usize = 50;
        let Some((kind, program)) = &self.0 else { return Vec::new() };
        let files: Vec<&Path> =
            files.iter().map(PathBuf::as_path).filter(|f| kind.reads(f) && f.is_file()).take(FILES_MAX).collect();
        if files.is_empty() { Vec::new() } else { kind.faults(program, &files).await }
    }
}

impl Kind {
    fn reads(self, file: &Path) -> bool {
        let ext = file.extension().and_then(|e| e.to_str()).unwrap_or("");
        match self {
            Kind::Python => ext == "py",
            Kind::Node => matches!(ext, "js" | "mjs" | "cjs"),
        }
    }

    async fn faults(self, program: &Path, files: &[&Path]) -> Vec<String> {
        match self {
            // Isolated: neither the environment nor the project's folder can change what is run.
            Kind::Python => {
                let said = said(Command::new(program).args(["-I", "-S", "-c", PYTHON]).args(files)).await;
                said.map(|s| s.0.lines().map(str::to_string).collect()).unwrap_or_default()
            }
            Kind::Node => {
                let mut faults = Vec::new();
                for file in files {
                    let said = said(Command::new(program).arg("--check").arg(file)).await;
                    faults.extend(said.and_then(|s| node_fault(&s.1)));
                }
                faults
            }
        }
    }
}

/// Node quotes the line, points into it, names the error, and adds a stack of its own.
fn node_fault(said: &str) -> Option<String> {
    let own = said.lines().take_while(|l| !l.trim_start().starts_with("at "));
    said.contains("SyntaxError").then(|| own.collect::<Vec<_>>().join("\n").trim_end().to_string())
}

/// What a program writes to its standard output and error, if it ends in time.
async fn said(command: &mut Command) -> Option<(String, String)> {
    const PATIENCE: Duration = Duration::from_secs(10);
    command.env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn on_path(program: &str) -> Option<PathBuf> {
        std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|p| p.is_file())
    }

    #[tokio::test]
    async fn a_syntax_error_is_named_and_nothing_is_run() {
        let temp = tempfile::tempdir().unwrap();
        let (good, bad, mark) = (temp.path().join("good.py"), temp.path().join("bad.py"), temp.path().join("ran"));
        fs::write(&good, format!("open({mark:?}, 'w')\n")).unwrap();
        fs::write(&bad, "x = 1\ndef f(:\n  pass\n").unwrap();
        // Debian's and macOS's names; a machine without Python has nothing to be asked.
        let Some(python) = ["/usr/bin/python3", "/usr/local/bin/python3"]
            .map(PathBuf::from)
            .into_iter()
            .find(|p| p.is_file())
            .or_else(|| on_path("python3"))
        else {
            return;
        };
        let checker = Checker(Some((Kind::Python, python)));
        let faults = checker.check(&[good, bad, temp.path().join("gone.py")]).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("bad.py:2: SyntaxError: "), "{faults:?}");
        assert!(!mark.exists());
    }
}
