//! Answers in both encodings, and payloads that look like the end of one.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::proto::framer::{Frame, Framer};
use crate::proto::messages::{Answer, Body, Payload};

fn answer(encoding: Encoding, id: Option<&str>, body: Body) -> Answer {
    Answer {
        encoding,
        id: id.map(|id| RequestId::new(id).unwrap()),
        ack: true,
        body,
    }
}

fn encoded(answer: &Answer) -> String {
    let mut out = Vec::new();
    encode_answer(answer, &mut out);
    String::from_utf8(out).unwrap()
}

fn ok(result: Payload) -> Body {
    Body::Ok {
        result,
        replayed: false,
    }
}

fn json(text: &str) -> Payload {
    Payload::Json(Json::parse(text).unwrap())
}

fn refusal() -> Refusal {
    Refusal {
        code: ErrorCode::Busy,
        message: "full: wait\n\"a bit\"".into(),
        retry_after: Some(Duration::from_millis(50)),
        data: Some(Json::parse("{\"a\":1}").unwrap()),
        traceback: Some("x.lua:1\n\ty".into()),
    }
}

// R-002: what goes over the wire, byte for byte.
#[test]
fn the_golden_answers() {
    let uuid = "0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d";
    let pong = Payload::Lines(format!("pong {uuid} active=true").into());
    let cases = [
        (ok(pong), Some("7"), format!("pong {uuid} active=true request_id=7\ndone request_id=7\n"), format!("{{\"request_id\":\"7\",\"status\":\"ok\",\"result\":\"pong {uuid} active=true\"}}\n")),
        (ok(Payload::Empty), None, "done\n".into(), "{\"status\":\"ok\",\"result\":null}\n".into()),
        (ok(Payload::Lines("".into())), None, "\ndone\n".into(), "{\"status\":\"ok\",\"result\":\"\"}\n".into()),
        (ok(json("\"a\\nb\"")), Some("x"), "a request_id=x\nb request_id=x\ndone request_id=x\n".into(), "{\"request_id\":\"x\",\"status\":\"ok\",\"result\":\"a\\nb\"}\n".into()),
        (ok(json("{\"a\": [1,2]}")), None, "{\"a\": [1,2]}\ndone\n".into(), "{\"status\":\"ok\",\"result\":{\"a\": [1,2]}}\n".into()),
        (Body::Ok { result: json("1"), replayed: true }, Some("1"), "1 request_id=1\ndone request_id=1\n".into(), "{\"request_id\":\"1\",\"status\":\"ok\",\"result\":1,\"replayed\":true}\n".into()),
        (Body::Part(json("{\"progress\":0.4}")), Some("9"), "{\"progress\":0.4} request_id=9\n".into(), "{\"request_id\":\"9\",\"status\":\"part\",\"part\":{\"progress\":0.4}}\n".into()),
        (Body::Accepted, Some("9"), String::new(), "{\"request_id\":\"9\",\"status\":\"accepted\"}\n".into()),
        (Body::Running, Some("9"), String::new(), "{\"request_id\":\"9\",\"status\":\"running\"}\n".into()),
        (Body::Error(refusal()), Some("9"), "error: busy: full: wait \"a bit\" request_id=9\nerror request_id=9\n".into(), "{\"request_id\":\"9\",\"status\":\"error\",\"error\":{\"code\":\"busy\",\"message\":\"full: wait\\n\\\"a bit\\\"\",\"retry_after\":0.05,\"data\":{\"a\":1},\"traceback\":\"x.lua:1\\n\\ty\"}}\n".into()),
        (Body::Error(Refusal::new(ErrorCode::Timeout, "m")), None, "error: timeout: m\nerror\n".into(), "{\"status\":\"error\",\"error\":{\"code\":\"timeout\",\"message\":\"m\"}}\n".into()),
    ];
    for (body, id, text, json) in cases {
        assert_eq!(encoded(&answer(Encoding::Text, id, body.clone())), text);
        assert_eq!(encoded(&answer(Encoding::Json, id, body)), json);
    }
    let number = Answer {
        id: Some(RequestId::number(8)),
        ..answer(Encoding::Json, None, ok(Payload::Empty))
    };
    assert_eq!(
        encoded(&number),
        "{\"request_id\":8,\"status\":\"ok\",\"result\":null}\n"
    );
}

#[test]
fn without_acks_only_what_says_something_is_sent() {
    let silent = |encoding, body| {
        encoded(&Answer {
            ack: false,
            ..answer(encoding, None, body)
        })
    };
    assert_eq!(silent(Encoding::Text, ok(json("\"x\""))), "x\n");
    assert_eq!(silent(Encoding::Text, ok(Payload::Empty)), "");
    assert_eq!(silent(Encoding::Text, Body::Error(refusal())), "");
    assert_eq!(silent(Encoding::Json, ok(Payload::Empty)), "");
    assert!(silent(Encoding::Json, ok(json("1"))).contains("\"result\":1"));
    assert!(silent(Encoding::Json, Body::Error(refusal())).contains("busy"));
}

/// The reference: 30 lines that share no code with the codec. Gives (payload, how it ended).
fn reference(wire: &[u8], id: Option<&str>) -> (Vec<Vec<u8>>, String) {
    let suffix = id
        .map(|id| format!(" request_id={id}").into_bytes())
        .unwrap_or_default();
    let mut payload = Vec::new();
    let mut why = String::new();
    for line in wire.split(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(&suffix[..]) else {
            continue;
        };
        match line {
            b"done" => return (payload, "done".into()),
            b"error" => return (payload, format!("error {why}")),
            _ => {}
        }
        if let Some(said) = line.strip_prefix(b"error: ") {
            why = String::from_utf8(said.to_vec()).unwrap();
            continue;
        }
        let slashes = line.iter().take_while(|byte| **byte == b'\\').count();
        let bare = &line[slashes..];
        let escaped =
            slashes > 0 && (bare == b"done" || bare == b"error" || bare.starts_with(b"error: "));
        payload.push(line[usize::from(escaped)..].to_vec());
    }
    (payload, "cut off".into())
}

/// What our own reader makes of it, with the bytes cut at every `step`.
fn ours(wire: &[u8], id: Option<&str>, step: usize) -> (Vec<Vec<u8>>, String) {
    let mut framer = Framer::new(1 << 20);
    let (mut payload, mut why) = (Vec::new(), String::new());
    let mine = |seen: Option<RequestId>| seen.as_ref().map(RequestId::as_str) == id;
    for chunk in wire.chunks(step) {
        let mut rest = chunk;
        while let Some(frame) = framer.next(&mut rest) {
            let Frame::Line(line) = frame else {
                panic!("too long")
            };
            match decode_answer(line).unwrap() {
                Piece::Line { id, line } => {
                    assert!(mine(id));
                    payload.push(line.into_bytes());
                }
                Piece::Why { id, refusal } => {
                    assert!(mine(id));
                    why = format!("{}: {}", refusal.code, refusal.message);
                }
                Piece::Done { id } => {
                    assert!(mine(id));
                    return (payload, "done".into());
                }
                Piece::Failed { .. } => return (payload, format!("error {why}")),
                Piece::Answer(answer) => panic!("{answer:?}"),
            }
        }
    }
    (payload, "cut off".into())
}

/// Payload lines that look like ends.
const TRICKY: &[&str] = &[
    "all done",
    "done",
    " done",
    "done ",
    ".done",
    "\\done",
    "\\\\done",
    "error",
    "\\error",
    "error: x",
    "error:",
    "\\error: x",
    "errors",
    "done request_id=other",
    "x request_id=7",
    "request_id=7",
    " request_id=7",
    "",
    "pong x",
    "{\"status\":\"ok\"}",
    "{\"request_id\":\"7\",\"status\":\"ok\",\"result\":1}",
    "\r",
    "done\r",
    "a\tb",
    "\\",
    "zw\u{4e}ölf \u{1f600}",
];

// R-016 (d) (e) (i), R-027, R-028: no payload ends an answer early, none is altered.
#[test]
fn no_payload_ends_an_answer_or_is_altered() {
    for id in [Some("7"), Some("other"), None] {
        for first in TRICKY {
            for second in TRICKY {
                // Without an id only a reader that never uses ids can tell these from another's lines.
                if id.is_none() && (first.contains("request_id=") || second.contains("request_id="))
                {
                    continue;
                }
                // ... or from JSON answers.
                if id.is_none() && (first.starts_with('{') || second.starts_with('{')) {
                    continue;
                }
                let lines = format!("{first}\n{second}");
                let body = ok(Payload::Lines(lines.as_str().into()));
                let wire = encoded(&answer(Encoding::Text, id, body));
                let expected = (
                    vec![first.as_bytes().to_vec(), second.as_bytes().to_vec()],
                    "done".to_owned(),
                );
                assert_eq!(reference(wire.as_bytes(), id), expected, "{wire:?}");
                assert_eq!(ours(wire.as_bytes(), id, wire.len()), expected, "{wire:?}");
            }
        }
    }
}

// R-029: 10 KiB of characters of four bytes, cut at every position.
#[test]
fn every_cut_of_a_long_answer_gives_the_same() {
    let lines = "\u{1f600}done\n".repeat(1_100);
    let wire = encoded(&answer(
        Encoding::Text,
        Some("7"),
        ok(Payload::Lines(lines.as_str().into())),
    ));
    let expected = reference(wire.as_bytes(), Some("7"));
    for step in (1..200).chain([4_095, 4_096, 4_097]) {
        assert_eq!(
            ours(wire.as_bytes(), Some("7"), step),
            expected,
            "step {step}"
        );
    }
}

fn back(answer: &Answer) -> Answer {
    let line = encoded(answer);
    match decode_answer(line.trim_end_matches('\n').as_bytes()) {
        Ok(Piece::Answer(answer)) => answer,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn json_answers_round_trip() {
    for id in [None, Some("7")] {
        for body in [
            Body::Accepted,
            Body::Running,
            Body::Error(refusal()),
            ok(Payload::Empty),
            ok(json("[{}]")),
            Body::Part(json("\"x\"")),
            Body::Ok {
                result: json("1.5e300"),
                replayed: true,
            },
        ] {
            let answer = answer(Encoding::Json, id, body);
            assert_eq!(back(&answer), answer);
        }
        for code in ErrorCode::ALL {
            let answer = answer(Encoding::Json, id, Body::Error(Refusal::new(code, "m")));
            assert_eq!(back(&answer), answer);
        }
    }
}

proptest! {
    #![proptest_config(settings())]

    // R-028, FI-5: any text, differential against the reference, cut anywhere.
    #[test]
    fn any_text_payload_arrives_as_it_was(lines in proptest::collection::vec("[\\\\a-z:{}\" =_\u{e4}]{0,12}|\\\\{0,2}(done|error|error: x)", 1..6), step in 1_usize..40) {
        let text = lines.join("\n");
        let wire = encoded(&answer(Encoding::Text, Some("id-1"), ok(Payload::Lines(text.as_str().into()))));
        let expected: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        prop_assert_eq!(&reference(wire.as_bytes(), Some("id-1")), &(expected.clone(), "done".to_owned()));
        prop_assert_eq!(ours(wire.as_bytes(), Some("id-1"), step), (expected, "done".to_owned()));
    }

    #[test]
    fn any_string_is_written_as_json_reads_it(text in "(?s).{0,40}") {
        let line = encoded(&answer(Encoding::Json, None, ok(Payload::Lines(text.as_str().into()))));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(value["result"].as_str(), Some(text.as_str()));
    }
}
