//! Streams: however the bytes are cut, the frames are the same; no answer ends another.

use std::collections::BTreeMap;

use moonkeep::proto::codec::{Piece, decode_answer, encode_answer};
use moonkeep::proto::framer::{Eof, Frame, Framer};
use moonkeep::proto::ids::RequestId;
use moonkeep::proto::messages::{Answer, Body, Encoding, Payload};

use super::codec::{id_of, is_end};
use super::random::Random;
use super::{campaign, inputs, shown, values};

/// A frame, or the end, with its bytes copied.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Line(Vec<u8>),
    TooLong(u8, usize),
    Partial(Vec<u8>),
    PartialTooLong(usize),
}

/// The frames of a stream that is read in pieces.
fn frames<'a>(cap: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut framer = Framer::new(cap);
    let mut seen = Vec::new();
    for mut chunk in chunks {
        while let Some(frame) = framer.next(&mut chunk) {
            seen.push(match frame {
                Frame::Line(line) => Seen::Line(line.to_vec()),
                Frame::TooLong { first, dropped } => Seen::TooLong(first, dropped),
            });
        }
        assert!(chunk.is_empty(), "a chunk is used up");
    }
    match framer.finish() {
        Eof::Clean => {}
        Eof::Partial(rest) => seen.push(Seen::Partial(rest.to_vec())),
        Eof::TooLong { dropped } => seen.push(Seen::PartialTooLong(dropped)),
    }
    seen
}

/// The same by the definition: cut at newlines, then look at the lengths.
fn defined(cap: usize, stream: &[u8]) -> Vec<Seen> {
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    let mut seen: Vec<Seen> = lines
        .into_iter()
        .map(|line| match line.len() > cap {
            true => Seen::TooLong(line[0], line.len()),
            false => Seen::Line(line.to_vec()),
        })
        .collect();
    match rest.len() {
        0 => {}
        long if long > cap => seen.push(Seen::PartialTooLong(long)),
        _ => seen.push(Seen::Partial(rest.to_vec())),
    }
    seen
}

fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..random.below(6) {
        stream.extend(inputs::pieces(random, 4));
        if !random.once_in(6) {
            stream.push(b'\n');
        }
    }
    stream
}

// FI-5, R-029: every cut in two, and a random one in many.
#[test]
fn fuzz_frames_do_not_depend_on_the_cuts() {
    campaign("framer", 200_000, |random| {
        let (cap, stream) = (1 + random.below(40), stream(random));
        let wanted = defined(cap, &stream);
        assert_eq!(
            frames(cap, std::iter::once(&stream[..])),
            wanted,
            "whole: {}",
            shown(&stream)
        );
        let at = random.below(stream.len() + 1);
        let (before, after) = stream.split_at(at);
        assert_eq!(
            frames(cap, [before, after].into_iter()),
            wanted,
            "cut at {at}: {}",
            shown(&stream)
        );
        let mut rest = &stream[..];
        let chunks = std::iter::from_fn(|| {
            let (chunk, after) = rest
                .split_at_checked(1 + random.below(7))
                .unwrap_or((rest, &[]));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        });
        assert_eq!(
            frames(cap, chunks),
            wanted,
            "cut at random: {}",
            shown(&stream)
        );
    });
}

#[test]
fn each_single_cut_gives_the_same_frames() {
    let mut random = Random::new(7, 0);
    for _ in 0..200 {
        let (cap, stream) = (1 + random.below(30), stream(&mut random));
        let wanted = defined(cap, &stream);
        for at in 0..=stream.len() {
            let (before, after) = stream.split_at(at);
            assert_eq!(frames(cap, [before, after].into_iter()), wanted);
        }
    }
}

/// What an asker must hear: lines of payload, and how it ended.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    lines: Vec<String>,
    ends: usize,
}

fn lines_of(payload: &Payload) -> Vec<String> {
    let text = match payload {
        Payload::Empty => return Vec::new(),
        Payload::Lines(lines) => lines.to_string(),
        Payload::Json(json) => match serde_json::from_str(json.as_str()) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Null) => return Vec::new(),
            Ok(_) | Err(_) => json.as_str().to_owned(),
        },
    };
    text.split('\n').map(str::to_owned).collect()
}

/// Answers to askers with and without ids, in pieces that come in any order between each other.
fn conversation(random: &mut Random) -> Vec<Answer> {
    let mut answers = Vec::new();
    for id in ["7", "8", "b", "done"] {
        let encoding = if id == "8" {
            Encoding::Json
        } else {
            Encoding::Text
        };
        let id = Some(RequestId::new(id).expect("an id"));
        let mut pieces: Vec<Body> = (0..random.below(3))
            .map(|_| Body::Part(payload(random)))
            .collect();
        pieces.push(match random.below(3) {
            0 => Body::Error(values::refusal(random)),
            _ => Body::Ok {
                result: payload(random),
                replayed: false,
            },
        });
        let mut at = 0;
        for body in pieces {
            at += random.below(answers.len() - at + 1);
            answers.insert(
                at,
                Answer {
                    encoding,
                    id: id.clone(),
                    ack: true,
                    body,
                },
            );
            at += 1;
        }
    }
    // Askers without ids get their answers whole.
    for _ in 0..random.below(3) {
        let body = Body::Ok {
            result: payload(random),
            replayed: false,
        };
        let at = random.below(answers.len() + 1);
        answers.insert(
            at,
            Answer {
                encoding: Encoding::Text,
                id: None,
                ack: true,
                body,
            },
        );
    }
    answers
}

fn payload(random: &mut Random) -> Payload {
    match random.below(4) {
        0 => Payload::Empty,
        1 => Payload::Json(values::json(random)),
        _ => Payload::Lines(values::text(random).into()),
    }
}

// FI-5, T17, R-027, R-028: whatever one answer carries, another one ends once, where it ends, with its own lines.
#[test]
fn fuzz_no_answer_ends_another() {
    campaign("interleaved answers", 10_000, |random| {
        let answers = conversation(random);
        let mut wire = Vec::new();
        let (mut wanted, mut heard) = (
            BTreeMap::<&str, Heard>::new(),
            BTreeMap::<String, Heard>::new(),
        );
        for answer in &answers {
            let Some(id) = &answer.id else {
                encode_answer(answer, &mut wire);
                continue;
            };
            let entry = wanted.entry(id.as_str()).or_default();
            match &answer.body {
                Body::Part(payload)
                | Body::Ok {
                    result: payload, ..
                } => entry.lines.extend(lines_of(payload)),
                Body::Accepted | Body::Running | Body::Error(_) => {}
            }
            entry.ends += usize::from(answer.body.is_end());
            encode_answer(answer, &mut wire);
        }
        let mixed = answers.iter().any(|answer| answer.id.is_none());
        for line in wire
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            // A payload without an id may look like faulty JSON: it is nobody's.
            let Ok(piece) = decode_answer(line) else {
                continue;
            };
            let Some(id) = id_of(&piece) else { continue };
            let entry = heard.entry(id.to_owned()).or_default();
            assert!(
                entry.ends == 0 || !is_end(&piece),
                "a second end for {id}: {}",
                shown(&wire)
            );
            entry.ends += usize::from(is_end(&piece));
            match &piece {
                Piece::Line { line, .. } => entry.lines.push(line.clone()),
                Piece::Answer(answer) => match &answer.body {
                    Body::Part(payload)
                    | Body::Ok {
                        result: payload, ..
                    } => entry.lines.extend(lines_of(payload)),
                    Body::Accepted | Body::Running | Body::Error(_) => {}
                },
                Piece::Why { .. } | Piece::Done { .. } | Piece::Failed { .. } => {}
            }
        }
        for (id, wanted) in wanted {
            let heard = heard.remove(id).unwrap_or_default();
            assert_eq!(heard.ends, wanted.ends, "ends of {id} in {}", shown(&wire));
            // Lines of an asker without ids may carry anybody's id: whoever uses ids uses them for all.
            if !mixed {
                assert_eq!(
                    heard.lines,
                    wanted.lines,
                    "lines of {id} in {}",
                    shown(&wire)
                );
            }
        }
    });
}
