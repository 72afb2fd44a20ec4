//! What is asked for by words.

use super::driver::{World, spec};
use crate::monitor::alphabet::{CheckAsk, Input, RunFault, RunId, Told};
use crate::monitor::state::State;
use crate::proto::messages::{CheckKind, CheckSpec};

fn ask(world: &mut World, number: u64, words: &[&str]) {
    world.hand(Input::Check {
        ask: CheckAsk(number),
        words: words.iter().map(|&word| word.to_owned()).collect(),
    });
}

fn answers(world: &mut World) -> Vec<(u64, Vec<String>)> {
    let told = std::mem::take(&mut world.told);
    let words = |answer| match answer {
        Ok(Told::Outcomes(outcomes)) => outcomes
            .iter()
            .map(|outcome| format!("{} {}", outcome.name, outcome.state))
            .collect(),
        Ok(Told::Done(text)) => vec![text],
        Err(text) => vec![text],
    };
    told.into_iter()
        .map(|(ask, answer)| (ask.0, words(answer)))
        .collect()
}

#[test]
fn words_choose_by_name_instance_plugin_tag_and_file() {
    let tagged = CheckSpec {
        tags: vec!["web".to_owned()],
        instance: "sites".into(),
        ..spec("b")
    };
    let mut world = World::with(vec![spec("c"), tagged, spec("a")]);
    world.declare(
        "other",
        vec![CheckSpec {
            file: "plugins/other.lua".to_owned(),
            ..spec("d")
        }],
    );
    for (words, names) in [
        (&[][..], "a b c d"),
        (&["a"], "a"),
        (&["web"], "b"),
        (&["sites", "a", "web"], "a b"),
        (&["plugins/p.lua"], "a b c"),
        (&["./plugins/other.lua"], "d"),
        (&["other"], "d"),
        (&["p"], "a b c d"),
    ] {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let view = world.monitor.view(&words).unwrap();
        let chosen: Vec<&str> = view
            .checks
            .iter()
            .map(|check| check.name.as_str())
            .collect();
        assert_eq!(chosen.join(" "), names, "{words:?}");
    }
    let unknown = world.monitor.view(&["site".to_owned()]).unwrap_err();
    assert_eq!(
        unknown,
        "no check, plugin or tag is called \"site\"; did you mean \"sites\"?"
    );
    let unknown = world.monitor.view(&["qqq".to_owned()]).unwrap_err();
    assert!(
        unknown.contains("see them with: moonkeep checks"),
        "{unknown}"
    );
    // Words of what is gone choose nothing.
    world.withdraw("other");
    assert!(
        world
            .monitor
            .view(&["plugins/other.lua".to_owned()])
            .is_err()
    );
}

#[test]
fn a_check_command_runs_now_and_joins_what_runs() {
    let mut world = World::with(vec![spec("a"), spec("b")]);
    world.pass(5.0);
    world.takes("a", 2.0);
    ask(&mut world, 1, &["a"]);
    world.pass(1.0);
    ask(&mut world, 2, &["a", "b"]);
    assert_eq!(answers(&mut world), []);
    world.pass(0.5);
    assert_eq!(answers(&mut world), []);
    world.pass(0.6);
    let told = answers(&mut world);
    assert_eq!(told[0], (1, vec!["a ok".to_owned()]));
    assert_eq!(told[1], (2, vec!["a ok".to_owned(), "b ok".to_owned()]));
    assert_eq!(world.starts("a"), [0.0, 5.0]);
    // The next run keeps its distance.
    world.pass(20.0);
    assert_eq!(world.starts("a")[2..], [15.0, 25.0]);
}

#[test]
fn what_is_not_run_says_how_it_stands() {
    let mut world = World::with(vec![
        CheckSpec {
            kind: CheckKind::Heartbeat {
                grace: super::driver::seconds(1.0),
            },
            ..spec("beat")
        },
        CheckSpec {
            kind: CheckKind::Broken {
                message: "no".to_owned(),
                traceback: None,
            },
            ..spec("broken")
        },
    ]);
    ask(&mut world, 1, &[]);
    let expected = vec!["beat unknown".to_owned(), "broken unknown".to_owned()];
    assert_eq!(answers(&mut world), [(1, expected)]);
    ask(&mut world, 2, &["nothing"]);
    assert!(answers(&mut world)[0].1[0].starts_with("no check, plugin or tag is called"));
}

#[test]
fn who_asked_and_is_gone_is_told_nothing_and_what_goes_away_ends_the_wait() {
    let mut world = World::with(vec![spec("a")]);
    world.takes("a", 2.0);
    ask(&mut world, 1, &["a"]);
    ask(&mut world, 2, &["a"]);
    world.hand(Input::Forgotten { ask: CheckAsk(1) });
    world.hand(Input::Forgotten { ask: CheckAsk(7) });
    world.withdraw("p");
    assert_eq!(answers(&mut world), [(2, vec!["a unknown".to_owned()])]);
    world.pass(5.0);
    assert_eq!(answers(&mut world), []);
}

#[test]
fn a_run_that_gave_nothing_has_the_state_of_its_fault() {
    let mut world = World::with(vec![spec("a")]);
    world.takes("a", 50.0);
    world.pass(1.0);
    ask(&mut world, 1, &["a"]);
    world.hand(Input::Ended {
        run: RunId(1),
        outcome: Err(RunFault {
            state: State::Critical,
            message: "timed out after 10s and had to be killed".to_owned(),
        }),
    });
    assert_eq!(answers(&mut world), [(1, vec!["a critical".to_owned()])]);
    assert_eq!(
        world.view("a").message,
        "timed out after 10s and had to be killed"
    );
    assert_eq!(world.view("a").last, Some(State::Critical));
}

#[test]
fn the_worst_of_what_is_not_quiet_is_the_state_of_all() {
    let mut world = World::with(vec![spec("a"), spec("b"), spec("c")]);
    world.set("a", State::Warning);
    world.set("b", State::Critical);
    world.pass(30.0);
    let state = |world: &World| world.monitor.view(&[]).unwrap().state;
    assert_eq!(state(&world), State::Critical);
    world
        .quiet("b", crate::proto::messages::Quiet::UntilOk)
        .unwrap();
    assert_eq!(state(&world), State::Warning);
    assert_eq!(
        world.monitor.view(&["c".to_owned()]).unwrap().state,
        State::Ok
    );
}
