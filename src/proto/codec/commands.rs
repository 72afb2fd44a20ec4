//! Every command: its name, how it is written, how it is built from its fields.
//!
//! One table serves both encodings. ExaBGP's names are aliases, so that its scripts work here.

use super::fields::{Field, Fields, missing};
use super::{bad, checks};
use crate::limits;
use crate::nearest::nearest;
use crate::proto::ids::ClientId;
use crate::proto::messages::{AckMode, Call, Command, ErrorCode, Hello, Refusal, Verb};

/// How one command is written and what it is built from.
#[derive(Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    /// How it is written in text, without the optional `request_id=ID` at the end.
    pub usage: &'static str,
    /// One line for `help`.
    pub about: &'static str,
    /// What the bare words of a text line stand for, in order.
    pub(super) words: &'static [Field],
    /// Fields that text writes `key=value`.
    pub(super) keys: &'static [Field],
    /// The field into which all further bare words go as one list.
    pub(super) many: Option<Field>,
    /// Fields that text writes `--key=value`, before the bare words.
    pub(super) options: &'static [Field],
    /// The field into which all `key=value` behind the bare words go as one JSON object.
    pub(super) rest: Option<Field>,
    pub(super) build: fn(&Fields<'_>) -> Result<Command, Refusal>,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const PLAIN: Spec = Spec {
    name: "",
    usage: "",
    about: "",
    words: &[],
    keys: &[],
    many: None,
    options: &[],
    rest: None,
    build: |_| Ok(Command::Nothing),
};

const CALL_USAGE: &str = "call [--timeout=SECONDS] SCRIPT HANDLER [key=value ...] [key:=JSON ...]";
const CANCEL_USAGE: &str = "cancel ID";
const EVAL_USAGE: &str = "eval [--timeout=SECONDS] SCRIPT \"CODE\"";
const EMIT_USAGE: &str = "emit EVENT [key=value ...] [key:=JSON ...]";
const HELLO_USAGE: &str = "hello CLIENT-UUID [VERSION] [features=pings,progress]";
const ACK_USAGE: &str = "ack enable|disable|silence";

/// All commands, the frequent ones first.
pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "call",
        usage: CALL_USAGE,
        about: "call a handler of a script",
        words: &[Field::Script, Field::Handler],
        options: &[Field::Timeout, Field::Params],
        rest: Some(Field::Params),
        build: call,
        ..PLAIN
    },
    Spec {
        name: "ping",
        usage: "ping [CLIENT-UUID] [TIMESTAMP]",
        about: "ask the daemon for a sign of life and its UUID",
        words: &[Field::Client, Field::Timestamp],
        keys: &[Field::Client, Field::Timestamp],
        build: ping,
        ..PLAIN
    },
    Spec {
        name: "cancel",
        usage: CANCEL_USAGE,
        about: "cancel a request",
        words: &[Field::Target],
        keys: &[Field::Target],
        build: |fields| match fields.id_in(Field::Target)? {
            Some(target) => Ok(Command::Cancel { target }),
            None => Err(missing(Field::Target, CANCEL_USAGE)),
        },
        ..PLAIN
    },
    Spec {
        name: "emit",
        usage: EMIT_USAGE,
        about: "tell an event to everybody who listens",
        words: &[Field::Event],
        options: &[Field::Data],
        rest: Some(Field::Data),
        build: |fields| {
            let event = fields.name(Field::Event, limits::HANDLER_NAME_BYTES)?;
            let event = event.ok_or_else(|| missing(Field::Event, EMIT_USAGE))?;
            Ok(Command::Emit {
                event: event.into_owned(),
                data: fields.json(Field::Data),
            })
        },
        ..PLAIN
    },
    Spec {
        name: "events",
        usage: "events [PATTERN]",
        about: "listen to events until cancelled; * stands for any characters",
        words: &[Field::Pattern],
        keys: &[Field::Pattern],
        build: |fields| {
            let pattern = fields.name(Field::Pattern, limits::HANDLER_NAME_BYTES)?;
            Ok(Command::Events {
                pattern: pattern.map_or_else(|| "*".to_owned(), |text| text.into_owned()),
            })
        },
        ..PLAIN
    },
    Spec {
        name: "hello",
        usage: HELLO_USAGE,
        about: "say who this is; announce pings, ask for progress lines",
        words: &[Field::Client, Field::Version],
        keys: &[Field::Client, Field::Version, Field::Features],
        build: hello,
        ..PLAIN
    },
    Spec {
        name: "bye",
        usage: "bye",
        about: "leave: what is queued is cancelled",
        build: |_| Ok(Command::Bye),
        ..PLAIN
    },
    Spec {
        name: "status",
        usage: "status",
        about: "the daemon and its scripts",
        build: |_| Ok(Command::Status),
        ..PLAIN
    },
    Spec {
        name: "list",
        usage: "list",
        about: "the scripts and their handlers",
        build: |_| Ok(Command::List),
        ..PLAIN
    },
    Spec {
        name: "start",
        usage: "start [SCRIPT]",
        about: "start a script, or all",
        words: &[Field::Script],
        keys: &[Field::Script],
        build: |fields| control(Verb::Start, fields),
        ..PLAIN
    },
    Spec {
        name: "stop",
        usage: "stop [SCRIPT]",
        about: "stop a script, or all",
        words: &[Field::Script],
        keys: &[Field::Script],
        build: |fields| control(Verb::Stop, fields),
        ..PLAIN
    },
    Spec {
        name: "restart",
        usage: "restart [SCRIPT]",
        about: "stop and start a script, or all",
        words: &[Field::Script],
        keys: &[Field::Script],
        build: |fields| control(Verb::Restart, fields),
        ..PLAIN
    },
    Spec {
        name: "reload",
        usage: "reload [SCRIPT]",
        about: "serve with a new generation, losing no request",
        words: &[Field::Script],
        keys: &[Field::Script],
        build: |fields| control(Verb::Reload, fields),
        ..PLAIN
    },
    Spec {
        name: "logs",
        usage: "logs [SCRIPT] [lines=N]",
        about: "the last lines of a script's log, or of the daemon's",
        words: &[Field::Script],
        keys: &[Field::Script, Field::Lines],
        build: logs,
        ..PLAIN
    },
    Spec {
        name: "eval",
        usage: EVAL_USAGE,
        about: "evaluate Lua in the worker of a script",
        words: &[Field::Script, Field::Code],
        options: &[Field::Timeout],
        build: |fields| {
            Ok(Command::Eval {
                script: fields
                    .script()?
                    .ok_or_else(|| missing(Field::Script, EVAL_USAGE))?,
                code: fields.required(Field::Code, EVAL_USAGE)?.into_owned(),
                timeout: fields.timeout()?,
            })
        },
        ..PLAIN
    },
    Spec {
        name: "ack",
        usage: ACK_USAGE,
        about: "whether answers end in `done` or `error`",
        words: &[Field::Mode],
        keys: &[Field::Mode],
        build: ack,
        ..PLAIN
    },
    Spec {
        name: "check",
        usage: checks::CHECK_USAGE,
        about: "run these checks now, or all",
        many: Some(Field::Words),
        build: checks::check,
        ..PLAIN
    },
    Spec {
        name: "checks",
        usage: checks::CHECKS_USAGE,
        about: "the states of these checks, or of all",
        many: Some(Field::Words),
        build: checks::checks,
        ..PLAIN
    },
    Spec {
        name: "heartbeat",
        usage: checks::HEARTBEAT_USAGE,
        about: "say for a heartbeat check that its job lives",
        words: &[Field::Check, Field::Beat],
        keys: &[Field::Check, Field::Beat, Field::Message],
        build: checks::heartbeat,
        ..PLAIN
    },
    Spec {
        name: "downtime",
        usage: checks::DOWNTIME_USAGE,
        about: "no alerts of a check for a time, or until it is ok again",
        words: &[Field::Check, Field::Quiet],
        keys: &[Field::Check, Field::Quiet, Field::Why],
        build: checks::downtime,
        ..PLAIN
    },
    Spec {
        name: "version",
        usage: "version",
        about: "the daemon's version",
        build: |_| Ok(Command::Version),
        ..PLAIN
    },
    Spec {
        name: "help",
        usage: "help",
        about: "this list",
        build: |_| Ok(Command::Help),
        ..PLAIN
    },
    Spec {
        name: "shutdown",
        usage: "shutdown",
        about: "stop the daemon and all scripts",
        build: |_| Ok(Command::Shutdown),
        ..PLAIN
    },
    Spec {
        name: "peer list",
        usage: "peer list",
        about: "an empty list, for ExaBGP's scripts",
        build: |_| Ok(Command::Peers),
        ..PLAIN
    },
];

/// Another way to write a command, with a value that it stands for.
struct Alias {
    written: &'static str,
    name: &'static str,
    value: Option<(Field, &'static str)>,
}

const fn alias(written: &'static str, name: &'static str) -> Alias {
    Alias {
        written,
        name,
        value: None,
    }
}

const fn ack_alias(written: &'static str, mode: &'static str) -> Alias {
    Alias {
        written,
        name: "ack",
        value: Some((Field::Mode, mode)),
    }
}

/// Longer ones first where one begins like another.
const ALIASES: &[Alias] = &[
    alias("session ping", "ping"),
    alias("session bye", "bye"),
    alias("session ack", "ack"),
    ack_alias("enable-ack", "enable"),
    ack_alias("disable-ack", "disable"),
    ack_alias("silence-ack", "silence"),
    alias("daemon status", "status"),
    alias("daemon shutdown", "shutdown"),
    alias("system version", "version"),
    alias("system help", "help"),
    alias("show neighbor json", "peer list"),
    alias("show neighbor", "peer list"),
];

pub(super) fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.name == name)
}

/// What the first words of a text line mean.
pub(super) struct Found {
    pub(super) spec: &'static Spec,
    /// How many words the name took.
    pub(super) words: usize,
    pub(super) value: Option<(Field, &'static str)>,
}

/// Finds the command that a line of these words begins with.
pub(super) fn find_words(words: &[&str]) -> Result<Found, Refusal> {
    if let Some(spec) = words.first().and_then(|word| find(word)) {
        return Ok(Found {
            spec,
            words: 1,
            value: None,
        });
    }
    let begins = |name: &str| {
        let parts = name.split(' ');
        let count = parts.clone().count();
        (words.len() >= count && parts.eq(words[..count].iter().copied())).then_some(count)
    };
    for spec in COMMANDS {
        if let Some(words) = begins(spec.name) {
            return Ok(Found {
                spec,
                words,
                value: None,
            });
        }
    }
    for alias in ALIASES {
        if let (Some(words), Some(spec)) = (begins(alias.written), find(alias.name)) {
            return Ok(Found {
                spec,
                words,
                value: alias.value,
            });
        }
    }
    Err(unknown(words.first().copied().unwrap_or_default()))
}

/// A JSON command that is no name: an alias, or unknown.
pub(super) fn by_alias(name: &str, fields: &Fields<'_>) -> Result<Command, Refusal> {
    let alias = ALIASES.iter().find(|alias| alias.written == name);
    let Some((alias, spec)) = alias.and_then(|alias| Some((alias, find(alias.name)?))) else {
        return Err(unknown(name));
    };
    match alias.value {
        Some((field, value)) => (spec.build)(&fields.with(field, value)),
        None => (spec.build)(fields),
    }
}

/// Names of commands that begin with `prefix`, for completion.
pub fn complete(prefix: &str) -> impl Iterator<Item = &'static str> {
    COMMANDS
        .iter()
        .map(|spec| spec.name)
        .filter(move |name| name.starts_with(prefix))
}

fn unknown(name: &str) -> Refusal {
    let shown: String = name.chars().take(40).collect();
    let known = COMMANDS.iter().map(|spec| spec.name);
    let known = known.chain(ALIASES.iter().map(|alias| alias.written));
    let next = match nearest(&shown, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "ask for the list with: help".to_owned(),
    };
    Refusal::new(
        ErrorCode::UnknownCommand,
        format!("there is no command {shown:?}; {next}"),
    )
}

fn call(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let script = fields.script()?;
    let handler = fields.name(Field::Handler, limits::HANDLER_NAME_BYTES)?;
    Ok(Command::Call(Call {
        script: script.ok_or_else(|| missing(Field::Script, CALL_USAGE))?,
        handler: handler
            .ok_or_else(|| missing(Field::Handler, CALL_USAGE))?
            .into(),
        params: fields.json(Field::Params),
        timeout: fields.timeout()?,
    }))
}

/// A single word that is no UUID is a timestamp.
fn ping(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let timestamp = fields
        .string(Field::Timestamp)?
        .map(|text| text.into_owned());
    let Some(client) = fields.string(Field::Client)? else {
        return Ok(Command::Ping {
            client: None,
            timestamp,
        });
    };
    match (client.parse(), timestamp) {
        (Ok(uuid), timestamp) => Ok(Command::Ping {
            client: Some(ClientId(uuid)),
            timestamp,
        }),
        (Err(_), None) => Ok(Command::Ping {
            client: None,
            timestamp: Some(client.into_owned()),
        }),
        (Err(_), Some(_)) => Err(not_a_uuid(&client)),
    }
}

fn hello(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let client = fields.required(Field::Client, HELLO_USAGE)?;
    let features: Vec<String> = match fields.parsed(Field::Features) {
        Ok(list) => list.unwrap_or_default(),
        Err(_) => match fields.string(Field::Features)? {
            Some(list) => list.split(',').map(str::to_owned).collect(),
            None => Vec::new(),
        },
    };
    Ok(Command::Hello(Hello {
        client: ClientId(client.parse().map_err(|_| not_a_uuid(&client))?),
        version: fields.string(Field::Version)?.map(|text| text.into_owned()),
        pings: features.iter().any(|feature| feature == "pings"),
        progress: features.iter().any(|feature| feature == "progress"),
    }))
}

fn not_a_uuid(written: &str) -> Refusal {
    let shown: String = written.chars().take(40).collect();
    bad(format!(
        "{shown:?} is no UUID; a client names itself by one, for instance 0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d"
    ))
}

fn control(verb: Verb, fields: &Fields<'_>) -> Result<Command, Refusal> {
    Ok(Command::Control {
        verb,
        script: fields.script()?,
    })
}

fn logs(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let lines = fields.whole(Field::Lines)?;
    Ok(Command::Logs {
        script: fields.script()?,
        lines: lines.map_or(limits::LOG_TAIL_LINES, |lines| {
            u32::try_from(lines).unwrap_or(u32::MAX)
        }),
    })
}

fn ack(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let mode = fields.required(Field::Mode, ACK_USAGE)?;
    match mode.as_ref() {
        "enable" => Ok(Command::Ack(AckMode::Enable)),
        "disable" => Ok(Command::Ack(AckMode::Disable)),
        "silence" => Ok(Command::Ack(AckMode::Silence)),
        other => {
            let shown: String = other.chars().take(40).collect();
            Err(bad(format!("{shown:?} is no ack mode; write: {ACK_USAGE}")))
        }
    }
}
