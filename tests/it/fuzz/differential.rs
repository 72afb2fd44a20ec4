//! The codec against a decoder that shares no code with it: a few lines of Python, written from the protocol's page.

use std::path::Path;
use std::time::Duration;

use moonkeep::proto::codec::{Piece, decode_answer, encode_answer};
use moonkeep::proto::framer::{Frame, Framer};
use moonkeep::proto::messages::{Body, Payload};
use serde_json::{Value, json};

use super::random::Random;
use super::{inputs, shown, values};
use crate::harness::{Program, installed, long};

/// Whole answers in both encodings, and text lines that are damaged or made up.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..1 + random.below(4) {
        let at = stream.len();
        if random.once_in(3) {
            stream.extend(inputs::pieces(random, 5));
        } else {
            encode_answer(&values::answer(random, false), &mut stream);
        }
        // What is wrong with JSON is told by two readers in two ways: only text is damaged.
        if stream.get(at) != Some(&b'{') && random.once_in(2) {
            let mut damaged = stream.split_off(at);
            inputs::mutate(random, &mut damaged);
            stream.extend(damaged);
        }
        if stream.get(at) == Some(&b'{') && stream.last() == Some(&b'}') {
            stream.push(b' ');
        }
        stream.push(b'\n');
    }
    stream
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What was carried, in the form of Python's `json.dumps(sort_keys=True)` or nearly: compared as a value.
fn carried(payload: &Payload) -> Value {
    match payload {
        Payload::Empty => Value::Null,
        Payload::Json(json) => serde_json::from_str(json.as_str()).unwrap_or(Value::Null),
        Payload::Lines(lines) => Value::from(lines.to_string()),
    }
}

fn heard(piece: Piece) -> Value {
    let name = super::codec::id_of(&piece).map(str::to_owned);
    match piece {
        Piece::Line { line, .. } => json!(["line", name, hex(&line)]),
        Piece::Why { .. } => json!(["why", name]),
        Piece::Done { .. } => json!(["done", name, ""]),
        Piece::Failed { .. } => json!(["error", name, ""]),
        Piece::Answer(answer) => match &answer.body {
            Body::Ok { result, .. } => json!(["ok", name, carried(result)]),
            Body::Part(part) => json!(["part", name, carried(part)]),
            Body::Error(_) => json!(["error", name]),
            Body::Accepted => json!(["accepted", name]),
            Body::Running => json!(["running", name]),
        },
    }
}

/// What moonkeep's codec makes of a stream.
fn ours(cap: usize, stream: &[u8]) -> Vec<Value> {
    let mut framer = Framer::new(cap);
    let mut rest = stream;
    let mut all = Vec::new();
    while let Some(frame) = framer.next(&mut rest) {
        all.push(match frame {
            Frame::TooLong { dropped, .. } => json!(["long", null, hex(&dropped.to_string())]),
            Frame::Line(line) => decode_answer(line).map_or(json!(["fault", null, ""]), heard),
        });
    }
    all
}

/// Python's words in the form of ours: a value for what was carried, nothing for what is not compared.
fn theirs(mut said: Value) -> Value {
    let Some(parts) = said.as_array_mut() else {
        return said;
    };
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .filter_map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok())
            .collect()
    };
    match parts[0].as_str() {
        Some("ok" | "part") => {
            let text = bytes(parts[2].as_str().unwrap_or_default());
            parts[2] = serde_json::from_slice(&text).expect("JSON from Python");
        }
        Some("why" | "accepted" | "running") => parts.truncate(2),
        Some("error") if parts[2] == hex("null") => parts.truncate(2),
        Some(_) | None => {}
    }
    said
}

// FI-5: 20,000 streams of one to a few lines, 100,000 with MOONKEEP_LONG=1.
#[test]
fn a_decoder_that_shares_no_code_hears_the_same() {
    if !installed("python3", "the differential test") {
        return;
    }
    let count = if long() { 100_000 } else { 20_000 };
    let cases: Vec<(usize, Vec<u8>)> = (0..count)
        .map(|round| {
            let mut random = Random::new(5, round);
            let cap = if random.once_in(4) {
                20 + random.below(60)
            } else {
                1 << 20
            };
            (cap, stream(&mut random))
        })
        .collect();
    let line = |(cap, stream): &(usize, Vec<u8>)| {
        let digits: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{cap} {digits}\n")
    };
    let input: String = cases.iter().map(line).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/decoder.py");
    let output = Program::new("/usr/bin/env".as_ref())
        .args(&["python3", script.to_str().expect("a path in UTF-8")])
        .input(&input)
        .within(Duration::from_secs(120))
        .run()
        .ok();
    let mut lines = 0;
    for ((cap, stream), said) in cases.iter().zip(output.lines()) {
        let said: Vec<Value> = serde_json::from_str(said).expect("a list");
        let said: Vec<Value> = said.into_iter().map(theirs).collect();
        assert_eq!(ours(*cap, stream), said, "cap {cap}: {}", shown(stream));
        lines += said.len();
    }
    assert_eq!(output.lines().count(), cases.len());
    println!("differential: {count} streams of {lines} lines");
}
