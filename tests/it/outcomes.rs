//! Outcome records and script locks, on real workers whose pipes the test holds.

use std::fs;
use std::time::{Duration, Instant};

use moonkeep::proto::ids::{RequestId, Ticket};
use moonkeep::proto::messages::{Dispatch, Json, ToWorker, Work};
use serde_json::json;
use uuid::Uuid;

use crate::harness::worker::{self, Worker, is_locked, setup};
use crate::harness::{Home, installed, kill, wait_until};

const LUA: &str = r#"
local moonkeep = require "moonkeep"
local go = moonkeep.state_dir .. "/go"
local function there() local file = io.open(go) if file then file:close() end return file ~= nil end
moonkeep.handle("quick", function(request) return request.params.n end)
-- Gives nothing else a turn: what the worker has not done by now, it does not do before the end.
moonkeep.handle("spin", function() while not there() do end return "spun" end)
moonkeep.handle("wait", function(request)
  request:part("begun")
  while not there() do moonkeep.sleep(0.005) end
  request:part("going on")
  return "waited"
end)
moonkeep.handle("fail", function() error("boom") end)
moonkeep.handle("ask", function()
  local ok, problem = pcall(moonkeep.call, "other", "handler")
  local again, second = pcall(moonkeep.call, "other", "handler")
  return { ok, problem.code, again, second.code }
end)
moonkeep.handle("long", function() return ("x"):rep(500 * 1000) end)
-- JSON of the length of a line, which the names around it make longer.
moonkeep.handle("large", function() return ("x"):rep(1024 * 1024 - 20) end)
"#;

fn home() -> Home {
    Home::new().script("noted.lua", LUA)
}

fn request(ticket: u64, handler: &str) -> Dispatch {
    let params = json!({ "n": ticket }).to_string();
    Dispatch {
        ticket: Ticket(ticket),
        script: moonkeep::proto::ids::ScriptName::new("noted").expect("a name"),
        work: Work::Call {
            handler: handler.into(),
            params: Some(Json::parse(&params).expect("JSON")),
        },
        id: Some(RequestId::from_uuid(Uuid::now_v7())),
        client: None,
        timeout: Duration::from_secs(20),
        record: true,
    }
}

fn ask(ticket: u64, handler: &str) -> ToWorker {
    ToWorker::Request(request(ticket, handler))
}

fn let_go(home: &Home) {
    home.write("state/scripts/noted/go", "");
}

const QUICK: &str = r#"E 1 {"status":"ok","result":1}"#;

// R-053, FI-2: whenever it is killed, the record says what had begun and what had ended, no more and no less.
#[test]
fn a_killed_worker_leaves_exactly_what_had_happened() {
    for stage in ["idle", "running", "ended"] {
        let home = home();
        let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
        match stage {
            "running" => {
                worker.tell(&[ask(1, "spin")]);
                wait_until("the beginning is recorded", || worker.record() == ["B 1"]);
            }
            "ended" => {
                worker.tell(&[ask(1, "quick")]);
                worker.end_of(1);
            }
            _ => {}
        }
        let expected: &[&str] = match stage {
            "running" => &["B 1"],
            "ended" => &["B 1", QUICK],
            _ => &[],
        };
        let record = || worker.record();
        assert_eq!(record(), expected, "{stage}");
        let (outcomes, pid) = (worker.setup.outcomes.clone(), worker.pid());
        worker.kill();
        let left = worker::lines_of(&outcomes, pid.unsigned_abs());
        assert_eq!(left, expected, "{stage}, after SIGKILL");
    }
}

// The end is there before the first byte of the answer, each time.
#[test]
fn an_answer_that_was_heard_is_in_the_record() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    for ticket in 1..=100 {
        worker.tell(&[ask(ticket, "quick")]);
        worker.end_of(ticket);
        let record = worker.record();
        let end = format!(r#"E {ticket} {{"status":"ok","result":{ticket}}}"#);
        assert_eq!(record.last(), Some(&end));
        assert_eq!(record.len() as u64, 2 * ticket);
    }
}

#[test]
fn refusals_errors_and_results_that_are_too_large_are_ends_and_queries_are_not_recorded() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    let mut unrecorded = request(4, "quick");
    unrecorded.record = false;
    for (ticket, handler, code) in [
        (1, "fail", "script_error"),
        (2, "no-such", "unknown_handler"),
        (3, "large", "too_large"),
    ] {
        worker.tell(&[ask(ticket, handler)]);
        assert_eq!(worker.end_of(ticket)["error"]["code"], code);
        let record = worker.record();
        let end = record.last().expect("lines");
        assert!(
            end.contains(&format!(
                "E {ticket} {{\"status\":\"error\",\"error\":{{\"code\":\"{code}\""
            )),
            "{end}"
        );
    }
    worker.tell(&[ToWorker::Request(unrecorded)]);
    assert_eq!(worker.end_of(4)["result"], 4);
    assert_eq!(worker.record().len(), 6, "only the three");
}

// R-053: the daemon dies while requests run. They finish, with their timers and parts, and are recorded; a call to
// another script fails at once.
#[test]
fn a_worker_whose_daemon_has_gone_finishes_records_and_leaves() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    worker.tell(&[ask(1, "wait"), ask(2, "ask")]);
    wait_until("both have begun", || worker.record().len() == 2);
    let begun = Instant::now();
    worker.close_stdin();
    assert_eq!(
        worker.end_of(2)["result"],
        json!([false, "shutting_down", false, "shutting_down"])
    );
    assert!(worker.is_locked(), "it still runs");
    let_go(&home);
    assert_eq!(worker.end_of(1)["result"], "waited");
    // It kills its group, itself included, last of all: nobody else does.
    worker.wait();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "no grace is waited for"
    );
    assert_eq!(
        worker.record(),
        [
            "B 1",
            "B 2",
            r#"E 2 {"status":"ok","result":[false,"shutting_down",false,"shutting_down"]}"#,
            r#"E 1 {"status":"ok","result":"waited"}"#,
            "X"
        ]
    );
    assert!(!worker.is_locked());
}

#[test]
fn a_worker_that_is_told_to_leave_closes_its_record() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    let grace = Duration::from_secs(5);
    worker.tell(&[ask(1, "quick"), ToWorker::Shutdown { grace }]);
    assert!(worker.wait().success());
    assert_eq!(worker.record(), ["B 1", QUICK, "X"]);
}

// R-055: the lock is held from before the script is loaded to the end, by two generations at once.
#[test]
fn the_lock_is_held_while_any_worker_of_the_script_lives() {
    let home = home();
    let first = Worker::start(&home, setup(&home, "noted.lua"));
    let mut later = setup(&home, "noted.lua");
    later.outcomes.set_extension("later");
    let second = Worker::start(&home, later);
    let lock = first.setup.lock.clone();
    assert!(is_locked(&lock));
    first.kill();
    assert!(is_locked(&lock), "the second lives");
    second.kill();
    assert!(!is_locked(&lock));
}

// R-055: while a daemon looks for workers of its predecessor, nothing of the script is loaded.
#[test]
fn a_worker_waits_for_a_lock_that_the_daemon_holds() {
    let home = Home::new().script("noted.lua", "io.stderr:write('LOADED\\n') io.read()");
    let setup = setup(&home, "noted.lua");
    let held = fs::File::create(&setup.lock).expect("the lock");
    let exclusive = rustix::fs::FlockOperation::LockExclusive;
    rustix::fs::flock(&held, exclusive).expect("nobody else has it");
    let mut worker = Worker::spawn(&home, setup);
    let loaded = |worker: &Worker| worker.log().contains("LOADED");
    wait_until("it has come to the lock", || {
        let open = format!("/proc/{}/fd", worker.pid());
        fs::read_dir(open).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                fs::read_link(entry.path()).is_ok_and(|path| path == worker.setup.lock)
            })
        })
    });
    assert!(!worker.setup.outcomes.exists() && !loaded(&worker));
    drop(held);
    worker.await_ready();
    assert!(worker.is_locked() && loaded(&worker));
}

/// Copies its worker's record when it is given a request, then answers when it may.
const SEES: &str = r#"#!/bin/sh
while read -r line; do
  [ "$line" = shutdown ] && exit 0
  cp "$1" "$2/seen"
  while [ ! -e "$2/go" ]; do sleep 0.01; done
  case $line in *request_id=*) id=" ${line##* }" ;; *) id= ;; esac
  echo "got it$id"
  echo "done$id"
done
"#;

// An executable's request is recorded before its first byte, with ids and without.
#[test]
fn an_executables_requests_are_recorded_before_it_hears_of_them() {
    for legacy in [false, true] {
        let home = Home::new().executable("noted.run", SEES);
        let mut setup = setup(&home, "noted.run");
        setup.legacy = legacy;
        setup.args = [&setup.outcomes, &home.path("state/scripts/noted")]
            .map(|path| path.display().to_string())
            .into();
        let mut worker = Worker::start(&home, setup);
        worker.tell(&[ask(1, "greet")]);
        let seen = home.path("state/scripts/noted/seen");
        wait_until("it has copied the record", || {
            fs::read_to_string(&seen).is_ok_and(|text| text.contains("\nB "))
        });
        assert_eq!(worker.record(), ["B 1"]);
        let_go(&home);
        assert_eq!(worker.end_of(1)["result"], "got it");
        let end = r#"E 1 {"status":"ok","result":"got it"}"#;
        assert_eq!(worker.record(), ["B 1", end], "legacy: {legacy}");
        worker.close_stdin();
        worker.wait();
        assert_eq!(worker.record(), ["B 1", end, "X"], "legacy: {legacy}");
    }
}

// R-055: an executable that outlives its worker still holds the lock.
#[test]
fn an_executable_that_outlives_its_worker_holds_the_lock() {
    let home = Home::new().executable("noted.run", "#!/bin/sh\necho $$ >&2\nexec sleep 60\n");
    let mut worker = Worker::start(&home, setup(&home, "noted.run"));
    assert!(worker.is_locked());
    let child: i32 = worker.log().trim().parse().expect("a pid");
    let lock = worker.setup.lock.clone();
    worker.close_stdin();
    worker.kill();
    assert!(is_locked(&lock), "its child lives");
    kill(child, rustix::process::Signal::KILL);
    wait_until("the lock is free", || !is_locked(&lock));
}

// FI-11: without its record nothing runs; what needs none goes on, and so does everything once there is space.
#[test]
fn a_request_that_cannot_be_recorded_does_not_run() {
    let test = "a_request_that_cannot_be_recorded_does_not_run";
    if !installed("unshare", test) {
        return;
    }
    let home = home();
    let mut small = setup(&home, "noted.lua");
    let folder = home.path("state/small");
    fs::create_dir_all(&folder).expect("a folder");
    small.outcomes = folder.join("record");
    let mut command = home.program("unshare".as_ref()).into_command();
    let script = r#"mount -t tmpfs -o size=4k,mode=700 none "$1" || exit 9; shift; exec "$@""#;
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&folder);
    command.arg(crate::harness::BINARY);
    let mut worker = Worker::spawn_by(command, &home, small);
    if worker.try_ready().is_none() {
        eprintln!("{test}: skipped, a test may not mount here");
        return;
    }
    let mut refused = None;
    for ticket in 1..=200 {
        worker.tell(&[ask(ticket, "quick")]);
        let end = worker.end_of(ticket);
        if end["status"] == "error" {
            refused = Some((ticket, end));
            break;
        }
    }
    let (ticket, end) = refused.expect("4 KiB are full");
    let says = end["error"]["message"].as_str().expect("a message");
    assert_eq!(end["error"]["code"], "internal", "{end}");
    assert!(
        says.contains("did not run") && says.contains("space"),
        "{says}"
    );
    let mut unrecorded = request(ticket + 1, "quick");
    unrecorded.record = false;
    worker.tell(&[ToWorker::Request(unrecorded)]);
    assert_eq!(worker.end_of(ticket + 1)["result"], ticket + 1);
    // Nothing torn is left, so the record is whole.
    let inside = format!(
        "/proc/{}/root{}",
        worker.pid(),
        worker.setup.outcomes.display()
    );
    let bytes = fs::read(inside).expect("the record");
    let (header, outcomes) = moonkeep::proto::outcome::parse(&bytes);
    assert!(header.is_some() && outcomes.complete && bytes.ends_with(b"\n"));
    assert!(
        (outcomes.began.len() as u64) < ticket,
        "the refused one is not in it"
    );
}

// FI-14: what the journal has by now is forgotten, what still runs is not.
#[test]
fn a_record_does_not_grow_for_ever() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    worker.tell(&[ask(1, "wait")]);
    for ticket in 2..=6 {
        worker.tell(&[ask(ticket, "long")]);
        worker.end_of(ticket);
    }
    let ping = |beat, settled| ToWorker::Ping { beat, settled };
    let pong = |worker: &mut Worker, beat: u64| {
        worker.hear(|line| line["command"] == "pong" && line["beat"] == beat);
    };
    worker.tell(&[ping(1, None)]);
    pong(&mut worker, 1);
    worker.tell(&[ask(7, "quick")]);
    worker.end_of(7);
    assert_eq!(worker.record().len(), 13);
    worker.tell(&[ping(2, Some(1))]);
    pong(&mut worker, 2);
    let quick = r#"E 2 {"status":"ok","result":7}"#;
    assert_eq!(worker.record(), ["B 1", "B 2", quick]);
    let_go(&home);
    worker.end_of(1);
    let waited = r#"E 1 {"status":"ok","result":"waited"}"#;
    assert_eq!(worker.record(), ["B 1", "B 2", quick, waited]);
}

// The cost: two writes for a request alone, and no more for sixteen that come together.
#[test]
fn the_requests_of_one_read_share_their_writes() {
    let home = home();
    let mut worker = Worker::start(&home, setup(&home, "noted.lua"));
    let writes = |pid: i32| -> u64 {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("it lives");
        let line = io.lines().find_map(|line| line.strip_prefix("syscw: "));
        line.and_then(|count| count.parse().ok()).expect("a count")
    };
    for count in [1, 16] {
        let mut batch: Vec<ToWorker> = (1..=count).map(|ticket| ask(ticket, "quick")).collect();
        let before = writes(worker.pid());
        worker.tell(&batch);
        worker.end_of(count);
        let recorded = writes(worker.pid()) - before;
        for message in &mut batch {
            if let ToWorker::Request(dispatch) = message {
                dispatch.record = false;
            }
        }
        let before = writes(worker.pid());
        worker.tell(&batch);
        worker.end_of(count);
        let unrecorded = writes(worker.pid()) - before;
        assert_eq!(recorded, unrecorded + 2, "writes for {count}");
    }
}
