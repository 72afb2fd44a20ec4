//! Every I/O function of the Lua modules, in every case that can befall it: success, cancel, timeout, too much, not
//! allowed, a peer that fails. Each in a real worker with local peers, and each ends with no descriptor, child or task
//! more than it began with.
//!
//! [`table::ROWS`] is the matrix. Which rows there have to be is read from the modules' own tables.

mod more;
mod peers;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use moonkeep::lua::MODULES;
use moonkeep::proto::ids::{RequestId, ScriptName, Ticket};
use moonkeep::proto::messages::{Dispatch, Json, SandboxMode, ToWorker, Work};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::worker::{Worker, setup};
use crate::harness::{Home, PATIENCE, wait_until_within};

/// What happens to a call.
pub(super) enum Case {
    /// It ends by itself, as expected.
    Ends(&'static str, Expect),
    /// It waits: it is cancelled meanwhile.
    Hangs(&'static str),
    /// It waits: the request's own time limit ends it.
    Late(&'static str),
    /// There is no such case, for this reason.
    None(&'static str),
}

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// It returns this, as text.
    Gives(&'static str),
    /// The world said no: an error of the code `failure` with this in its message.
    Fails(&'static str),
    /// It is refused as misuse, with this in its message.
    Misuse(&'static str),
    /// It is denied, and this line of a header would allow it.
    Denied(&'static str),
}

/// One function.
pub(super) struct Row {
    /// `http.get`, `tcp:read`.
    pub(super) function: &'static str,
    /// In the order of [`CASES`].
    pub(super) cases: [Case; 6],
}

pub(super) const CASES: [&str; 6] = [
    "success",
    "cancel",
    "timeout",
    "oversize",
    "denied",
    "peer fails",
];

/// Modules whose functions compute, and wait for nobody.
const PURE: [&str; 4] = [
    "moonkeep",
    "moonkeep.json",
    "moonkeep.regex",
    "moonkeep.time",
];

/// How long what a call had may take to be gone after its end.
const TO_SETTLE: Duration = Duration::from_secs(5);

/// Runs Lua code, says how it ended.
const RUNNER: &str = r#"
local moonkeep = require "moonkeep"
local env = setmetatable({ moonkeep = moonkeep }, { __index = _G })
for _, name in ipairs { "dns", "fs", "http", "icmp", "json", "process", "store", "system", "tcp", "tls", "udp", "unix" } do
  env[name] = require("moonkeep." .. name)
end
moonkeep.handle("try", function(request)
  local code = assert(load(request.params.code, "=code", "t", env))
  request:part("on")
  local ok, value = pcall(code)
  if ok then return { text = tostring(value) } end
  if type(value) == "table" then return { code = value.code or "?", text = value.message } end
  return { code = "raised", text = tostring(value) }
end)
moonkeep.handle("tasks", function() return moonkeep.tasks() end)
"#;

/// A worker, and what it can be asked.
pub(super) struct Bench {
    worker: Worker,
    script: ScriptName,
    last: u64,
    /// The store, which somebody else holds while a call waits.
    held: Option<PathBuf>,
}

/// What a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    files: Vec<PathBuf>,
    children: usize,
    tasks: u64,
}

impl Held {
    fn is_within(&self, before: &Held) -> bool {
        self.files.len() <= before.files.len()
            && self.children <= before.children
            && self.tasks <= before.tasks
    }
}

impl Bench {
    pub(super) fn start(home: &Home, name: &str, confined: bool) -> Self {
        home.write(&format!("scripts/{name}.lua"), RUNNER);
        let mut setup = setup(home, &format!("{name}.lua"));
        // Each worker's own, as a daemon would name it.
        setup.outcomes.set_extension(Uuid::now_v7().to_string());
        setup.confinement.mode = if confined {
            SandboxMode::On
        } else {
            SandboxMode::Off
        };
        Bench::around(Worker::start(home, setup))
    }

    /// A worker that is ready.
    pub(super) fn around(worker: Worker) -> Self {
        Bench {
            script: worker.setup.script.clone(),
            worker,
            last: 0,
            held: None,
        }
    }

    fn send(&mut self, handler: &str, params: &Value, timeout: Duration) -> u64 {
        self.last += 1;
        let dispatch = Dispatch {
            ticket: Ticket(self.last),
            script: self.script.clone(),
            work: Work::Call {
                handler: handler.into(),
                params: Some(Json::parse(&params.to_string()).expect("JSON")),
            },
            id: Some(RequestId::from_uuid(Uuid::now_v7())),
            client: None,
            timeout,
            record: false,
        };
        self.worker.tell(&[ToWorker::Request(dispatch)]);
        self.last
    }

    /// Starts the code, and returns when it has begun and given way.
    #[track_caller]
    fn begin(&mut self, code: &str, timeout: Duration) -> u64 {
        let ticket = self.send("try", &json!({ "code": code }), timeout);
        let id = format!("@{ticket}");
        self.worker
            .hear(|line| line["request_id"] == *id && line["status"] == "part");
        ticket
    }

    /// Runs the code to its end.
    #[track_caller]
    pub(super) fn run(&mut self, code: &str) -> Value {
        let ticket = self.begin(code, PATIENCE);
        let end = self.worker.end_of(ticket);
        assert_eq!(end["status"], "ok", "{code}: {end}");
        end["result"].clone()
    }

    fn held(&mut self) -> Held {
        let process = PathBuf::from(format!("/proc/{}", self.worker.pid()));
        let files = fs::read_dir(process.join("fd")).expect("it lives");
        let files = files
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .collect();
        let threads = fs::read_dir(process.join("task")).expect("it lives");
        let children = threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .map(|children| children.split_whitespace().count())
            .sum();
        let ticket = self.send("tasks", &json!({}), PATIENCE);
        let tasks = self.worker.end_of(ticket)["result"].as_u64();
        Held {
            files,
            children,
            tasks: tasks.expect("a number"),
        }
    }

    /// Another process in a transaction of its own.
    fn hold(&self) -> Option<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(self.held.as_ref()?).expect("a store");
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .expect("nobody else holds it");
        Some(connection)
    }

    /// Does something, and waits until the worker holds no more than before.
    fn without_leaks(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let before = self.held();
        let done = work(self);
        let mut after = self.held();
        let begun = Instant::now();
        while !after.is_within(&before) {
            if begun.elapsed() > TO_SETTLE {
                return done.and(Err(format!("left something: {before:?}, then {after:?}")));
            }
            std::thread::sleep(Duration::from_millis(2));
            after = self.held();
        }
        done
    }

    /// Makes the case happen; what is wrong with its end.
    pub(super) fn check(
        &mut self,
        case: &Case,
        names: &BTreeMap<&str, String>,
    ) -> Result<(), String> {
        let filled = |code: &str| {
            names.iter().fold(code.to_owned(), |code, (name, value)| {
                code.replace(&format!("{{{name}}}"), value)
            })
        };
        match case {
            Case::None(_) => Ok(()),
            Case::Ends(code, expect) => self.without_leaks(|bench| {
                let result = bench.run(&filled(code));
                expect.filled(&filled).compare(&result)
            }),
            Case::Hangs(code) => self.without_leaks(|bench| {
                let _held = bench.hold();
                let ticket = bench.begin(&filled(code), PATIENCE);
                // It answers others, so the call has given way; and it has not ended.
                let other = bench.send("tasks", &json!({}), PATIENCE);
                bench.worker.end_of(other);
                bench.cancel(ticket);
                let end = bench.worker.end_of(ticket);
                match end["status"] == "ok" {
                    true => Err(format!("it had ended before it was cancelled: {end}")),
                    false => Ok(()),
                }
            }),
            Case::Late(code) => self.without_leaks(|bench| {
                let _held = bench.hold();
                let ticket = bench.begin(&filled(code), Duration::from_millis(150));
                let end = bench.worker.end_of(ticket);
                match end["error"]["code"] == "timeout" {
                    true => Ok(()),
                    false => Err(format!("its time limit did not end it: {end}")),
                }
            }),
        }
    }

    fn cancel(&mut self, ticket: u64) {
        self.worker.tell(&[ToWorker::Cancel {
            ticket: Ticket(ticket),
        }]);
    }
}

/// What is expected, with names in place.
struct Expected {
    code: Option<&'static str>,
    text: String,
}

impl Expect {
    fn filled(self, fill: &impl Fn(&str) -> String) -> Expected {
        let (code, text) = match self {
            Expect::Gives(text) => (None, text),
            Expect::Fails(text) => (Some("failure"), text),
            Expect::Misuse(text) => (Some("bad_request"), text),
            Expect::Denied(text) => (Some("denied"), text),
        };
        Expected {
            code,
            text: fill(text),
        }
    }
}

impl Expected {
    fn compare(&self, result: &Value) -> Result<(), String> {
        let text = result["text"].as_str().unwrap_or_default();
        if result["code"].as_str() == self.code && text.contains(&self.text) {
            return Ok(());
        }
        let code = self.code.unwrap_or("no error");
        Err(format!(
            "expected {code} with {:?}, got {result}",
            self.text
        ))
    }
}

/// The functions that wait for the world, as the modules' tables have them: `http.get`, `tcp:read`.
fn wanted() -> Vec<String> {
    let mut wanted = Vec::new();
    for module in MODULES.iter().filter(|module| !PURE.contains(&module.name)) {
        let short = module.name.trim_start_matches("moonkeep.");
        let waits = module.functions.iter().filter(|function| function.yields);
        wanted.extend(waits.map(|function| format!("{short}.{}", function.name)));
        for line in module.types.lines() {
            let method = line
                .strip_prefix("---@field ")
                .and_then(|rest| rest.split_once(" fun(self"));
            match method {
                // They wait for nobody.
                Some(("close" | "json", _)) | None => {}
                Some((method, _)) => wanted.push(format!("{short}:{method}")),
            }
        }
    }
    // Of the same type as a connection of TCP.
    for module in ["unix", "tls"] {
        wanted.extend(["read", "write"].map(|method| format!("{module}:{method}")));
    }
    wanted.sort();
    wanted
}

#[test]
fn the_matrix_has_a_row_for_each_function_that_waits_for_the_world() {
    let mut rows: Vec<&str> = table::ROWS.iter().map(|row| row.function).collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        wanted(),
        "left: rows of table.rs; right: what there is"
    );
}

#[test]
fn no_call_leaves_a_descriptor_a_task_or_a_child_however_it_ends() {
    let home = Home::new();
    let names = table::names(&home);
    let mut free = Bench::start(&home, "free", false);
    let mut confined = Bench::start(&home, "confined", true);
    home.write(
        "state/scripts/damaged/store.db",
        &"no database ".repeat(1000),
    );
    let mut damaged = Bench::start(&home, "damaged", false);
    let mut held = Bench::start(&home, "held", false);
    held.run("return store.set('x', 1)");
    held.held = Some(home.path("state/scripts/held/store.db"));
    // What is made once for all calls: the file of the store.
    free.run("return store.get('x')");
    let (mut matrix, mut faults) = (String::new(), Vec::new());
    for row in table::ROWS {
        for (name, case) in CASES.iter().zip(&row.cases) {
            let bench = match (*name, row.function.starts_with("store.")) {
                ("denied", _) => &mut confined,
                ("peer fails", true) => &mut damaged,
                ("cancel" | "timeout", true) => &mut held,
                _ => &mut free,
            };
            let told = match (bench.check(case, &names), case) {
                (Err(why), _) => {
                    faults.push(format!("{} ({name}): {why}", row.function));
                    "WRONG".to_owned()
                }
                (Ok(()), Case::None(why)) => format!("n/a: {why}"),
                (Ok(()), Case::Ends(..) | Case::Hangs(_) | Case::Late(_)) => "ok".to_owned(),
            };
            matrix.push_str(&format!("{:<18} {name:<10} {told}\n", row.function));
        }
    }
    println!("{matrix}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_call_that_waits_holds_up_no_other() {
    let home = Home::new();
    let silent = peers::on_tcp(peers::silent);
    let mut bench = Bench::start(&home, "free", false);
    let before = bench.held();
    let slow = bench.begin(&format!("return tcp.connect('{silent}'):read()"), PATIENCE);
    let result = bench.run("return 1 + 1");
    assert_eq!(result["text"], "2");
    bench.cancel(slow);
    bench.worker.end_of(slow);
    wait_until_within(TO_SETTLE, "its connection is closed", || {
        bench.held().is_within(&before)
    });
}
