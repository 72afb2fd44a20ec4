//! What a terminal would make of what is printed: told by an emulator's own parser.

use proptest::prelude::*;
use vte::{Params, Parser, Perform};

use super::*;

#[test]
fn what_steers_a_terminal_is_shown_instead() {
    // T8
    for (text, shown) in [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\u{1b}[31mred\u{1b}[0m", "^[[31mred^[[0m"),
        ("\u{1b}]52;c;aGk=\u{7}", "^[]52;c;aGk=^G"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("a\rb\u{8}\u{0}\u{7f}", "a^Mb^H^@^?"),
        ("\u{202e}evil", "\\u{202e}evil"),
        ("line\u{2028}", "line\\u{2028}"),
        ("héllo ✓", "héllo ✓"),
    ] {
        assert_eq!(escape(text, false), shown);
    }
}

#[test]
fn with_colours_only_colours_pass() {
    assert_eq!(escape("\u{1b}[1;31mx", true), "\u{1b}[1;31mx\u{1b}[0m");
    assert_eq!(escape("\u{1b}[2Jx", true), "^[[2Jx");
    assert_eq!(escape("\u{1b}[31", true), "^[[31");
}

proptest! {
    #[test]
    fn nothing_harmful_is_left(text in any::<String>()) {
        prop_assert!(!escape(&text, false).chars().any(is_harmful));
    }
}

/// What a terminal was told beside printing characters, newlines and tabs.
#[derive(Default)]
struct Terminal {
    colors: usize,
    steered: Vec<String>,
}

impl Perform for Terminal {
    fn print(&mut self, c: char) {
        // The parser prints what an emulator may still obey.
        if is_harmful(c) {
            self.steered.push(format!("print {c:?}"));
        }
    }
    fn execute(&mut self, byte: u8) {
        if byte != b'\n' && byte != b'\t' {
            self.steered.push(format!("execute {byte:#x}"));
        }
    }
    fn hook(&mut self, _: &Params, _: &[u8], _: bool, action: char) {
        self.steered.push(format!("DCS {action}"));
    }
    fn put(&mut self, byte: u8) {
        self.steered.push(format!("DCS byte {byte:#x}"));
    }
    fn unhook(&mut self) {
        self.steered.push("end of DCS".to_owned());
    }
    fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
        self.steered.push(format!("OSC {params:?}"));
    }
    fn csi_dispatch(&mut self, _: &Params, intermediates: &[u8], _: bool, action: char) {
        match (action, intermediates) {
            ('m', []) => self.colors += 1,
            _ => self.steered.push(format!("CSI {intermediates:?} {action}")),
        }
    }
    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        self.steered.push(format!("ESC {byte:#x}"));
    }
}

/// What becomes of bytes that a script printed, each form of them that is shown on a terminal.
fn assert_harmless(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let json = serde_json::to_string(&text).unwrap();
    let shown = [
        (escape(&text, false), false),
        (escape(&text, true), true),
        (escape_json(&json), false),
        (crate::check::text::escaped(&text).into(), false),
    ];
    for (shown, colors) in shown {
        let mut terminal = Terminal::default();
        Parser::new().advance(&mut terminal, shown.as_bytes());
        assert_eq!(terminal.steered, Vec::<String>::new(), "{shown:?}");
        assert!(colors || terminal.colors == 0, "{shown:?}");
    }
    let read: String = serde_json::from_str(&escape_json(&json)).unwrap();
    assert_eq!(read, text, "on a terminal JSON is the same value");
}

/// What terminals have been attacked with, and what steers them.
const ATTACKS: &[&str] = &[
    // Operating system commands: title, clipboard, colours, links, notifications, current folder, files, marks.
    "\u{1b}]0;title\u{7}",
    "\u{1b}]2;title\u{1b}\\",
    "\u{1b}]l title\u{1b}\\",
    "\u{1b}]52;c;aGVsbG8=\u{7}",
    "\u{1b}]52;c;?\u{7}",
    "\u{1b}]4;1;?\u{7}",
    "\u{1b}]10;?\u{7}",
    "\u{1b}]11;#000\u{7}",
    "\u{1b}]8;;http://x\u{7}y\u{1b}]8;;\u{7}",
    "\u{1b}]9;note\u{7}",
    "\u{1b}]777;notify;a;b\u{7}",
    "\u{1b}]7;file:///etc\u{7}",
    "\u{1b}]1337;File=inline=1:AAAA\u{7}",
    "\u{1b}]133;C\u{7}",
    "\u{1b}]50;font\u{7}",
    "\u{1b}]104\u{7}",
    "\u{9d}0;title\u{9c}",
    // Asking the terminal, which answers as if it had been typed.
    "\u{1b}[c",
    "\u{1b}[>c",
    "\u{1b}[=c",
    "\u{1b}[5n",
    "\u{1b}[6n",
    "\u{1b}[21t",
    "\u{1b}[20t",
    "\u{1b}[18t",
    "\u{1b}[x",
    "\u{1b}[?1$p",
    "\u{1b}P$q\"p\u{1b}\\",
    "\u{1b}P+q544e\u{1b}\\",
    "\u{5}",
    "\u{1b}Z",
    // Device control, applications, privacy messages.
    "\u{1b}P1$r\u{1b}\\",
    "\u{1b}Pq#0;2;0;0;0\u{1b}\\",
    "\u{1b}_Gf=24;AAAA\u{1b}\\",
    "\u{1b}^x\u{1b}\\",
    "\u{1b}X x\u{1b}\\",
    "\u{90}1$r\u{9c}",
    "\u{9f}x\u{9c}",
    // Moving, erasing, scrolling, modes, keys, tabs, windows, printers, character sets, reset.
    "\u{1b}[2J",
    "\u{1b}[3J",
    "\u{1b}[K",
    "\u{1b}[1;1H",
    "\u{1b}[99A",
    "\u{1b}[s\u{1b}[u",
    "\u{1b}7\u{1b}8",
    "\u{1b}[1;5r",
    "\u{1b}[?1049h",
    "\u{1b}[?25l",
    "\u{1b}[?1000h",
    "\u{1b}[?2004l",
    "\u{1b}[4h",
    "\u{1b}[8;1;1t",
    "\u{1b}[2t",
    "\u{1b}[5i",
    "\u{1b}[4i",
    "\u{1b}[3g",
    "\u{1b}[0q",
    "\u{1b}[!p",
    "\u{1b}c",
    "\u{1b}(0",
    "\u{1b}%G",
    "\u{1b}#8",
    "\u{1b}=",
    "\u{1b}M",
    "\u{1b}D",
    "\u{9b}2J",
    "\u{84}",
    "\u{85}",
    "\u{8d}",
    "\u{e}lq\u{f}",
    "\u{c}",
    "\u{b}",
    "\u{8}\u{8}",
    "\rFAKE",
    "\u{7}",
    // A colour with something in it, and one that never ends.
    "\u{1b}[31\u{7}m",
    "\u{1b}[>4;2m",
    "\u{1b}[?4m",
    "\u{1b}[31 m",
    "\u{1b}[38;5;1\u{1b}[2Jm",
    "\u{1b}[",
    "\u{1b}",
    "\u{1b}\u{1b}[2J",
    "\u{1b}[<u",
    // Direction of writing, and lines that are none.
    "\u{202e}cod.exe\u{202c}",
    "\u{2066}x\u{2069}",
    "\u{200f}",
    "\u{61c}",
    "\u{2028}",
    "\u{2029}",
];

// T8
#[test]
fn no_attack_on_a_terminal_gets_through() {
    for attack in ATTACKS {
        assert_harmless(attack.as_bytes());
        assert_harmless(format!("a{attack}b\u{1b}[1mc{attack}").as_bytes());
    }
    assert!(ATTACKS.len() >= 60);
}

// T8: 10^5 strings, 10^6 with MOONKEEP_LONG=1.
#[test]
fn no_random_bytes_steer_a_terminal() {
    let long = std::env::var_os("MOONKEEP_LONG").is_some();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % end
    };
    for _ in 0..if long { 1_000_000 } else { 100_000 } {
        let mut bytes = Vec::new();
        for _ in 0..next(10) {
            match next(4) {
                0 => bytes.extend_from_slice(ATTACKS[next(ATTACKS.len())].as_bytes()),
                1 => bytes.push(b"\x1b\x9b[]m;:?0189\n\t"[next(14)]),
                2 => bytes.extend_from_slice(b"\x1b[3"),
                _ => bytes.push(next(256) as u8),
            }
            let cut = bytes.len() - next(2).min(bytes.len());
            bytes.truncate(cut);
        }
        assert_harmless(&bytes);
    }
}
