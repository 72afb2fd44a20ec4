use std::fs::OpenOptions;

use super::*;

use crate::proto::ids::{RequestId, ScriptName, Ticket};
use crate::proto::messages::{Payload, Work};

fn writing(path: &Path) -> Records {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    Records {
        file: Some(file.expect("a file")),
        ..Records::nowhere()
    }
}

fn request(id: Option<RequestId>, record: bool) -> Dispatch {
    Dispatch {
        ticket: Ticket(1),
        script: ScriptName::new("x").expect("a name"),
        work: Work::Eval {
            code: String::new(),
        },
        id,
        client: None,
        timeout: Duration::from_secs(1),
        record,
    }
}

fn recorded(id: Uuid) -> Dispatch {
    request(Some(RequestId::from_uuid(id)), true)
}

fn ok() -> Body {
    Body::Ok {
        result: Payload::Empty,
        replayed: false,
    }
}

#[test]
fn only_what_is_to_be_recorded_and_has_a_key_is() {
    let id = Uuid::now_v7();
    assert_eq!(key(&recorded(id)), Some(id));
    assert_eq!(key(&request(Some(RequestId::from_uuid(id)), false)), None);
    assert_eq!(key(&request(Some(RequestId::number(7)), true)), None);
    assert_eq!(key(&request(None, true)), None);
}

#[test]
fn beginnings_are_written_at_once_and_ends_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let records = writing(&path);
    let text = || std::fs::read_to_string(&path).expect("the file");
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let requests = ids.map(recorded);
    records.begin(&requests).expect("there is space");
    let begun = format!("B {}\nB {}\n", ids[0], ids[1]);
    assert_eq!(text(), begun);
    records.end(ids[1], Ending::Result(b"[1]"));
    records.end(ids[0], Ending::Body(&ok()));
    assert_eq!(text(), begun, "they wait for each other");
    records.flush(&Outbox::default());
    let ended = format!(
        "{begun}E {} {{\"status\":\"ok\",\"result\":[1]}}\nE {} {{\"status\":\"ok\",\"result\":null}}\n",
        ids[1], ids[0]
    );
    assert_eq!(text(), ended);
    records.flush(&Outbox::default());
    records.close();
    assert_eq!(text(), format!("{ended}X\n"));
}

#[test]
fn that_nobody_knows_an_end_is_not_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let records = writing(&path);
    let unknown = Refusal::new(ErrorCode::OutcomeUnknown, "it had to leave");
    records.end(Uuid::now_v7(), Ending::Body(&Body::Error(unknown)));
    records.flush(&Outbox::default());
    assert_eq!(std::fs::read(&path).expect("the file"), b"");
}

#[test]
fn a_beginning_that_cannot_be_written_is_refused_and_forgotten() {
    let records = writing(Path::new("/dev/full"));
    let refusal = records
        .begin(&[recorded(Uuid::now_v7())])
        .expect_err("no space");
    assert_eq!(refusal.code, ErrorCode::Internal);
    assert!(
        refusal.message.contains("did not run"),
        "{}",
        refusal.message
    );
    assert_eq!(
        *records.waiting.borrow(),
        b"\n",
        "the next line stands alone"
    );
    records.waiting.borrow_mut().clear();
    let unrecorded = [request(None, true)];
    records.begin(&unrecorded).expect("nothing to write");
    records.end(Uuid::now_v7(), Ending::Result(b"1"));
    records.flush(&Outbox::default());
    assert!(records.waiting.borrow().len() <= 1, "nothing piles up");
}

#[test]
fn the_start_of_a_process_is_read_past_any_name() {
    let fields: Vec<String> = (3..=52).map(|field: u32| field.to_string()).collect();
    let stat = format!("17 (a) b) (c) {}", fields.join(" "));
    assert_eq!(started(&stat), Some(22));
    assert_eq!(started("17 (short) S 1"), None);
    assert_eq!(started(""), None);
}

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0199_f6c2_0000_7000, number)
}

fn header_of_one() -> Header {
    Header {
        pid: 1,
        started: 2,
        boot: id(0),
    }
}

/// Runs a request whose result has about 100 KiB.
fn run(records: &Records, number: u64) {
    records.begin(&[recorded(id(number))]).expect("space");
    let result = format!("\"{}\"", "x".repeat(100 * 1024));
    records.end(id(number), Ending::Result(result.as_bytes()));
    records.flush(&Outbox::default());
}

// FI-14: a worker that lives long has a record of what is not in the journal yet, and no more.
#[test]
fn what_is_in_the_journal_is_forgotten_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let records = Records {
        header: Some(header_of_one()),
        ..writing(&path)
    };
    outcome::print_header(header_of_one(), &mut records.waiting.borrow_mut());
    records.begin(&[recorded(id(1))]).expect("space");
    let mut most = 0;
    for round in 0..30_u64 {
        for number in 0..10 {
            run(&records, 1_000 + round * 10 + number);
        }
        // The journal has what was answered before the beat before.
        records.settle(round, round.checked_sub(1));
        most = most.max(std::fs::metadata(&path).expect("the file").len());
        let (header, outcomes) = outcome::parse(&std::fs::read(&path).expect("the file"));
        assert_eq!(header, Some(header_of_one()));
        assert!(
            outcomes.complete && outcomes.began.contains(&id(1)),
            "round {round}"
        );
        let unsettled = 1_000 + round * 10..1_000 + round * 10 + 10;
        for number in unsettled {
            assert!(
                outcomes.ended.contains_key(&id(number)),
                "round {round}: {number}"
            );
        }
    }
    assert!(most < 6 * limits::OUTCOME_SPARE_BYTES, "{most} bytes");
    records.end(id(1), Ending::Body(&ok()));
    records.flush(&Outbox::default());
    let (_, outcomes) = outcome::parse(&std::fs::read(&path).expect("the file"));
    assert!(outcomes.ended.contains_key(&id(1)));
}

#[test]
fn without_word_of_the_journal_nothing_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let records = Records {
        header: Some(header_of_one()),
        ..writing(&path)
    };
    outcome::print_header(header_of_one(), &mut records.waiting.borrow_mut());
    for number in 0..30 {
        run(&records, number);
        records.settle(number, None);
    }
    records.settle(30, Some(7));
    let (_, outcomes) = outcome::parse(&std::fs::read(&path).expect("the file"));
    assert_eq!(outcomes.ended.len(), 30, "eight are too few to be worth it");
}

fn setup_in(folder: &Path) -> Setup {
    let place = |name: &str| folder.join(name);
    Setup {
        script: ScriptName::new("x").expect("a name"),
        generation: crate::proto::ids::Generation(1),
        home: folder.to_owned(),
        socket: place("socket"),
        path: place("x.lua"),
        content: None,
        exec: false,
        args: Vec::new(),
        concurrency: 1,
        memory_bytes: 0,
        preempt: true,
        keep_children: false,
        files: 0,
        encoding: crate::proto::messages::Encoding::Json,
        legacy: false,
        handover: None,
        outcomes: place("outcomes/x"),
        lock: place("x.lock"),
        user: None,
        plugins: Vec::new(),
        check_defaults: Default::default(),
        confinement: crate::proto::messages::Confinement::default(),
    }
}

#[test]
fn a_weakened_worker_holds_no_lock_or_leaves_no_record() {
    let runtime = super::super::runtime().expect("a runtime");
    for (weakened, locks, writes) in [
        (Weakened::default(), true, true),
        (Weakened::by(Weakening::NoLocks), false, true),
        (Weakened::by(Weakening::NoRecords), true, false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = setup_in(folder.path());
        let opened = runtime.block_on(Records::open(&setup, weakened));
        let records = opened.expect("a record and a lock");
        let locked = File::open(&setup.lock).is_ok_and(|lock| {
            rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_err()
        });
        assert_eq!(
            (locked, setup.outcomes.exists()),
            (locks, writes),
            "{weakened:?}"
        );
        records.begin(&[recorded(id(1))]).expect("space");
    }
}
