//! The only place that prints. Results go to stdout, everything else to stderr.
//!
//! What comes from scripts is data: on a terminal control characters are shown escaped, in a pipe bytes
//! stay as they are. A reader that goes away ends the command quietly.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit::{Exit, Failure};

/// `--color`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// A colour that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

/// Where the words go, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    stdout: Form,
    stderr: Form,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

/// What one of the two streams can show.
#[derive(Clone, Copy, Debug)]
struct Form {
    terminal: bool,
    color: bool,
    /// Colours in data may pass (`--color always`).
    data_color: bool,
}

impl Form {
    fn of(terminal: bool, color: Color) -> Self {
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Form {
            terminal,
            color: wanted,
            data_color: color == Color::Always,
        }
    }
}

impl Output {
    pub(crate) fn new(color: Color, json: bool, quiet: bool, verbose: bool) -> Self {
        Output {
            stdout: Form::of(io::stdout().is_terminal(), color),
            stderr: Form::of(io::stderr().is_terminal(), color),
            json,
            quiet,
            verbose,
        }
    }

    /// The same, with or without JSON.
    pub(crate) fn in_json(&self, json: bool) -> Output {
        Output {
            json,
            ..self.clone()
        }
    }

    /// The same, without remarks.
    pub(crate) fn quietly(&self) -> Output {
        Output {
            quiet: true,
            verbose: false,
            ..self.clone()
        }
    }

    /// Whether a person looks at stderr: progress bars are for them.
    pub(crate) fn shows_progress(&self) -> bool {
        self.stderr.terminal && !self.quiet && !self.json
    }

    /// A line of our own words for stdout; data in it has been escaped by its writer.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        write_out(&[text.as_bytes(), b"\n"])
    }

    /// A script's data and a newline, if there is none at its end.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
        write_out(&[self.shown(text).as_bytes(), end])
    }

    /// Bytes of a log, as they are in a pipe.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        if self.stdout.terminal {
            let text = String::from_utf8_lossy(bytes);
            write_out(&[self.shown(&text).as_bytes()])
        } else {
            write_out(&[bytes])
        }
    }

    /// One JSON document on one line.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("our own types serialize");
        self.json_text(&text)
    }

    /// JSON that is written already. On a terminal what would steer it stands as JSON's own escapes: the value is the same.
    pub(crate) fn json_text(&self, text: &str) -> Result<(), Failure> {
        if self.stdout.terminal {
            write_out(&[escape_json(text).as_bytes(), b"\n"])
        } else {
            write_out(&[text.as_bytes(), b"\n"])
        }
    }

    /// As [`Output::data`] would print it, for the middle of a line.
    pub(crate) fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.stdout.terminal {
            escape(text, self.stdout.data_color)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Whether our own words on stdout are coloured.
    pub(crate) fn colors(&self) -> bool {
        self.stdout.color
    }

    /// Columns of the terminal that stdout is; `None`: it is none.
    pub(crate) fn width(&self) -> Option<usize> {
        if !self.stdout.terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        // Terminals that do not know it say 0.
        Some(if columns == 0 { 80 } else { columns })
    }

    /// Our own word in its colour, for stdout.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        painted(self.stdout.color, paint, text)
    }

    /// A remark on stderr: what was done, what to do next. Not with `-q`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(&self.stderr_shown(text));
        }
    }

    /// A warning on stderr, also with `-q`.
    pub(crate) fn warn(&self, text: &str) {
        let sign = painted(self.stderr.color, Paint::Warn, "moonkeep:");
        self.complain(&format!("{sign} {}", self.stderr_shown(text)));
    }

    /// Why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        let sign = painted(self.stderr.color, Paint::Bad, "moonkeep:");
        self.complain(&format!("{sign} {}", self.stderr_shown(&failure.message)));
        match &failure.detail {
            Some(detail) if self.verbose => self.complain(&self.stderr_shown(detail)),
            Some(_) if !self.quiet => self.complain("Add -v for the traceback."),
            Some(_) | None => {}
        }
    }

    fn stderr_shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.stderr.terminal {
            escape(text, false)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Nobody can be told that stderr is broken.
    fn complain(&self, text: &str) {
        let line = format!("{text}\n");
        let _lost = io::stderr().write_all(line.as_bytes());
    }
}

fn painted(color: bool, paint: Paint, text: &str) -> String {
    if !color {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => "32",
        Paint::Warn => "33",
        Paint::Bad => "31",
        Paint::Dim => "2",
        Paint::Bold => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

fn write_out(pieces: &[&[u8]]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let mut write = || -> io::Result<()> {
        for piece in pieces {
            stdout.write_all(piece)?;
        }
        stdout.flush()
    };
    write().map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::silent(Exit::Ok);
        }
        let text = format!("cannot write the result: {error}. Make room, or send it elsewhere");
        Failure::new(Exit::Failed, text)
    })
}

/// Makes text harmless for a terminal: every control character but newline and tab, and those that
/// reorder text, is shown instead of obeyed. With `colors`, plain colour sequences pass.
pub(crate) fn escape(text: &str, colors: bool) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut colored = false;
    while let Some(c) = rest.chars().next() {
        let passing = if colors { color_sequence(rest) } else { 0 };
        if passing > 0 {
            out.push_str(&rest[..passing]);
            rest = &rest[passing..];
            colored = true;
            continue;
        }
        push_shown(&mut out, c);
        rest = &rest[c.len_utf8()..];
    }
    if colored {
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

/// Makes a JSON text harmless for a terminal. Outside of strings JSON has nothing that is harmful.
fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) {
            // Each of them is one unit of UTF-16.
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn push_shown(out: &mut String, c: char) {
    match c {
        c if !is_harmful(c) => out.push(c),
        '\u{7f}' => out.push_str("^?"),
        c if c.is_ascii() => {
            out.push('^');
            // Caret form: the control character's code plus 64 is its letter.
            out.push(char::from(c as u8 | 0x40));
        }
        c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
    }
}

fn is_harmful(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{61c}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{2028}' | '\u{2029}' => true,
        c => c.is_control(),
    }
}

/// The length of `ESC [ digits ; digits m` at the start of `text`, or 0.
fn color_sequence(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let body = rest
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b';' || *byte == b':')
        .count();
    if rest.as_bytes().get(body) == Some(&b'm') {
        2 + body + 1
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
