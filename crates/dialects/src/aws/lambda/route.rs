//! Which operation a request means. The one table is `operations.json`: method, path, success code and whether it is served, as
//! botocore's service model has them (a test compares); the router, the documentation's lists and that test all read it.

use crate::aws::percent;
use serde::Deserialize;
use std::sync::LazyLock;

#[derive(Deserialize)]
struct Row {
    name: String,
    method: String,
    path: String,
    /// A parameter that tells two operations of one path apart.
    query: Option<String>,
    code: u16,
    served: bool,
}

pub struct Operation {
    pub name: &'static str,
    pub code: http::StatusCode,
    pub served: bool,
    method: http::Method,
    query: Option<&'static str>,
    segments: Vec<Segment>,
}

enum Segment {
    Literal(&'static str),
    Label,
}

/// The table's text, for whoever lists or checks what is served.
pub const TABLE: &str = include_str!("operations.json");

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let rows: Vec<Row> = serde_json::from_str(TABLE).expect("the table is checked by the tests below");
    rows.into_iter().map(Operation::from).collect()
});

impl From<Row> for Operation {
    fn from(row: Row) -> Self {
        // Once per process, and lives as long as it.
        let path: &'static str = row.path.leak();
        let label = |s: &'static str| if s.starts_with('{') { Segment::Label } else { Segment::Literal(s) };
        Operation {
            name: row.name.leak(),
            code: http::StatusCode::from_u16(row.code).expect("codes of the table are status codes"),
            served: row.served,
            method: row.method.parse().expect("methods of the table are methods"),
            query: row.query.map(|q| &*q.leak()),
            segments: path.trim_matches('/').split('/').map(label).collect(),
        }
    }
}

/// The names of what is served.
pub fn served() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().filter(|o| o.served).map(|o| o.name)
}

/// The labels of a path, decoded, in order.
pub type Labels = Vec<String>;

impl Operation {
    fn matches(&self, method: &http::Method, segments: &[&str], query: Option<&str>) -> bool {
        self.segments.len() == segments.len()
            && self.method == *method
            && self.segments.iter().zip(segments).all(|(mine, theirs)| match mine {
                Segment::Literal(text) => text == theirs,
                Segment::Label => !theirs.is_empty(),
            })
            && self.query.is_none_or(|wanted| query.is_some_and(|q| q.split('&').any(|pair| pair == wanted)))
    }
}

pub enum Found {
    Operation(&'static Operation, Labels),
    /// The path is an operation's, the method isn't.
    Method,
    Nothing,
}

/// Most operations have one or two labels; a path of more segments than this is nobody's.
const SEGMENTS_MAX: usize = 8;

pub fn find(method: &http::Method, path: &str, query: Option<&str>) -> Found {
    let mut segments: Vec<&str> = Vec::with_capacity(SEGMENTS_MAX);
    for segment in path.trim_matches('/').split('/') {
        if segments.len() == SEGMENTS_MAX {
            return Found::Nothing;
        }
        segments.push(segment);
    }
    let fits = |o: &&Operation| o.matches(method, &segments, query);
    // An operation that is told by a parameter goes before the one that owns the bare path.
    let found = OPERATIONS.iter().filter(fits).max_by_key(|o| o.query.is_some());
    if let Some(operation) = found {
        let labels = operation.segments.iter().zip(&segments).filter(|s| matches!(s.0, Segment::Label));
        return Found::Operation(operation, labels.map(|(_, text)| percent::decode(text).into_owned()).collect());
    }
    let other = OPERATIONS.iter().any(|o| o.matches(&o.method, &segments, query));
    if other { Found::Method } else { Found::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_table_is_found_by_its_own_request() {
        for operation in OPERATIONS.iter() {
            let path: String = operation
                .segments
                .iter()
                .map(|s| match s {
                    Segment::Literal(text) => format!("/{text}"),
                    Segment::Label => "/a%3Ab".into(),
                })
                .collect();
            match find(&operation.method, &path, operation.query) {
                Found::Operation(found, labels) => {
                    assert_eq!(found.name, operation.name);
                    assert!(labels.iter().all(|l| l == "a:b"));
                }
                _ => panic!("{} is not found", operation.name),
            }
        }
        assert!(matches!(find(&http::Method::PATCH, "/2015-03-31/functions", None), Found::Method));
        assert!(matches!(find(&http::Method::GET, "/2015-03-31/", None), Found::Nothing));
        assert!(matches!(find(&http::Method::GET, &"/x".repeat(1000), None), Found::Nothing));
    }
}
