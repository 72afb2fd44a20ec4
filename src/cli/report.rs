//! What the daemon answers to `status` and `list`, as far as it is shown. Fields that a daemon of
//! another version does not send are empty.

use serde::Deserialize;

use super::output::{Output, Paint};
use super::table::{self, Cell};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) uuid: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: f64,
    pub(crate) home: String,
    pub(crate) socket: String,
    pub(crate) clients: u64,
    /// What is wrong with the home as a whole: a faulty `moonkeep.toml`, for one.
    pub(crate) warnings: Vec<String>,
    pub(crate) journal: Journal,
    /// Where it listens for HTTP.
    pub(crate) http: Option<String>,
    pub(crate) scripts: Vec<Script>,
    /// Workers of plugins.
    plugins: Vec<Script>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Journal {
    pub(crate) state: String,
    pub(crate) entries: u64,
}

/// The answer to `list` and to the controls.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scripts {
    pub(crate) scripts: Vec<Script>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) pid: Option<u32>,
    pub(crate) generation: u64,
    pub(crate) restarts: u64,
    pub(crate) in_flight: u64,
    pub(crate) queued: u64,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) handlers: Option<Vec<Handler>>,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) durability: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sandbox {
    pub(crate) level: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Handler {
    pub(crate) name: String,
    pub(crate) delivery: String,
}

impl Status {
    /// `4 (3 ready, 1 failed)`
    pub(crate) fn counts(&self) -> String {
        let total = self.scripts.len();
        if total == 0 {
            return "none".to_owned();
        }
        let states = [
            "ready", "starting", "draining", "backoff", "failed", "stopped",
        ];
        let counted: Vec<String> = states
            .iter()
            .map(|state| {
                (
                    state,
                    self.scripts.iter().filter(|s| s.state == *state).count(),
                )
            })
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        format!("{total} ({})", counted.join(", "))
    }

    /// The whole answer for people.
    pub(crate) fn lines(&self, output: &Output) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{} {} running for {}",
                output.paint(Paint::Bold, "moonkeep"),
                self.version,
                uptime(self.uptime_seconds)
            ),
            format!("UUID: {}", self.uuid),
            format!("PID: {}", self.pid),
            format!("Home: {}", output.shown(&self.home)),
            format!("Socket: {}", output.shown(&self.socket)),
            format!("Clients: {}", self.clients),
            format!("Scripts: {}", self.counts()),
        ];
        lines.extend(self.journal.line(output));
        lines.extend(
            self.http
                .iter()
                .map(|at| format!("HTTP: http://{}/", output.shown(at))),
        );
        for warning in self.warnings.iter().filter(|text| !self.is_an_error(text)) {
            lines.push(output.paint(Paint::Warn, &output.shown(&format!("Warning: {warning}"))));
        }
        if self.shown().next().is_some() {
            lines.push(String::new());
            lines.extend(self.table(output));
        }
        for script in self.shown() {
            if let Some(error) = &script.last_error {
                lines.push(String::new());
                lines.push(script.told(output, error.trim_end()));
            }
        }
        lines
    }

    /// Every script, and the workers of plugins with which something is wrong.
    fn shown(&self) -> impl Iterator<Item = &Script> {
        let wrong = |worker: &&Script| worker.state != "ready" || worker.last_error.is_some();
        self.scripts.iter().chain(self.plugins.iter().filter(wrong))
    }

    fn table(&self, output: &Output) -> Vec<String> {
        let head = [
            "NAME",
            "STATE",
            "PID",
            "GEN",
            "RESTARTS",
            "RUNNING",
            "QUEUED",
            "MEMORY",
            "SANDBOX",
            "DURABILITY",
        ];
        let rows: Vec<Vec<Cell>> = self.shown().map(row).collect();
        table::lines(output, &head, &rows)
    }

    /// A fault that the script's own last error tells already.
    fn is_an_error(&self, warning: &str) -> bool {
        self.shown().any(|script| {
            let fault = warning
                .strip_prefix(&script.name)
                .and_then(|rest| rest.strip_prefix(": "));
            fault.is_some() && fault == script.last_error.as_deref()
        })
    }
}

impl Journal {
    /// `Journal: ok, 12 requests`; why it fails is a warning.
    fn line(&self, output: &Output) -> Option<String> {
        let (paint, state) = match self.state.as_str() {
            "" => return None,
            "ok" => (Paint::Good, "ok".to_owned()),
            other => (Paint::Bad, output.shown(other).into_owned()),
        };
        let state = output.paint(paint, &state);
        Some(format!("Journal: {state}, {} requests", self.entries))
    }
}

impl Script {
    fn told(&self, output: &Output, error: &str) -> String {
        let name = output.paint(Paint::Bad, &self.name);
        format!("{name}: {}", output.shown(error))
    }
}

/// The first line of each script's last error, for below a table.
pub(crate) fn errors(output: &Output, scripts: &[Script]) -> Vec<String> {
    let mut lines = Vec::new();
    for script in scripts {
        if let Some(first) = script.last_error.as_deref().and_then(|e| e.lines().next()) {
            lines.push(String::new());
            lines.push(script.told(output, first));
        }
    }
    lines
}

fn row(script: &Script) -> Vec<Cell> {
    vec![
        Cell::new(&script.name),
        Cell::new(&script.state).painted(paint_of(&script.state)),
        Cell::new(script.pid.map_or("-".to_owned(), |pid| pid.to_string())),
        Cell::new(script.generation.to_string()),
        Cell::new(script.restarts.to_string()),
        Cell::new(script.in_flight.to_string()),
        Cell::new(script.queued.to_string()),
        Cell::new(script.memory_bytes.map_or("-".to_owned(), memory)),
        Cell::new(script.sandbox.as_ref().map_or("-", |found| &found.level)),
        Cell::new(script.durability.as_deref().unwrap_or("-")),
    ]
}

pub(crate) fn paint_of(state: &str) -> Paint {
    match state {
        "ready" => Paint::Good,
        "failed" => Paint::Bad,
        "stopped" => Paint::Dim,
        _ => Paint::Warn,
    }
}

fn memory(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let kib = bytes as f64 / KIB;
    if kib < KIB {
        format!("{kib:.0} KiB")
    } else {
        format!("{:.1} MiB", kib / KIB)
    }
}

fn uptime(seconds: f64) -> String {
    // A daemon's age in whole seconds fits.
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", whole % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Color;
    use super::*;

    #[test]
    fn a_status_is_shown_as_a_table_with_the_errors_below() {
        let status: Status = serde_json::from_str(
            r#"{"version":"0.1.0","uuid":"u","pid":7,"uptime_seconds":3725.2,"home":"/h","socket":"/s","clients":1,
            "journal":{"state":"ok","entries":12},"http":"127.0.0.1:9620","scripts":[{"name":"a","state":"ready","pid":8,"generation":2,"restarts":0,"in_flight":1,"queued":0,"memory_bytes":2097152,"last_error":null,
            "sandbox":{"level":"full"},"durability":"process"},
            {"name":"broken","state":"failed","pid":null,"generation":3,"restarts":2,"in_flight":0,"queued":0,"memory_bytes":null,"last_error":"scripts/broken.lua:3: oops"}],
            "plugins":[{"name":"@fine","state":"ready","generation":1},
            {"name":"@p","state":"ready","pid":9,"generation":4,"last_error":"plugins/p.lua:2: oops"}]}"#,
        )
        .expect("a status");
        let output = Output::new(Color::Never, false, false, false);
        let expected = "\
moonkeep 0.1.0 running for 1 h 2 min
UUID: u
PID: 7
Home: /h
Socket: /s
Clients: 1
Scripts: 2 (1 ready, 1 failed)
Journal: ok, 12 requests
HTTP: http://127.0.0.1:9620/

NAME    STATE   PID  GEN  RESTARTS  RUNNING  QUEUED  MEMORY   SANDBOX  DURABILITY
a       ready   8    2    0         1        0       2.0 MiB  full     process
broken  failed  -    3    2         0        0       -        -        -
@p      ready   9    4    0         0        0       -        -        -

broken: scripts/broken.lua:3: oops

@p: plugins/p.lua:2: oops";
        assert_eq!(status.lines(&output).join("\n"), expected);
    }

    #[test]
    fn times_are_short() {
        let shown = [5.9, 65.0, 7_260.0, 90_000.0].map(uptime);
        assert_eq!(shown, ["5 s", "1 min 5 s", "2 h 1 min", "1 d 1 h"]);
    }
}
