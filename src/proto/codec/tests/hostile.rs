//! Input that nobody sends by accident: it is refused, cheaply, and the next line is read.

use std::time::Instant;

use super::*;
use crate::client::backoff::Dice;
use crate::proto::messages::FromWorker;

fn refused(line: &[u8]) -> Refusal {
    match decode_client(line) {
        FromClient::Malformed(malformed) => malformed.refusal,
        FromClient::Question(question) => panic!("taken for {question:?}"),
    }
}

// T14
#[test]
fn json_a_hundred_thousand_deep_is_refused_without_harm() {
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"request_id\":\"d\",\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":{}1{}}}",
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let line = deep(open, close);
        let start = Instant::now();
        let FromClient::Malformed(malformed) = decode_client(line.as_bytes()) else {
            panic!("accepted");
        };
        assert_eq!(malformed.refusal.code, ErrorCode::BadRequest);
        assert!(
            malformed.refusal.message.contains("nested too deeply"),
            "{}",
            malformed.refusal.message
        );
        assert_eq!(malformed.id, RequestId::new("d").ok());
        assert!(start.elapsed().as_secs() < 2);
        assert_eq!(
            refused(&line.as_bytes()[..line.len() / 2]).code,
            ErrorCode::BadRequest
        );
        let text = format!(
            "call s h a:={}1{}",
            open.repeat(100_000),
            close.repeat(100_000)
        );
        assert_eq!(refused(text.as_bytes()).code, ErrorCode::BadRequest);
    }
    let unknown = format!(
        "{{\"command\":\"ping\",\"x\":{}{}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    assert!(
        refused(unknown.as_bytes())
            .message
            .contains("nested too deeply")
    );
}

#[test]
fn the_depth_limit_is_exact_and_does_not_count_brackets_in_strings() {
    let nested = |depth: usize| {
        format!(
            "{{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let limit = crate::limits::JSON_DEPTH;
    assert!(matches!(
        decode_client(nested(limit).as_bytes()),
        FromClient::Question(_)
    ));
    assert!(
        refused(nested(limit + 1).as_bytes())
            .message
            .contains("deeply")
    );
    let quoted = format!(
        "{{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":\"{}\\\"{}\"}}",
        "[".repeat(300),
        "{".repeat(300)
    );
    assert!(matches!(
        decode_client(quoted.as_bytes()),
        FromClient::Question(_)
    ));
}

#[test]
fn invalid_utf8_is_told_where_it_stands_and_keeps_its_id() {
    let FromClient::Malformed(malformed) = decode_client(b"call s h a=\xff\xfe request_id=7")
    else {
        panic!("accepted");
    };
    assert!(
        malformed.refusal.message.contains("byte 11"),
        "{}",
        malformed.refusal.message
    );
    assert_eq!(malformed.id, RequestId::new("7").ok());
    assert_eq!(
        refused(b"{\"command\":\"ping\",\"x\":\"\xff\"}").code,
        ErrorCode::BadRequest
    );
}

#[test]
fn many_keys_and_many_words_cost_little() {
    let mut line = String::from("{\"command\":\"ping\"");
    for number in 0..60_000 {
        line.push_str(&format!(",\"k{number}\":0"));
    }
    line.push('}');
    let start = Instant::now();
    assert!(matches!(
        decode_client(line.as_bytes()),
        FromClient::Question(_)
    ));
    let words = "a ".repeat(500_000);
    assert!(
        refused(format!("call {words}").as_bytes())
            .message
            .contains("at most 1024 words")
    );
    assert!(start.elapsed().as_secs() < 3);
}

#[test]
fn a_line_that_was_skipped_is_answered_in_its_encoding() {
    let malformed = too_long(b'{', 9_000_000, crate::limits::LINE_BYTES);
    assert_eq!(malformed.encoding, Encoding::Json);
    assert_eq!(malformed.refusal.code, ErrorCode::TooLarge);
    assert_eq!(too_long(b'p', 1, 1).encoding, Encoding::Text);
}

/// Pieces that random lines are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    " ",
    "=",
    ":=",
    "request_id",
    "request_id=",
    "@17",
    "command",
    "call",
    "ping",
    "s",
    "h",
    "\"command\":\"call\"",
    "\"request_id\":\"@1\"",
    "\"status\":\"ok\"",
    "null",
    "-1",
    "1e999",
    "\u{0}",
    "\u{7f}",
    "\u{2028}",
    "\u{1f600}",
    "\t",
    "\r",
    "#",
    "done",
    "error: ",
    "ready",
    "true",
    "\\u0000",
    "--timeout=",
];

// FI-5, T17: no panic, and whatever a worker writes is one of the closed set.
#[test]
fn random_lines_never_panic() {
    let seed = std::env::var("MOONKEEP_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let rounds = if std::env::var_os("MOONKEEP_LONG").is_some() {
        10_000_000
    } else {
        20_000
    };
    let mut dice = Dice::new(seed);
    for round in 0..rounds {
        let mut line = Vec::new();
        for _ in 0..dice.roll() % 14 {
            let piece = PIECES[(dice.roll() % PIECES.len() as u64) as usize];
            line.extend_from_slice(piece.as_bytes());
            if dice.roll().is_multiple_of(40) {
                line.push((dice.roll() & 0xff) as u8);
            }
        }
        line.retain(|byte| *byte != b'\n');
        let caught = std::panic::catch_unwind(|| {
            if let FromClient::Question(question) = decode_client(&line) {
                let _line = encode(&question);
            }
            let _piece = decode_answer(&line);
            let _message = decode_daemon(&line);
            if let FromWorker::Notice(notice) = decode_worker(&line) {
                encode_notice(&notice, &mut Vec::new());
            }
        });
        assert!(
            caught.is_ok(),
            "MOONKEEP_SEED={seed} round {round}: {:?}",
            String::from_utf8_lossy(&line)
        );
    }
}
