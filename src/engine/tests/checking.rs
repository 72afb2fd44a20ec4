//! The engine around the monitor, with a plugin worker that does what a test says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::engine::{record, replay};
use crate::monitor::alphabet as monitor;
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;

const PLUGIN: &str = "@web";
const NAME: &str = "web health";

fn check(name: &str) -> CheckSpec {
    CheckSpec {
        name: name.into(),
        instance: "web".into(),
        file: "plugins/web.lua".into(),
        kind: CheckKind::Active,
        every: Duration::from_secs(60),
        retry_every: Duration::from_secs(60),
        cron: None,
        jitter: 0.0,
        timeout: Duration::from_secs(2),
        rise: 1,
        fall: 1,
        tags: Vec::new(),
        needs: Vec::new(),
        on_change: false,
    }
}

fn spec(hash: &str) -> Arc<ScriptSpec> {
    Arc::new(ScriptSpec {
        name: name(PLUGIN),
        path: PathBuf::from("/home/lab/plugins/web.lua"),
        content: Some(hash.into()),
        kind: ScriptKind::Lua,
        settings: Settings::default(),
        plugins: vec![PluginInstance {
            name: "web".into(),
            path: Some(PathBuf::from("/home/lab/plugins/web.lua")),
            stem: "web".into(),
            shown: "plugins/web.lua".into(),
            renames: false,
            sections: Vec::new(),
        }],
        check_defaults: CheckDefaults::default(),
    })
}

fn changed(hash: &str) -> Input {
    Input::Script(ScriptChange::Changed {
        spec: spec(hash),
        because: PathBuf::from("plugins/web.lua"),
    })
}

fn removed() -> Input {
    Input::Script(ScriptChange::Removed {
        name: name(PLUGIN),
        because: PathBuf::from("plugins/web"),
    })
}

/// What the shell hands in at the start.
fn beginning() -> Vec<Input> {
    vec![
        Input::Monitor(monitor::Input::Restored(Box::default())),
        Input::Monitor(monitor::Input::Clock {
            unix_ms: 1_760_000_000_000,
            offset_seconds: 0,
        }),
        changed("1"),
        Input::Loaded,
    ]
}

fn declared(names: &[&str]) -> Notice {
    Notice::Declared {
        checks: names.iter().map(|name| check(name)).collect(),
    }
}

fn handlers(names: &[&str]) -> Vec<Handler> {
    let query = |name: &&str| handler(name, Delivery::Query);
    names.iter().map(query).collect()
}

fn ended_with(state: &str) -> String {
    format!(
        "{{\"name\":\"{NAME}\",\"state\":\"{state}\",\"message\":\"said {state}\",\"duration_seconds\":0.1,\"measures\":[],\"tags\":[],\"file\":\"plugins/web.lua\"}}"
    )
}

impl World {
    /// The plugin's first generation serves this check.
    fn with_check() -> Self {
        let mut world = World::new();
        beginning().into_iter().for_each(|input| world.input(input));
        world.serve(&worker(PLUGIN, 1));
        world
    }

    fn serve(&mut self, id: &WorkerId) {
        self.notice(id, declared(&[NAME]));
        self.ready_with(id, handlers(&[NAME]), false);
    }

    /// Until the check runs on this worker: its ticket.
    fn until_run(&mut self, id: &WorkerId) -> Ticket {
        for _ in 0..200 {
            if let Some(ticket) = self.tickets(id).last() {
                return *ticket;
            }
            self.pass(Duration::from_secs(1));
        }
        panic!("the check does not run on {id}");
    }

    /// What `checks` says of the check; nothing: there is none.
    fn check(&mut self) -> Option<(String, String)> {
        let view = self.engine.checking.monitor.view(&[]).expect("all");
        let check = view.checks.first()?;
        let state = check.last.map_or("pending", |state| state.word());
        Some((state.to_owned(), check.message.clone()))
    }

    fn state_of_check(&mut self) -> String {
        self.check().map_or("none".to_owned(), |(state, _)| state)
    }

    fn runs_now(&self) -> usize {
        self.engine.checking.asker.in_flight()
    }
}

#[test]
fn a_run_is_a_request_that_no_journal_knows_and_its_answer_is_the_checks_state() {
    let mut world = World::with_check();
    assert_eq!(world.state_of_check(), "pending");
    let id = worker(PLUGIN, 1);
    let ticket = world.until_run(&id);
    let dispatch = world.dispatches(&id).remove(0);
    assert_eq!(
        dispatch.work,
        Work::Call {
            handler: NAME.into(),
            params: None
        }
    );
    assert_eq!(
        dispatch.timeout,
        Duration::from_secs(3),
        "and time to end it"
    );
    assert!(!dispatch.record);
    world.done(&id, ticket, &ended_with("warning"));
    assert_eq!(
        world.check(),
        Some(("warning".into(), "said warning".into()))
    );
    assert_eq!(world.records(), []);
    assert_eq!(world.runs_now(), 0);
}

#[test]
fn what_is_no_outcome_is_unknown() {
    let mut world = World::with_check();
    let id = worker(PLUGIN, 1);
    let ticket = world.until_run(&id);
    world.done(&id, ticket, "{\"state\":\"fine\"}");
    let (state, message) = world.check().expect("the check");
    assert_eq!(state, "unknown");
    assert!(message.contains("is no outcome"), "{message}");
}

#[test]
fn a_run_that_nothing_stops_is_critical_and_its_worker_is_killed_for_it() {
    let mut world = World::with_check();
    let id = worker(PLUGIN, 1);
    world.until_run(&id);
    world.pass(Duration::from_millis(3_050));
    assert_eq!(
        world.signals(),
        Vec::<String>::new(),
        "it has some time left"
    );
    world.pass(Duration::from_millis(1_200));
    assert_eq!(world.signals(), ["@web#1 Kill"]);
    let (state, message) = world.check().expect("the check");
    assert_eq!(state, "critical");
    assert!(
        message.starts_with("timed out after 2 s and had to be killed"),
        "{message}"
    );
    world.exited(&id, Exit::Signal(9));
    assert!(
        world.spawned().contains(&"@web#2".to_owned()),
        "the others go on"
    );
    assert_eq!(world.runs_now(), 0);
}

/// Ends the worker of a run, or the run.
type Fate = fn(&mut World, &WorkerId);

fn the_next_generation_runs_it_again(world: &mut World, id: &WorkerId) {
    world.exited(id, Exit::Signal(11));
    let next = worker(PLUGIN, 2);
    world.serve(&next);
    let ticket = world.until_run(&next);
    world.done(&next, ticket, &ended_with("ok"));
}

fn no_other_can_be_started(world: &mut World, id: &WorkerId) {
    world.exited(id, Exit::Signal(11));
    for generation in 2.. {
        if world.state_of_check() != "pending" {
            return;
        }
        let next = worker(PLUGIN, generation);
        world.until_spawned(&next);
        world.input(Input::SpawnFailed {
            worker: next,
            error: "no memory".into(),
        });
    }
}

fn the_plugin_is_gone(world: &mut World, id: &WorkerId) {
    world.input(removed());
    world.exited(id, Exit::Code(0));
}

fn an_operator_stops_it(world: &mut World, id: &WorkerId) {
    let session = world.connect();
    let stop = Command::Control {
        verb: Verb::Stop,
        script: Some(name(PLUGIN)),
    };
    world.ask(session, Some("7"), stop);
    world.exited(id, Exit::Code(0));
}

fn it_ends_what_it_holds_beside_a_newer_one(world: &mut World, id: &WorkerId) {
    world.input(changed("2"));
    world.serve(&worker(PLUGIN, 2));
    let ticket = world.tickets(id)[0];
    world.done(id, ticket, &ended_with("ok"));
    world.exited(id, Exit::Code(0));
}

fn the_worker_refuses_it(world: &mut World, id: &WorkerId) {
    let ticket = world.tickets(id)[0];
    let refusal = Refusal::new(ErrorCode::ScriptError, "web.lua:3: no");
    world.answer(id, ticket, Body::Error(refusal));
}

#[test]
fn every_run_ends_exactly_once_whatever_becomes_of_its_worker() {
    let fates: [(&str, Fate, &str); 6] = [
        ("again", the_next_generation_runs_it_again, "ok"),
        ("no other", no_other_can_be_started, "unknown"),
        ("gone", the_plugin_is_gone, "none"),
        ("stopped", an_operator_stops_it, "none"),
        ("overlap", it_ends_what_it_holds_beside_a_newer_one, "ok"),
        ("refused", the_worker_refuses_it, "unknown"),
    ];
    for (what, fate, state) in fates {
        let mut world = World::with_check();
        let id = worker(PLUGIN, 1);
        world.until_run(&id);
        assert_eq!(world.runs_now(), 1, "{what}");
        fate(&mut world, &id);
        assert_eq!(world.state_of_check(), state, "{what}");
        assert_eq!(world.runs_now(), 0, "{what}");
    }
}

#[test]
fn a_plugin_that_does_not_start_is_a_broken_check_until_it_does() {
    let mut world = World::new();
    beginning().into_iter().for_each(|input| world.input(input));
    let first = worker(PLUGIN, 1);
    world.notice(
        &first,
        Notice::Failed {
            refusal: Refusal::new(ErrorCode::ScriptError, "web.lua:1: syntax error"),
        },
    );
    world.exited(&first, Exit::Code(1));
    assert_eq!(
        world.check(),
        Some(("unknown".into(), "web.lua:1: syntax error".into()))
    );
    world.input(changed("2"));
    let newest = world.spawned().len() as u64;
    world.serve(&worker(PLUGIN, newest));
    assert_eq!(
        world.state_of_check(),
        "pending",
        "another check, not run yet"
    );
    let view = world.engine.checking.monitor.view(&[]).expect("all");
    let names: Vec<_> = view.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, [NAME]);
    // Once it has served, its checks stay whatever its file becomes.
    world.input(Input::Script(ScriptChange::Faulty {
        name: name(PLUGIN),
        path: "plugins/web.lua".into(),
        error: "writable by others".into(),
        checks: vec![check("stand-in")],
    }));
    assert_eq!(world.state_of_check(), "pending");
}

#[test]
fn a_faulty_plugin_shows_what_stands_in_for_its_checks() {
    let mut world = World::new();
    for input in beginning().into_iter().take(2) {
        world.input(input);
    }
    let mut stand_in = check("stand-in");
    stand_in.kind = CheckKind::Broken {
        message: "web.lua:2: the key".into(),
        traceback: None,
    };
    world.input(Input::Script(ScriptChange::Faulty {
        name: name(PLUGIN),
        path: "plugins/web.lua".into(),
        error: "web.lua:2: the key".into(),
        checks: vec![stand_in],
    }));
    world.input(Input::Loaded);
    assert_eq!(
        world.check(),
        Some(("unknown".into(), "web.lua:2: the key".into()))
    );
}

#[test]
fn a_section_that_no_plugin_claims_is_a_check_of_its_own_when_all_have_spoken() {
    let unclaimed = |name: &str| (name.to_owned(), "there is no plugin".to_owned());
    let mut world = World::new();
    let mut start = beginning();
    start.insert(
        2,
        Input::Sections(Box::new(Sections {
            configured: monitor::Configured::default(),
            unclaimed: vec![unclaimed(NAME), unclaimed("typo")],
        })),
    );
    start.into_iter().for_each(|input| world.input(input));
    assert_eq!(
        world.check(),
        None,
        "the plugin has not said its checks yet"
    );
    world.serve(&worker(PLUGIN, 1));
    let view = world.engine.checking.monitor.view(&[]).expect("all");
    let found: Vec<_> = view
        .checks
        .iter()
        .map(|check| (&*check.name, check.last.is_some()))
        .collect();
    assert_eq!(found, [("typo", true), (NAME, false)]);
}

// Left out: `obey_or_hold` that holds nothing.
#[test]
fn nobody_hears_of_a_change_before_it_is_kept_but_for_a_disk_that_takes_too_long() {
    let mut world = World::with_check();
    world.keeps = false;
    let session = world.connect();
    let downtime = |hours: u64| Command::Downtime {
        check: NAME.into(),
        quiet: Quiet::For(Duration::from_secs(3600 * hours)),
        why: None,
    };
    world.ask(session, Some("1"), downtime(1));
    assert_eq!(world.heard(session), Vec::<String>::new());
    let count = world.kept;
    assert!(count > 0, "it is to be written down");
    world.input(Input::Kept { count });
    assert_eq!(world.heard(session).len(), 1);
    world.ask(session, Some("2"), downtime(2));
    world.pass(Duration::from_millis(1_900));
    assert_eq!(world.heard(session).len(), 1);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.heard(session).len(), 2);
}

#[test]
fn a_process_of_a_script_may_not_call_a_plugin() {
    let mut world = World::with_check();
    world.changed("s", Settings::default());
    let session = world.connect();
    world.input(Input::Belongs {
        session,
        script: Some(name("s")),
    });
    world.take();
    world.ask(session, Some("1"), call(PLUGIN, NAME, None));
    assert_eq!(world.heard(session), ["1: error denied"]);
}

#[test]
fn plugins_are_shown_apart_from_scripts_and_are_none_for_up() {
    let mut world = World::new();
    beginning().into_iter().for_each(|input| world.input(input));
    let settled = |effect: &Effect| {
        matches!(
            effect,
            Effect::Settled {
                ready: 0,
                failed: 0
            }
        )
    };
    assert!(world.seen.iter().any(settled), "it waits for no plugin");
    world.serve(&worker(PLUGIN, 1));
    let status = world.status("");
    assert_eq!(status["scripts"], serde_json::json!([]));
    assert_eq!(status["plugins"][0]["name"], PLUGIN);
    assert_eq!(status["plugins"][0]["state"], "ready");
}

#[test]
fn a_command_that_waits_for_the_monitor_is_forgotten_with_its_session() {
    let mut world = World::with_check();
    let (first, second) = (world.connect(), world.connect());
    for session in [first, second] {
        world.ask(session, Some("1"), Command::Check { words: Vec::new() });
    }
    let id = worker(PLUGIN, 1);
    let ticket = world.tickets(&id)[0];
    world.input(Input::Gone {
        session: first,
        why: "closed".into(),
    });
    world.done(&id, ticket, &ended_with("ok"));
    assert_eq!(world.heard(first), Vec::<String>::new());
    let [answer] = &world.heard(second)[..] else {
        panic!("one answer: {:?}", world.heard(second));
    };
    assert!(answer.contains("\"state\":\"ok\""), "{answer}");
    assert!(world.engine.checking.asks.is_empty());
}

#[test]
fn a_shutdown_waits_for_no_check_and_takes_none_for_ended() {
    let mut world = World::with_check();
    let id = worker(PLUGIN, 1);
    world.until_run(&id);
    let kept = world.kept;
    world.input(Input::Terminate { why: "test".into() });
    assert_eq!(world.runs_now(), 0);
    world.exited(&id, Exit::Code(0));
    assert!(world.seen.contains(&Effect::Exit));
    assert_eq!(world.kept, kept, "nothing was heard of the run");
    assert_eq!(world.state_of_check(), "pending");
}

#[test]
fn a_transcript_with_checks_replays_to_the_same_effects() {
    let id = worker(PLUGIN, 1);
    let from = |message| Input::FromWorker {
        worker: id.clone(),
        message,
    };
    let mut inputs = beginning();
    inputs.extend([
        Input::Spawned {
            worker: id.clone(),
            pid: 99,
        },
        from(FromWorker::Notice(declared(&[NAME]))),
        from(FromWorker::Notice(Notice::Ready {
            handlers: Some(handlers(&[NAME])),
            handover: false,
            memory_bytes: 1,
        })),
    ]);
    let mut timed: Vec<(Moment, Input)> = inputs
        .into_iter()
        .map(|input| (Moment(1_000), input))
        .collect();
    timed.extend((1..200).map(|second| (Moment(second * 1_000_000), Input::Tick)));
    let end = Body::Ok {
        result: Payload::Json(Json::parse(&ended_with("critical")).unwrap()),
        replayed: false,
    };
    let ticket = Ticket(1);
    timed.insert(
        30,
        (timed[29].0, from(FromWorker::Answer { ticket, body: end })),
    );
    timed.push((Moment(200_000_000), Input::Kept { count: 1 }));
    timed.push((Moment(200_000_001), Input::Show { ask: ViewAsk(1) }));
    let transcript = record(identity(), timed);
    for wanted in ["\"keep\"", "Shown", "said critical"] {
        let found = transcript.to_lowercase().contains(&wanted.to_lowercase());
        assert!(found, "{wanted} is in the transcript");
    }
    replay(&transcript).unwrap_or_else(|difference| panic!("{difference}"));
}
