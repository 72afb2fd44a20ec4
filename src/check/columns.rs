//! How wide text is on a terminal; shortening and wrapping it there. Pure.
//!
//! It knows what is needed to keep a table straight: characters that take no column, and those that take two.

use std::borrow::Cow;

/// Columns that `text` takes on one line.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

fn of_char(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        '\u{300}'..='\u{36f}'
        | '\u{200b}'..='\u{200d}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0100}'..='\u{e01ef}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// At most so many columns; what is cut off at the end shows as `…`.
#[must_use]
pub fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most {
        return Cow::Borrowed(text);
    }
    let kept = fitting(text, most.saturating_sub(1));
    Cow::Owned(format!("{}…", &text[..kept]))
}

/// At most so many columns; both ends stay, for names that differ at their ends.
#[must_use]
pub fn shorten_middle(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most {
        return Cow::Borrowed(text);
    }
    let room = most.saturating_sub(1);
    let head = &text[..fitting(text, room - room / 2)];
    let backwards: String = text.chars().rev().collect();
    let tail: String = backwards[..fitting(&backwards, room / 2)]
        .chars()
        .rev()
        .collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// Lines of at most so many columns, broken at blanks where there are some. At least one line.
#[must_use]
pub fn wrap(text: &str, most: usize) -> Vec<String> {
    let most = most.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > most {
        // A character wider than a line stands on one of its own.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let fits = fitting(rest, most).max(first);
        let blank = rest[..fits].rfind(' ').filter(|at| *at > 0);
        let cut = match rest[fits..].chars().next() {
            Some(' ') => fits,
            Some(_) | None => blank.unwrap_or(fits),
        };
        lines.push(rest[..cut].trim_end().to_owned());
        rest = rest[cut..].trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// With blanks behind it up to so many columns.
#[must_use]
pub fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Bytes of `text` that take at most so many columns.
fn fitting(text: &str, most: usize) -> usize {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += of_char(c);
        if taken > most {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_counted_as_terminals_do() {
        for (text, columns) in [("", 0), ("abc", 3), ("äö", 2), ("e\u{301}", 1), ("日本", 4)] {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(padded("日", 4), "日  ");
    }

    #[test]
    fn what_is_shortened_shows_it() {
        assert_eq!(shorten("connection refused", 10), "connectio…");
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten_middle("tcp 10.20.30.40:8443", 11), "tcp 1…:8443");
        assert_eq!(shorten("日本語", 5), "日本…");
        assert_eq!(shorten("日本語", 4), "日…");
    }

    #[test]
    fn lines_break_at_blanks() {
        assert_eq!(wrap("", 9), [""]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked_and_wrapping_loses_blanks_only(text in "[a-z日é ]{0,60}", most in 2_usize..30) {
            prop_assert!(width(&shorten(&text, most)) <= most);
            prop_assert!(width(&shorten_middle(&text, most)) <= most);
            let lines = wrap(&text, most);
            prop_assert!(lines.iter().all(|line| width(line) <= most), "{lines:?}");
            prop_assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
