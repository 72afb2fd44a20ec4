//! Messages of every kind, as a careful peer would make them: what is printed of them must be read back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moonkeep::proto::ids::{ClientId, Generation, RequestId, ScriptName, Ticket};
use moonkeep::proto::messages::{
    AckMode, Answer, Beat, Body, Call, CheckDefaults, CheckKind, CheckSpec, Command, Delivery,
    Dispatch, Encoding, ErrorCode, Handler, Hello, Json, LoadedFile, Notice, Payload,
    PluginInstance, Question, Quiet, Refusal, Setup, ToWorker, Verb, Work,
};
use serde_json::Value;
use uuid::Uuid;

use super::random::Random;

/// Text that likes to look like something else.
const WORDS: &[&str] = &[
    "",
    "a",
    "Ada",
    "done",
    "error",
    "error: x",
    "\\done",
    "\\\\error",
    "{",
    "}",
    "{\"a\":1}",
    "\"",
    "\\",
    " ",
    "  ",
    "=",
    ":=",
    "\t",
    "\r",
    "\n",
    "request_id=7",
    " request_id=7",
    " request_id=@17",
    "done request_id=7",
    "error request_id=b",
    "{\"request_id\":\"7\",\"status\":\"ok\",\"result\":1}",
    "pong",
    "#",
    "--timeout=1",
    "key=value",
    "key:=1",
    "\u{0}",
    "\u{7f}",
    "\u{1b}[2J",
    "\u{e4}",
    "\u{2028}",
    "\u{202e}",
    "\u{1f600}",
    "\u{feff}",
    "'",
    "[",
    "]",
    ",",
];

pub(crate) fn text(random: &mut Random) -> String {
    (0..random.below(4)).map(|_| random.pick(WORDS)).collect()
}

/// A name of a handler or an event: not empty, no control characters.
fn name(random: &mut Random) -> String {
    let text: String = text(random)
        .chars()
        .filter(|sign| !sign.is_control())
        .collect();
    if text.is_empty() || text.len() > moonkeep::limits::HANDLER_NAME_BYTES {
        "h".to_owned()
    } else {
        text
    }
}

pub(crate) fn script(random: &mut Random) -> ScriptName {
    ScriptName::new(random.pick(&["s", "greeter", "a-b_c", "0", "-x", "--timeout"]))
        .expect("a name")
}

/// An id as text can carry it.
pub(crate) fn text_id(random: &mut Random) -> RequestId {
    let texts = [
        "7",
        "8",
        "b",
        "done",
        "error:",
        "0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d",
        "request_id=7",
        "=",
        "{}",
        "#",
        "a:=1",
    ];
    RequestId::new(random.pick(&texts)).expect("an id")
}

pub(crate) fn id(random: &mut Random, encoding: Encoding) -> Option<RequestId> {
    match (random.below(4), encoding) {
        (0, _) => None,
        (1, Encoding::Json) => Some(RequestId::number(random.next() as i64 >> random.below(64))),
        _ => Some(text_id(random)),
    }
}

fn client(random: &mut Random) -> ClientId {
    ClientId(Uuid::from_u64_pair(random.next(), random.next()))
}

fn ticket(random: &mut Random) -> Ticket {
    Ticket(random.next() >> random.below(64))
}

pub(crate) fn encoding(random: &mut Random) -> Encoding {
    if random.once_in(2) {
        Encoding::Json
    } else {
        Encoding::Text
    }
}

/// The wire has microseconds.
fn time(random: &mut Random) -> Duration {
    Duration::from_micros(1 + random.next() % 86_400_000_000)
}

fn tree(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => random.once_in(2).into(),
        2 => (random.next() as i64 >> random.below(64)).into(),
        3 => (random.next() as f64 / 1e9).into(),
        4 => text(random).into(),
        5 => (0..random.below(4))
            .map(|_| tree(random, depth - 1))
            .collect(),
        _ => Value::Object(
            (0..random.below(4))
                .map(|_| (text(random), tree(random, depth - 1)))
                .collect(),
        ),
    }
}

/// JSON, not `null`: that is as good as nothing.
pub(crate) fn json(random: &mut Random) -> Json {
    let tree = tree(random, 3);
    if tree.is_null() {
        Json::of(&0)
    } else {
        Json::of(&tree)
    }
}

/// Names and tags of checks.
fn words(random: &mut Random) -> Vec<String> {
    (0..random.below(4)).map(|_| name(random)).collect()
}

fn beat(random: &mut Random) -> Beat {
    match random.below(4) {
        0 => Beat::Start,
        1 => Beat::Ok,
        2 => Beat::Fail,
        _ => Beat::Code(random.next() as i32 >> random.below(32)),
    }
}

fn quiet(random: &mut Random) -> Quiet {
    match random.below(3) {
        0 => Quiet::For(time(random)),
        1 => Quiet::UntilOk,
        _ => Quiet::Off,
    }
}

fn command(random: &mut Random) -> Command {
    match random.below(21) {
        0 => Command::Ping {
            client: random.maybe(client),
            timestamp: random.maybe(text),
        },
        1 => Command::Hello(Hello {
            client: client(random),
            version: random.maybe(text),
            pings: random.once_in(2),
            progress: random.once_in(2),
        }),
        2 => Command::Bye,
        3 => Command::Status,
        4 => Command::List,
        5 => Command::Version,
        6 => Command::Help,
        7 => Command::Shutdown,
        8 => Command::Eval {
            script: script(random),
            code: text(random),
            timeout: random.maybe(time),
        },
        9 => Command::Cancel {
            target: text_id(random),
        },
        10 => Command::Control {
            verb: *random.pick(&[&Verb::Start, &Verb::Stop, &Verb::Restart, &Verb::Reload]),
            script: random.maybe(script),
        },
        11 => Command::Logs {
            script: random.maybe(script),
            lines: random.next() as u32 % 1_000 + 1,
        },
        12 => Command::Events {
            pattern: name(random),
        },
        13 => Command::Emit {
            event: name(random),
            data: random.maybe(json),
        },
        14 => Command::Ack(*random.pick(&[&AckMode::Enable, &AckMode::Disable, &AckMode::Silence])),
        15 => Command::Peers,
        16 => Command::Check {
            words: words(random),
        },
        17 => Command::Checks {
            words: words(random),
        },
        18 => Command::Heartbeat {
            check: name(random),
            beat: beat(random),
            message: random.maybe(text),
        },
        19 => Command::Downtime {
            check: name(random),
            quiet: quiet(random),
            why: random.maybe(text),
        },
        _ => Command::Call(Call {
            script: script(random),
            handler: name(random).into(),
            params: random.maybe(json),
            timeout: random.maybe(time),
        }),
    }
}

pub(crate) fn question(random: &mut Random) -> Question {
    let encoding = encoding(random);
    Question {
        encoding,
        id: id(random, encoding),
        command: command(random),
    }
}

pub(crate) fn refusal(random: &mut Random) -> Refusal {
    Refusal {
        code: ErrorCode::ALL[random.below(ErrorCode::ALL.len())],
        message: text(random),
        retry_after: random.maybe(time),
        data: random.maybe(json),
        traceback: random.maybe(text),
    }
}

/// A piece of an answer; with `only_json`, payloads that JSON gives back as they are.
pub(crate) fn body(random: &mut Random, only_json: bool) -> Body {
    let payload = |random: &mut Random| match random.below(3) {
        0 => Payload::Empty,
        1 if !only_json => Payload::Lines(Arc::from(text(random))),
        _ => Payload::Json(json(random)),
    };
    match random.below(4) {
        0 => Body::Part(payload(random)),
        1 => Body::Error(refusal(random)),
        _ => Body::Ok {
            result: payload(random),
            replayed: random.once_in(4),
        },
    }
}

pub(crate) fn answer(random: &mut Random, only_json: bool) -> Answer {
    let encoding = if only_json {
        Encoding::Json
    } else {
        encoding(random)
    };
    Answer {
        encoding,
        id: id(random, encoding),
        ack: true,
        body: body(random, only_json),
    }
}

pub(crate) fn outcome(random: &mut Random) -> (Ticket, Body) {
    (ticket(random), body(random, true))
}

fn path(random: &mut Random) -> PathBuf {
    PathBuf::from(format!("/{}", text(random)))
}

fn setup(random: &mut Random) -> Setup {
    Setup {
        script: script(random),
        generation: Generation(random.next()),
        home: path(random),
        socket: path(random),
        path: path(random),
        content: random.maybe(text),
        exec: random.once_in(2),
        args: (0..random.below(3)).map(|_| text(random)).collect(),
        concurrency: random.next() as u32,
        memory_bytes: random.next() as usize,
        preempt: random.once_in(2),
        keep_children: random.once_in(2),
        files: random.next(),
        encoding: encoding(random),
        user: None,
        confinement: moonkeep::proto::messages::Confinement::default(),
        legacy: random.once_in(2),
        handover: random.maybe(json),
        outcomes: path(random),
        lock: path(random),
        plugins: (0..random.below(3)).map(|_| plugin(random)).collect(),
        check_defaults: CheckDefaults {
            every: random.maybe(time),
            rise: random.maybe(|random| random.next() as u32),
            ..CheckDefaults::default()
        },
    }
}

/// What the daemon says to a worker, answers left out.
pub(crate) fn to_worker(random: &mut Random) -> ToWorker {
    match random.below(7) {
        0 => ToWorker::Setup(Box::new(setup(random))),
        1 => ToWorker::Cancel {
            ticket: ticket(random),
        },
        2 => ToWorker::Ping {
            beat: random.next(),
            settled: random.maybe(Random::next),
        },
        3 => ToWorker::Event {
            event: name(random),
            data: random.maybe(json),
            from: random.maybe(script),
        },
        4 => ToWorker::Handover,
        5 => ToWorker::Shutdown {
            grace: time(random),
        },
        _ => ToWorker::Request(Dispatch {
            ticket: ticket(random),
            script: script(random),
            work: match random.below(2) {
                0 => Work::Eval { code: text(random) },
                _ => Work::Call {
                    handler: name(random).into(),
                    params: random.maybe(json),
                },
            },
            id: id(random, Encoding::Json),
            client: random.maybe(client),
            timeout: time(random),
            record: random.once_in(2),
        }),
    }
}

fn handlers(random: &mut Random) -> Vec<Handler> {
    let handler = |random: &mut Random| Handler {
        name: name(random).into(),
        delivery: *random.pick(&[&Delivery::Query, &Delivery::Idempotent, &Delivery::Once]),
        timeout: random.maybe(|random| Duration::from_millis(random.next() % 86_400_000)),
    };
    (0..random.below(3)).map(|_| handler(random)).collect()
}

fn plugin(random: &mut Random) -> PluginInstance {
    PluginInstance {
        name: text(random),
        path: random.maybe(path),
        stem: text(random),
        shown: text(random),
        renames: random.once_in(2),
        sections: (0..random.below(3))
            .map(|_| (text(random), json(random)))
            .collect(),
    }
}

fn texts(random: &mut Random) -> Vec<String> {
    (0..random.below(3)).map(|_| text(random)).collect()
}

fn check(random: &mut Random) -> CheckSpec {
    CheckSpec {
        name: name(random).into(),
        instance: name(random).into(),
        file: text(random),
        kind: match random.below(3) {
            0 => CheckKind::Active,
            1 => CheckKind::Heartbeat {
                grace: time(random),
            },
            _ => CheckKind::Broken {
                message: text(random),
                traceback: random.maybe(text),
            },
        },
        every: time(random),
        retry_every: time(random),
        cron: random.maybe(text),
        jitter: random.below(1_001) as f64 / 1e3,
        timeout: time(random),
        rise: random.next() as u32,
        fall: random.next() as u32,
        tags: texts(random),
        needs: texts(random),
        on_change: random.once_in(2),
    }
}

pub(crate) fn notice(random: &mut Random) -> Notice {
    match random.below(10) {
        0 => Notice::Ready {
            handlers: random.maybe(handlers),
            handover: random.once_in(2),
            memory_bytes: random.next(),
        },
        1 => Notice::Handlers {
            handlers: handlers(random),
            handover: random.once_in(2),
        },
        2 => Notice::Loaded {
            files: (0..random.below(3))
                .map(|_| LoadedFile {
                    path: path(random),
                    hash: text(random),
                })
                .collect(),
        },
        3 => Notice::Pong {
            beat: random.next(),
            memory_bytes: random.next(),
        },
        4 => Notice::Handover {
            state: random.maybe(json),
        },
        5 => Notice::Listen {
            patterns: texts(random),
        },
        6 => Notice::Outdated,
        7 => Notice::Declared {
            checks: (0..random.below(3)).map(|_| check(random)).collect(),
        },
        8 => Notice::Unrecorded,
        _ => Notice::Failed {
            refusal: refusal(random),
        },
    }
}
