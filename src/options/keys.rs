//! Every key that a script's header or `[script.NAME]` may hold: one table.
//!
//! The parser, the error texts and `docs/configuration.md` read this table. A new setting is one row.

use std::time::Duration;

use toml::Value;

use super::document::{Entry, Fault};
use super::value;
use super::{Durability, Protocol, ReloadMode, RestartPolicy, SandboxMode, Settings};
use crate::limits;
use crate::nearest::nearest;
use crate::proto::messages::Encoding;

/// One setting.
pub(super) struct Key {
    /// As it is written; a dot stands for a table: `allow.net`.
    pub(super) name: &'static str,
    /// The default as it would be written.
    pub(super) default: fn() -> String,
    /// What it does, its limits, what to know. Markdown, complete sentences.
    pub(super) doc: &'static str,
    /// An example line for the reference.
    pub(super) example: &'static str,
    set: fn(&mut Settings, &Value) -> Result<(), String>,
}

/// Keys that the design has and this version has not, with what to write instead.
const LATER: &[(&str, &str)] = &[
    (
        "every",
        "call moonkeep.every(\"10s\", fn) in the script instead",
    ),
    (
        "cron",
        "call moonkeep.cron(\"*/5 * * * *\", fn) in the script instead",
    ),
    (
        "needs",
        "let the script call the other one with a timeout, and try again, instead",
    ),
];

/// What is said of a check, not of the file that declares it.
pub(super) const OF_CHECKS: &[&str] = &[
    "every",
    "retry_every",
    "cron",
    "timeout",
    "rise",
    "fall",
    "jitter",
    "grace",
    "tags",
    "needs",
    "enabled",
];

const MOMENT: Duration = Duration::from_millis(1);

/// In the order of the reference page.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "enabled",
        default: || "true".into(),
        doc: "`false`: the daemon does not start the script by itself; `moonkeep start NAME` does.",
        example: "enabled = false",
        set: |settings, value| value::boolean(value).map(|flag| settings.enabled = flag),
    },
    Key {
        name: "restart",
        default: || "\"always\"".into(),
        doc: "When a script that has ended is started again: `\"always\"`, `\"on-failure\"` (not after exit code 0) or `\"never\"`. The first restart is immediate, later ones wait longer and longer.",
        example: "restart = \"on-failure\"",
        set: |settings, value| {
            let words = [
                ("always", RestartPolicy::Always),
                ("on-failure", RestartPolicy::OnFailure),
                ("never", RestartPolicy::Never),
            ];
            value::word(value, &words).map(|policy| settings.restart = policy)
        },
    },
    Key {
        name: "reload",
        default: || "\"overlap\"".into(),
        doc: "`\"overlap\"`: new code starts beside the old and takes over when it is ready, no request is lost. `\"stop-first\"`: the old worker ends before the new one starts, for scripts that own something exclusive, such as a port.",
        example: "reload = \"stop-first\"",
        set: |settings, value| {
            let words = [
                ("overlap", ReloadMode::Overlap),
                ("stop-first", ReloadMode::StopFirst),
            ];
            value::word(value, &words).map(|mode| settings.reload = mode)
        },
    },
    Key {
        name: "concurrency",
        default: || limits::CONCURRENCY.to_string(),
        doc: "Requests that the script runs at the same time, 1 to 4,096. Further ones wait in its queue.",
        example: "concurrency = 1",
        set: |settings, value| {
            let count = value::integer(value, 1, u64::from(limits::CONCURRENCY_MOST))?;
            settings.concurrency = u32::try_from(count).unwrap_or(limits::CONCURRENCY_MOST);
            Ok(())
        },
    },
    Key {
        name: "queue",
        default: || limits::QUEUE_ITEMS.to_string(),
        doc: "Requests that may wait for the script, 1 to 65,536. A further one is refused as `busy` and nothing of it runs.",
        example: "queue = 100",
        set: |settings, value| {
            let count = value::integer(value, 1, limits::QUEUE_ITEMS_MOST as u64)?;
            settings.queue = usize::try_from(count).unwrap_or(limits::QUEUE_ITEMS_MOST);
            Ok(())
        },
    },
    Key {
        name: "rate",
        default: || "\"off\"".into(),
        doc: "Most requests in a time, `\"100/s\"`, `\"5/m\"`, `\"20/10s\"`; a further one is refused as `rate_limited`. One period's worth may come at once. `\"off\"`: no limit.",
        example: "rate = \"100/s\"",
        set: |settings, value| {
            value::rate(value, limits::RATE_BURST_MOST).map(|rate| settings.rate = rate)
        },
    },
    Key {
        name: "timeout",
        default: || quoted_time(limits::REQUEST_TIMEOUT),
        doc: "Time limit of a request that names none, waiting included. At most 24 hours.",
        example: "timeout = \"5s\"",
        set: |settings, value| {
            value::duration(value, MOMENT, limits::REQUEST_TIMEOUT_MOST)
                .map(|time| settings.timeout = time)
        },
    },
    Key {
        name: "ready_timeout",
        default: || quoted_time(limits::READY_TIMEOUT),
        doc: "Time from the start of the worker until it must be ready; else the start has failed. At most 1 hour.",
        example: "ready_timeout = \"1m\"",
        set: |settings, value| {
            value::duration(value, MOMENT, limits::LIFE_TIMEOUT_MOST)
                .map(|time| settings.ready_timeout = time)
        },
    },
    Key {
        name: "stop_timeout",
        default: || quoted_time(limits::STOP_TIMEOUT),
        doc: "Time from the `shutdown` notice to SIGTERM, and again from SIGTERM to SIGKILL. At most 1 hour.",
        example: "stop_timeout = \"30s\"",
        set: |settings, value| {
            value::duration(value, MOMENT, limits::LIFE_TIMEOUT_MOST)
                .map(|time| settings.stop_timeout = time)
        },
    },
    Key {
        name: "durability",
        default: || "\"process\"".into(),
        doc: "How safely requests are recorded: `\"process\"` (survives the death of the daemon), `\"power\"` (survives a power loss, slower) or `\"off\"`. In this version requests are kept in memory; the key is checked and shown.",
        example: "durability = \"off\"",
        set: |settings, value| {
            let words = [
                ("power", Durability::Power),
                ("process", Durability::Process),
                ("off", Durability::Off),
            ];
            value::word(value, &words).map(|level| settings.durability = level)
        },
    },
    Key {
        name: "protocol",
        default: || "\"ids\"".into(),
        doc: "For executables. `\"ids\"`: answers carry the id of their request. `\"legacy\"`: the program speaks no ids; it is given one request at a time, whatever `concurrency` says.",
        example: "protocol = \"legacy\"",
        set: |settings, value| {
            let words = [("ids", Protocol::Ids), ("legacy", Protocol::Legacy)];
            value::word(value, &words).map(|protocol| settings.protocol = protocol)
        },
    },
    Key {
        name: "encoder",
        default: || "\"text\"".into(),
        doc: "For executables: the encoding of the requests that they are given, `\"text\"` or `\"json\"`. Lua scripts always get values.",
        example: "encoder = \"json\"",
        set: |settings, value| {
            let words = [("text", Encoding::Text), ("json", Encoding::Json)];
            value::word(value, &words).map(|encoder| settings.encoder = encoder)
        },
    },
    Key {
        name: "args",
        default: || "[]".into(),
        doc: "Arguments of the program: `...` of a Lua script, `argv` of an executable.",
        example: "args = [\"--verbose\", \"eth0\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, no_nul).map(|list| settings.args = list)
        },
    },
    Key {
        name: "env",
        default: || "{}".into(),
        doc: "Environment variables of the worker, beside the few that it gets anyway (PATH, HOME, LANG, TZ, TMPDIR, MOONKEEP_*). Names that begin with `MOONKEEP_`, `LUA_` or `LD_` are refused.",
        example: "env.API_URL = \"http://127.0.0.1:8080\"",
        set: set_env,
    },
    Key {
        name: "keep_children",
        default: || "false".into(),
        doc: "`true`: helper processes that the script has started live on when its worker ends. Else all of them are killed, also those that have left its process group or session.",
        example: "keep_children = true",
        set: |settings, value| value::boolean(value).map(|flag| settings.keep_children = flag),
    },
    Key {
        name: "allow.read",
        default: || "[]".into(),
        doc: "Files and folders (with all they hold) that the script may read beyond its home: absolute, or relative to the home.",
        example: "allow.read = [\"/var/log\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, file_path)
                .map(|list| settings.allow.read = list)
        },
    },
    Key {
        name: "allow.write",
        default: || "[]".into(),
        doc: "Files and folders that the script may write beyond its own state folder.",
        example: "allow.write = [\"/srv/reports\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, file_path)
                .map(|list| settings.allow.write = list)
        },
    },
    Key {
        name: "allow.net",
        default: || "[]".into(),
        doc: "Hosts and ports that the script may reach: `\"host:port\"`, with `*` for any host or any port, IPv6 addresses in brackets.",
        example: "allow.net = [\"127.0.0.1:8080\", \"*:443\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, host_and_port)
                .map(|list| settings.allow.net = list)
        },
    },
    Key {
        name: "allow.unix",
        default: || "[]".into(),
        doc: "Unix sockets that the script may connect to.",
        example: "allow.unix = [\"/run/docker.sock\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, file_path)
                .map(|list| settings.allow.unix = list)
        },
    },
    Key {
        name: "allow.run",
        default: || "[]".into(),
        doc: "Programs that the script may start: a path, or a name that is looked up in PATH.",
        example: "allow.run = [\"ip\", \"/usr/lib/nagios/plugins/check_load\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, file_path)
                .map(|list| settings.allow.run = list)
        },
    },
    Key {
        name: "allow.env",
        default: || "[]".into(),
        doc: "Variables of the daemon's environment that the script gets and may read.",
        example: "allow.env = [\"API_TOKEN\"]",
        set: |settings, value| {
            value::texts(value, limits::SETTING_ENTRIES, variable)
                .map(|list| settings.allow.env = list)
        },
    },
    Key {
        name: "allow_control",
        default: || "false".into(),
        doc: "`true`: the script, and every process that it starts, may `start`, `stop`, `restart`, `reload`, `eval` and `shutdown`. Else these are refused as `denied`, whatever way they come.",
        example: "allow_control = true",
        set: |settings, value| value::boolean(value).map(|flag| settings.allow_control = flag),
    },
    Key {
        name: "sandbox",
        default: || "\"on\"".into(),
        doc: "`\"on\"`: the kernel enforces what `allow` says, as far as it can; `status` shows how far. `\"required\"`: the script does not start where the kernel cannot (Landlock ABI 4 and seccomp). `\"off\"`: the script is an ordinary process of your user. The default for executables is `\"off\"`.",
        example: "sandbox = \"required\"",
        set: |settings, value| {
            let words = [
                ("on", SandboxMode::On),
                ("required", SandboxMode::Required),
                ("off", SandboxMode::Off),
            ];
            value::word(value, &words).map(|mode| settings.sandbox = Some(mode))
        },
    },
    Key {
        name: "limits.memory",
        default: || format!("{:?}", value::show_size(limits::LUA_MEMORY as u64)),
        doc: "Memory of the Lua state, 1 MiB to 64 GiB. A script that wants more gets an error `not enough memory` with its line.",
        example: "limits.memory = \"64 MiB\"",
        set: |settings, value| {
            let bytes = value::size(
                value,
                limits::LUA_MEMORY_LEAST as u64,
                limits::LUA_MEMORY_MOST as u64,
            )?;
            settings.memory_bytes = usize::try_from(bytes).unwrap_or(limits::LUA_MEMORY_MOST);
            Ok(())
        },
    },
    Key {
        name: "limits.cpu",
        default: || "\"on\"".into(),
        doc: "`\"on\"`: a handler that computes for long gives way to the others and is interrupted at its time limit. `\"off\"`: it never is (a little faster, for scripts that you trust to return).",
        example: "limits.cpu = \"off\"",
        set: |settings, value| {
            value::word(value, &[("on", true), ("off", false)]).map(|on| settings.preempt = on)
        },
    },
    Key {
        name: "limits.files",
        default: || limits::WORKER_FILES.to_string(),
        doc: "Files and sockets that the worker may have open, 32 to 1,048,576.",
        example: "limits.files = 4096",
        set: |settings, value| {
            value::integer(value, limits::WORKER_FILES_LEAST, limits::WORKER_FILES_MOST)
                .map(|count| settings.files = count)
        },
    },
];

/// Applies entries to settings; the first fault in the file wins.
pub(super) fn apply(entries: &[Entry], settings: &mut Settings) -> Result<(), Fault> {
    for entry in entries {
        if GROUPS.contains(&entry.key.as_str()) && entry.value.is_table() {
            for inner in &entry.inner {
                set(&format!("{}.{}", entry.key, inner.key), inner, settings)?;
            }
        } else {
            set(&entry.key, entry, settings)?;
        }
    }
    Ok(())
}

/// Keys with a dot in their name share these first halves.
const GROUPS: &[&str] = &["allow", "limits"];

fn set(name: &str, entry: &Entry, settings: &mut Settings) -> Result<(), Fault> {
    let fault = |message: String| Fault::new(entry.line, message);
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return (key.set)(settings, &entry.value)
            .map_err(|why| fault(format!("{name}: {why}; write for example: {}", key.example)));
    }
    if name == "user" {
        return Err(fault(
            "the key \"user\" belongs to the home: put it at the top of moonkeep.toml".to_owned(),
        ));
    }
    if let Some((_, instead)) = LATER.iter().find(|(later, _)| *later == name) {
        return Err(fault(format!(
            "the key \"{name}\" is not supported yet: {instead}"
        )));
    }
    let known = KEYS.iter().map(|key| key.name);
    Err(fault(unknown(name, known)))
}

/// `unknown key "x"; did you mean "y"?`, or the list of all, where none is near.
pub(super) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(key) => format!("unknown key {name:?}; did you mean \"{key}\"?"),
        None => {
            let all: Vec<&str> = known.collect();
            format!("unknown key {name:?}; known are: {}", all.join(", "))
        }
    }
}

fn set_env(settings: &mut Settings, value: &Value) -> Result<(), String> {
    let wanted = "a table of texts, such as { NAME = \"value\" }";
    let table = value
        .as_table()
        .ok_or_else(|| value::expected(wanted, value))?;
    if table.len() > limits::SETTING_ENTRIES {
        return Err(format!(
            "holds {} variables; at most {} fit",
            table.len(),
            limits::SETTING_ENTRIES
        ));
    }
    for (name, entry) in table {
        variable(name)?;
        if ["MOONKEEP_", "LUA_", "LD_"]
            .iter()
            .any(|own| name.starts_with(own))
        {
            return Err(format!("{name} cannot be set: it steers the worker itself"));
        }
        let text = entry
            .as_str()
            .ok_or_else(|| value::expected(&format!("a text for {name}"), entry))?;
        no_nul(text)?;
        settings.env.insert(name.clone(), text.to_owned());
    }
    Ok(())
}

fn quoted_time(time: Duration) -> String {
    format!("{:?}", value::show_duration(time))
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("{text:?} holds a NUL character"));
    }
    Ok(())
}

fn file_path(text: &str) -> Result<(), String> {
    no_nul(text)?;
    if text.trim().is_empty() {
        return Err("an empty path names nothing".into());
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!(
            "{text:?} contains \"..\"; write the path that is meant, absolute or relative to the home"
        ));
    }
    Ok(())
}

fn variable(text: &str) -> Result<(), String> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(())
    } else {
        Err(format!("{text:?} cannot name an environment variable"))
    }
}

fn host_and_port(text: &str) -> Result<(), String> {
    let refuse = || {
        Err(format!(
            "{text:?} is no \"host:port\"; use \"*\" for any host or any port, brackets around IPv6"
        ))
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return refuse();
    };
    let host_fits = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']),
    };
    let port_fits = port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0);
    if host_fits && port_fits {
        Ok(())
    } else {
        refuse()
    }
}
