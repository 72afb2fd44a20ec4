//! What the daemon shows of itself: status, list, version, help; text and JSON from one snapshot.

use serde_json::{Value, json};

use super::Engine;
use super::generation::Handlers;
use super::scripts::Script;
use crate::monitor::answer;
use crate::monitor::result::Outcome;
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView};
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Encoding, Json, Payload};

fn payload(
    encoding: Encoding,
    json: impl FnOnce() -> Value,
    text: impl FnOnce() -> String,
) -> Payload {
    match encoding {
        Encoding::Json => Payload::Json(Json::of(&json())),
        Encoding::Text => Payload::Lines(text().into()),
    }
}

pub(super) fn status(engine: &Engine, encoding: Encoding) -> Payload {
    payload(encoding, || status_json(engine), || status_text(engine))
}

fn status_json(engine: &Engine) -> Value {
    let identity = &engine.identity;
    json!({
        "version": identity.version,
        "uuid": identity.daemon.to_string(),
        "pid": identity.pid,
        "uptime_seconds": engine.now.0 as f64 / 1e6,
        "home": identity.home,
        "socket": identity.socket,
        "clients": engine.sessions.len(),
        "scripts": of_kind(engine, false).map(script_json).collect::<Vec<_>>(),
        "plugins": of_kind(engine, true).map(script_json).collect::<Vec<_>>(),
        "journal": journal_json(engine),
        "http": engine.http.address,
        "warnings": engine.warnings(),
        "counters": {
            "requests": engine.requests.len(),
            "stored_answers": engine.stored.len(),
            "controls": engine.controls.len(),
            "late_or_unknown_replies": engine.counters.stray,
            "senseless_inputs": engine.counters.senseless,
        },
    })
}

/// The scripts, or the workers of plugins.
pub(super) fn of_kind(engine: &Engine, plugins: bool) -> impl Iterator<Item = &Script> {
    let all = engine.scripts.values();
    all.filter(move |script| script.name.is_plugin() == plugins)
}

/// A plugin worker of which nobody has to know anything has no line.
fn is_worth_a_line(script: &&Script) -> bool {
    script.serving().is_none() || script.last_error.is_some()
}

fn journal_json(engine: &Engine) -> Value {
    let fault = engine.journal.fault.as_ref();
    json!({
        "state": if fault.is_some() { "failing" } else { "ok" },
        "fault": fault.map(|fault| &fault.text),
        "entries": engine.journaled_entries(),
        "low_water": engine.stored.low_water(),
        "bytes": engine.stored.bytes(),
    })
}

fn journal_line(engine: &Engine) -> String {
    let entries = engine.journaled_entries();
    let bytes = engine.stored.bytes();
    match &engine.journal.fault {
        None => format!("journal: ok entries={entries} bytes={bytes}"),
        Some(fault) => format!(
            "journal: failing entries={entries} bytes={bytes} fault={}",
            Json::of(&fault.text).as_str()
        ),
    }
}

fn durability(script: &Script) -> Option<crate::options::Durability> {
    script.spec.as_ref().map(|spec| spec.settings.durability)
}

fn script_json(script: &Script) -> Value {
    let shown = script.shown();
    let handlers = match shown.map(|worker| &worker.handlers) {
        None => json!([]),
        Some(Handlers::Any) => Value::Null,
        Some(Handlers::Known(known)) => known
            .values()
            .map(|handler| {
                json!({
                    "name": handler.name,
                    "delivery": handler.delivery,
                    "timeout": handler.timeout.map(|limit| limit.as_secs_f64()),
                })
            })
            .collect(),
    };
    json!({
        "name": script.name.as_str(),
        "state": script.state(),
        "pid": shown.and_then(|worker| worker.pid),
        "generation": shown.map_or(script.generation.0, |worker| worker.id.generation.0),
        "restarts": script.restarts.total(),
        "in_flight": script.in_flight(),
        "queued": script.queue.len(),
        // 0: the worker could not find out.
        "memory_bytes": shown.map(|worker| worker.memory_bytes).filter(|bytes| *bytes > 0),
        "last_error": script.last_error,
        "durability": durability(script),
        "handlers": handlers,
        "sandbox": shown.and_then(|worker| worker.sandbox.as_ref()),
        "allow": script.spec.as_ref().map(|spec| &spec.settings.allow),
    })
}

fn status_text(engine: &Engine) -> String {
    let identity = &engine.identity;
    let mut lines = vec![
        format!("moonkeep {}", identity.version),
        format!("UUID: {}", identity.daemon),
        format!("PID: {}", identity.pid),
        format!("uptime: {} s", engine.now.0 / 1_000_000),
        format!("home: {}", identity.home.display()),
        format!("socket: {}", identity.socket.display()),
        format!("clients: {}", engine.sessions.len()),
        format!("scripts: {}", of_kind(engine, false).count()),
        journal_line(engine),
    ];
    lines.extend(engine.http.address.iter().map(|at| format!("http: {at}")));
    lines.extend(of_kind(engine, false).map(script_line));
    lines.extend(
        of_kind(engine, true)
            .filter(is_worth_a_line)
            .map(script_line),
    );
    lines.extend(
        engine
            .warnings()
            .iter()
            .map(|text| format!("warning: {text}")),
    );
    lines.join("\n")
}

fn script_line(script: &Script) -> String {
    let shown = script.shown();
    let pid = shown
        .and_then(|worker| worker.pid)
        .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let generation = shown.map_or(script.generation, |worker| worker.id.generation);
    let mut line = format!(
        "{} {} pid={pid} generation={generation} restarts={} in_flight={} queued={}",
        script.name,
        script.state(),
        script.restarts.total(),
        script.in_flight(),
        script.queue.len(),
    );
    if let Some(sandbox) = shown.and_then(|worker| worker.sandbox.as_ref()) {
        line.push_str(" sandbox=");
        line.push_str(sandbox.level.as_str());
    }
    if let Some(level) = durability(script) {
        line.push_str(" durability=");
        line.push_str(Json::of(&level).as_str().trim_matches('"'));
    }
    if let Some(error) = &script.last_error {
        line.push_str(" last_error=");
        line.push_str(Json::of(error).as_str());
    }
    line
}

pub(super) fn list(engine: &Engine, encoding: Encoding) -> Payload {
    let names: Vec<ScriptName> = engine
        .scripts
        .values()
        .filter(|script| {
            !script.name.is_plugin() || encoding == Encoding::Json || is_worth_a_line(script)
        })
        .map(|script| script.name.clone())
        .collect();
    scripts(engine, &names, encoding)
}

/// These scripts, as `list` shows them; plugin workers apart.
pub(super) fn scripts(engine: &Engine, names: &[ScriptName], encoding: Encoding) -> Payload {
    let found = || names.iter().filter_map(|name| engine.scripts.get(name));
    let of_kind = |plugins: bool| {
        let all = found().filter(move |script| script.name.is_plugin() == plugins);
        all.map(script_json).collect::<Vec<_>>()
    };
    payload(
        encoding,
        || json!({ "scripts": of_kind(false), "plugins": of_kind(true) }),
        || found().map(script_line).collect::<Vec<_>>().join("\n"),
    )
}

/// What a command has brought about.
pub(super) fn sentence(text: &str, encoding: Encoding) -> Payload {
    payload(encoding, || json!(text), || text.to_owned())
}

/// The outcomes of a `check` command; the last piece is the end.
pub(super) fn report(outcomes: &[Outcome], encoding: Encoding) -> Vec<Payload> {
    pieces(
        encoding,
        || answer::outcomes(outcomes),
        || {
            let line = |check: &Outcome| {
                let message = check.message.lines().next().unwrap_or_default();
                format!("{} {}: {message}", check.state.label(), check.name)
            };
            outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
        },
    )
}

/// All checks, or some, as the monitor sees them; the last piece is the end.
pub(super) fn checks(view: &ChecksView, encoding: Encoding) -> Vec<Payload> {
    let word = |state: Option<State>| state.map_or("PENDING", State::label);
    pieces(
        encoding,
        || answer::checks(view),
        || {
            let line = |check: &CheckView| {
                let message = check.message.lines().next().unwrap_or_default();
                let quiet = check
                    .quiet
                    .as_ref()
                    .map_or_else(String::new, |why| format!(" [{why}]"));
                format!("{} {}{quiet}: {message}", word(check.confirmed), check.name)
            };
            view.checks.iter().map(line).collect::<Vec<_>>().join("\n")
        },
    )
}

fn pieces(
    encoding: Encoding,
    json: impl FnOnce() -> Vec<Json>,
    text: impl FnOnce() -> String,
) -> Vec<Payload> {
    match encoding {
        Encoding::Json => json().into_iter().map(Payload::Json).collect(),
        Encoding::Text => vec![Payload::Lines(text().into())],
    }
}

pub(super) fn version(engine: &Engine, encoding: Encoding) -> Payload {
    let version = &engine.identity.version;
    payload(
        encoding,
        || json!({ "version": version }),
        || format!("moonkeep {version}"),
    )
}

pub(super) fn help(encoding: Encoding) -> Payload {
    payload(
        encoding,
        || {
            let commands = COMMANDS
                .iter()
                .map(|(usage, what)| json!({ "usage": usage, "what": what }));
            json!({ "commands": commands.collect::<Vec<_>>() })
        },
        || {
            let lines = COMMANDS
                .iter()
                .map(|(usage, what)| format!("{usage}  {what}"));
            lines.collect::<Vec<_>>().join("\n")
        },
    )
}

/// Every command of the line protocol: how it is written in text, and what it does.
pub const COMMANDS: &[(&str, &str)] = &[
    (
        "ping [CLIENT-UUID] [TIMESTAMP]",
        "the daemon lives: pong and its uuid",
    ),
    (
        "hello CLIENT-UUID",
        "says who you are; requests of this id survive a reconnect",
    ),
    ("bye", "leaves: what you have queued is cancelled"),
    ("status", "the daemon and every script"),
    ("list", "the scripts"),
    (
        "call [--timeout=SECONDS] SCRIPT HANDLER [key=value ...] [key:=JSON ...]",
        "asks a handler of a script",
    ),
    ("eval SCRIPT \"CODE\"", "evaluates Lua in a live worker"),
    ("cancel ID", "cancels your request of that id"),
    ("start [NAME]", "starts a script, or all"),
    (
        "stop [NAME]",
        "stops a script, or all, until it is started again",
    ),
    ("restart [NAME]", "stops, then starts"),
    (
        "reload [NAME]",
        "replaces the running generation without losing a request",
    ),
    (
        "logs [NAME] [lines=N]",
        "the last lines of a script's log, or of the daemon's",
    ),
    ("events [PATTERN]", "events as they happen, until cancelled"),
    (
        "emit NAME [key=value ...]",
        "tells an event to everybody who listens",
    ),
    (
        "ack enable|disable|silence",
        "whether done and error lines are sent",
    ),
    (
        "check [NAME|TAG ...]",
        "runs these checks now, or all; their outcomes",
    ),
    (
        "checks [NAME|TAG ...]",
        "the states of these checks, or of all",
    ),
    (
        "heartbeat NAME [start|ok|fail|CODE] [message=TEXT]",
        "says for a heartbeat check that its job lives",
    ),
    (
        "downtime NAME 2h|until-ok|off [why=TEXT]",
        "no alerts of a check for a time, or until it is ok again",
    ),
    ("version", "the daemon's version"),
    ("help", "this"),
    ("shutdown", "stops the daemon gracefully"),
];
