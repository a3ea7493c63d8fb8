//! Prometheus' text exposition format 0.0.4, and OpenMetrics 1.0, of which it is nearly a part.

use std::fmt::Write;

/// What a scraper may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    Prometheus,
    OpenMetrics,
}

impl Exposition {
    /// By the header `Accept`: OpenMetrics to who names it.
    pub fn accepted(accept: &str) -> Self {
        let named = accept.split(',').any(|kind| kind.trim().split(';').next() == Some("application/openmetrics-text"));
        if named { Exposition::OpenMetrics } else { Exposition::Prometheus }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One page of metrics, family after family.
pub struct Page {
    format: Exposition,
    text: String,
}

/// The samples of one family.
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'a str,
}

impl Page {
    pub fn new(format: Exposition) -> Self {
        Self { format, text: String::with_capacity(16 * 1024) }
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        // OpenMetrics names a counter's family without what its samples end in.
        let family = match self.format {
            Exposition::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        Family { page: self, name }
    }

    /// Something that only grows while the platform lives. Its name ends in `_total`.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }
    pub fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "histogram", help)
    }

    pub fn finish(mut self) -> String {
        if self.format == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    pub fn add(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) -> &mut Self {
        self.sample("", labels, value.into());
        self
    }

    /// `counts` are those within each bound and above the one before it, and last those above all; bounds and sum in microseconds,
    /// shown as seconds.
    pub fn spread(&mut self, labels: &[(&str, &str)], bounds_us: &[u64], counts: &[u64], sum_us: u64) {
        let mut below = 0;
        for (at, count) in counts.iter().enumerate() {
            below += count;
            let bound = bounds_us.get(at).map_or("+Inf".to_owned(), |us| seconds(*us));
            let all = [labels, &[("le", bound.as_str())]].concat();
            self.sample("_bucket", &all, Number::Whole(below));
        }
        self.sample("_sum", labels, Number::Real(sum_us as f64 / 1e6));
        self.sample("_count", labels, Number::Whole(below));
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: Number) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = match value {
            Number::Whole(n) => writeln!(text, " {n}"),
            Number::Real(n) => writeln!(text, " {n}"),
        };
    }
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Number::Whole(n)
    }
}
impl From<usize> for Number {
    fn from(n: usize) -> Self {
        Number::Whole(n as u64)
    }
}
impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Number::Whole(u64::from(yes))
    }
}
impl From<f64> for Number {
    fn from(n: f64) -> Self {
        Number::Real(n)
    }
}

/// Always with a point, as OpenMetrics writes bounds.
fn seconds(us: u64) -> String {
    let text = format!("{}", us as f64 / 1e6);
    if text.contains('.') { text } else { format!("{text}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_as_their_texts_say() {
        let page = |format| {
            let mut page = Page::new(format);
            page.counter("a_total", "what\\ever\nelse").add(&[("x", "q\"\\\n<é>"), ("y", "")], 3_u64).add(&[], 0_u64);
            page.gauge("b_ratio", "b").add(&[], 0.5).add(&[("up", "1")], true);
            page.histogram("c_seconds", "c").spread(&[("f", "g")], &[1_000, 1_000_000], &[2, 0, 1], 2_500_000);
            page.finish()
        };
        let samples = "a_total{x=\"q\\\"\\\\\\n<é>\",y=\"\"} 3\na_total 0\n";
        let rest = "# HELP b_ratio b\n# TYPE b_ratio gauge\nb_ratio 0.5\nb_ratio{up=\"1\"} 1\n\
                    # HELP c_seconds c\n# TYPE c_seconds histogram\nc_seconds_bucket{f=\"g\",le=\"0.001\"} 2\n\
                    c_seconds_bucket{f=\"g\",le=\"1.0\"} 2\nc_seconds_bucket{f=\"g\",le=\"+Inf\"} 3\n\
                    c_seconds_sum{f=\"g\"} 2.5\nc_seconds_count{f=\"g\"} 3\n";
        let help = "what\\\\ever\\nelse";
        assert_eq!(page(Exposition::Prometheus), format!("# HELP a_total {help}\n# TYPE a_total counter\n{samples}{rest}"));
        assert_eq!(page(Exposition::OpenMetrics), format!("# HELP a {help}\n# TYPE a counter\n{samples}{rest}# EOF\n"));
    }

    #[test]
    fn openmetrics_goes_to_who_names_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
        for other in ["", "*/*", "text/plain; version=0.0.4", "application/openmetrics-texts"] {
            assert_eq!(Exposition::accepted(other), Exposition::Prometheus, "{other}");
        }
    }
}
