//! What waits for the journal, and what becomes of requests whose worker or daemon is gone.

use std::time::Duration;

use super::driver::*;
use crate::engine::Engine;
use crate::engine::alphabet::*;
use crate::engine::lost::{Verdict, judge};
use crate::engine::records::*;
use crate::limits;
use crate::options::{Durability, Settings};
use crate::proto::ids::*;
use crate::proto::messages::*;

const NOW: u64 = 1_760_000_000_000;

fn key(number: u64) -> String {
    v7(NOW, number)
}

fn uuid(number: u64) -> uuid::Uuid {
    uuid::Uuid::try_parse(&key(number)).unwrap()
}

/// A ready script `s` of this durability, and a journal that takes records when the test says so.
fn held(durability: Durability) -> (World, SessionId) {
    let mut world = World::with_script(Settings {
        durability,
        concurrency: 1,
        ..Settings::default()
    });
    world.journals = false;
    let session = world.connect();
    let hello = Hello {
        client: ClientId(uuid::Uuid::from_u128(9)),
        version: None,
        pings: false,
        progress: true,
    };
    world.ask(session, Some("hello"), Command::Hello(hello));
    world.take();
    (world, session)
}

fn journaled(world: &mut World, written: u64, synced: u64) {
    let (written, synced) = (Mark(written), Mark(synced));
    world.input(Input::Journaled { written, synced });
}

fn ok(text: &str) -> Body {
    Body::Ok {
        result: Payload::Json(Json::parse(text).unwrap()),
        replayed: false,
    }
}

fn outcomes(began: &[u64], ended: &[(u64, &str)], complete: bool) -> Outcomes {
    Outcomes {
        began: began.iter().map(|number| uuid(*number)).collect(),
        ended: ended
            .iter()
            .map(|(number, text)| (uuid(*number), ok(text)))
            .collect(),
        complete,
    }
}

/// An entry of an earlier daemon.
fn entry(number: u64, handler: &str, delivery: Delivery, state: EntryState) -> Entry {
    Entry {
        entry: EntryId(number),
        request: Recorded {
            id: uuid(number),
            script: name("s"),
            work: Work::Call {
                handler: handler.into(),
                params: None,
            },
            delivery,
            client: None,
            durability: Durability::Process,
            accepted_unix_ms: NOW,
            deadline_unix_ms: NOW + 30_000,
        },
        starts: u32::from(matches!(state, EntryState::Started(_))),
        state,
    }
}

fn started() -> EntryState {
    EntryState::Started(Generation(1))
}

/// A daemon that finds this, with a ready script `s`, unless old workers hold it.
fn after(found: Recovered) -> (World, SessionId) {
    let mut world = World::new();
    let held = !found.held.is_empty();
    world.input(Input::Recovered(Box::new(found)));
    world.changed("s", Settings::default());
    world.input(Input::Loaded);
    if !held {
        world.ready(&worker("s", 1));
    }
    let session = world.connect();
    (world, session)
}

// Rules 1 and 2: one record says both where a slot is free; nothing leaves before it is safe.
#[test]
fn the_first_byte_and_the_word_accepted_wait_for_the_record() {
    for (level, safe) in [(Durability::Process, (1, 0)), (Durability::Power, (1, 1))] {
        let (mut world, one) = held(level);
        world.call(one, &key(1), "o");
        let records = world.records();
        assert!(
            matches!(
                &records[..],
                [Record::Accepted {
                    started: Some(_),
                    ..
                }]
            ),
            "{records:?}"
        );
        if level == Durability::Power {
            journaled(&mut world, 1, 0);
        }
        assert!(world.heard(one).is_empty(), "{:?}", world.heard(one));
        assert!(world.dispatches(&worker("s", 1)).is_empty());
        journaled(&mut world, safe.0, safe.1);
        let words = [
            format!("{}: accepted", key(1)),
            format!("{}: running", key(1)),
        ];
        assert_eq!(world.heard(one), words);
        assert!(world.dispatches(&worker("s", 1))[0].record);
    }
}

// Rule 3
#[test]
fn an_end_is_told_when_it_is_recorded_and_its_slot_is_free_before() {
    let (mut world, one) = held(Durability::Power);
    world.call(one, &key(1), "o");
    world.call(one, &key(2), "o");
    journaled(&mut world, 2, 2);
    let ticket = world.tickets(&worker("s", 1))[0];
    world.take();
    world.done(&worker("s", 1), ticket, "1");
    let records = world.records();
    assert!(
        matches!(&records[..], [Record::Ended { .. }, Record::Started { .. }]),
        "{records:?}"
    );
    assert!(world.heard(one).is_empty());
    let two = world.connect();
    world.call(two, &key(1), "o");
    journaled(&mut world, 3, 3);
    assert_eq!(world.heard(one), [format!("{}: ok 1", key(1))]);
    assert_eq!(world.heard(two), [format!("{}: ok 1", key(1))], "it joined");
}

// Rules 3 and 9: at level `process` the worker's own record is as good as the journal.
#[test]
fn an_end_that_stands_in_its_workers_record_is_told_at_once_and_journaled_late() {
    let (mut world, one) = held(Durability::Process);
    let late = |world: &World| {
        let mut wanted = world.seen.iter().rev();
        wanted.find_map(|effect| match effect {
            Effect::Journal {
                record: Record::Ended { .. },
                late,
                ..
            } => Some(*late),
            _ => None,
        })
    };
    world.call(one, &key(1), "o");
    journaled(&mut world, 1, 0);
    let ticket = world.tickets(&worker("s", 1))[0];
    world.done(&worker("s", 1), ticket, "1");
    assert_eq!(late(&world), Some(true));
    assert_eq!(world.heard(one).last(), Some(&format!("{}: ok 1", key(1))));

    // Once the worker could not write, what it says stands nowhere else.
    world.call(one, &key(2), "o");
    journaled(&mut world, 3, 0);
    let ticket = *world.tickets(&worker("s", 1)).last().unwrap();
    world.notice(&worker("s", 1), Notice::Unrecorded);
    world.done(&worker("s", 1), ticket, "2");
    assert_eq!(late(&world), Some(false));
    let told = format!("{}: ok 2", key(2));
    assert!(!world.heard(one).contains(&told));
    journaled(&mut world, 4, 0);
    assert_eq!(world.heard(one).last(), Some(&told));
}

// Rule 6
#[test]
fn cancelled_is_said_of_what_never_ran_and_of_nothing_else() {
    let (mut world, one) = held(Durability::Process);
    let cancel = |world: &mut World, number| {
        let target = RequestId::new(&key(number)).unwrap();
        world.ask(one, Some("c"), Command::Cancel { target });
    };
    world.call(one, &key(1), "o");
    cancel(&mut world, 1);
    journaled(&mut world, 2, 0);
    assert!(
        world.dispatches(&worker("s", 1)).is_empty(),
        "held, and never sent"
    );
    assert!(
        world
            .heard(one)
            .contains(&format!("{}: error cancelled", key(1)))
    );
    world.call(one, &key(2), "o");
    journaled(&mut world, 3, 0);
    let ticket = world.tickets(&worker("s", 1))[0];
    cancel(&mut world, 2);
    let stopped = Body::Error(Refusal::new(ErrorCode::Cancelled, "stopped"));
    world.answer(&worker("s", 1), ticket, stopped);
    journaled(&mut world, 4, 0);
    assert!(
        world
            .heard(one)
            .contains(&format!("{}: error script_error", key(2)))
    );
}

#[test]
fn a_worker_that_guesses_a_ticket_before_it_was_sent_reaches_nobody() {
    let (mut world, one) = held(Durability::Process);
    world.call(one, &key(1), "o");
    world.done(&worker("s", 1), Ticket(1), "\"guessed\"");
    journaled(&mut world, 1, 0);
    world.done(&worker("s", 1), Ticket(1), "1");
    journaled(&mut world, 2, 0);
    assert_eq!(world.heard(one).last(), Some(&format!("{}: ok 1", key(1))));
}

/// The class by event table: what a request's worker wrote down decides, else its class.
#[test]
fn a_lost_request_is_judged_by_its_record_else_by_its_class() {
    use Delivery::{Idempotent, Once, Query};
    let none = Outcomes::default();
    let never = outcomes(&[], &[], true);
    let began = outcomes(&[1], &[], true);
    let torn = outcomes(&[], &[], false);
    let ended = outcomes(&[1], &[(1, "7")], true);
    let rows = [
        (Once, 1, &ended, Verdict::Ended(ok("7"))),
        (Once, 1, &never, Verdict::NeverBegan),
        (Once, 1, &began, Verdict::Unknown),
        (Once, 1, &torn, Verdict::Unknown),
        (Once, 1, &none, Verdict::Unknown),
        (Idempotent, 1, &ended, Verdict::Ended(ok("7"))),
        (Idempotent, 3, &never, Verdict::NeverBegan),
        (Idempotent, 1, &began, Verdict::RunAgain),
        (Idempotent, 2, &none, Verdict::RunAgain),
        (Idempotent, 3, &began, Verdict::GiveUp),
        (Query, 1, &began, Verdict::RunAgain),
        (Query, 2, &began, Verdict::GiveUp),
    ];
    for (delivery, starts, outcomes, wanted) in rows {
        let found = judge(Some(uuid(1)), delivery, starts, outcomes);
        assert_eq!(found, wanted, "{delivery:?} {starts} {outcomes:?}");
    }
}

// Rules 4, 5, 8 and 11
#[test]
fn the_next_daemon_resumes_settles_and_answers_what_it_finds() {
    let ended = EntryState::Ended {
        body: ok("5"),
        at_unix_ms: NOW,
    };
    let found = Recovered {
        entries: vec![
            entry(1, "o", Delivery::Once, EntryState::Accepted),
            entry(2, "o", Delivery::Once, started()),
            entry(3, "o", Delivery::Once, started()),
            entry(4, "o", Delivery::Once, started()),
            entry(5, "o", Delivery::Once, ended),
            entry(6, "i", Delivery::Idempotent, started()),
        ],
        outcomes: [(name("s"), outcomes(&[2, 3, 6], &[(3, "3")], true))].into(),
        ..Recovered::default()
    };
    let (mut world, one) = after(found);
    let run: Vec<String> = world
        .dispatches(&worker("s", 1))
        .iter()
        .filter_map(|dispatch| Some(dispatch.id.as_ref()?.to_string()))
        .collect();
    assert_eq!(
        run,
        [key(1), key(4), key(6)],
        "resumed, never begun, idempotent"
    );
    for number in [2, 3, 5] {
        world.call(one, &key(number), "o");
    }
    let wanted = [
        format!("{}: error outcome_unknown", key(2)),
        format!("{}: ok 3 replayed", key(3)),
        format!("{}: ok 5 replayed", key(5)),
    ];
    assert_eq!(world.heard(one), wanted);
}

// Rule 10
#[test]
fn a_script_starts_only_when_its_old_worker_is_gone_and_repeats_wait_for_its_word() {
    let found = Recovered {
        entries: vec![entry(1, "o", Delivery::Once, started())],
        held: vec![name("s")],
        ..Recovered::default()
    };
    let (mut world, one) = after(found);
    world.call(one, &key(1), "o");
    world.call(one, &key(2), "o");
    assert!(world.spawned().is_empty(), "not beside the old worker");
    assert!(world.heard(one).is_empty());
    let script = name("s");
    let outcomes = outcomes(&[1], &[(1, "1")], true);
    world.input(Input::Freed { script, outcomes });
    assert_eq!(world.heard(one), [format!("{}: ok 1", key(1))]);
    world.ready(&worker("s", 1));
    assert_eq!(
        world.tickets(&worker("s", 1)).len(),
        1,
        "what had waited runs"
    );
}

// Rule 7, and a power loss: what was not on the disk is not run again.
#[test]
fn ids_below_the_mark_or_from_before_the_boot_are_refused_for_good() {
    let found = Recovered {
        entries: vec![
            entry(1, "o", Delivery::Once, EntryState::Accepted),
            entry(2, "i", Delivery::Idempotent, started()),
        ],
        low_water: Some(NOW - 10),
        rebooted_unix_ms: Some(NOW + 5),
        ..Recovered::default()
    };
    let (mut world, one) = after(found);
    let old = v7(NOW - 10, 7);
    let unheard = v7(NOW + 5, 8);
    let fresh = v7(NOW + 6, 9);
    for id in [&key(1), &old, &unheard, &fresh] {
        world.call(one, id, "o");
    }
    let wanted = [
        format!("{}: error outcome_unknown", key(1)),
        format!("{old}: error expired_id"),
        format!("{unheard}: error expired_id"),
    ];
    assert_eq!(world.heard(one), wanted);
    let run = world.dispatches(&worker("s", 1));
    assert_eq!(run.len(), 2, "the idempotent one, and the fresh one");
}

fn fault(kind: FaultKind) -> Input {
    Input::JournalFailed(JournalFault {
        kind,
        text: "the disk is full; free some space".into(),
    })
}

// FI-11
#[test]
fn a_full_disk_refuses_new_commands_with_its_reason_and_queries_go_on() {
    let (mut world, one) = held(Durability::Process);
    world.call(one, &key(1), "o");
    world.input(fault(FaultKind::DiskFull));
    world.call(one, &key(2), "o");
    world.call(one, "3", "q");
    let heard = world.heard(one);
    assert_eq!(
        heard[..2],
        [1, 2].map(|number| format!("{}: error busy", key(number)))
    );
    let Body::Error(refusal) = &world.answers(one)[0].body else {
        panic!("busy is an error");
    };
    assert_eq!(
        refusal.data,
        Some(Json::of(&serde_json::json!({"reason": "disk-full"})))
    );
    assert!(refusal.retry_after.is_some());
    let run = world.dispatches(&worker("s", 1));
    assert_eq!(run.len(), 1, "the query");
    assert!(!run[0].record);
    assert_eq!(world.status("")["journal"]["state"], "failing");
    journaled(&mut world, 2, 0);
    assert_eq!(world.status("")["journal"]["state"], "ok");
    world.call(one, &key(1), "o");
    assert_eq!(world.records().len(), 3, "its id was free again");
}

// FI-11: ends are taken one by one into the reserve, and each time the fault is back at once.
#[test]
fn a_fault_that_comes_back_at_once_is_noted_once_and_its_end_when_it_is_over() {
    let (mut world, one) = held(Durability::Process);
    for number in 1..=3 {
        world.call(one, &key(number), "o");
    }
    world.take();
    for written in 1..=3 {
        world.input(fault(FaultKind::DiskFull));
        journaled(&mut world, written, 0);
    }
    world.input(fault(FaultKind::DiskFull));
    let notes = |world: &mut World| -> Vec<String> {
        let noted = world.take().into_iter().filter_map(|effect| match effect {
            Effect::Note { text, .. } if text.contains("journal") => Some(text),
            _ => None,
        });
        noted.collect()
    };
    let noted = notes(&mut world);
    assert_eq!(noted, ["the journal: the disk is full; free some space"]);
    journaled(&mut world, 3, 3);
    assert!(notes(&mut world).is_empty(), "not before it has lasted");
    world.pass(limits::JOURNAL_CALM);
    world.input(Input::Tick);
    assert_eq!(notes(&mut world), ["the journal works again"]);
}

#[test]
fn whoever_waits_for_an_end_that_cannot_be_recorded_hears_so_at_his_deadline() {
    let (mut world, one) = held(Durability::Power);
    let soon = Some(Duration::from_secs(2));
    world.ask(one, Some(&key(1)), call("s", "o", soon));
    journaled(&mut world, 1, 1);
    let ticket = world.tickets(&worker("s", 1))[0];
    world.input(fault(FaultKind::Failed));
    world.done(&worker("s", 1), ticket, "1");
    world.take();
    world.pass(Duration::from_secs(4));
    assert_eq!(world.heard(one), [format!("{}: error timeout", key(1))]);
    world.ask(one, Some(&key(1)), call("s", "o", soon));
    journaled(&mut world, 2, 2);
    assert_eq!(world.heard(one).last(), Some(&format!("{}: ok 1", key(1))));
}

// Rule 9: the record of a worker goes when everything in it is in the journal.
#[test]
fn a_dead_workers_record_goes_when_all_that_followed_from_it_is_safe() {
    let (mut world, one) = held(Durability::Power);
    world.call(one, &key(1), "o");
    journaled(&mut world, 1, 1);
    world.input(Input::Exited {
        worker: worker("s", 1),
        exit: Exit::Signal(9),
        stderr: Vec::new(),
        outcomes: outcomes(&[1], &[(1, "1")], true),
    });
    let dropped = |world: &World| {
        let mut seen = world.seen.iter();
        seen.any(|effect| matches!(effect, Effect::DropOutcomes { .. }))
    };
    journaled(&mut world, 2, 1);
    assert!(!dropped(&world), "written is not enough for power");
    journaled(&mut world, 2, 2);
    assert!(dropped(&world));
    assert_eq!(world.heard(one).last(), Some(&format!("{}: ok 1", key(1))));
}

#[test]
fn what_is_not_journaled_costs_no_record() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.call(one, &key(1), "q");
    world.call(one, "a-name", "o");
    assert!(world.records().is_empty());
    let mut off = World::with_script(Settings {
        durability: Durability::Off,
        ..Settings::default()
    });
    let one = off.connect();
    off.call(one, &key(1), "o");
    assert!(off.records().is_empty());
    assert_eq!(off.status("s")["durability"], "off");
}

#[test]
fn what_is_recovered_comes_once_and_first() {
    let mut engine = Engine::new(identity());
    for _ in 0..2 {
        let found = Recovered {
            entries: vec![entry(1, "o", Delivery::Once, EntryState::Accepted)],
            ..Recovered::default()
        };
        engine.handle(Moment(0), Input::Recovered(Box::new(found)));
    }
    engine.check_invariants();
}
