//! Files that are written between the look that found them and the worker that loads them (FI-15).

use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::limits;
use crate::options::{ReloadMode, Settings};
use crate::proto::ids::*;
use crate::proto::messages::*;

impl World {
    /// This worker finds another content than the look did.
    fn outdated(&mut self, id: &WorkerId) {
        self.notice(id, Notice::Outdated);
        self.exited(id, Exit::Code(1));
    }

    /// Lets the retry come, and gives what it starts.
    fn retried(&mut self) -> Vec<String> {
        self.take();
        self.pass(limits::OUTDATED_RETRY);
        self.spawned()
    }
}

#[test]
fn what_serves_goes_on_and_the_reload_is_tried_again_without_a_word_of_failure() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    world.outdated(&worker("s", 2));
    let status = world.status("s");
    assert_eq!(status["state"], "ready", "{status}");
    assert_eq!(status["generation"], 1, "{status}");
    assert_eq!(status["restarts"], 0, "{status}");
    assert!(status["last_error"].is_null(), "{status}");
    let session = world.connect();
    world.call(session, "1", "q");
    assert_eq!(world.dispatches(&worker("s", 1)).len(), 1);
    assert_eq!(world.retried(), ["s#3"]);
    world.ready(&worker("s", 3));
    assert_eq!(world.status("s")["generation"], 3);
    assert_eq!(world.retried(), [""; 0], "once is enough");
}

#[test]
fn the_next_look_starts_what_it_found_at_once() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    world.outdated(&worker("s", 2));
    world.take();
    world.changed("s", Settings::default());
    assert_eq!(world.spawned(), ["s#3"]);
    // The look may also be the faster one.
    world.changed("s", Settings::default());
    world.take();
    world.outdated(&worker("s", 3));
    assert_eq!(world.spawned(), ["s#4"]);
    world.ready(&worker("s", 4));
    assert_eq!(world.status("s")["generation"], 4);
    assert_eq!(world.retried(), [""; 0]);
}

#[test]
fn a_first_start_is_tried_again_and_requests_wait_for_it() {
    let mut world = World::new();
    world.changed("s", Settings::default());
    let session = world.connect();
    world.call(session, "1", "q");
    world.outdated(&worker("s", 1));
    let status = world.status("s");
    assert_eq!(status["restarts"], 0, "{status}");
    assert!(status["last_error"].is_null(), "{status}");
    assert_eq!(world.retried(), ["s#2"]);
    world.ready(&worker("s", 2));
    assert_eq!(world.dispatches(&worker("s", 2)).len(), 1, "it has waited");
}

#[test]
fn a_content_that_is_never_what_was_looked_at_is_a_failure_in_the_end() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    for round in 0..u64::from(limits::OUTDATED_STARTS) {
        world.outdated(&worker("s", 2 + round));
        assert_eq!(world.retried().len(), 1, "round {round}");
    }
    let last = 2 + u64::from(limits::OUTDATED_STARTS);
    world.outdated(&worker("s", last));
    let status = world.status("s");
    let error = status["last_error"].as_str().unwrap_or_default();
    let text = "scripts/s.lua changed while it was being loaded; it is looked at again";
    assert!(error.contains(text), "{status}");
    assert_eq!(status["generation"], 1, "{status}");
    world.take();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.spawned(), [""; 0]);
}

#[test]
fn state_that_was_handed_over_reaches_the_generation_that_starts() {
    let settings = Settings {
        reload: ReloadMode::StopFirst,
        ..Settings::default()
    };
    let mut world = World::new();
    world.changed("s", settings.clone());
    world.ready_with(&worker("s", 1), Vec::new(), true);
    world.changed("s", settings);
    let state = Json::parse("{\"n\":1}").ok();
    world.notice(
        &worker("s", 1),
        Notice::Handover {
            state: state.clone(),
        },
    );
    world.exited(&worker("s", 1), Exit::Code(0));
    world.outdated(&worker("s", 2));
    world.take();
    world.pass(limits::OUTDATED_RETRY);
    let handed = world.seen.iter().find_map(|effect| match effect {
        Effect::Spawn { handover, .. } => Some(handover.clone()),
        _ => None,
    });
    assert_eq!(handed, Some(state));
}

#[test]
fn a_stop_ends_the_tries() {
    let mut world = World::with_script(Settings::default());
    world.changed("s", Settings::default());
    world.outdated(&worker("s", 2));
    let session = world.connect();
    let stop = Command::Control {
        verb: Verb::Stop,
        script: Some(name("s")),
    };
    world.ask(session, Some("9"), stop);
    world.exited(&worker("s", 1), Exit::Code(0));
    assert_eq!(world.retried(), [""; 0]);
    assert_eq!(world.state("s"), "stopped");
}
