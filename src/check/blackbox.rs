//! `-f prometheus --probe`: the metric names of Prometheus' blackbox exporter, so that its dashboards and alerts work.
//!
//! Only what a check has measured is told. One check has no labels, as there; several have `check`.

use std::fmt::Write as _;
use std::path::Path;

use super::prometheus::{escaped, number};
use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// A measure of a plugin, and what the exporter calls it.
struct Known {
    /// The plugin's name.
    plugin: &'static str,
    measure: &'static str,
    family: &'static str,
    /// A label beside `check`.
    label: Option<(&'static str, &'static str)>,
    value: fn(f64, f64) -> f64,
}

const fn known(plugin: &'static str, measure: &'static str, family: &'static str) -> Known {
    Known {
        plugin,
        measure,
        family,
        label: None,
        value: |value, _moment| value,
    }
}

const fn phase(measure: &'static str, phase: &'static str) -> Known {
    Known {
        label: Some(("phase", phase)),
        ..known("http", measure, "http_duration_seconds")
    }
}

/// Days that are left until a certificate ends, as a moment.
const fn expiry(plugin: &'static str, measure: &'static str) -> Known {
    Known {
        value: |days, moment| (moment + days * 86_400.0).round(),
        ..known(plugin, measure, "ssl_earliest_cert_expiry")
    }
}

const KNOWN: &[Known] = &[
    known("http", "status", "http_status_code"),
    known("http", "size", "http_content_length"),
    known("http", "redirects", "http_redirects"),
    phase("resolve", "resolve"),
    phase("connect", "connect"),
    phase("tls", "tls"),
    // From the request to the end of the body: what the exporter divides into phases.
    phase("time", "processing"),
    phase("transfer", "transfer"),
    expiry("tls", "days_left"),
    known("dns", "time", "dns_lookup_time_seconds"),
    known("dns", "values", "dns_answer_rrs"),
    Known {
        label: Some(("phase", "rtt")),
        ..known("icmp", "rtt", "icmp_duration_seconds")
    },
];

/// All families, with their help.
const FAMILIES: &[(&str, &str)] = &[
    ("success", "Whether the probe succeeded (1), or not (0)."),
    ("duration_seconds", "How long the probe took."),
    ("http_status_code", "Response HTTP status code."),
    (
        "http_content_length",
        "Length of the HTTP content in bytes.",
    ),
    ("http_redirects", "The number of redirects."),
    (
        "http_duration_seconds",
        "Duration of the HTTP request by phase.",
    ),
    (
        "ssl_earliest_cert_expiry",
        "When the earliest certificate ends, in seconds since 1970.",
    ),
    ("dns_lookup_time_seconds", "Time taken for the DNS lookup."),
    ("dns_answer_rrs", "Number of entries in the answer."),
    ("icmp_duration_seconds", "Duration of the echo by phase."),
];

/// The exposition. `moment` is when the run ended, in seconds since 1970.
#[must_use]
pub fn render(report: &Report, moment: f64) -> String {
    let mut text = String::new();
    let is_alone = report.checks.len() == 1;
    for (family, help) in FAMILIES {
        let samples: Vec<String> = report
            .checks
            .iter()
            .flat_map(|check| {
                let name = (!is_alone).then_some(("check", check.name.as_str()));
                let lines = samples(check, family, moment).into_iter();
                lines.map(move |(label, value)| {
                    let labels: Vec<_> = name.into_iter().chain(label).collect();
                    format!("probe_{family}{} {}", shown(&labels), number(Some(value)))
                })
            })
            .collect();
        if !samples.is_empty() {
            let _ = writeln!(text, "# HELP probe_{family} {help}");
            let _ = writeln!(text, "# TYPE probe_{family} gauge\n{}", samples.join("\n"));
        }
    }
    text
}

type Label = Option<(&'static str, &'static str)>;

fn samples(check: &Outcome, family: &str, moment: f64) -> Vec<(Label, f64)> {
    match family {
        "success" => {
            let good = matches!(check.state, State::Ok | State::Warning);
            return vec![(None, f64::from(u8::from(good)))];
        }
        "duration_seconds" => return vec![(None, check.duration_seconds)],
        _ => {}
    }
    let stem = Path::new(&check.file).file_stem().unwrap_or_default();
    let of_family = KNOWN
        .iter()
        .filter(|known| known.family == family && stem == known.plugin);
    of_family
        .filter_map(|known| {
            let measure = check
                .measures
                .iter()
                .find(|one| one.name == known.measure)?;
            Some((known.label, (known.value)(measure.value?, moment)))
        })
        .collect()
}

fn shown(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::perfdata::Measure;

    fn web(name: &str) -> Outcome {
        let mut web = Outcome::unknown(name, "stock/http.lua", String::new());
        web.state = State::Warning;
        web.duration_seconds = 0.25;
        web.measures = vec![
            Measure::new("status", Some(200.0), ""),
            Measure::new("time", Some(0.2), "s"),
            Measure::new("lost", Some(1.0), ""),
            Measure::new("size", None, "B"),
        ];
        web
    }

    #[test]
    fn one_check_looks_like_a_probe_of_the_exporter() {
        let golden = r#"# HELP probe_success Whether the probe succeeded (1), or not (0).
# TYPE probe_success gauge
probe_success 1
# HELP probe_duration_seconds How long the probe took.
# TYPE probe_duration_seconds gauge
probe_duration_seconds 0.25
# HELP probe_http_status_code Response HTTP status code.
# TYPE probe_http_status_code gauge
probe_http_status_code 200
# HELP probe_http_duration_seconds Duration of the HTTP request by phase.
# TYPE probe_http_duration_seconds gauge
probe_http_duration_seconds{phase="processing"} 0.2
"#;
        assert_eq!(render(&Report::new(vec![web("a")]), 0.0), golden);
    }

    #[test]
    fn several_checks_are_told_apart_and_days_become_a_moment() {
        let mut tls = Outcome::unknown("b", "plugins/tls.lua", String::new());
        tls.measures = vec![Measure::new("days_left", Some(2.0), "d")];
        let text = render(&Report::new(vec![web("a \"x\""), tls]), 1_000.0);
        for line in [
            "probe_success{check=\"a \\\"x\\\"\"} 1",
            "probe_success{check=\"b\"} 0",
            "probe_http_duration_seconds{check=\"a \\\"x\\\"\",phase=\"processing\"} 0.2",
            "probe_ssl_earliest_cert_expiry{check=\"b\"} 173800",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
