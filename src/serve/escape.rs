//! What scripts, plugins and peers say is data: here it becomes HTML that shows it and can do nothing else.

use std::fmt::{self, Write as _};

/// Text as HTML, in an element or in a quoted attribute. What cannot be seen, or turns the direction of writing, is
/// shown as `\x1b`, `\u{202e}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Html<'a> {
    text: &'a str,
    most: usize,
    breaks: Breaks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Shown,
    Kept,
}

impl<'a> Html<'a> {
    /// On one line: newlines are shown as `\n`. Of more than `most` bytes the rest is left out.
    pub(super) fn line(text: &'a str, most: usize) -> Self {
        let breaks = Breaks::Shown;
        Html { text, most, breaks }
    }

    /// Newlines and tabs are kept.
    pub(super) fn lines(text: &'a str, most: usize) -> Self {
        let breaks = Breaks::Kept;
        Html { text, most, breaks }
    }
}

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self
            .text
            .char_indices()
            .map(|(at, _)| at)
            .take_while(|at| *at <= self.most)
            .last()
        {
            Some(last) if self.text.len() > self.most => last,
            Some(_) | None => self.text.len(),
        };
        for c in self.text[..end].chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' if self.breaks == Breaks::Kept => f.write_char(c)?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c if c.is_control() || is_unseen(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        if end < self.text.len() {
            f.write_char('\u{2026}')?;
        }
        Ok(())
    }
}

/// Marks of direction, separators of lines, and what has no width. The joiners of emojis and scripts stay.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// For a text/plain answer: one line, whatever it holds.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_unseen(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_can_do_nothing() {
        for (text, line) in [
            (
                "<script>alert('&\"')</script>",
                "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;",
            ),
            ("a\u{1b}[31m\r\n\tb\0", "a\\x1b[31m\\r\\n\\tb\\x00"),
            (
                "\u{202e}evil\u{2066}\u{feff}\u{85}",
                "\\u{202e}evil\\u{2066}\\u{feff}\\u{85}",
            ),
            (
                "\u{1f468}\u{200d}\u{1f469} \u{fc}",
                "\u{1f468}\u{200d}\u{1f469} \u{fc}",
            ),
        ] {
            assert_eq!(Html::line(text, 999).to_string(), line);
        }
        assert_eq!(Html::lines("a\n\tb\r", 99).to_string(), "a\n\tb\\r");
        assert_eq!(plain("a\n[+]b\u{202e}"), "a\\n[+]b\\u{202e}");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Html::line("abc", 3).to_string(), "abc");
        assert_eq!(Html::line("abcd", 3).to_string(), "abc\u{2026}");
        assert_eq!(Html::line("a\u{20ac}\u{20ac}", 3).to_string(), "a\u{2026}");
    }
}
