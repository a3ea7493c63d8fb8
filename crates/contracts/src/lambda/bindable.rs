//! Which units may be given to a runtime that is running already. A variable that the interpreter, the loader or the C
//! library reads when the process starts would come too late there, so such a unit gets a process of its own.

use model::Unit;

/// Read at process start. A name that ends in `*` stands for all that begin so.
const EARLY: &[&str] = &[
    "LD_*",
    "PYTHON*",
    "NODE_*",
    "UV_*",
    "V8_*",
    "OPENSSL_*",
    "SSL_*",
    "MALLOC_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "LOCPATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "AWS_LAMBDA_EXEC_WRAPPER",
];

/// Whether this unit can be given to an instance that was started without one; if not, why.
pub fn can_bind(unit: &Unit) -> Result<(), String> {
    match unit.env.iter().find(|(name, _)| early(name)) {
        Some((name, _)) => Err(format!("the variable {name} takes effect only when a process starts")),
        None => layered(unit),
    }
}

/// The loader remembers for as long as a process lives that a folder of libraries wasn't there, and an extension is started before
/// the runtime.
fn layered(unit: &Unit) -> Result<(), String> {
    let has = |folder: &str| unit.layers.iter().any(|l| l.path().join(folder).is_dir());
    match ["lib", "extensions"].into_iter().find(|folder| has(folder)) {
        Some(folder) => Err(format!("a layer brings /opt/{folder}, which takes effect only when a process starts")),
        None => Ok(()),
    }
}

fn early(name: &str) -> bool {
    EARLY.iter().any(|rule| rule.strip_suffix('*').map_or(*rule == name, |prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_process_start_are_told_apart() {
        for name in ["LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS", "AWS_LAMBDA_EXEC_WRAPPER", "LC_ALL", "LANG"] {
            assert!(early(name), "{name}");
        }
        for name in ["TABLE", "LANGUAGES", "MY_LD_PRELOAD", "TZ", "AWS_ENDPOINT_URL"] {
            assert!(!early(name), "{name}");
        }
    }
}
