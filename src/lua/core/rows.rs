//! The table of `moonkeep`.

use super::{
    Function, Module, Param, call, emit, handle, handover, log_at, on, on_handover, on_shutdown,
    text, timers,
};
use mlua::Value;

/// `moonkeep`.
pub const MODULE: Module = Module {
    name: "moonkeep",
    summary: "Handlers, calls, events, timers, the script's own facts.",
    types: TYPES,
    functions: ROWS,
};

const TYPES: &str = "\
---What a handler gets.
---@class moonkeep.Request
---@field params table the caller's parameters, `{}` if it sent none
---@field id string? the caller's own id of the request
---@field client string? the UUID of the client
---@field deadline number seconds left
---@field part fun(self: moonkeep.Request, value: any) sends a part of the answer at once
---@field progress fun(self: moonkeep.Request, fraction: number, note?: string) sends `{ progress = fraction, note = note }` as a part

---@class moonkeep.HandlerOptions
---@field delivery? \"once\"|\"idempotent\"|\"query\" what may happen when a request is repeated or a worker dies; \"once\" unless given
---@field timeout? string|number longest time of a request: \"5s\" or seconds; the caller's shorter one wins

---@class moonkeep.CallOptions
---@field timeout? string|number longest time to wait: \"5s\" or seconds

---@class moonkeep.Event
---@field name string
---@field data any what the sender gave
---@field from string? the script that sent it

---@class moonkeep.Task
---@field cancel fun(self: moonkeep.Task) stops it; its `<close>` variables run
---@field wait fun(self: moonkeep.Task, timeout?: string|number): any waits for its end and gives what it returned; raises what it raised

---What `pcall` gives of a failed function of moonkeep; `tostring` gives the message.
---@class moonkeep.Error
---@field code string
---@field message string
---@field data any
---@field retry_after number? seconds
";

const TIME: &str = "string|number";
const CALLBACK: &str = "fun()";

const ROWS: &[Function] = &[
    Function {
        name: "handle",
        params: &[
            Param {
                name: "name",
                kind: "string",
                doc: "what callers name; 1 to 128 characters without blanks",
            },
            Param {
                name: "handler",
                kind: "fun(request: moonkeep.Request): any",
                doc: "called for each request, as a coroutine of its own; what it returns is the answer",
            },
            Param {
                name: "options?",
                kind: "moonkeep.HandlerOptions",
                doc: "how it may be repeated, and its time limit",
            },
        ],
        returns: &[],
        doc: "Registers a handler. `error{ code = \"not_found\", message = \"...\" }` in it answers `script_error` with that table as \
              data. An error if the name is taken.",
        yields: false,
        make: handle,
    },
    Function {
        name: "call",
        params: &[
            Param {
                name: "script",
                kind: "string",
                doc: "the script's name",
            },
            Param {
                name: "handler",
                kind: "string",
                doc: "the handler's name",
            },
            Param {
                name: "params?",
                kind: "table",
                doc: "its parameters",
            },
            Param {
                name: "options?",
                kind: "moonkeep.CallOptions",
                doc: "30 s unless given",
            },
        ],
        returns: &["any"],
        doc: "Calls a handler of another script, or of this one, and gives its result. Raises a `moonkeep.Error` with the \
              refusal's `code` (`busy`, `timeout`, `unknown_script`, `script_error`, ...). Stopping the caller cancels the request.",
        yields: true,
        make: call,
    },
    Function {
        name: "emit",
        params: &[
            Param {
                name: "event",
                kind: "string",
                doc: "the event's name, such as `disk.full`",
            },
            Param {
                name: "data?",
                kind: "any",
                doc: "what goes with it",
            },
        ],
        returns: &[],
        doc: "Tells an event to everybody who listens: scripts with `moonkeep.on`, clients with `moonkeep events`.",
        yields: true,
        make: emit,
    },
    Function {
        name: "on",
        params: &[
            Param {
                name: "pattern",
                kind: "string",
                doc: "an event's name; `*` stands for any run of characters",
            },
            Param {
                name: "handler",
                kind: "fun(event: moonkeep.Event)",
                doc: "called for each such event, as a coroutine of its own",
            },
        ],
        returns: &[],
        doc: "Listens for events. At most 64 subscriptions a script.",
        yields: false,
        make: on,
    },
    Function {
        name: "every",
        params: &[
            Param {
                name: "interval",
                kind: TIME,
                doc: "`\"10s\"`, or seconds",
            },
            Param {
                name: "f",
                kind: CALLBACK,
                doc: "called each time; never twice at once: a run that takes longer skips beats",
            },
        ],
        returns: &["moonkeep.Task"],
        doc: "Calls a function again and again, first after one interval. What it raises goes to the log, and it goes on.",
        yields: false,
        make: timers::every,
    },
    Function {
        name: "cron",
        params: &[
            Param {
                name: "schedule",
                kind: "string",
                doc: "minute, hour, day, month, weekday; with six fields, seconds first",
            },
            Param {
                name: "f",
                kind: CALLBACK,
                doc: "called at those times, in the machine's time zone",
            },
        ],
        returns: &["moonkeep.Task"],
        doc: "Calls a function by the calendar: `moonkeep.cron(\"*/5 * * * *\", f)`.",
        yields: false,
        make: timers::cron,
    },
    Function {
        name: "after",
        params: &[
            Param {
                name: "delay",
                kind: TIME,
                doc: "`\"1s\"`, or seconds",
            },
            Param {
                name: "f",
                kind: CALLBACK,
                doc: "called once",
            },
        ],
        returns: &["moonkeep.Task"],
        doc: "Calls a function once, later.",
        yields: false,
        make: timers::after,
    },
    Function {
        name: "sleep",
        params: &[Param {
            name: "time",
            kind: TIME,
            doc: "seconds, or `\"500ms\"`",
        }],
        returns: &[],
        doc: "Waits. Everything else of the script goes on meanwhile.",
        yields: true,
        make: timers::sleep,
    },
    Function {
        name: "tasks",
        params: &[],
        returns: &["integer"],
        doc: "How many tasks of this script are alive: requests that run, the caller's among them, timers, what `spawn` \
              has started, kept connections of `moonkeep.http`. A number that only grows tells of a leak.",
        yields: false,
        make: timers::tasks,
    },
    Function {
        name: "spawn",
        params: &[
            Param {
                name: "f",
                kind: "fun(...): any",
                doc: "run beside everything else",
            },
            Param {
                name: "...",
                kind: "any",
                doc: "its arguments",
            },
        ],
        returns: &["moonkeep.Task"],
        doc: "Starts a function as a task of the script's own. What it raises goes to the log unless somebody waits for it.",
        yields: false,
        make: timers::spawn,
    },
    Function {
        name: "on_handover",
        params: &[Param {
            name: "f",
            kind: "fun(): any",
            doc: "returns the state for the next generation, as JSON can say it, at most 256 KiB",
        }],
        returns: &[],
        doc: "Hands state to the new code at a reload. The function has one second.",
        yields: false,
        make: on_handover,
    },
    Function {
        name: "on_shutdown",
        params: &[Param {
            name: "f",
            kind: CALLBACK,
            doc: "called before the worker leaves",
        }],
        returns: &[],
        doc: "Runs a function before the worker leaves, within its grace time (5 s unless set).",
        yields: false,
        make: on_shutdown,
    },
    Function {
        name: "handover",
        params: &[],
        returns: &["any"],
        doc: "What `on_handover` of the generation before returned; nil after a fresh start.",
        yields: false,
        make: handover,
    },
    Function {
        name: "log.debug",
        params: LOGGED,
        returns: &[],
        doc: "Writes to the script's log.",
        yields: false,
        make: |lua, _| log_at(lua, "debug"),
    },
    Function {
        name: "log.info",
        params: LOGGED,
        returns: &[],
        doc: "Writes to the script's log.",
        yields: false,
        make: |lua, _| log_at(lua, "info"),
    },
    Function {
        name: "log.warn",
        params: LOGGED,
        returns: &[],
        doc: "Writes to the script's log.",
        yields: false,
        make: |lua, _| log_at(lua, "warn"),
    },
    Function {
        name: "log.error",
        params: LOGGED,
        returns: &[],
        doc: "Writes to the script's log.",
        yields: false,
        make: |lua, _| log_at(lua, "error"),
    },
    Function {
        name: "script",
        params: &[],
        returns: &["string"],
        doc: "The script's name.",
        yields: false,
        make: |lua, context| text(lua, context.script.as_str()),
    },
    Function {
        name: "generation",
        params: &[],
        returns: &["integer"],
        doc: "Counts the workers that the script has had.",
        yields: false,
        make: |_, context| {
            Ok(Value::Integer(
                i64::try_from(context.generation.0).unwrap_or(i64::MAX),
            ))
        },
    },
    Function {
        name: "home",
        params: &[],
        returns: &["string"],
        doc: "The home's folder.",
        yields: false,
        make: |lua, context| text(lua, context.home.as_os_str().as_encoded_bytes()),
    },
    Function {
        name: "state_dir",
        params: &[],
        returns: &["string"],
        doc: "The folder that the script may write.",
        yields: false,
        make: |lua, context| text(lua, context.state_dir.as_os_str().as_encoded_bytes()),
    },
];

const LOGGED: &[Param] = &[Param {
    name: "...",
    kind: "any",
    doc: "shown as `print` shows them",
}];
