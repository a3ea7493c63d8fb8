//! AWS: botocore's service models judge the table that the router reads, and every answer of the running platform.

use myna_tests::{Platform, Result, Test, compare, tests};

pub const ALL: &[Test] = tests![
    the_table_and_the_book_are_as_the_services_model,
    every_served_operation_answers_as_its_model_says,
    what_is_not_served_or_not_there_is_refused_in_the_services_words,
];

fn the_table_and_the_book_are_as_the_services_model() -> Result<()> {
    compare("conformance/aws/table.py", None)
}

fn every_served_operation_answers_as_its_model_says() -> Result<()> {
    compare("conformance/aws/served.py", Some(&Platform::start()?))
}

fn what_is_not_served_or_not_there_is_refused_in_the_services_words() -> Result<()> {
    compare("conformance/aws/refused.py", Some(&Platform::start()?))
}
