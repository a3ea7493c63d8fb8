//! `--record`: the table of this run becomes the one of the book.

use anyhow::Context;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
const BEGIN: &str = "<!-- Recorded by `cargo xtask bench --record`: begin -->";
const END: &str = "<!-- Recorded by `cargo xtask bench --record`: end -->";

pub fn write(table: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(PAGE).context("can't read docs/benchmarks.md")?;
    std::fs::write(PAGE, between(&page, table)?).context("can't write docs/benchmarks.md")
}

fn between(page: &str, table: &str) -> anyhow::Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.with_context(|| format!("docs/benchmarks.md lacks its marks: {BEGIN} and {END}"))?;
    Ok(format!("{head}{BEGIN}\n{}\n{END}{tail}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_nothing_else() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(between(&page, "new\n").unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(between("no marks", "new").is_err());
        assert!(between(&std::fs::read_to_string(PAGE).unwrap(), "new").is_ok());
    }
}
