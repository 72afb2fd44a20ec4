//! Headers and `moonkeep.toml`: any bytes give settings, or a fault with its line in one line of text.

use moonkeep::limits;
use moonkeep::options::header::{self, Language};
use moonkeep::options::{Config, Fault, Settings};
use moonkeep::proto::ids::ScriptName;

use super::random::Random;
use super::{PROMPT, campaign, inputs, shown};

/// Lines of settings, right and wrong.
const SETTINGS: &[&str] = &[
    "concurrency = 16",
    "concurrency = 0",
    "queue = 5",
    "timeout = \"1m30s\"",
    "timeout = 5",
    "timeout = \"-1s\"",
    "timeout = 1e400",
    "rate = \"5/s\"",
    "rate = \"5/s burst 9\"",
    "restart = \"never\"",
    "restart = \"sometimes\"",
    "reload = \"restart\"",
    "enabled = false",
    "env = { A = \"b\" }",
    "env.A = \"b\"",
    "args = [\"a\", \"b\"]",
    "args = \"a\"",
    "allow.net = [\"127.0.0.1:80\"]",
    "allow.read = [\"/\"]",
    "allow.run = \"x\"",
    "limits.memory = \"64M\"",
    "limits.cpu = \"off\"",
    "limits.files = 64",
    "durability = \"power\"",
    "memory = 1",
    "ready_timeout = \"10s\"",
    "stop_timeout = \"999h\"",
    "[env]",
    "[limits]",
    "[[args]]",
    "[script.s]",
    "[script.greeter]",
    "[script.\"a b\"]",
    "[check.disk]",
    "autostart = true",
    "autostart = 1",
    "concurency = 1",
    "a.b.c.d = 1",
    "x = 1979-05-27T07:32:00Z",
    "x = 0xffffffffffffffff",
    "x = inf",
    "x = nan",
    "x = '''",
    "x = \"\"\"",
    "x = [1, [2, {y = 3}]]",
    "\"\" = 1",
    "'q' = \"\\u0000\"",
    "x = \"\\ud800\"",
    "# comment",
];

fn toml(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(5) {
        text.extend_from_slice(random.pick(SETTINGS).as_bytes());
        text.push(b'\n');
    }
    if random.once_in(2) {
        inputs::mutate(random, &mut text);
    }
    text
}

/// The same settings as the header of a file.
fn as_header(toml: &[u8], mark: &str) -> Vec<u8> {
    let mut file = format!("{mark} /// moonkeep\n").into_bytes();
    for line in toml.split(|byte| *byte == b'\n') {
        file.extend_from_slice(mark.as_bytes());
        file.push(b' ');
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    file.extend_from_slice(format!("{mark} ///\nprint(1)\n").as_bytes());
    file
}

fn assert_sensible(fault: &Fault, input: &[u8]) {
    assert!(
        !fault.message.is_empty() && fault.message.len() < 2_000,
        "{} bytes",
        fault.message.len()
    );
    assert!(
        !fault.message.contains(['\n', '\r', '\u{1b}', '\0']),
        "{fault:?} of {}",
        shown(input)
    );
    let lines = input.split(|byte| *byte == b'\n').count();
    assert!(
        fault
            .line
            .is_none_or(|line| (1..=lines + 1).contains(&line)),
        "{fault:?} of {}",
        shown(input)
    );
}

// FI-5
#[test]
fn fuzz_headers() {
    campaign("header", 20_000, |random| {
        let language = if random.once_in(2) {
            Language::Lua
        } else {
            Language::Other
        };
        let mark = *random.pick(&[&"--", &"#", &"//"]);
        let mut file = as_header(&toml(random), mark);
        if random.once_in(2) {
            inputs::mutate(random, &mut file);
        }
        let mut settings = Settings::default();
        if let Err(fault) = header::apply(&file, language, &mut settings) {
            assert_sensible(&fault, &file);
        }
    });
}

// FI-5: settings mean the same in a header and in `[script.NAME]`.
#[test]
fn fuzz_configurations() {
    let name = ScriptName::new("s").expect("a name");
    campaign("moonkeep.toml", 20_000, |random| {
        let bytes = toml(random);
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return;
        };
        if let Err(fault) = Config::parse(text) {
            assert_sensible(&fault, &bytes);
        }
        let section = format!("[script.s]\n{text}");
        // A file may begin with a byte order mark. In a header, white space at the end of a line is not part of it; tables and strings may go over several lines;
        // `///` ends it.
        if text.contains("///") || text.contains(['[', '\r', '\u{c}', '\u{feff}', '\'', '"']) {
            return;
        }
        let mut from_header = Settings::default();
        let in_header = header::apply(&as_header(&bytes, "--"), Language::Lua, &mut from_header);
        let mut from_file = Settings::default();
        let in_file = Config::parse(&section).map(|config| config.apply(&name, &mut from_file));
        assert_eq!(
            in_header.is_ok(),
            in_file.is_ok(),
            "{in_header:?} {in_file:?} for {text:?}"
        );
        if in_file.is_ok() {
            assert_eq!(from_header, from_file, "{text:?}");
        }
    });
}

// FI-5, T14: nesting by brackets, tables and dotted keys, as much of it as a file may hold.
#[test]
fn no_nesting_of_a_configuration_overflows_the_stack_or_takes_long() {
    let most = usize::try_from(limits::CONFIG_BYTES).expect("fits") - 100;
    let dots = |unit: &str| format!("x.{}y", unit.repeat(most / unit.len()));
    let texts = [
        format!("x = {}", "[".repeat(most)),
        format!("x = {}{}", "[".repeat(most / 2), "]".repeat(most / 2)),
        format!("x = {}", "{a=".repeat(most / 3)),
        format!("{} = 1", dots("a.")),
        format!("[{}]", dots("a.")),
        format!("[[{}]]", dots("a.")),
        format!("x = {{ {} = 1 }}", dots("a.")),
        format!("[script.s]\nenv.{} = 1", dots("a.")),
        "[[x]]\n".repeat(most / 6),
        (0..most / 12).map(|n| format!("k{n} = 1\n")).collect(),
        format!("x = \"{}\"", "\\u0041".repeat(most / 6)),
    ];
    for text in texts {
        let begun = std::time::Instant::now();
        if let Err(fault) = Config::parse(&text) {
            assert!(fault.message.len() < 2_000, "{} bytes", fault.message.len());
        }
        let header = as_header(text.as_bytes(), "--");
        if let Err(fault) = header::apply(&header, Language::Lua, &mut Settings::default()) {
            assert!(fault.message.len() < 2_000, "{} bytes", fault.message.len());
        }
        let start: String = text.chars().take(20).collect();
        assert!(
            begun.elapsed() < PROMPT,
            "{:?} for {start}...",
            begun.elapsed()
        );
    }
}
