use std::fs::OpenOptions;

use super::*;
use crate::proto::ids::{RequestId, ScriptName, Ticket};
use crate::proto::messages::{Payload, Work};

fn writing(path: &Path) -> Records {
    let file = OpenOptions::new().append(true).create(true).open(path);
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
    records.flush();
    let ended = format!(
        "{begun}E {} {{\"status\":\"ok\",\"result\":[1]}}\nE {} {{\"status\":\"ok\",\"result\":null}}\n",
        ids[1], ids[0]
    );
    assert_eq!(text(), ended);
    records.flush();
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
    records.flush();
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
    records.flush();
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
