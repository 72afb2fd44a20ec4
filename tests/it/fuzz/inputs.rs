//! Inputs: pieces of the grammars strung together, and valid ones damaged.

use super::random::Random;

/// What lines, JSON and headers are made of.
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
    "  ",
    "=",
    ":=",
    "\t",
    "\r",
    "#",
    "'",
    "@",
    "@17",
    "@0",
    "@18446744073709551616",
    "request_id",
    "request_id=",
    " request_id=7",
    " request_id=@17",
    "\"request_id\":\"7\"",
    "\"request_id\":7",
    "\"request_id\":\"@17\"",
    "\"request_id\":",
    "command",
    "\"command\":",
    "\"call\"",
    "\"ping\"",
    "\"script\":\"s\"",
    "\"handler\":\"h\"",
    "\"params\":",
    "\"timeout\":",
    "\"status\":\"ok\"",
    "\"status\":\"part\"",
    "\"status\":\"error\"",
    "\"result\":",
    "\"part\":",
    "\"error\":{",
    "\"code\":\"busy\"",
    "\"message\":\"m\"",
    "\"retry_after\":",
    "\"replayed\":true",
    "\"handlers\":[",
    "\"name\":\"x\"",
    "\"beat\":",
    "\"memory_bytes\":",
    "\"files\":[",
    "\"patterns\":[",
    "\"record\":true",
    "\"features\":[\"pings\"]",
    "\"lines\":",
    "\"target\":",
    "\"event\":\"e\"",
    "call",
    "ping",
    "cancel",
    "eval",
    "emit",
    "events",
    "hello",
    "bye",
    "status",
    "list",
    "start",
    "logs",
    "ack",
    "version",
    "help",
    "peer list",
    "session ping",
    "session ack",
    "enable-ack",
    "silence-ack",
    "show neighbor json",
    "s",
    "h",
    "greeter",
    "x=1",
    "a:=[1,{\"b\":null}]",
    "--timeout=5",
    "--timeout=0.0000001",
    "--params:={\"a\":1}",
    "--data:=",
    "lines=5",
    "features=pings,progress",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "1e999",
    "1E-7",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "0.1e",
    "NaN",
    "done",
    "error",
    "error: ",
    "error: busy: ",
    "\\done",
    "\\\\error",
    "pong ",
    "ready",
    "loaded",
    "listen",
    "failed",
    "handover",
    "shutdown",
    "0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d",
    "\u{0}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{1f600}",
    "\\u0000",
    "\\ud834\\udd1e",
    "\\ud800",
    "\\n",
    "\\\"",
    "\\x",
    "[[[[[[[[",
    "]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":",
    "-- ",
    "/// moonkeep",
    "///",
];

/// A line without a newline, of pieces and now and then any byte.
pub(crate) fn pieces(random: &mut Random, most: usize) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..random.below(most + 1) {
        line.extend_from_slice(random.pick(PIECES).as_bytes());
        if random.once_in(40) {
            line.push(random.byte());
        }
    }
    line.retain(|byte| *byte != b'\n');
    line
}

/// One JSON value by the grammar, white space and odd numbers included; now and then faulty.
pub(crate) fn json(random: &mut Random, depth: usize, out: &mut Vec<u8>) {
    if random.once_in(12) {
        out.extend_from_slice(random.pick::<[u8]>(&[b" ", b"\t", b"\r", b"\n", b"  "]));
    }
    match random.below(if depth == 0 { 4 } else { 6 }) {
        0 => out.extend_from_slice(
            random
                .pick::<str>(&["null", "true", "false", "nul", "True"])
                .as_bytes(),
        ),
        1 => number(random, out),
        2 | 3 => string(random, out),
        4 => list(random, out, *b"[]", |random, out| {
            json(random, depth - 1, out)
        }),
        _ => list(random, out, *b"{}", |random, out| {
            string(random, out);
            out.push(b':');
            json(random, depth - 1, out);
        }),
    }
    if random.once_in(60) {
        out.push(random.byte());
    }
}

fn list(
    random: &mut Random,
    out: &mut Vec<u8>,
    ends: [u8; 2],
    mut item: impl FnMut(&mut Random, &mut Vec<u8>),
) {
    out.push(ends[0]);
    for position in 0..random.below(5) {
        if position > 0 {
            out.push(b',');
        }
        item(random, out);
    }
    out.push(ends[1]);
}

fn number(random: &mut Random, out: &mut Vec<u8>) {
    let odd = [
        "0",
        "-0",
        "1",
        "-1",
        "1.5",
        "0.1",
        "1e5",
        "1E-300",
        "1e999",
        "-1.0",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "01",
        "1.",
        "+1",
        "5e-324",
    ];
    if random.once_in(2) {
        out.extend_from_slice(random.pick(&odd).as_bytes());
    } else {
        let shift = random.below(64);
        out.extend_from_slice(((random.next() >> shift) as i64).to_string().as_bytes());
    }
}

fn string(random: &mut Random, out: &mut Vec<u8>) {
    let parts = [
        "a",
        "b",
        "c",
        "key",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u0041",
        "\\u0000",
        "\\ud83d\\ude00",
        "\\ud800",
        "\u{e4}",
        "\u{1f600}",
        " ",
        "request_id",
        "done",
        "\u{7f}",
        "\u{2028}",
    ];
    out.push(b'"');
    for _ in 0..random.below(4) {
        out.extend_from_slice(random.pick(&parts).as_bytes());
    }
    out.push(b'"');
}

/// Damages an input in up to four places.
pub(crate) fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..random.below(5) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(9)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.byte(),
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, random.pick(PIECES).bytes())),
            4 => input.truncate(at),
            5 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            _ => input.insert(at, random.byte()),
        }
    }
}

/// One line: pieces, random bytes, or what `valid` gives, mostly damaged.
pub(crate) fn line(random: &mut Random, valid: impl FnOnce(&mut Random) -> Vec<u8>) -> Vec<u8> {
    let mut line = match random.below(8) {
        0 | 1 => pieces(random, 14),
        2 => random.bytes(60),
        _ => {
            let mut line = valid(random);
            mutate(random, &mut line);
            line
        }
    };
    line.retain(|byte| *byte != b'\n');
    line
}
