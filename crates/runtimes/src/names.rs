//! The names that a function may give for its language, as AWS Lambda spells them, with what each needs.

/// One language environment that functions ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: &'static str,
    pub language: Language,
    /// The versions that serve it, the best first: `3.12`, `20`.
    pub versions: &'static [&'static str],
    /// No longer offered: it runs only where the operator maps it to a path.
    pub retired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    Python,
    Node,
    Java,
    /// The package brings its own program.
    Provided,
    /// Nothing here speaks for it; an explicit mapping names a program that does.
    Other,
}

impl Language {
    /// Every name that its interpreter may have, the most exact first.
    pub fn programs(self, version: &str) -> Vec<String> {
        match self {
            Language::Python => vec![format!("python{version}"), "python3".into()],
            Language::Node => vec!["node".into()],
            Language::Java => vec!["java".into()],
            Language::Provided | Language::Other => vec![],
        }
    }
}

const fn named(name: &'static str, language: Language, versions: &'static [&'static str]) -> Named {
    Named { name, language, versions, retired: false }
}
const fn retired(name: &'static str, language: Language, versions: &'static [&'static str]) -> Named {
    Named { name, language, versions, retired: true }
}

/// Every name. A newer Java runs an older one's classes; that is used where the older isn't there, and said.
pub const ALL: &[Named] = &[
    named("python3.9", Language::Python, &["3.9"]),
    named("python3.10", Language::Python, &["3.10"]),
    named("python3.11", Language::Python, &["3.11"]),
    named("python3.12", Language::Python, &["3.12"]),
    named("python3.13", Language::Python, &["3.13"]),
    named("python3.14", Language::Python, &["3.14"]),
    named("nodejs18.x", Language::Node, &["18"]),
    named("nodejs20.x", Language::Node, &["20"]),
    named("nodejs22.x", Language::Node, &["22"]),
    named("nodejs24.x", Language::Node, &["24"]),
    named("java17", Language::Java, &["17", "21", "25"]),
    named("java21", Language::Java, &["21", "25"]),
    named("java25", Language::Java, &["25"]),
    named("provided.al2", Language::Provided, &[]),
    named("provided.al2023", Language::Provided, &[]),
    retired("python3.8", Language::Python, &["3.8"]),
    retired("python3.7", Language::Python, &["3.7"]),
    retired("python3.6", Language::Python, &["3.6"]),
    retired("python2.7", Language::Other, &["2.7"]),
    retired("nodejs16.x", Language::Node, &["16"]),
    retired("nodejs14.x", Language::Node, &["14"]),
    retired("nodejs12.x", Language::Node, &["12"]),
    retired("java11", Language::Java, &["11", "17", "21", "25"]),
    retired("java8.al2", Language::Java, &["1.8", "11", "17"]),
    retired("java8", Language::Java, &["1.8", "11", "17"]),
    retired("go1.x", Language::Other, &[]),
    retired("provided", Language::Provided, &[]),
];

pub fn find(name: &str) -> Option<&'static Named> {
    ALL.iter().find(|n| n.name == name)
}
