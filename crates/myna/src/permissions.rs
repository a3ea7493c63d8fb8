//! The table of permissions, `tests/permissions.toml`, held against what the code lists of itself: a route or an operation without
//! a row fails here, and so does a row without a route. docs/permissions.md is made from the table here too.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

const TABLE: &str = include_str!("../../../tests/permissions.toml");
const PAGE: &str = "../../docs/permissions.md";
/// The services of AWS that have operations in the table.
const SERVICES: [&str; 4] = ["lambda", "logs", "sts", "iam"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    lambda: Operations,
    logs: Operations,
    sts: Operations,
    iam: Operations,
    aws: BTreeMap<String, String>,
    admin: Routes,
    console: Routes,
    metrics: Routes,
    runtime: BTreeMap<String, toml::Value>,
}

/// Operations by what they are.
type Operations = BTreeMap<Kind, Vec<String>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Changes,
    Reads,
    Calls,
    Writes,
    Own,
    Everyone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Routes {
    routes: Vec<String>,
}

impl Table {
    fn read() -> Self {
        toml::from_str(TABLE).expect("the table can be read")
    }

    fn operations(&self, service: &str) -> &Operations {
        match service {
            "lambda" => &self.lambda,
            "logs" => &self.logs,
            "sts" => &self.sts,
            _ => &self.iam,
        }
    }

    /// Every row, as its door and its route.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        for service in SERVICES {
            let names = self.operations(service).values().flatten();
            rows.extend(names.map(|name| (service.to_owned(), name.clone())));
        }
        rows.extend(self.aws.keys().map(|route| ("aws".to_owned(), route.clone())));
        rows.extend(self.runtime.keys().map(|route| ("runtime".to_owned(), route.clone())));
        for (door, listed) in [("admin", &self.admin), ("console", &self.console), ("metrics", &self.metrics)] {
            rows.extend(listed.routes.iter().map(|route| (door.to_owned(), route.clone())));
        }
        rows
    }
}

/// What the code has, by its own lists.
fn routes() -> BTreeSet<(String, String)> {
    let of = |door: &'static str, routes: &'static [&'static str]| routes.iter().map(move |r| (door.to_owned(), (*r).to_owned()));
    let operations = dialects::aws::operations().map(|(service, name)| (service.to_owned(), name.to_owned()));
    operations
        .chain(of("aws", &gateway::aws::ROUTES))
        .chain(of("admin", crate::admin::ROUTES))
        .chain(of("console", console::PAGES))
        .chain(of("metrics", crate::metrics::ROUTES))
        .chain(of("runtime", contracts::lambda::ROUTES))
        .collect()
}

// H53
#[test]
fn every_route_has_a_row() {
    let rows = Table::read().rows();
    let had: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), had.len(), "a row is there twice");
    let wanted = routes();
    let missing: Vec<_> = wanted.difference(&had).collect();
    let stale: Vec<_> = had.difference(&wanted).collect();
    assert!(missing.is_empty(), "tests/permissions.toml has no row for {missing:?}");
    assert!(stale.is_empty(), "tests/permissions.toml has rows for what is not served: {stale:?}");
}

const HEAD: &str = "# Permissions: every route of every door\n
Generated from `tests/permissions.toml` (`MYNA_BLESS=1 cargo test -p myna permissions`). The code lists its own routes; one without a row
there fails the build.
";

const APIS: &str = "
## The AWS APIs

By what an operation is. *Read-only* is a user with `AWSLambda_ReadOnlyAccess`, `IAMReadOnlyAccess` and `CloudWatchLogsReadOnlyAccess`; *a
function's own* are the credentials in its environment, from the host, and over its own socket with a role that allows nothing.
CloudWatch Logs says every refusal with status 400 and names it in `__type`; the others say 403.

| | no signature | wrong secret | expired session | read-only | a function's own, from outside | a function's own, from within |
| --- | --- | --- | --- | --- | --- | --- |
| changes | refused | refused | refused | **refused** | refused | refused |
| reads | refused | refused | refused | answered | refused | refused |
| calls | refused | refused | refused | refused | refused | refused |
| writes (of a function's own log) | refused | refused | refused | refused | refused | as its role allows: refused |
| own (with a user's own key) | refused | refused | refused | answered | refused | refused |
| everyone (who has signed) | refused | refused | refused | answered | refused | answered |

Refused in AWS's words: `MissingAuthenticationToken` without a signature, `InvalidSignatureException` (`SignatureDoesNotMatch`) for a wrong
secret, `ExpiredToken`, `UnrecognizedClientException` (`InvalidClientTokenId`) for keys that are not known here, `AccessDenied` for a key that
may not.

**Another tenant's** administrator, who names what is here by its whole ARN, is refused (403, or 404 as for what isn't there) whatever the
operation, and calls are refused unless a policy of the function's names that account. What an operation can't name by an ARN is about the
caller's own account.
";

fn page(table: &Table) -> String {
    let mut page = format!("{HEAD}{APIS}");
    let list = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    for service in SERVICES {
        write!(page, "\n### {service}\n\n| what | operations |\n| --- | --- |\n").expect("a text takes all");
        for (kind, names) in table.operations(service) {
            let kind = match kind {
                Kind::Changes => "changes",
                Kind::Reads => "reads",
                Kind::Calls => "calls",
                Kind::Writes => "writes",
                Kind::Own => "own",
                Kind::Everyone => "everyone",
            };
            writeln!(page, "| {kind} | {} |", list(names)).expect("a text takes all");
        }
    }
    page += "\n## The rest of that listener\n\n| route | who |\n| --- | --- |\n";
    for (route, who) in &table.aws {
        let who = match who.as_str() {
            "open" => "anybody; it says nothing but `ok`",
            "capability" => "whoever holds the capability in its path, for ten minutes; any other is 404",
            "url" => "as the function's owner decided: `NONE` anybody, `AWS_IAM` whom a policy allows, else 403",
            _ => "signed, as above",
        };
        writeln!(page, "| `{route}` | {who} |").expect("a text takes all");
    }
    let doors = [
        (
            "The admin socket",
            "The user who runs the platform, and root. Another user's connection is closed without an answer, whatever the file's mode \
             says. By the AWS listener these paths lead nowhere: 403 unsigned, 404 to the administrator.",
            &table.admin,
        ),
        (
            "The console",
            "401 without its cookie, with a forged one and with one from before a restart; 421 by another host; 405 by another method. \
             `/login` wants a token that works once.",
            &table.console,
        ),
        (
            "The metrics listener",
            "Off unless configured, loopback only, open to this machine's users. Nothing else is there.",
            &table.metrics,
        ),
    ];
    for (title, says, listed) in doors {
        write!(page, "\n## {title}\n\n{says}\n\n").expect("a text takes all");
        listed.routes.iter().for_each(|route| writeln!(page, "- `{route}`").expect("a text takes all"));
    }
    page += "\n## An instance's own door\n\nNo other instance and nobody outside reaches it: it is in the instance's own network. This is what \
             its function gets for using it out of turn, or for what isn't its own; what is none of these is a request to the AWS APIs with \
             the instance's own credentials.\n\n| route | answer |\n| --- | --- |\n";
    for (route, answer) in &table.runtime {
        let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        writeln!(page, "| `{route}` | {answer} |").expect("a text takes all");
    }
    page
}

#[test]
fn the_book_shows_the_table_as_it_is() {
    let wanted = page(&Table::read());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("MYNA_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("the page can be written");
    }
    let now = std::fs::read_to_string(&path).expect("the page can be read");
    assert!(now == wanted, "docs/permissions.md is stale: MYNA_BLESS=1 cargo test -p myna permissions");
}
