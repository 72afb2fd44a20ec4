//! From the bytes that a process writes to records: one record, one line, whatever the bytes are.
//!
//! A script's log line is `TIME [NAME#GENERATION] TEXT`, the daemon's own `TIME LEVEL TEXT`, its further lines
//! `TIME LEVEL | TEXT`; TIME is UTC with milliseconds. In TEXT control characters, marks that turn the direction of
//! writing, line separators of Unicode and invalid UTF-8 stand as `\x1b` or `\u{2028}`, so that no text can look
//! like another record or move a terminal's cursor. A backslash stands for itself, but as `\x5c` where it would read
//! as the beginning of such an escape: what was printed can be told from its record.

use std::fmt::Write as _;

use crate::limits;

/// Appends `text` to `out` in the form above, cut at [`limits::LOG_LINE_BYTES`], without a newline.
/// `beyond`: bytes of the line that were cut already.
pub(super) fn escape(text: &[u8], beyond: usize, out: &mut Vec<u8>) {
    let kept = &text[..text.len().min(limits::LOG_LINE_BYTES)];
    if kept.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(kept);
    } else {
        escape_slowly(kept, out);
    }
    let cut = text.len() - kept.len() + beyond;
    if cut > 0 {
        out.extend_from_slice(format!(" [{cut} more bytes cut]").as_bytes());
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~') && byte != b'\\'
}

fn escape_slowly(text: &[u8], out: &mut Vec<u8>) {
    let mut shown = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            if reads_as_escape(&chunk.valid()[at..]) {
                shown.push_str("\\x5c");
            } else {
                push(&mut shown, character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _infallible = write!(shown, "\\x{byte:02x}");
        }
    }
    out.extend_from_slice(shown.as_bytes());
}

fn reads_as_escape(text: &str) -> bool {
    match text.as_bytes() {
        [b'\\', b'x', high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        [b'\\', b'u', b'{', ..] => true,
        _ => false,
    }
}

fn push(shown: &mut String, character: char) {
    let code = u32::from(character);
    let _infallible = match character {
        '\t' => shown.write_char(character),
        _ if code < 0x20 || code == 0x7f => write!(shown, "\\x{code:02x}"),
        // C1 controls, line and paragraph separator, marks and overrides of direction.
        '\u{80}'..='\u{9f}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{61c}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => write!(shown, "\\u{{{code:x}}}"),
        _ => shown.write_char(character),
    };
}

/// The lines of one process, cut from the chunks that were read.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line that has not ended, at most a little more than a record takes.
    begun: Vec<u8>,
    /// Bytes of it that are not kept.
    beyond: usize,
}

impl Lines {
    /// Hands every line that `chunk` ends to `each`.
    pub(super) fn feed(&mut self, mut chunk: &[u8], mut each: impl FnMut(&[u8], usize)) {
        while let Some(at) = memchr::memchr(b'\n', chunk) {
            let line = &chunk[..at];
            chunk = &chunk[at + 1..];
            if self.begun.is_empty() && self.beyond == 0 {
                each(line, 0);
            } else {
                self.keep(line);
                self.end(&mut each);
            }
        }
        self.keep(chunk);
    }

    /// Hands over a line that will not be ended any more.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8], usize)) {
        if !self.begun.is_empty() {
            self.end(&mut each);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&[u8], usize)) {
        each(&self.begun, self.beyond);
        self.begun.clear();
        self.beyond = 0;
    }

    fn keep(&mut self, part: &[u8]) {
        let room = limits::LOG_LINE_BYTES.saturating_sub(self.begun.len());
        let kept = part.len().min(room);
        self.begun.extend_from_slice(&part[..kept]);
        self.beyond += part.len() - kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, 0, &mut out);
        String::from_utf8(out).expect("always UTF-8")
    }

    fn lines_of(chunks: &[&[u8]]) -> Vec<(String, usize)> {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        let mut each = |line: &[u8], beyond| {
            got.push((String::from_utf8_lossy(line).into_owned(), beyond));
        };
        for chunk in chunks {
            lines.feed(chunk, &mut each);
        }
        lines.finish(&mut each);
        got
    }

    // T7
    #[test]
    fn nothing_that_a_script_prints_can_forge_a_record_or_move_a_cursor() {
        assert_eq!(escaped(b"plain\ttab \\ ~"), "plain\ttab \\ ~");
        assert_eq!(escaped(b"a\rFAKE\x1b[2J\0"), "a\\x0dFAKE\\x1b[2J\\x00");
        assert_eq!(
            escaped("\u{85}\u{2028}\u{202e}ä".as_bytes()),
            "\\u{85}\\u{2028}\\u{202e}ä"
        );
        assert_eq!(escaped(b"\xff\xc3("), "\\xff\\xc3(");
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let long = vec![b'x'; limits::LOG_LINE_BYTES + 5];
        assert!(escaped(&long).ends_with("x [5 more bytes cut]"));
        let got = lines_of(&[&long, &long, b"\nnext\n"]);
        assert_eq!(got[0].1, limits::LOG_LINE_BYTES + 10);
        assert_eq!(got[1], ("next".to_owned(), 0));
    }

    #[test]
    fn lines_do_not_depend_on_how_they_were_read() {
        let whole = lines_of(&[b"one\n\ntwo\nthree"]);
        for at in 0..14 {
            let (before, after) = b"one\n\ntwo\nthree".split_at(at);
            assert_eq!(lines_of(&[before, after]), whole, "cut at {at}");
        }
        assert_eq!(whole.len(), 4);
    }

    /// The bytes that a record's text stands for: a reader of its own.
    fn read(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let hex = |digits: Option<&str>| u32::from_str_radix(digits?, 16).ok();
            let brace = rest
                .strip_prefix("\\u{")
                .and_then(|rest| rest.split_once('}'));
            let byte = rest.strip_prefix("\\x").and_then(|rest| hex(rest.get(..2)));
            if let Some((code, after)) = brace {
                let character = char::from_u32(hex(Some(code)).unwrap()).unwrap();
                out.extend_from_slice(character.to_string().as_bytes());
                rest = after;
            } else if let Some(byte) = byte {
                out.push(byte as u8);
                rest = &rest[4..];
            } else {
                out.extend_from_slice(first.to_string().as_bytes());
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    }

    // T7: 10^5 lines, 10^6 with MOONKEEP_LONG=1.
    #[test]
    fn each_printed_line_is_one_record_that_says_exactly_what_was_printed() {
        const PARTS: &[&str] = &[
            "a",
            "\\",
            "\\x1b",
            "\\x",
            "\\u{2028}",
            "\\u{",
            "x41",
            "u{61}",
            "\u{1b}[2J",
            "\r",
            "\0",
            "\t",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\u{202e}",
            "\u{61c}",
            "\u{e4}",
            "\u{1f600}",
            "2026-11-21T00:00:00.000Z ERROR ",
            "[other#1] ",
            " [5 more bytes cut]",
        ];
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % end
        };
        let rounds = if std::env::var_os("MOONKEEP_LONG").is_some() {
            1_000_000
        } else {
            100_000
        };
        for _ in 0..rounds {
            let mut line = Vec::new();
            for _ in 0..next(6) {
                line.extend_from_slice(PARTS[next(PARTS.len())].as_bytes());
                if next(8) == 0 {
                    line.push(next(256) as u8);
                }
            }
            line.retain(|byte| *byte != b'\n');
            let record = escaped(&line);
            assert!(
                !record.chars().any(|c| c.is_control() && c != '\t'),
                "{record:?}"
            );
            assert!(
                !record.contains(['\u{2028}', '\u{2029}', '\u{202e}', '\u{61c}']),
                "{record:?}"
            );
            assert_eq!(read(&record), line, "{record:?}");
        }
    }
}
