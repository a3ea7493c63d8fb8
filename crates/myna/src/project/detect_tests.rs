use super::*;
use crate::project::compiled::built_by_cargo;
use std::path::Path;

struct Fake(Vec<(&'static str, &'static str)>);

impl Tree for Fake {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|f| f.0).collect()
    }
    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|f| f.0 == name).map(|f| f.1.to_string())
    }
    fn folder(&self) -> Option<&Path> {
        None
    }
}

fn handlers(files: &[(&'static str, &'static str)]) -> Vec<(Language, String)> {
    detect(&Fake(files.to_vec())).candidates.into_iter().map(|c| (c.language, c.handler)).collect()
}

#[test]
fn every_usual_project_is_recognised_with_its_handler() {
    use Language::*;
    const HANDLER: &str = "def lambda_handler(event, context):\n    return 1\n";
    type Case = (&'static [(&'static str, &'static str)], Language, &'static str);
    let cases: [Case; 13] = [
        (&[("lambda_function.py", HANDLER), ("other.py", HANDLER)], Python, "lambda_function.lambda_handler"),
        (&[("app.py", "import x\nasync def run(event: dict, context) -> dict:\n")], Python, "app.run"),
        (&[("main.py", "handler = Mangum(app)\n"), ("x/util.py", HANDLER)], Python, "main.handler"),
        (&[("src/app.py", HANDLER), ("tests/app.py", HANDLER), ("test_app.py", HANDLER)], Python, "src/app.lambda_handler"),
        (&[("app.py", "def handler(event, context): pass\ndef on_event(event, context): pass")], Python, "app.handler"),
        (&[("index.mjs", "export const handler = async (event) => 1;")], Node, "index.handler"),
        (&[("index.js", "exports.handler = async () => 1")], Node, "index.handler"),
        (&[("app.cjs", "module.exports = { handler };")], Node, "app.handler"),
        (
            &[("package.json", r#"{"main":"./lib/app.js"}"#), ("lib/app.js", "export async function apiHandler(event) {")],
            Node,
            "lib/app.apiHandler",
        ),
        (
            &[
                ("a.js", "exports.handler = 1"),
                ("node_modules/x/index.js", "exports.handler = 1"),
                ("a.test.js", "exports.handler=1"),
            ],
            Node,
            "a.handler",
        ),
        (&[("bootstrap", ""), ("lambda_function.py", HANDLER)], Native, "bootstrap"),
        (&[("go.mod", "require github.com/aws/aws-lambda-go v1"), ("bootstrap", ""), ("main.go", "")], Native, "bootstrap"),
        (&[("com/x/App.class", "")], Java, ""),
    ];
    for (files, language, handler) in cases {
        assert_eq!(handlers(files), [(language, handler.to_string())], "{files:?}");
    }
}

#[test]
fn what_is_ambiguous_or_no_function_is_not_guessed() {
    let two = handlers(&[("app.py", "def handler(event, context): pass"), ("b.py", "def handler(event, context): pass")]);
    assert_eq!(two.len(), 2);
    for files in [
        &[(
            "util.py",
            "def add(a, b):\n  return a + b\nclass X:\n    def handler(self, event): pass\n    def h(event, context): pass",
        )][..],
        &[("index.js", "exports.add = 1\n// exports.handler = 2")][..],
        &[("README.md", "def handler(event, context):")][..],
    ] {
        assert_eq!(handlers(files), [], "{files:?}");
    }
}

#[test]
fn compiled_projects_say_how_they_are_built() {
    let unbuilt = |files: &[(&'static str, &'static str)]| detect(&Fake(files.to_vec())).unbuilt.map(|u| u.build.shown());
    assert_eq!(unbuilt(&[("Cargo.toml", "[dependencies]\nlambda_runtime = \"1\"")]).as_deref(), Some("cargo build --release"));
    let go = unbuilt(&[("go.mod", "require github.com/aws/aws-lambda-go v1"), ("main.go", "")]).unwrap();
    assert!(go.starts_with("CGO_ENABLED=0 GOOS=linux go build"), "{go}");
    assert!(unbuilt(&[("index.ts", "export const handler = 1")]).unwrap().contains("esbuild"));
    assert!(unbuilt(&[("pom.xml", "")]).unwrap().contains("mvn"));
}

#[test]
fn a_built_rust_program_is_found_and_sent_alone() {
    let temp = tempfile::tempdir().unwrap();
    let built = temp.path().join("release/hello");
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    std::fs::write(&built, "ELF").unwrap();
    assert_eq!(built_by_cargo(temp.path(), "[package]\nname = \"hello\""), Some(built.clone()));
    let lambda = temp.path().join("lambda/hello/bootstrap");
    std::fs::create_dir_all(lambda.parent().unwrap()).unwrap();
    std::fs::write(&lambda, "ELF").unwrap();
    let later = std::fs::metadata(&built).unwrap().modified().unwrap() + std::time::Duration::from_secs(5);
    std::fs::File::options().write(true).open(&lambda).unwrap().set_modified(later).unwrap();
    assert_eq!(built_by_cargo(temp.path(), "[package]\nname = \"hello\""), Some(lambda));
}

#[test]
fn other_systems_files_and_missing_libraries_are_named() {
    let azure = detect(&Fake(vec![("host.json", "{}"), ("function_app.py", "def handler(event, context): pass")]));
    assert_eq!(azure.foreign, [("Azure Functions", "host.json".to_string())]);
    let knative = detect(&Fake(vec![("func.yaml", "specVersion: 0.36.0")]));
    assert_eq!(knative.foreign[0].0, "Knative Functions");
    let bare = detect(&Fake(vec![
        ("lambda_function.py", "def lambda_handler(event, context): pass"),
        ("requirements.txt", "# none\nrequests"),
    ]));
    assert!(bare.candidates[0].notes[0].contains("pip install"));
    let held = detect(&Fake(vec![
        ("lambda_function.py", "def lambda_handler(event, context): pass"),
        ("requirements.txt", "requests"),
        ("requests-2.dist-info/METADATA", ""),
    ]));
    assert!(held.candidates[0].notes.is_empty());
    let sdk = detect(&Fake(vec![
        ("index.js", "exports.handler = 1"),
        ("package.json", r#"{"dependencies":{"@aws-sdk/client-s3":"3"}}"#),
    ]));
    assert!(sdk.candidates[0].notes.is_empty(), "Node runtimes bring the AWS SDK");
}

#[test]
fn a_named_handler_tells_its_language() {
    let tree = Fake(vec![("src/app.py", ""), ("index.mjs", "")]);
    assert_eq!(language_of("src/app.handler", &tree), Some(Language::Python));
    assert_eq!(language_of("index.handler", &tree), Some(Language::Node));
    assert_eq!(language_of("com.x.App::handle", &tree), Some(Language::Java));
    assert_eq!(language_of("gone.handler", &tree), None);
}
