//! The life of a script: restarts, reloads, stops, the daemon's own end.

use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::limits;
use crate::options::{ReloadMode, RestartPolicy, Settings};
use crate::proto::ids::*;
use crate::proto::messages::*;
use crate::random::Random;

fn control(verb: Verb, script: &str) -> Command {
    Command::Control {
        verb,
        script: Some(name(script)),
    }
}

fn stop_first() -> Settings {
    Settings {
        reload: ReloadMode::StopFirst,
        ..Settings::default()
    }
}

impl World {
    fn failed(&mut self, id: &WorkerId, message: &str) {
        let refusal = Refusal::new(ErrorCode::ScriptError, message);
        self.notice(id, Notice::Failed { refusal });
        self.exited(id, Exit::Code(1));
    }

    /// Delays from each crash to the next start, in milliseconds, until `failed`.
    fn crash_until_failed(&mut self) -> Vec<u64> {
        let mut delays = Vec::new();
        for generation in 1..=30 {
            let id = worker("s", generation);
            self.take();
            let crashed = self.now;
            self.exited(&id, Exit::Code(1));
            if self.state("s") == "failed" {
                break;
            }
            while self.spawned().is_empty() {
                let due = self.engine.next_timeout().unwrap();
                self.now = due;
                self.input(Input::Tick);
            }
            delays.push(self.now.since(crashed).as_millis() as u64);
        }
        delays
    }
}

// S-06
#[test]
fn the_first_restart_is_at_once_then_they_back_off_with_jitter_until_failed() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    let delays = world.crash_until_failed();
    assert_eq!(delays.len(), limits::INTENSITY);
    assert_eq!(delays[0], 0);
    for (index, delay) in delays[1..].iter().enumerate() {
        let full = 100 * 2_u64.pow(index as u32);
        assert!(
            (full / 2..=full).contains(delay),
            "restart {index}: {delay} of {full} ms"
        );
    }
    let failed_at = world.now;
    world.take();
    world.pass(limits::FAILED_RETRY - Duration::from_secs(1));
    assert!(world.spawned().is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.spawned().len(), 1, "a slow retry");
    assert!(world.now.since(failed_at) >= limits::FAILED_RETRY);
}

// S-06
#[test]
fn a_good_run_starts_the_back_off_anew_and_a_save_resets_it() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    for generation in 1..=40 {
        let id = worker("s", generation);
        world.ready(&id);
        world.pass(limits::BACKOFF_RESET + Duration::from_secs(1));
        world.take();
        world.exited(&id, Exit::Signal(11));
        assert_eq!(
            world.spawned(),
            [format!("s#{}", generation + 1)],
            "at once"
        );
    }
    world.exited(&worker("s", 41), Exit::Code(1));
    assert_eq!(world.state("s"), "backoff");
    world.take();
    world.changed("s", Settings::default());
    assert_eq!(world.spawned(), ["s#42"], "a save does not wait");
}

// S-06
#[test]
fn restart_policies_are_kept() {
    let cases = [
        (RestartPolicy::Always, Exit::Code(0), "starting"),
        (RestartPolicy::Always, Exit::Code(1), "starting"),
        (RestartPolicy::OnFailure, Exit::Code(0), "stopped"),
        (RestartPolicy::OnFailure, Exit::Signal(9), "starting"),
        (RestartPolicy::Never, Exit::Code(0), "stopped"),
        (RestartPolicy::Never, Exit::Code(1), "failed"),
    ];
    for (restart, exit, wanted) in cases {
        let mut world = World::with_script(Settings {
            restart,
            ..Settings::default()
        });
        world.pass(Duration::from_secs(1));
        world.exited(&worker("s", 1), exit);
        assert_eq!(world.state("s"), wanted, "{restart:?} after {exit:?}");
    }
}

//
#[test]
fn several_starts_at_once_make_one_worker() {
    let mut world = World::new();
    let settings = Settings {
        enabled: false,
        ..Settings::default()
    };
    world.changed("s", settings);
    assert_eq!(world.state("s"), "stopped");
    let sessions: Vec<SessionId> = (0..8).map(|_| world.connect()).collect();
    for session in &sessions {
        world.ask(*session, Some("1"), control(Verb::Start, "s"));
    }
    assert_eq!(world.spawned(), ["s#1"]);
    world.ready(&worker("s", 1));
    for session in &sessions {
        assert!(
            world.heard(*session)[0].starts_with("1: ok"),
            "{:?}",
            world.heard(*session)
        );
    }
}

//
#[test]
fn a_start_by_hand_does_not_wait_for_the_back_off() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    for generation in 1..=8 {
        world.exited(&worker("s", generation), Exit::Code(1));
        if world.state("s") == "backoff" && generation < 8 {
            world.pass(Duration::from_secs(30));
        }
    }
    assert_eq!(world.state("s"), "backoff");
    let one = world.connect();
    world.ask(one, Some("1"), control(Verb::Stop, "s"));
    assert_eq!(world.state("s"), "stopped");
    world.take();
    world.ask(one, Some("2"), control(Verb::Start, "s"));
    assert_eq!(world.spawned(), ["s#9"]);
}

// a model of twenty lines against the engine.
#[test]
fn random_stops_starts_and_crashes_follow_the_model() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut world = World::new();
        world.changed("s", Settings::default());
        let one = world.connect();
        let mut alive = Some(1_u64);
        let mut wanted = true;
        for step in 0..60 {
            world.take();
            let id = format!("c{step}");
            match random.next() % 4 {
                0 => {
                    wanted = false;
                    world.ask(one, Some(&id), control(Verb::Stop, "s"));
                }
                1 => {
                    wanted = true;
                    world.ask(one, Some(&id), control(Verb::Start, "s"));
                }
                2 => world.pass(Duration::from_secs(301)),
                _ => {
                    if let Some(generation) = alive.take() {
                        world.exited(&worker("s", generation), Exit::Code(1));
                    }
                }
            }
            for spawned in world.spawned() {
                assert!(
                    alive.is_none() || !world.signals().is_empty() || wanted,
                    "seed {seed}"
                );
                alive = Some(spawned[2..].parse().unwrap());
            }
            if world
                .signals()
                .iter()
                .any(|signal| signal.ends_with("Kill"))
                && let Some(generation) = alive
            {
                world.take();
                alive = None;
                world.exited(&worker("s", generation), Exit::Signal(9));
                for spawned in world.spawned() {
                    alive = Some(spawned[2..].parse().unwrap());
                }
            }
            if !wanted && alive.is_none() {
                assert_eq!(world.state("s"), "stopped", "seed {seed} step {step}");
            }
        }
    }
}

//
#[test]
fn a_reload_overlaps_and_a_call_ends_on_its_generation() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.call(one, "old", "o");
    world.changed("s", Settings::default());
    assert_eq!(world.spawned(), ["s#2"]);
    world.call(one, "between", "o");
    let old = world.tickets(&worker("s", 1));
    assert_eq!(
        old.len(),
        2,
        "the old one serves until the new one is ready"
    );
    world.ready(&worker("s", 2));
    world.call(one, "new", "o");
    let new = world.tickets(&worker("s", 2));
    assert_eq!(new.len(), 1);
    world.done(&worker("s", 2), new[0], "2");
    world.done(&worker("s", 1), old[0], "1");
    world.take();
    world.done(&worker("s", 1), old[1], "1");
    let heard = world.to_worker(&worker("s", 1));
    assert!(
        matches!(heard[..], [ToWorker::Shutdown { .. }]),
        "it leaves: {heard:?}"
    );
    assert_eq!(world.status("s")["generation"], 2);
}

// S-08, S-16
#[test]
fn a_broken_file_never_replaces_a_working_one_and_the_next_good_one_clears_the_error() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    world.failed(&worker("s", 2), "s.lua:3: unexpected symbol");
    assert_eq!(world.state("s"), "ready");
    assert_eq!(world.status("s")["generation"], 1);
    assert_eq!(
        world.status("s")["last_error"],
        "s.lua:3: unexpected symbol"
    );
    let one = world.connect();
    world.call(one, "1", "o");
    assert_eq!(world.tickets(&worker("s", 1)).len(), 1);
    world.changed("s", Settings::default());
    world.ready(&worker("s", 3));
    assert_eq!(world.status("s")["last_error"], serde_json::Value::Null);
}

#[test]
fn a_candidate_that_does_not_become_ready_is_killed_and_the_old_one_stays() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    world.take();
    world.pass(limits::READY_TIMEOUT);
    assert_eq!(world.signals(), ["s#2 Kill"]);
    world.exited(&worker("s", 2), Exit::Signal(9));
    assert_eq!(world.state("s"), "ready");
    let error = world.status("s")["last_error"].to_string();
    assert!(error.contains("not ready within"), "{error}");
}

// S-07
#[test]
fn a_change_during_a_reload_leads_to_one_more() {
    let mut world = World::with_script(Settings::default());
    for _ in 0..3 {
        world.changed("s", Settings::default());
    }
    assert_eq!(world.spawned(), ["s#2"]);
    world.take();
    world.ready(&worker("s", 2));
    assert_eq!(world.spawned(), ["s#3"]);
    world.take();
    world.ready(&worker("s", 3));
    assert!(world.spawned().is_empty());
}

#[test]
fn state_is_handed_over_and_a_late_handover_is_not_waited_for() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    world.ready_with(&worker("s", 1), Vec::new(), true);
    world.take();
    world.changed("s", Settings::default());
    assert_eq!(world.to_worker(&worker("s", 1)), [ToWorker::Handover]);
    assert!(world.spawned().is_empty(), "asked first");
    let state = Some(Json::of("state"));
    world.notice(
        &worker("s", 1),
        Notice::Handover {
            state: state.clone(),
        },
    );
    let handed = world.seen.iter().find_map(|effect| match effect {
        Effect::Spawn { handover, .. } => Some(handover.clone()),
        _ => None,
    });
    assert_eq!(handed, Some(state));
    world.ready_with(&worker("s", 2), Vec::new(), true);
    world.changed("s", Settings::default());
    world.take();
    world.pass(limits::HANDOVER_TIMEOUT);
    assert_eq!(world.spawned(), ["s#3"]);
}

#[test]
fn stop_first_ends_what_runs_before_the_next_generation_starts() {
    let mut world = World::with_script(stop_first());
    let one = world.connect();
    world.call(one, "1", "o");
    world.changed("s", stop_first());
    world.call(one, "2", "o");
    assert!(world.spawned().is_empty());
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(tickets.len(), 1, "nothing new goes to it");
    world.done(&worker("s", 1), tickets[0], "1");
    assert!(world.spawned().is_empty());
    world.exited(&worker("s", 1), Exit::Code(0));
    assert_eq!(world.spawned(), ["s#2"]);
    world.ready(&worker("s", 2));
    let ticket = world.tickets(&worker("s", 2))[0];
    world.done(&worker("s", 2), ticket, "2");
    assert_eq!(world.heard(one), ["1: ok 1", "2: ok 2"]);
}

#[test]
fn a_stopped_script_stays_stopped_when_its_file_changes() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, Some("1"), control(Verb::Stop, "s"));
    assert_eq!(world.state("s"), "draining");
    world.exited(&worker("s", 1), Exit::Code(0));
    assert!(world.heard(one)[0].starts_with("1: ok"));
    world.take();
    world.changed("s", Settings::default());
    assert!(world.spawned().is_empty());
    world.call(one, "2", "o");
    assert_eq!(world.heard(one), ["2: error not_ready"]);
    world.ask(one, Some("3"), control(Verb::Start, "s"));
    world.ready(&worker("s", 2));
    assert!(
        world.heard(one)[1].starts_with("3: ok"),
        "{:?}",
        world.heard(one)
    );
}

#[test]
fn control_commands_answer_with_the_error_of_what_they_began() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, Some("1"), control(Verb::Reload, "s"));
    world.failed(&worker("s", 2), "s.lua:9: broken");
    assert_eq!(world.heard(one), ["1: error script_error"]);
    world.take();
    world.ask(one, Some("2"), control(Verb::Restart, "s"));
    world.exited(&worker("s", 1), Exit::Code(0));
    world.failed(&worker("s", 3), "s.lua:9: broken");
    assert_eq!(world.heard(one), ["2: error script_error"]);
}

#[test]
fn a_manual_reload_makes_a_new_generation_of_an_unchanged_script() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let command = Command::Control {
        verb: Verb::Reload,
        script: None,
    };
    world.ask(one, Some("1"), command);
    world.ready(&worker("s", 2));
    assert!(world.heard(one)[0].starts_with("1: ok"));
    assert_eq!(world.status("s")["generation"], 2);
}

#[test]
fn a_reload_waits_for_a_look_and_one_generation_has_the_new_settings() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.looks = false;
    world.ask(one, Some("1"), control(Verb::Reload, "s"));
    world.ask(one, Some("2"), control(Verb::Stop, "s"));
    assert_eq!(world.spawned(), Vec::<String>::new(), "not yet");
    world.changed("s", one_at_a_time());
    assert_eq!(world.spawned(), ["s#2"]);
    world.input(Input::Looked { look: 1 });
    assert_eq!(world.spawned(), ["s#2"], "no more than that");
    world.ready(&worker("s", 2));
    assert!(
        world.heard(one)[0].starts_with("1: ok"),
        "{:?}",
        world.heard(one)
    );
    assert!(world.signals().is_empty(), "what stops keeps its turn");
    world.input(Input::Terminate {
        why: "SIGTERM".into(),
    });
    assert_eq!(world.heard(one)[1], "2: error shutting_down");
}

fn one_at_a_time() -> Settings {
    Settings {
        concurrency: 1,
        ..Settings::default()
    }
}

#[test]
fn stop_goes_from_the_notice_to_sigterm_to_sigkill() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.take();
    world.ask(one, Some("1"), control(Verb::Stop, "s"));
    assert!(matches!(
        world.to_worker(&worker("s", 1))[..],
        [ToWorker::Shutdown { .. }]
    ));
    world.pass(limits::STOP_TIMEOUT);
    assert_eq!(world.signals(), ["s#1 Term"]);
    world.pass(limits::STOP_TIMEOUT);
    assert_eq!(world.signals(), ["s#1 Term", "s#1 Kill"]);
    world.exited(&worker("s", 1), Exit::Signal(9));
    assert!(world.heard(one)[0].starts_with("1: ok"));
}

#[test]
fn a_deleted_script_stops_and_is_forgotten_and_its_generations_go_on_when_it_returns() {
    let mut world = World::with_script(Settings::default());
    let change = ScriptChange::Removed {
        name: name("s"),
        because: "s.lua".into(),
    };
    world.input(Input::Script(change));
    world.exited(&worker("s", 1), Exit::Code(0));
    assert_eq!(world.state("s"), "none");
    world.take();
    world.changed("s", Settings::default());
    assert_eq!(world.spawned(), ["s#2"]);
}

#[test]
fn a_faulty_script_keeps_what_serves_and_shows_why() {
    let mut world = World::with_script(Settings::default());
    let error = "scripts/s.lua and scripts/s.py have one name".to_owned();
    let change = ScriptChange::Faulty {
        checks: Vec::new(),
        name: name("s"),
        path: "s.py".into(),
        error: error.clone(),
    };
    world.input(Input::Script(change));
    assert_eq!(world.state("s"), "ready");
    assert_eq!(world.status("s")["last_error"], error);
    world.exited(&worker("s", 1), Exit::Code(1));
    assert_eq!(world.state("s"), "failed");
    world.changed("s", Settings::default());
    assert_eq!(world.state("s"), "starting");
}

#[test]
fn a_worker_that_answers_no_heartbeat_is_killed() {
    let mut world = World::with_script(Settings::default());
    let id = worker("s", 1);
    for _ in 0..5 {
        world.pass(limits::HEARTBEAT_EVERY);
        let beats: Vec<ToWorker> = world.to_worker(&id);
        let Some(ToWorker::Ping { beat, settled }) = beats.last() else {
            panic!("{beats:?}")
        };
        let beat = *beat;
        // No record waits to be written: what it answered before the last beat is settled.
        assert_eq!(*settled, beat.checked_sub(1).filter(|earlier| *earlier > 0));
        world.notice(
            &id,
            Notice::Pong {
                beat,
                memory_bytes: 77,
            },
        );
        world.take();
    }
    assert_eq!(world.status("s")["memory_bytes"], 77);
    world.pass(limits::HEARTBEAT_EVERY * (limits::HEARTBEATS_MISSED + 1));
    assert_eq!(world.signals(), ["s#1 Kill"]);
}

#[test]
fn a_shutdown_takes_all_scripts_down_in_parallel_and_tells_everybody() {
    let mut world = World::with_script(Settings {
        concurrency: 1,
        ..Settings::default()
    });
    world.changed("t", Settings::default());
    world.ready(&worker("t", 1));
    let one = world.connect();
    world.call(one, "running", "o");
    world.call(one, "queued", "o");
    let ticket = world.tickets(&worker("s", 1))[0];
    world.take();
    world.input(Input::Terminate {
        why: "SIGTERM".into(),
    });
    for script in ["s", "t"] {
        let heard = world.to_worker(&worker(script, 1));
        assert!(
            matches!(heard[..], [ToWorker::Shutdown { .. }]),
            "{heard:?}"
        );
    }
    world.call(one, "late", "o");
    world.done(&worker("s", 1), ticket, "1");
    assert_eq!(
        world.heard(one),
        [
            "queued: error shutting_down",
            "late: error shutting_down",
            "running: ok 1"
        ]
    );
    world.exited(&worker("s", 1), Exit::Code(0));
    assert!(!world.seen.contains(&Effect::Exit));
    world.exited(&worker("t", 1), Exit::Code(0));
    assert_eq!(world.seen.last(), Some(&Effect::Exit));
}

#[test]
fn a_second_signal_skips_the_grace() {
    let mut world = World::with_script(Settings::default());
    for _ in 0..3 {
        world.input(Input::Terminate {
            why: "SIGINT".into(),
        });
    }
    assert_eq!(world.signals(), ["s#1 Kill"]);
    world.exited(&worker("s", 1), Exit::Signal(9));
    assert_eq!(world.seen.last(), Some(&Effect::Exit));
}

#[test]
fn the_first_look_is_over_when_every_script_is_ready_or_has_failed() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    world.changed("t", Settings::default());
    world.input(Input::Loaded);
    world.ready(&worker("s", 1));
    let settled = |world: &World| {
        world.seen.iter().any(|effect| {
            matches!(
                effect,
                Effect::Settled {
                    ready: 1,
                    failed: 1
                }
            )
        })
    };
    assert!(!settled(&world));
    world.failed(&worker("t", 1), "t.lua:1: broken");
    assert!(settled(&world));
}

#[test]
fn calls_wait_while_a_script_starts() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    let one = world.connect();
    world.call(one, "1", "o");
    world.call(one, "2", "nobody");
    assert!(world.heard(one).is_empty());
    world.ready(&worker("s", 1));
    assert_eq!(world.tickets(&worker("s", 1)).len(), 1);
    assert_eq!(world.heard(one), ["2: error unknown_handler"]);
}
