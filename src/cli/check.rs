//! `moonkeep check`

mod about;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::check::suite::Request;
use crate::check::text::{self, Style, escaped};
use crate::check::{self, Progress, Stop, json, junit, nagios, params, prometheus, tap};
use crate::monitor::result::Report;
use crate::monitor::state::State;
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
    /// [default: warning]
    #[arg(long, value_name = "STATE")]
    fail_on: Option<State>,
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
    /// XML for continuous integration
    Junit,
    /// For test harnesses
    Tap,
    /// As a monitoring plugin prints: for Nagios, Icinga and their like
    Nagios,
    /// For a textfile collector
    Prometheus,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home().map_err(|failure| Failure {
        exit: Exit::CheckUsage,
        ..failure
    })?;
    let request = args.request(globals)?;
    match &args.words[..] {
        [word] if word == "help" => return about::plugins(output),
        [word, plugin] if word == "help" => return about::help(output, &home, plugin),
        _ => {}
    }
    let config = load_config(&home).map_err(|why| Failure::new(Exit::State(3), why))?;
    if args.list {
        let suite = check::load(&home, &config, &request).map_err(stopped)?;
        return about::list(output, &suite, &request);
    }
    let begin = Instant::now();
    let mut bar = Bar::new(output.shows_progress());
    let report = check::check(&home, &config, &request, |progress| {
        tell(output, &bar, progress);
        bar.show(progress);
    });
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
    let fail_on = args.fail_on.unwrap_or(State::Warning);
    Ok(Exit::State(report.verdict(fail_on).exit_code()))
}

/// What plugins print goes to stderr: the report stays readable for programs.
fn tell(output: &Output, bar: &Bar, progress: Progress<'_>) {
    let lines: Vec<String> = match progress {
        Progress::Said(line) => vec![escaped(line)],
        Progress::Chosen(_) => Vec::new(),
        Progress::Done(outcome) => {
            let named = |line: &String| escaped(&format!("{}: {line}", outcome.name));
            outcome.said.iter().map(named).collect()
        }
    };
    bar.aside(|| lines.iter().for_each(|line| output.note(line)));
}

impl Args {
    fn request(&self, globals: &Globals) -> Result<Request, Failure> {
        let mut sets = BTreeMap::new();
        for text in &self.sets {
            let (name, value) =
                params::parse_set(text).map_err(|why| Failure::new(Exit::CheckUsage, why))?;
            sets.insert(name, value);
        }
        Ok(Request {
            words: self.words.clone(),
            sets,
            timeout: globals.timeout,
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
    // By itself a warning fails no test run: nobody would keep a red build for it.
    let warning_fails = args.fail_on.is_some_and(|state| state <= State::Warning);
    let now = jiff::Timestamp::now();
    let format = args.format(output);
    let text = match format {
        Format::Text => {
            let style = Style {
                color: output.colors(),
                verbose: output.verbose,
            };
            text::render(report, took, style)
        }
        Format::Json => json::render(report),
        Format::Junit => {
            let machine = rustix::system::uname();
            let run = junit::Run {
                hostname: &machine.nodename().to_string_lossy(),
                moment: &now.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                seconds: took.as_secs_f64(),
                warning_fails,
            };
            junit::render(report, &run)
        }
        Format::Tap => tap::render(report, warning_fails),
        Format::Nagios => nagios::render(report),
        Format::Prometheus => prometheus::render(report, now.as_duration().as_secs_f64()),
    };
    let text = text.trim_end_matches('\n');
    match format {
        Format::Text => output.line(text),
        Format::Json => output.json_text(text),
        Format::Junit | Format::Tap | Format::Nagios | Format::Prometheus => output.data(text),
    }
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
            Progress::Said(_) => {}
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

    /// Prints without the bar in the way.
    fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) if self.shown => bar.suspend(print),
            Some(_) | None => print(),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
