use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::proto::messages::{ErrorCode, Json, Payload, Refusal};

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0199_f6c2_0000_7000, number)
}

fn header() -> Header {
    Header {
        pid: 4711,
        started: 99,
        boot: id(0),
    }
}

fn ok(json: &str) -> Body {
    Body::Ok {
        result: Payload::Json(Json::parse(json).expect("JSON")),
        replayed: false,
    }
}

/// What one worker writes.
#[derive(Clone, Debug)]
enum Said {
    Begun(u64),
    Ended(u64, Body),
    Closed,
}

fn printed(said: &[Said]) -> Vec<u8> {
    let mut out = Vec::new();
    print_header(header(), &mut out);
    for line in said {
        match line {
            Said::Begun(number) => print_begun(id(*number), &mut out),
            Said::Ended(number, body) => print_ended(id(*number), body, &mut out),
            Said::Closed => print_closed(&mut out),
        }
    }
    out
}

/// What a record of these lines must be read as.
fn meant(said: &[Said]) -> Outcomes {
    let mut outcomes = Outcomes {
        complete: true,
        ..Outcomes::default()
    };
    for line in said {
        match line {
            Said::Begun(number) => {
                outcomes.began.insert(id(*number));
            }
            Said::Ended(number, body) => {
                outcomes
                    .ended
                    .entry(id(*number))
                    .or_insert_with(|| body.clone());
            }
            Said::Closed => {}
        }
    }
    outcomes
}

fn bodies() -> impl Strategy<Value = Body> {
    let text = "[\\PC\n\r\t\"\\\\]{0,30}";
    prop_oneof![
        text.prop_map(|text| ok(Json::of(&text).as_str())),
        any::<i64>().prop_map(|number| ok(&number.to_string())),
        Just(Body::Ok {
            result: Payload::Empty,
            replayed: false
        }),
        (0..ErrorCode::ALL.len(), text).prop_map(|(code, message)| {
            Body::Error(Refusal::new(ErrorCode::ALL[code], message))
        }),
    ]
}

fn lines() -> impl Strategy<Value = Vec<Said>> {
    let line = prop_oneof![
        4 => (0..8_u64).prop_map(Said::Begun),
        4 => (0..8_u64, bodies()).prop_map(|(number, body)| Said::Ended(number, body)),
        1 => Just(Said::Closed),
    ];
    prop::collection::vec(line, 0..12)
}

proptest! {
    #[test]
    fn what_was_printed_is_read(said in lines()) {
        prop_assert_eq!(parse(&printed(&said)), (Some(header()), meant(&said)));
    }

    // Killed within a write: all lines before the cut count, the cut one does not.
    #[test]
    fn a_torn_last_line_was_never_said(said in lines(), cut in any::<prop::sample::Index>()) {
        let bytes = printed(&said);
        let bytes = &bytes[..cut.index(bytes.len() + 1)];
        let whole = bytes.iter().filter(|byte| **byte == b'\n').count();
        let (found, outcomes) = parse(bytes);
        prop_assert_eq!(found, (whole > 0).then(header));
        prop_assert_eq!(outcomes, meant(&said[..whole.saturating_sub(1)]));
    }

    #[test]
    fn no_bytes_at_all_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (header, outcomes) = parse(&bytes);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        prop_assert!(outcomes.began.len() + outcomes.ended.len() <= lines);
        prop_assert!(header.is_some() || lines == 0 || !outcomes.complete);
    }

    // A damaged line is noticed, whatever it has become.
    #[test]
    fn a_damaged_record_invents_no_end(said in lines(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = printed(&said);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (_, outcomes) = parse(&bytes);
        prop_assert!(outcomes.ended.len() <= meant(&said).ended.len() + 1);
    }
}

#[track_caller]
fn check(text: &str, began: &[u64], ended: &[u64], complete: bool) {
    let (_, outcomes) = parse(text.as_bytes());
    let ids = |numbers: &[u64]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    assert_eq!(Vec::from_iter(outcomes.began), ids(began), "{text:?}");
    assert_eq!(
        Vec::from_iter(outcomes.ended.into_keys()),
        ids(ended),
        "{text:?}"
    );
    assert_eq!(outcomes.complete, complete, "{text:?}");
}

#[test]
fn records_of_every_kind_of_damage() {
    let w = format!("W 1 2 {}\n", id(0));
    let (one, two) = (id(1), id(2));
    let done = "{\"status\":\"ok\",\"result\":1}";
    for (text, began, ended, complete) in [
        (String::new(), &[][..], &[][..], true),
        ("W 1 2".to_owned(), &[], &[], true),
        (w.clone(), &[], &[], true),
        // Without its header nobody knows what else is lost.
        (format!("B {one}\n"), &[1], &[], false),
        (format!("\n{w}B {one}\n"), &[1], &[], false),
        (format!("{w}B {one}\nE {one} {done}\nX\n"), &[1], &[1], true),
        // Twice: the same.
        (
            format!("{w}B {one}\nB {one}\nE {one} {done}\nE {one} {done}\nX\nX\n"),
            &[1],
            &[1],
            true,
        ),
        // Carriage returns, blanks, capitals, a second header: written by nobody of ours.
        (format!("{w}B {one}\r\nB {two}\n"), &[2], &[], false),
        (format!("{w} B {one}\n"), &[], &[], false),
        (format!("{w}B {one} \n"), &[], &[], false),
        (
            format!("{w}B {}\n", one.to_string().to_uppercase()),
            &[],
            &[],
            false,
        ),
        (format!("{w}B {}\n", one.simple()), &[], &[], false),
        (format!("{w}{w}B {one}\n"), &[1], &[], false),
        (format!("{w}Z {one}\nB {two}\n"), &[2], &[], false),
        // An end must be one.
        (
            format!("{w}E {one} {{\"status\":\"part\",\"part\":1}}\n"),
            &[],
            &[],
            false,
        ),
        (format!("{w}E {one} {{\"status\":\"ok\"\n"), &[], &[], false),
        (format!("{w}E {one}\n"), &[], &[], false),
        (format!("{w}E {one} {done}{done}\n"), &[], &[], false),
        // A torn line that was continued by the next.
        (
            format!("{w}B {}B {two}\nB {one}\n", &one.to_string()[..9]),
            &[1],
            &[],
            false,
        ),
        (format!("{w}\0\0\0\nB {one}\n"), &[1], &[], false),
    ] {
        check(&text, began, ended, complete);
    }
}

#[test]
fn a_result_of_a_whole_line_is_kept() {
    let text = "x".repeat(limits::LINE_BYTES);
    let mut out = Vec::new();
    print_header(header(), &mut out);
    print_result(id(1), Json::of(&text).as_str().as_bytes(), &mut out);
    let (_, outcomes) = parse(&out);
    assert_eq!(outcomes.ended[&id(1)], ok(Json::of(&text).as_str()));
    assert!(outcomes.complete);
}

#[test]
fn the_first_of_two_ends_counts() {
    let said = [Said::Ended(1, ok("1")), Said::Ended(1, ok("2"))];
    let (_, outcomes) = parse(&printed(&said));
    assert_eq!(outcomes.ended[&id(1)], ok("1"));
}

#[test]
fn several_records_are_complete_only_together() {
    let record = |number: u64, complete: bool| Outcomes {
        began: [id(number)].into(),
        ended: [(id(9), ok(&number.to_string()))].into(),
        complete,
    };
    let both = Outcomes::joined([record(1, true), record(2, true)]);
    assert_eq!(both.began, [id(1), id(2)].into());
    assert_eq!(both.ended[&id(9)], ok("1"));
    assert!(both.complete);
    assert!(!Outcomes::joined([record(1, true), record(2, false)]).complete);
    assert!(!Outcomes::joined([]).complete, "no record says nothing");
}
