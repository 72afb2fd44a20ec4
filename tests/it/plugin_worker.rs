//! Plugins in their worker: what it declares, how it runs checks, what it keeps, what it may.

use std::time::{Duration, Instant};

use moonkeep::limits;
use moonkeep::proto::ids::{Generation, Ticket};
use moonkeep::proto::messages::{Dispatch, Json, Setup, ToWorker, Work};
use serde_json::{Value, json};

use crate::harness::worker::{Worker, plugin_setup};
use crate::harness::{Home, wait_until};

/// A running plugin worker, and what it declared.
struct Plugins {
    worker: Worker,
    checks: Vec<Value>,
    ready: Value,
    tickets: u64,
}

impl Plugins {
    #[track_caller]
    fn start(home: &Home, worker: &str) -> Self {
        Plugins::of(home, plugin_setup(home, worker))
    }

    #[track_caller]
    fn of(home: &Home, setup: Setup) -> Self {
        let mut worker = Worker::spawn(home, setup);
        let mut checks = Vec::new();
        loop {
            let line = worker.hear(|line| line["command"].is_string());
            match line["command"].as_str() {
                Some("declared") => {
                    checks.extend(line["checks"].as_array().expect("a list").clone())
                }
                Some("ready") => {
                    return Plugins {
                        worker,
                        checks,
                        ready: line,
                        tickets: 0,
                    };
                }
                Some("failed" | "outdated") => panic!("it does not start: {line}"),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn declared(&self, name: &str) -> &Value {
        let mut checks = self.checks.iter();
        let found = checks.find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", self.checks))
    }

    /// Asks for it and does not wait.
    fn ask(&mut self, handler: &str, params: Option<&Value>) -> u64 {
        self.tickets += 1;
        let request = ToWorker::Request(Dispatch {
            ticket: Ticket(self.tickets),
            script: self.worker.setup.script.clone(),
            work: Work::Call {
                handler: handler.into(),
                params: params.map(Json::of),
            },
            id: None,
            client: None,
            timeout: Duration::from_secs(11),
            record: false,
        });
        self.worker.tell(&[request]);
        self.tickets
    }

    /// The outcome of a run.
    #[track_caller]
    fn outcome(&mut self, ticket: u64) -> Value {
        let end = self.worker.end_of(ticket);
        assert_eq!(end["status"], "ok", "{end}: {}", self.worker.log());
        end["result"].clone()
    }

    #[track_caller]
    fn run(&mut self, check: &str) -> Value {
        let ticket = self.ask(check, None);
        self.outcome(ticket)
    }

    /// What it hands over.
    #[track_caller]
    fn hand_over(&mut self) -> Value {
        self.worker.tell(&[ToWorker::Handover]);
        let line = self.worker.hear(|line| line["command"] == "handover");
        line["state"].clone()
    }

    /// A generation after this one, with what this one hands over.
    #[track_caller]
    fn next(&mut self, home: &Home, worker: &str) -> Setup {
        let handover = Some(Json::of(&self.hand_over()));
        Setup {
            generation: Generation(2),
            handover,
            ..plugin_setup(home, worker)
        }
    }
}

fn plugin(text: &str) -> Home {
    Home::new().file("plugins/p.lua", text)
}

#[track_caller]
fn says(outcome: &Value, state: &str, part: &str) {
    assert_eq!(outcome["state"], state, "{outcome:#}");
    let message = outcome["message"].as_str().expect("a message");
    assert!(message.contains(part), "{part:?} in {message:?}");
}

const MANY: &str = r#"
check("web", { every = "1m", retry_every = 2, timeout = "3s", rise = 1, fall = 4, jitter = 0, tags = { "a" }, needs = "gateway" },
  function(c) print("looking") c:measure("time", 0.5, "s", { warn = 1 }) end)
for _, host in ipairs { "one", "two" } do
  check("ping " .. host, { cron = "*/5 * * * *" }, function(c) return c.name end)
end
check("bug", function(c) local x return x.field end)
heartbeat("backup", { every = "1d", grace = "1h", tags = { "night" } })
on_change(function(change) print(change.check .. " " .. change.from .. " " .. change.to) end)
"#;

#[test]
fn a_worker_declares_what_its_plugins_say() {
    let config = "[checks]\nfall = 2\nrise = 5\n[check.web]\nfall = 7\ntags = [\"b\"]\n[check.more]\nplugin = \"p\"\n[check.x]\nplugin = \"q\"\n";
    let home = plugin(MANY)
        .file(
            "plugins/q.lua",
            "local url = param('url')\ncheck('q', function() end)",
        )
        .config(config);
    let plugins = Plugins::start(&home, "@p");
    let web = plugins.declared("web").clone();
    assert_eq!(web["every"]["secs"], 60, "{web}");
    assert_eq!(web["retry_every"]["secs"], 2, "{web}");
    assert_eq!((&web["rise"], &web["fall"]), (&json!(1), &json!(7)));
    assert_eq!(web["tags"], json!(["a", "b"]));
    assert_eq!(web["needs"], json!(["gateway"]));
    assert_eq!(web["on_change"], true);
    assert_eq!(web["file"], "plugins/p.lua");
    let ping = plugins.declared("ping one");
    assert_eq!(
        (&ping["cron"], &ping["rise"]),
        (&json!("*/5 * * * *"), &json!(5))
    );
    assert_eq!(
        plugins.declared("backup")["kind"]["heartbeat"]["grace"]["secs"],
        3_600
    );
    let more = plugins.declared("more/web");
    assert_eq!(
        (&more["instance"], &more["fall"]),
        (&json!("more"), &json!(4))
    );
    assert_eq!(plugins.checks.len(), 10, "{:#?}", plugins.checks);
    let handlers = plugins.ready["handlers"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(handlers.len(), 12, "{handlers:?}");
    assert!(
        handlers
            .iter()
            .all(|handler| handler["delivery"] == "query")
    );
    assert_eq!(plugins.ready["handover"], true);
}

#[test]
fn a_worker_runs_its_checks_and_says_what_it_has_not() {
    let home = plugin(MANY).config("[check.web]\ntags = [\"b\"]\n[check.more]\nplugin = \"p\"\n");
    let mut plugins = Plugins::start(&home, "@p");
    let outcome = plugins.run("web");
    says(&outcome, "ok", "time 0.5");
    assert_eq!(
        (&outcome["name"], &outcome["tags"]),
        (&json!("web"), &json!(["a", "b"]))
    );
    assert_eq!(outcome["measures"][0]["value"], 0.5);
    assert!(
        plugins.worker.log().contains("web: looking\n"),
        "{}",
        plugins.worker.log()
    );
    says(&plugins.run("more/ping two"), "ok", "more/ping two");
    let bug = plugins.run("bug");
    says(&bug, "unknown", "plugins/p.lua:7:");
    assert!(
        bug["traceback"]
            .as_str()
            .is_some_and(|text| text.contains("stack traceback")),
        "{bug:#}"
    );

    for (handler, code, part) in [
        ("ping ona", "unknown_handler", "did you mean \"ping one\"?"),
        ("backup", "bad_request", "is a heartbeat"),
        ("@on_change nobody", "unknown_handler", "no on_change"),
    ] {
        let ticket = plugins.ask(handler, None);
        let end = plugins.worker.end_of(ticket);
        assert_eq!(end["error"]["code"], code, "{end}");
        assert!(
            end["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains(part)),
            "{end}"
        );
    }
}

#[test]
fn a_section_that_lacks_a_parameter_is_a_broken_check_and_the_file_itself_is_inactive() {
    let home = plugin(MANY)
        .file(
            "plugins/q.lua",
            "local url = param('url')\ncheck('q', function() end)",
        )
        .config("[check.x]\nplugin = \"q\"\n");
    let q = Plugins::start(&home, "@q");
    let names: Vec<&Value> = q.checks.iter().map(|check| &check["name"]).collect();
    assert_eq!(
        names,
        ["x"],
        "the file itself is inactive, the section lacks something"
    );
    let broken = &q.declared("x")["kind"]["broken"]["message"];
    assert_eq!(broken, "[check.x] lacks url, which the plugin q requires");
}

#[test]
fn on_change_hears_of_a_change_and_its_failure_is_the_answer() {
    let home = plugin(&format!(
        "{MANY}on_change(function(change) if change.to == 'ok' then error('no') end end)"
    ));
    let mut plugins = Plugins::start(&home, "@p");
    for (to, status) in [("critical", "ok"), ("ok", "error")] {
        let change = json!({ "check": "web", "from": "warning", "to": to, "measures": [] });
        let ticket = plugins.ask("@on_change p", Some(&change));
        let end = plugins.worker.end_of(ticket);
        assert_eq!(end["status"], status, "{end}");
        let line = format!("on_change of p: web warning {to}\n");
        assert!(
            plugins.worker.log().contains(&line),
            "{}",
            plugins.worker.log()
        );
    }
    assert!(
        plugins.worker.log().contains("plugins/p.lua:10: no"),
        "{}",
        plugins.worker.log()
    );
}

// A check that spins or hangs is ended at its own time limit; the others of its plugin are on time.
#[test]
fn a_check_that_spins_or_hangs_is_ended_with_its_commands_and_the_others_are_on_time() {
    let home = plugin(
        r#"
        check("spin", { timeout = "800ms" }, function() while true do pcall(function() while true do end end) end end)
        check("hang", { timeout = "800ms" }, function()
          process.run { "sh", "-c", "echo begun; sleep 1000 & sh -c 'sleep 1000; true'; true" }
        end)
        check("quick", function(c) return "fine" end)"#,
    );
    let mut plugins = Plugins::start(&home, "@p");
    let (spin, hang) = (plugins.ask("spin", None), plugins.ask("hang", None));
    for _ in 0..5 {
        let quick = plugins.ask("quick", None);
        let end = plugins.worker.hear(is_end);
        assert_eq!(
            end["request_id"],
            format!("@{quick}"),
            "before those that take their time: {end}"
        );
        says(&end["result"], "ok", "fine");
    }
    let mut ends = [plugins.worker.hear(is_end), plugins.worker.hear(is_end)];
    ends.sort_by_key(|end| end["request_id"].to_string());
    assert_eq!(
        [&ends[0]["request_id"], &ends[1]["request_id"]],
        [&json!(format!("@{spin}")), &json!(format!("@{hang}"))]
    );
    says(
        &ends[0]["result"],
        "critical",
        "timed out after 0.8 s, still computing at plugins/p.lua:2",
    );
    says(
        &ends[1]["result"],
        "critical",
        "timed out after 0.8 s; output so far: begun",
    );
    wait_until("nothing of the command is left", || {
        let mut left = home.processes().into_iter();
        !left.any(|process| process.arguments.contains("sleep"))
    });
    says(&plugins.run("quick"), "ok", "fine");
    // A run that nobody wants any more is dropped.
    let ticket = plugins.ask("hang", None);
    plugins.worker.tell(&[ToWorker::Cancel {
        ticket: Ticket(ticket),
    }]);
    assert_eq!(plugins.worker.end_of(ticket)["status"], "error");
}

fn is_end(line: &Value) -> bool {
    line["request_id"].is_string() && line["status"] != "part"
}

const COUNTER: &str = r#"
local limit = param("limit", 10)
check("count", function(c)
  c.state.runs = (c.state.runs or 0) + 1
  c.state.seen = c.state.seen or {}
  table.insert(c.state.seen, c.state.runs)
  c.state.shared = function() end
  return "run " .. c.state.runs .. " of " .. #c.state.seen
end)
check("plain", function() return "nothing to keep" end)
"#;

#[test]
fn what_a_check_keeps_passes_to_the_next_generation() {
    let home = plugin(COUNTER).config("[check.other]\nplugin = \"p\"\n");
    let mut old = Plugins::start(&home, "@p");
    for run in 1..=3 {
        says(&old.run("count"), "ok", &format!("run {run} of {run}"));
    }
    says(&old.run("other/count"), "ok", "run 1 of 1");
    home.write("plugins/p.lua", &COUNTER.replace("\"run \"", "\"RUN \""));
    let setup = old.next(&home, "@p");
    let log = old.worker.log();
    assert!(
        log.contains("count: c.state.shared is not kept over the reload"),
        "{log}"
    );
    let mut new = Plugins::of(&home, setup);
    says(&new.run("count"), "ok", "RUN 4 of 4");
    says(&new.run("other/count"), "ok", "RUN 2 of 2");
    says(&old.run("count"), "ok", "run 4 of 4");
    old.worker.tell(&[ToWorker::Shutdown {
        grace: Duration::from_secs(1),
    }]);
    assert_eq!(old.worker.wait().code(), Some(0));
}

#[test]
fn a_broken_instance_is_declared_at_first_and_never_replaces_one_that_worked() {
    let home = plugin("check('fine', function() end)\n").file("lib/part.lua", "return 1");
    let mut old = Plugins::start(&home, "@p");
    let broken = "local part = require 'part'\nlocal x\ncheck('fine', function() end, x.y)\n";
    home.write("plugins/p.lua", broken);
    let setup = old.next(&home, "@p");
    let mut new = Worker::spawn(&home, setup);
    let loaded = new.hear(|line| line["command"] == "loaded");
    let files = loaded["files"].to_string();
    assert!(
        files.contains("lib/part.lua"),
        "what it required is followed: {loaded}"
    );
    let failed = new.hear(|line| line["command"] == "failed");
    let message = failed["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with("plugins/p.lua:3:"), "{failed}");
    assert_eq!(new.wait().code(), Some(1));
    assert_eq!(old.run("fine")["state"], "ok");

    let mut first = Plugins::start(&home, "@p");
    let kind = &first.declared("p")["kind"]["broken"];
    assert!(
        kind["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("plugins/p.lua:3:")),
        "{kind}"
    );
    says(&first.run("p"), "unknown", "plugins/p.lua:3:");
    // What is wrong in moonkeep.toml is shown at its check, also after a reload.
    home.write(
        "plugins/p.lua",
        "local n = param('n', 1)\ncheck('fine', function() end)",
    );
    let mut good = Plugins::start(&home, "@p");
    home.write("moonkeep.toml", "[check.p]\nn = \"many\"\n");
    let setup = good.next(&home, "@p");
    let wrong = Plugins::of(&home, setup);
    let message = &wrong.declared("p")["kind"]["broken"]["message"];
    assert!(
        message
            .as_str()
            .is_some_and(|text| text.contains("takes a number, but was given \"many\"")),
        "{message}"
    );
}

#[test]
fn a_file_that_is_not_what_the_daemon_saw_is_not_run() {
    let home = plugin("print 'it ran'\ncheck('a', function() end)");
    let setup = plugin_setup(&home, "@p");
    home.write(
        "plugins/p.lua",
        "print 'it ran'\ncheck('b', function() end)",
    );
    let mut worker = Worker::spawn(&home, setup);
    worker.hear(|line| line["command"] == "outdated");
    assert_eq!(worker.wait().code(), Some(1));
    assert!(!worker.log().contains("it ran"), "{}", worker.log());
}

#[test]
fn a_section_named_after_a_check_reaches_its_plugin_in_the_worker_as_in_check() {
    let text = "local most = param('most', 5)\ncheck('notes', function(c) return 'most ' .. most end)\nheartbeat('nightly')";
    let home = plugin(text)
        .config("[check.notes]\nmost = 7\nevery = \"2m\"\n[check.nightly]\nevery = \"1d\"\n");
    let mut plugins = Plugins::start(&home, "@p");
    assert_eq!(plugins.declared("notes")["every"]["secs"], 120);
    assert_eq!(plugins.declared("nightly")["every"]["secs"], 86_400);
    says(&plugins.run("notes"), "ok", "most 7");
    let finished = home.run(&["check", "notes"]).expect_code(0);
    assert!(finished.stdout.contains("most 7"), "{finished:#?}");
}

/// Reads a file, connects and runs a program; each says whether it could.
const CURIOUS: &str = r#"
check("read", function(c) return #fs.read("/etc/passwd") > 0 and "could" end)
check("open", function(c) return assert(io.open("/etc/passwd")):read("l") and "could" end)
check("connect", function(c) tcp.connect("127.0.0.1:ADDRESS") return "could" end)
check("run", function(c) return process.run({ "true" }).code == 0 and "could" end)
check("nagios", nagios("true"))
"#;

#[test]
fn what_a_plugins_header_does_not_allow_is_denied_in_the_worker_and_in_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let body = CURIOUS.replace("ADDRESS", &port);
    let header = |lines: &str| format!("-- /// moonkeep\n{lines}-- ///\n{body}");
    let net = format!("-- allow.net = [\"127.0.0.1:{port}\"]\n");
    let everything = format!("{net}-- allow.read = [\"/etc/passwd\"]\n-- allow.run = [\"true\"]\n");
    let none = ["read", "open", "connect", "run", "nagios"];
    for (text, denied) in [
        (body.clone(), &[][..]),
        (header(&everything), &[][..]),
        (header(&net), &["read", "open", "run", "nagios"][..]),
        (header("-- allow.env = [\"X\"]\n"), &none[..]),
    ] {
        let home = plugin(&text);
        let mut plugins = Plugins::start(&home, "@p");
        let report = home.run(&["check", "-f", "json"]);
        let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
        for (at, name) in none.iter().enumerate() {
            let here = &report["checks"][at];
            let there = plugins.run(name);
            for (mode, outcome) in [("check", here), ("worker", &there)] {
                let message = outcome["message"].as_str().expect("a message");
                let is_denied = message.contains("denied: this script may not")
                    && message.contains("add to its header: -- allow.");
                assert_eq!(
                    is_denied,
                    denied.contains(name),
                    "{mode} {name} with {text}: {outcome:#}"
                );
                let state = if is_denied { "unknown" } else { "ok" };
                assert_eq!(outcome["state"], state, "{mode} {name}: {outcome:#}");
            }
        }
    }
}

#[test]
fn a_confined_plugin_sees_only_the_variables_that_its_header_names_or_sets() {
    let body = r#"check("own", function() return tostring(os.getenv("MINE")) .. tostring(os.getenv("SECRET")) end)
        check("theirs", function() return process.run({ "sh", "-c", "printf %s%s $MINE $SECRET" }).stdout end)"#;
    for (header, own, theirs) in [
        ("", "nilyes", "yes"),
        ("-- env.MINE = \"1\"\n", "1yes", "1yes"),
        (
            "-- env.MINE = \"1\"\n-- allow.run = [\"sh\"]\n",
            "1nil",
            "1",
        ),
        (
            "-- allow.env = [\"SECRET\"]\n-- allow.run = [\"sh\"]\n",
            "nilyes",
            "yes",
        ),
    ] {
        let home = plugin(&format!("-- /// moonkeep\n{header}-- ///\n{body}"));
        let program = home.moonkeep(&["check", "-f", "json"]).env("SECRET", "yes");
        let report: Value = serde_json::from_str(&program.run().stdout).expect("JSON");
        says(&report["checks"][0], "ok", own);
        assert_eq!(report["checks"][0]["message"], own, "{header}");
        assert_eq!(report["checks"][1]["message"], theirs, "{header}");
    }
}

#[test]
fn a_wrong_header_is_shown_with_its_line() {
    let home = plugin("-- /// moonkeep\n-- queue = 1\n-- ///\ncheck('a', function() end)");
    let finished = home.run(&["check"]).expect_code(3);
    assert!(
        finished
            .stdout
            .contains("plugins/p.lua:2: the key \"queue\" is none of a plugin's header"),
        "{finished:#?}"
    );
}

#[test]
fn the_list_and_the_help_show_schedules_heartbeats_and_permissions() {
    let home = plugin(&format!(
        "-- What is up.\n-- /// moonkeep\n-- allow.net = [\"*:80\"]\n-- ///\n{MANY}"
    ));
    let list = home.run(&["check", "--list"]).expect_code(0).stdout;
    for part in ["web       1m", "*/5 * * * *", "heard 24h", "needs gateway"] {
        assert!(list.contains(part), "{part:?} in {list}");
    }
    let help = home.run(&["check", "help", "p"]).expect_code(0).stdout;
    assert!(help.contains("  What is up.\n\n"), "{help}");
    assert!(
        help.contains("beyond its home and its own folder it may net *:80."),
        "{help}"
    );
    // A heartbeat is told of, not run.
    let refused = home.run(&["check", "backup"]).expect_code(64);
    assert!(
        refused.stderr.contains("moonkeep heartbeat backup"),
        "{refused:#?}"
    );
    let report = home
        .run(&["check", "-f", "json", "night", "ping one"])
        .expect_code(0);
    assert!(!report.stdout.contains("backup"), "{report:#?}");
}

#[test]
fn a_hundred_instances_live_in_one_worker() {
    const INSTANCES: usize = 100;
    let mut config = String::new();
    for number in 0..INSTANCES {
        config.push_str(&format!(
            "[check.file{number}]\nplugin = \"file\"\npath = \"moonkeep.toml\"\n"
        ));
    }
    let home = Home::new().config("[check.file]\npath = \"moonkeep.toml\"\n");
    let one = Plugins::start(&home, "@stock").ready["memory_bytes"]
        .as_u64()
        .expect("bytes");
    home.write("moonkeep.toml", &config);
    let begin = Instant::now();
    let mut plugins = Plugins::start(&home, "@stock");
    let took = begin.elapsed();
    let all = plugins.ready["memory_bytes"].as_u64().expect("bytes");
    assert_eq!(plugins.checks.len(), INSTANCES);
    let tickets: Vec<u64> = (0..INSTANCES)
        .map(|number| plugins.ask(&format!("file{number}"), None))
        .collect();
    for _ in tickets {
        assert_eq!(plugins.worker.hear(is_end)["result"]["state"], "ok");
    }
    let each = all.saturating_sub(one) / (INSTANCES as u64 - 1);
    eprintln!("{INSTANCES} instances: ready in {took:?}, {all} bytes in memory, {each} each");
    assert!(each < 600 * 1024, "{each} bytes each");
    assert!(all < limits::LUA_MEMORY as u64, "{all} bytes");
}
