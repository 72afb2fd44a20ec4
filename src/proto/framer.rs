//! Cutting bytes into lines.
//!
//! A [`Framer`] is fed whatever a read returned and gives back whole lines, borrowed from the read
//! itself where they lie whole in it. It never keeps more than its cap, never ends a stream because of
//! one bad line, and its output does not depend on how the bytes were cut into reads. It strips the
//! `\n` and nothing else: a `\r` of a telnet-like client is the text codec's affair.

use memchr::memchr;

/// One line, or what became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Without its newline; may be empty, may be invalid UTF-8.
    Line(&'a [u8]),
    /// A line longer than the cap, now over. `first` (its first byte) tells its encoding.
    TooLong { first: u8, dropped: usize },
}

/// What was left when the stream ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Eof<'a> {
    /// The last line was whole.
    Clean,
    /// A line had begun; it was never finished and counts as never sent.
    Partial(&'a [u8]),
    /// The unfinished line was over-long as well.
    TooLong { dropped: usize },
}

/// The state between two reads: the beginning of a line, if one has begun.
#[derive(Debug)]
pub struct Framer {
    cap: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The beginning of a line; empty between lines.
    Keeping(Vec<u8>),
    /// Keeps a line that was handed out, only so that its memory lives until the next call.
    HandedOut(Vec<u8>),
    /// In an over-long line.
    Skipping { first: u8, dropped: usize },
}

/// A kept line's memory beyond this is given back, so that one long line does not stay for ever.
const KEEP_BYTES: usize = 4 * 1024;

impl Framer {
    /// A framer for lines of at most `cap` bytes, newline not counted.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Framer {
            cap,
            state: State::Keeping(Vec::new()),
        }
    }

    /// The next line of `input`, which is advanced past it. `None`: `input` is used up.
    ///
    /// Call it until it gives `None` before the bytes of `input` are thrown away.
    pub fn next<'s, 'c: 's>(&'s mut self, input: &mut &'c [u8]) -> Option<Frame<'s>> {
        self.forget_handed_out();
        let Some(at) = memchr(b'\n', input) else {
            self.keep(input);
            *input = &[];
            return None;
        };
        let (line, rest) = (&input[..at], &input[at + 1..]);
        *input = rest;
        Some(self.complete(line))
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        match &self.state {
            State::Keeping(kept) => !kept.is_empty(),
            State::HandedOut(_) => false,
            State::Skipping { .. } => true,
        }
    }

    /// What the end of the stream leaves behind.
    #[must_use]
    pub fn finish(&self) -> Eof<'_> {
        match &self.state {
            State::Keeping(kept) if !kept.is_empty() => Eof::Partial(kept),
            State::Keeping(_) | State::HandedOut(_) => Eof::Clean,
            State::Skipping { dropped, .. } => Eof::TooLong { dropped: *dropped },
        }
    }

    fn forget_handed_out(&mut self) {
        if let State::HandedOut(line) = &mut self.state {
            let mut kept = std::mem::take(line);
            kept.clear();
            kept.shrink_to(KEEP_BYTES);
            self.state = State::Keeping(kept);
        }
    }

    /// Takes in the beginning, or more, of a line whose end is not there yet.
    fn keep(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Keeping(kept) if kept.len() + bytes.len() <= self.cap => {
                grow(kept, bytes.len(), self.cap);
                kept.extend_from_slice(bytes);
            }
            State::Keeping(kept) => {
                let first = *kept.first().or(bytes.first()).unwrap_or(&b' ');
                let dropped = kept.len() + bytes.len();
                self.state = State::Skipping { first, dropped };
            }
            State::Skipping { dropped, .. } => *dropped += bytes.len(),
            State::HandedOut(_) => unreachable!("forgotten at the beginning of next()"),
        }
    }

    /// `end` is the rest of a line up to its newline.
    fn complete<'s>(&'s mut self, end: &'s [u8]) -> Frame<'s> {
        self.keep_unless_whole(end);
        match &mut self.state {
            State::Keeping(kept) if kept.is_empty() => Frame::Line(end),
            State::Keeping(kept) => {
                self.state = State::HandedOut(std::mem::take(kept));
                match &self.state {
                    State::HandedOut(line) => Frame::Line(line),
                    State::Keeping(_) | State::Skipping { .. } => {
                        unreachable!("set in the line above")
                    }
                }
            }
            State::Skipping { first, dropped } => {
                let (first, dropped) = (*first, *dropped);
                self.state = State::Keeping(Vec::new());
                Frame::TooLong { first, dropped }
            }
            State::HandedOut(_) => unreachable!("forgotten at the beginning of next()"),
        }
    }

    /// A line that lies whole in its read and fits is not copied.
    fn keep_unless_whole(&mut self, end: &[u8]) {
        let whole = matches!(&self.state, State::Keeping(kept) if kept.is_empty());
        if !whole || end.len() > self.cap {
            self.keep(end);
        }
    }
}

/// Doubles as a `Vec` does, but never beyond the cap.
fn grow(kept: &mut Vec<u8>, more: usize, cap: usize) {
    let need = kept.len() + more;
    if need > kept.capacity() {
        let target = need.max(kept.capacity() * 2).min(cap.max(need));
        kept.reserve_exact(target - kept.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` cut at every `step` bytes; renders the frames.
    fn frames(input: &[u8], step: usize, cap: usize) -> Vec<String> {
        let mut framer = Framer::new(cap);
        let mut seen = Vec::new();
        for chunk in input.chunks(step) {
            let mut rest = chunk;
            while let Some(frame) = framer.next(&mut rest) {
                seen.push(match frame {
                    Frame::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    Frame::TooLong { first, dropped } => format!("<{}:{dropped}>", first as char),
                });
            }
            if let State::Keeping(kept) = &framer.state {
                assert!(kept.len() <= cap && kept.capacity() <= cap.max(KEEP_BYTES));
            }
        }
        seen.push(format!("{:?}", framer.finish()));
        seen
    }

    // R-029, FI-5
    #[test]
    fn the_lines_do_not_depend_on_how_the_bytes_were_cut() {
        let input =
            "eins\n\nzw\u{e4}i \u{1f600}\r\n{\"too\":\"long, this one\"}\nx\n0123456789\nrest";
        let whole = frames(input.as_bytes(), input.len(), 12);
        let bytes = input.lines().nth(3).unwrap_or_default().len();
        assert_eq!(whole[0], "eins");
        assert_eq!(whole[1], "");
        assert_eq!(whole[2], "zw\u{e4}i \u{1f600}\r".to_owned());
        assert_eq!(whole[3], format!("<{{:{bytes}>"));
        assert_eq!(whole[5], "0123456789");
        assert!(whole[6].starts_with("Partial"));
        for step in 1..input.len() {
            assert_eq!(frames(input.as_bytes(), step, 12), whole, "step {step}");
        }
    }

    // T9: an endless line costs no memory.
    #[test]
    fn an_over_long_line_is_skipped_and_the_next_one_is_read() {
        let mut framer = Framer::new(100);
        for _ in 0..10_000 {
            assert_eq!(framer.next(&mut &[b'a'; 1000][..]), None);
            assert!(framer.has_begun());
        }
        let mut rest = &b"\nping\n"[..];
        let dropped = 10_000_000;
        assert_eq!(
            framer.next(&mut rest),
            Some(Frame::TooLong {
                first: b'a',
                dropped
            })
        );
        assert_eq!(framer.next(&mut rest), Some(Frame::Line(b"ping")));
        assert_eq!(framer.next(&mut rest), None);
        assert!(!framer.has_begun());
        assert_eq!(framer.finish(), Eof::Clean);
    }

    #[test]
    fn a_line_of_exactly_the_cap_is_a_line() {
        for step in [1, 3, 10, 11, 12] {
            assert_eq!(frames(b"0123456789\n", step, 10), ["0123456789", "Clean"]);
            assert_eq!(frames(b"0123456789x\n", step, 10), ["<0:11>", "Clean"]);
        }
    }
}
