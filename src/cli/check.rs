//! `moonkeep check`

mod about;
mod bar;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::check::suite::Request;
use crate::check::text::{self, Style, escaped};
use crate::check::{self, Progress, Stop, blackbox, json, junit, nagios, params, prometheus, tap};
use crate::monitor::result::Report;
use crate::monitor::state::State;
use crate::options::value::duration_text;
use crate::proto::messages::Payload;
use crate::scripts::load_config;

use super::Globals;
use super::answers;
use super::exit::{Exit, Failure};
use super::output::Output;
use bar::Bar;

/// What can be typed behind `check`.
#[derive(Debug, clap::Args)]
#[command(version, after_help = AFTER)]
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
    /// With -f prometheus: the metric names of the blackbox exporter
    #[arg(long)]
    probe: bool,
    /// As --timeout
    #[arg(short = 't', value_name = "TIME", value_parser = duration_text)]
    limit: Option<Duration>,
    /// As --set warn=RANGE
    #[arg(short, value_name = "RANGE", allow_hyphen_values = true)]
    warn: Option<String>,
    /// As --set crit=RANGE
    #[arg(short, value_name = "RANGE", allow_hyphen_values = true)]
    crit: Option<String>,
    /// Say which checks there are, and run none
    #[arg(short, long)]
    list: bool,
}

const AFTER: &str = "\
`moonkeep check help PLUGIN` describes a plugin's parameters.
Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, 64 usage; with -f nagios a mistake is 3 as well.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One line a check, for people
    Text,
    /// One document
    Json,
    /// One object a line, as they come
    Jsonl,
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
    let ended = attempt(globals, output, args);
    match ended {
        // Who runs plugins reads stdout alone, and takes any other code for an outage.
        Err(failure) if args.format == Some(Format::Nagios) && failure.exit != Exit::Ok => {
            output.data(&nagios::unknown(&failure.message))?;
            Ok(Exit::State(State::Unknown.exit_code()))
        }
        ended => ended,
    }
}

/// How a command line ends that cannot be understood; in the format of plugins that is a state too.
pub(crate) fn usage_exit(error: &clap::Error) -> Exit {
    let words: Vec<String> = std::env::args().collect();
    let is_plugin = words
        .iter()
        .any(|word| word.ends_with("=nagios") || word == "-fnagios")
        || words
            .windows(2)
            .any(|pair| pair[1] == "nagios" && pair[0].starts_with('-'));
    if !is_plugin {
        return Exit::CheckUsage;
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let output = Output::new(super::output::Color::Never, false, false, false);
    let _lost = output.data(&nagios::unknown(first.trim_start_matches("error: ")));
    Exit::State(State::Unknown.exit_code())
}

fn attempt(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
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
    if args.probe && args.format != Some(Format::Prometheus) {
        let why = "--probe chooses the names of metrics; add: -f prometheus";
        return Err(Failure::new(Exit::CheckUsage, why));
    }
    let config = load_config(&home).map_err(|why| Failure::new(Exit::State(3), why))?;
    if args.list {
        let suite = check::load(&home, &config, &request).map_err(stopped)?;
        return about::list(output, &suite, &request);
    }
    let begin = Instant::now();
    let mut teller = Teller {
        output,
        bar: Bar::new(output.shows_progress()),
        lines: args.format(output) == Format::Jsonl,
        broken: None,
    };
    let report = check::check(&home, &config, &request, |progress| teller.tell(progress));
    teller.bar.clear();
    let report = report.map_err(stopped)?;
    if let Some(failure) = teller.broken {
        return Err(failure);
    }
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

/// Tells what happens while checks run.
struct Teller<'a> {
    output: &'a Output,
    bar: Bar,
    /// Each outcome is a line on stdout.
    lines: bool,
    /// Why stdout takes no more lines.
    broken: Option<Failure>,
}

impl Teller<'_> {
    fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Said(line) => self.aside(&[escaped(line)]),
            Progress::Done(outcome) => {
                let named = |line: &String| escaped(&format!("{}: {line}", outcome.name));
                self.aside(&outcome.said.iter().map(named).collect::<Vec<_>>());
                if self.lines && self.broken.is_none() {
                    let line = json::line(outcome);
                    self.broken = self.bar.aside(|| self.output.json_text(&line)).err();
                }
            }
            Progress::Chosen(_) | Progress::Waiting => {}
        }
        self.bar.show(progress);
    }

    /// What plugins print goes to stderr: the report stays readable for programs.
    fn aside(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.bar
                .aside(|| lines.iter().for_each(|line| self.output.note(line)));
        }
    }
}

/// Prints the daemon's answer to `check`, as a run without it is printed.
pub(crate) fn show(output: &Output, pieces: &[Payload]) -> Result<Exit, Failure> {
    let mut checks = Vec::new();
    for piece in pieces {
        checks.extend(answers::read::<Report>(piece)?.checks);
    }
    let report = Report::new(checks);
    let longest = report.checks.iter().map(|check| check.duration_seconds);
    let took = Duration::try_from_secs_f64(longest.fold(0.0, f64::max)).unwrap_or_default();
    let style = Style {
        color: output.colors(),
        verbose: output.verbose,
        width: output.width(),
    };
    output.line(text::render(&report, took, style).trim_end_matches('\n'))?;
    Ok(Exit::State(report.state.exit_code()))
}

impl Args {
    fn request(&self, globals: &Globals) -> Result<Request, Failure> {
        let mut sets = BTreeMap::new();
        let own = [("warn", &self.warn), ("crit", &self.crit)];
        let own = own
            .into_iter()
            .filter_map(|(name, range)| Some(format!("{name}={}", range.as_ref()?)));
        for text in self.sets.iter().cloned().chain(own) {
            let text = &text;
            let (name, value) =
                params::parse_set(text).map_err(|why| Failure::new(Exit::CheckUsage, why))?;
            sets.insert(name, value);
        }
        Ok(Request {
            words: self.words.clone(),
            sets,
            timeout: globals.timeout.or(self.limit),
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
                width: output.width(),
            };
            text::render(report, took, style)
        }
        Format::Json => json::render(report),
        // Each was printed when it came.
        Format::Jsonl => return Ok(()),
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
        Format::Prometheus if args.probe => {
            blackbox::render(report, now.as_duration().as_secs_f64())
        }
        Format::Prometheus => prometheus::render(report, now.as_duration().as_secs_f64()),
    };
    let text = text.trim_end_matches('\n');
    match format {
        Format::Text => output.line(text),
        Format::Json | Format::Jsonl => output.json_text(text),
        Format::Junit | Format::Tap | Format::Nagios | Format::Prometheus => output.data(text),
    }
}
