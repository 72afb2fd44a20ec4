//! The line codec: no line panics, what is read is printed so that it is read again, what is printed is read back.

use moonkeep::limits;
use moonkeep::proto::codec::{
    FromDaemon, Piece, decode_answer, decode_client, decode_daemon, decode_worker, encode_answer,
    encode_notice, encode_outcome, encode_question, encode_to_worker,
};
use moonkeep::proto::messages::{
    Answer, Body, Encoding, FromClient, FromWorker, Malformed, Question, Refusal, ToWorker,
};

use super::random::Random;
use super::{campaign, inputs, shown, values};

/// No refusal is longer, whatever it refuses: it shows at most a few words of it.
const REFUSAL_BYTES: usize = 2_000;

/// What `write` appends, which must be one line, without its newline.
fn one_line(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(
        out.pop(),
        Some(b'\n'),
        "no newline at the end of {}",
        shown(&out)
    );
    assert!(!out.contains(&b'\n'), "more than one line: {}", shown(&out));
    assert!(
        std::str::from_utf8(&out).is_ok(),
        "not UTF-8: {}",
        shown(&out)
    );
    out
}

fn printed(question: &Question) -> Vec<u8> {
    one_line(|out| encode_question(question, out))
}

fn assert_sensible(refusal: &Refusal) {
    assert!(!refusal.message.is_empty(), "a refusal says what to do");
    assert!(
        refusal.message.len() < REFUSAL_BYTES,
        "{} bytes of refusal",
        refusal.message.len()
    );
}

/// A faulty line is answered with lines that its sender can read.
fn answer_to(malformed: Malformed) {
    assert_sensible(&malformed.refusal);
    let id = malformed.id.clone();
    let mut out = Vec::new();
    let body = Body::Error(malformed.refusal);
    encode_answer(
        &Answer {
            encoding: malformed.encoding,
            id: malformed.id,
            ack: true,
            body,
        },
        &mut out,
    );
    let last = out
        .split(|byte| *byte == b'\n')
        .rev()
        .nth(1)
        .expect("a line");
    match decode_answer(last).expect("an answer") {
        Piece::Failed { id: told } => assert_eq!(told, id),
        Piece::Answer(answer) => assert_eq!(answer.id, id),
        other @ (Piece::Line { .. } | Piece::Why { .. } | Piece::Done { .. }) => {
            panic!("{other:?} ends an answer")
        }
    }
}

/// What was read is printed to something that is read as the same: seen by its print.
fn assert_reread(question: &Question, read: impl Fn(&[u8]) -> FromClient) {
    let once = printed(question);
    match read(&once) {
        FromClient::Question(again) => {
            assert_eq!(
                shown(&printed(&again)),
                shown(&once),
                "{question:?} became {again:?}"
            );
            assert_eq!(again.id, question.id);
        }
        FromClient::Malformed(malformed) => {
            panic!("{question:?} is printed {}: {malformed:?}", shown(&once))
        }
    }
}

// FI-5
#[test]
fn fuzz_lines_of_clients() {
    campaign("decode_client", 15_000, |random| {
        let line = inputs::line(random, |random| printed(&values::question(random)));
        match decode_client(&line) {
            FromClient::Question(question) => assert_reread(&question, decode_client),
            FromClient::Malformed(malformed) => answer_to(malformed),
        }
    });
}

fn workers_line(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => one_line(|out| encode_notice(&values::notice(random), out)),
        1 => printed(&values::question(random)),
        2 => {
            let mut line = inputs::pieces(random, 3);
            line.extend_from_slice(b" request_id=@17");
            line
        }
        _ => {
            let (ticket, body) = values::outcome(random);
            one_line(|out| encode_outcome(ticket, &body, out))
        }
    }
}

// FI-5, T17: what a worker writes is one of the closed set; an answer has a ticket of the worker's own words.
#[test]
fn fuzz_lines_of_workers() {
    let as_client = |line: &[u8]| match decode_worker(line) {
        FromWorker::Question(question) => FromClient::Question(question),
        FromWorker::Malformed(malformed) => FromClient::Malformed(malformed),
        other @ (FromWorker::Answer { .. } | FromWorker::Notice(_)) => {
            panic!("{} became {other:?}", shown(line))
        }
    };
    campaign("decode_worker", 15_000, |random| {
        let line = inputs::line(random, workers_line);
        match decode_worker(&line) {
            FromWorker::Question(question) => assert_reread(&question, as_client),
            FromWorker::Malformed(malformed) => answer_to(malformed),
            FromWorker::Notice(notice) => {
                let once = one_line(|out| encode_notice(&notice, out));
                let FromWorker::Notice(again) = decode_worker(&once) else {
                    panic!("{} is no notice", shown(&once));
                };
                assert_eq!(
                    shown(&one_line(|out| encode_notice(&again, out))),
                    shown(&once)
                );
            }
            FromWorker::Answer { ticket, body } => {
                let named = format!("@{ticket}").replace("@@", "@");
                assert!(
                    shown(&line).contains(&named) || line.contains(&b'\\'),
                    "no {named} in {}",
                    shown(&line)
                );
                assert!(matches!(
                    body,
                    Body::Part(_) | Body::Ok { .. } | Body::Error(_)
                ));
                let once = one_line(|out| encode_outcome(ticket, &body, out));
                let FromWorker::Answer { ticket: same, body } = decode_worker(&once) else {
                    panic!("{} is no answer", shown(&once));
                };
                assert_eq!(same, ticket);
                assert_eq!(
                    shown(&one_line(|out| encode_outcome(same, &body, out))),
                    shown(&once)
                );
            }
        }
    });
}

fn daemons_line(random: &mut Random) -> Vec<u8> {
    if random.once_in(3) {
        let mut out = Vec::new();
        encode_to_worker(&ToWorker::Answer(values::answer(random, false)), &mut out);
        let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
        return lines[random.below(lines.len())].to_vec();
    }
    one_line(|out| encode_to_worker(&values::to_worker(random), out))
}

// FI-5
#[test]
fn fuzz_lines_of_the_daemon_to_a_worker() {
    campaign("decode_daemon", 90_000, |random| {
        let line = inputs::line(random, daemons_line);
        match decode_daemon(&line) {
            Ok(FromDaemon::Message(message)) => {
                assert!(!matches!(message, ToWorker::Answer(_)));
                let once = one_line(|out| encode_to_worker(&message, out));
                let Ok(FromDaemon::Message(again)) = decode_daemon(&once) else {
                    panic!("{} is no message", shown(&once));
                };
                assert_eq!(
                    shown(&one_line(|out| encode_to_worker(&again, out))),
                    shown(&once)
                );
            }
            Ok(FromDaemon::Answer { line: rest, .. }) => assert!(rest.len() <= line.len()),
            Err(why) => assert!(
                !why.is_empty() && why.len() < REFUSAL_BYTES,
                "{} bytes",
                why.len()
            ),
        }
    });
}

fn answers_line(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    encode_answer(&values::answer(random, false), &mut out);
    let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
    lines[random.below(lines.len())].to_vec()
}

// FI-5, R-023, R-028
#[test]
fn fuzz_lines_of_the_daemon_to_a_client() {
    campaign("decode_answer", 300_000, |random| {
        let line = inputs::line(random, answers_line);
        match decode_answer(&line) {
            Ok(Piece::Answer(answer)) => {
                let once = one_line(|out| encode_answer(&answer, out));
                let Ok(Piece::Answer(again)) = decode_answer(&once) else {
                    panic!("{} is no answer", shown(&once));
                };
                assert_eq!(
                    shown(&one_line(|out| encode_answer(&again, out))),
                    shown(&once)
                );
            }
            Ok(Piece::Line { line: payload, .. }) => assert!(payload.len() <= line.len()),
            Ok(Piece::Done { .. }) => assert!(line.starts_with(b"done")),
            Ok(Piece::Failed { .. }) => assert!(line.starts_with(b"error")),
            Ok(Piece::Why { .. }) => assert!(line.starts_with(b"error: ")),
            Err(why) => assert!(
                !why.is_empty() && why.len() < REFUSAL_BYTES,
                "{} bytes",
                why.len()
            ),
        }
    });
}

// FI-5, R-002: parse(print(x)) = x, in every direction.
#[test]
fn fuzz_round_trips() {
    campaign("round trips", 12_000, |random| {
        let question = values::question(random);
        assert_eq!(
            decode_client(&printed(&question)),
            FromClient::Question(question.clone())
        );
        assert_eq!(
            decode_worker(&printed(&question)),
            FromWorker::Question(question)
        );

        let answer = values::answer(random, true);
        let line = one_line(|out| encode_answer(&answer, out));
        assert_eq!(decode_answer(&line), Ok(Piece::Answer(answer)));

        let message = values::to_worker(random);
        let line = one_line(|out| encode_to_worker(&message, out));
        assert_eq!(decode_daemon(&line), Ok(FromDaemon::Message(message)));

        let notice = values::notice(random);
        let line = one_line(|out| encode_notice(&notice, out));
        assert_eq!(decode_worker(&line), FromWorker::Notice(notice));

        let (ticket, body) = values::outcome(random);
        let line = one_line(|out| encode_outcome(ticket, &body, out));
        assert_eq!(decode_worker(&line), FromWorker::Answer { ticket, body });
    });
}

// FI-5, T9: lines as long as lines can be cost their own size, not a multiple of it.
#[test]
fn the_longest_lines_are_read_in_time_and_space() {
    let mut random = Random::new(1, 0);
    for _ in 0..40 {
        let mut line = Vec::with_capacity(limits::LINE_BYTES);
        let unit = inputs::pieces(&mut random, 6);
        let start = random.pick::<str>(&[
            "call s h ",
            "{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":[",
            "{\"x\":",
            "hello ",
        ]);
        line.extend_from_slice(start.as_bytes());
        while !unit.is_empty() && line.len() + unit.len() <= limits::LINE_BYTES {
            line.extend_from_slice(&unit);
        }
        let begun = std::time::Instant::now();
        if let FromClient::Malformed(malformed) = decode_client(&line) {
            assert_sensible(&malformed.refusal);
        }
        let _read = (
            decode_worker(&line),
            decode_daemon(&line),
            decode_answer(&line),
        );
        assert!(
            begun.elapsed() < super::PROMPT,
            "{:?} for {}",
            begun.elapsed(),
            shown(&unit)
        );
    }
}

/// Whether a piece of a text answer is for this id.
pub(super) fn id_of(piece: &Piece) -> Option<&str> {
    let id = match piece {
        Piece::Answer(answer) => &answer.id,
        Piece::Line { id, .. }
        | Piece::Why { id, .. }
        | Piece::Done { id }
        | Piece::Failed { id } => id,
    };
    id.as_ref().map(|id| id.as_str())
}

/// Whether a piece ends an answer.
pub(super) fn is_end(piece: &Piece) -> bool {
    match piece {
        Piece::Answer(answer) => answer.body.is_end(),
        Piece::Done { .. } | Piece::Failed { .. } => true,
        Piece::Line { .. } | Piece::Why { .. } => false,
    }
}

#[test]
fn encodings_are_told_by_the_first_byte() {
    let FromClient::Malformed(json) = decode_client(b"{") else {
        panic!("no JSON")
    };
    let FromClient::Malformed(text) = decode_client(b" {") else {
        panic!("no command")
    };
    assert_eq!(
        (json.encoding, text.encoding),
        (Encoding::Json, Encoding::Text)
    );
}
