//! `moonkeep check`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::check::result::Report;
use crate::check::state::State;
use crate::check::suite::{Request, Suite, Work};
use crate::check::text::{self, Style, escaped};
use crate::check::{self, Progress, Stop, json, nagios, params, stock};
use crate::paths::Home;
use crate::scripts::load_config;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;

/// What can be typed behind `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// Names of checks, of plugins or sections, tags, files; none: every active check
    #[arg(value_name = "NAME|TAG|FILE")]
    words: Vec<String>,
    /// Give a plugin's parameter a value: NAME=TEXT, or NAME:=JSON
    #[arg(long = "set", value_name = "NAME=VALUE")]
    sets: Vec<String>,
    /// How the results are written
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The least bad state that makes the exit code other than 0; they rank ok, warning, unknown, critical
    #[arg(long, value_name = "STATE", default_value = "warning")]
    fail_on: State,
    /// Say which checks there are, and run none
    #[arg(short, long)]
    list: bool,
}

const AFTER: &str = "\
`moonkeep check help PLUGIN` describes a plugin's parameters.
Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, 64 usage.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One line a check, for people
    Text,
    /// One document
    Json,
    /// As a monitoring plugin prints: for Nagios, Icinga and their like
    Nagios,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home().map_err(|failure| Failure {
        exit: Exit::CheckUsage,
        ..failure
    })?;
    let request = args.request()?;
    match &args.words[..] {
        [word] if word == "help" => return plugins(output),
        [word, plugin] if word == "help" => return help(output, &home, plugin),
        _ => {}
    }
    let config = load_config(&home).map_err(|why| Failure::new(Exit::State(3), why))?;
    if args.list {
        let suite = check::load(&home, &config, &request).map_err(stopped)?;
        return list(output, &suite, &request);
    }
    let begin = Instant::now();
    let mut bar = Bar::new(output.shows_progress());
    let report = check::check(&home, &config, &request, |progress| bar.show(progress));
    bar.clear();
    let report = report.map_err(stopped)?;
    if report.checks.is_empty() {
        output.note(&format!(
            "No check is active in {}. Add a file to plugins/, or a section to moonkeep.toml: [check.NAME] with \
             plugin = \"disk\"; `moonkeep check --list` shows what there is.",
            home.root().display()
        ));
    }
    print(output, args, &report, begin.elapsed())?;
    Ok(Exit::State(report.verdict(args.fail_on).exit_code()))
}

impl Args {
    fn request(&self) -> Result<Request, Failure> {
        let mut sets = BTreeMap::new();
        for text in &self.sets {
            let (name, value) =
                params::parse_set(text).map_err(|why| Failure::new(Exit::CheckUsage, why))?;
            sets.insert(name, value);
        }
        Ok(Request {
            words: self.words.clone(),
            sets,
        })
    }

    fn format(&self, output: &Output) -> Format {
        match self.format {
            Some(format) => format,
            None if output.json => Format::Json,
            None => Format::Text,
        }
    }
}

fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Usage(why) => Failure::new(Exit::CheckUsage, why),
        Stop::Interrupted => Failure::new(
            Exit::Interrupted,
            "interrupted; the checks and their commands were ended",
        ),
        Stop::Failed(why) => Failure::new(Exit::Internal, why),
    }
}

fn print(output: &Output, args: &Args, report: &Report, took: Duration) -> Result<(), Failure> {
    let text = match args.format(output) {
        Format::Text => {
            let style = Style {
                color: output.colors(),
                verbose: output.verbose,
            };
            text::render(report, took, style)
        }
        Format::Json => json::render(report),
        Format::Nagios => nagios::render(report),
    };
    output.line(text.trim_end_matches('\n'))
}

/// `check --list`
fn list(output: &Output, suite: &Suite, request: &Request) -> Result<Exit, Failure> {
    let chosen = suite
        .select(&request.words)
        .map_err(|why| Failure::new(Exit::CheckUsage, why))?;
    if output.json {
        let checks: Vec<_> = chosen
            .iter()
            .map(|at| &suite.entries[*at])
            .map(|entry| {
                serde_json::json!({
                    "name": entry.name,
                    "tags": entry.tags(),
                    "file": entry.labels.file,
                    "fault": fault(&entry.work),
                })
            })
            .collect();
        let inactive: Vec<_> = suite
            .inactive
            .iter()
            .map(|one| serde_json::json!({ "plugin": one.labels.instance, "missing": one.missing }))
            .collect();
        output.json(&serde_json::json!({ "checks": checks, "inactive": inactive }))?;
        return Ok(Exit::Ok);
    }
    for at in chosen {
        let entry = &suite.entries[at];
        let mut line = format!("{}  {}", escaped(&entry.name), escaped(&entry.labels.file));
        if !entry.tags().is_empty() {
            line.push_str(&format!("  [{}]", escaped(&entry.tags().join(", "))));
        }
        if let Some(why) = fault(&entry.work) {
            line.push_str(&format!("  cannot run: {}", escaped(why)));
        }
        output.line(&line)?;
    }
    for one in &suite.inactive {
        let why = if one.missing.is_empty() {
            "switched off in moonkeep.toml".to_owned()
        } else {
            format!("needs {}", one.missing.join(", "))
        };
        let file = if one.labels.file.is_empty() {
            "moonkeep.toml"
        } else {
            &one.labels.file
        };
        output.line(&format!(
            "{}  {}  inactive: {why}",
            escaped(&one.labels.instance),
            escaped(file)
        ))?;
    }
    let own = |name: &str| suite.entries.iter().any(|entry| entry.labels.stem == name);
    let rest: Vec<_> = stock::names()
        .filter(|name| !own(name) && !suite.inactive.iter().any(|one| one.labels.stem == *name))
        .collect();
    if !rest.is_empty() {
        output.note(&format!(
            "Also to be had, with [check.NAME] and plugin = \"...\" in moonkeep.toml: {}",
            rest.join(", ")
        ));
    }
    Ok(Exit::Ok)
}

fn fault(work: &Work) -> Option<&str> {
    match work {
        Work::Run(_) => None,
        Work::Faulty(outcome) => Some(&outcome.message),
    }
}

/// `check help`
fn plugins(output: &Output) -> Result<Exit, Failure> {
    output.line("Plugins that moonkeep brings:")?;
    for name in stock::names() {
        output.line(&format!("  {name}"))?;
    }
    output.note("`moonkeep check help PLUGIN` describes one, also one of your own.");
    Ok(Exit::Ok)
}

/// `check help PLUGIN`
fn help(output: &Output, home: &Home, plugin: &str) -> Result<Exit, Failure> {
    let described = check::describe(home, plugin).map_err(stopped)?;
    if output.json {
        let params: Vec<_> = described
            .params
            .iter()
            .map(|param| {
                serde_json::json!({
                    "name": param.name,
                    "default": param.default,
                    "required": param.default.is_none(),
                    "doc": param.doc,
                })
            })
            .collect();
        output.json(&serde_json::json!({
            "plugin": described.stem,
            "file": described.file,
            "summary": described.summary,
            "params": params,
        }))?;
        return Ok(Exit::Ok);
    }
    output.line(&format!(
        "{} ({})",
        escaped(&described.stem),
        escaped(&described.file)
    ))?;
    for line in described.summary.lines() {
        output.line(&format!("  {}", escaped(line)))?;
    }
    output.line("")?;
    output.line("Parameters, in moonkeep.toml below [check.NAME], or with --set NAME=VALUE:")?;
    for param in &described.params {
        let default = match &param.default {
            None => "required".to_owned(),
            Some(default) => format!("default {}", escaped(default)),
        };
        output.line(&format!("  {} ({default})", escaped(&param.name)))?;
        output.line(&format!("      {}", escaped(&param.doc)))?;
    }
    output.line("  enabled, every, timeout, tags")?;
    output.line("      understood for every plugin")?;
    Ok(Exit::Ok)
}

/// A progress bar on stderr, for people; it comes only when the checks take their time.
struct Bar {
    bar: Option<ProgressBar>,
    shown: bool,
    begin: Instant,
}

/// Quicker runs show no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(200);

impl Bar {
    fn new(wanted: bool) -> Self {
        Bar {
            bar: wanted.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())),
            shown: false,
            begin: Instant::now(),
        }
    }

    fn show(&mut self, progress: Progress<'_>) {
        let Some(bar) = &self.bar else { return };
        match progress {
            Progress::Chosen(count) => bar.set_length(count as u64),
            Progress::Done(_) => {
                bar.inc(1);
                if !self.shown && self.begin.elapsed() > PATIENCE {
                    self.shown = true;
                    if let Ok(style) =
                        ProgressStyle::with_template("{bar:30} {pos} of {len} checks")
                    {
                        bar.set_style(style);
                    }
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
