//! What scripts say, shown on a real terminal by every command: shown, never obeyed. In a pipe: as it was.

use std::process::Command;

use crate::harness::{BINARY, Home, installed, wait_until};

/// A title, the clipboard, a question to the terminal, an erased screen, one of C1, a turned line: each with a mark
/// that is looked for in what arrives.
const ATTACKS: &[&str] = &[
    "\u{1b}]0;MARK\u{7}",
    "\u{1b}]52;c;MARK\u{7}",
    "\u{1b}P$qMARK\u{1b}\\",
    "\u{1b}[2JMARK",
    "\u{9b}6nMARK",
    "\u{202e}MARK",
    "\rMARK",
];

const SCRIPT: &str = r#"
local moonkeep = require "moonkeep"
local attack = "\27]0;MARK\7\27]52;c;MARK\7\27P$qMARK\27\\\27[2JMARK\u{9b}6nMARK\u{202e}MARK\rMARK"
moonkeep.handle("text", function() return attack end)
moonkeep.handle("tree", function() return { key = attack } end)
moonkeep.handle("fails", function() error(attack, 0) end)
moonkeep.handle("parts", function(request) request:part { note = attack, progress = 0.5 } return 1 end)
moonkeep.handle("emits", function() moonkeep.emit("news", { text = attack }) end)
print(attack)
"#;

const BROKEN: &str = "error('\\27]0;MARK\\7\\27[2JMARK\\u{9b}6nMARK\\u{202e}MARK', 0)";

const PLUGIN: &str = r#"
local attack = "\27]0;MARK\7\27[2JMARK\u{9b}6nMARK\u{202e}MARK\rMARK"
check("evil", {}, function() print(attack) error(attack, 0) end)
"#;

/// Runs a command line of moonkeep on a terminal of its own; gives what the terminal was told.
fn on_a_terminal(home: &Home, arguments: &str) -> String {
    told(home, &format!("exec {BINARY} {arguments}"))
}

fn told(home: &Home, line: &str) -> String {
    let line = format!("stty -opost -echo; {line}");
    let finished = home
        .program("/usr/bin/env".as_ref())
        .args(&["script", "-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .run();
    finished.stdout
}

/// Nothing that steers a terminal stands beside the mark.
fn assert_shown(name: &str, told: &str) {
    assert!(told.contains("MARK"), "{name} shows it: {told:?}");
    for attack in ATTACKS {
        assert!(!told.contains(attack), "{name} passes {attack:?}: {told:?}");
    }
}

// T8
#[test]
fn what_a_script_says_steers_no_terminal_and_stays_as_it_was_in_a_pipe() {
    if !installed("script", "terminals") || Command::new("stty").arg("--version").output().is_err()
    {
        return;
    }
    let home = Home::new()
        .script("evil.lua", SCRIPT)
        .script("broken.lua", BROKEN)
        .file("plugins/evil.lua", PLUGIN);
    let _daemon = home.up();
    wait_until("its log is written", || {
        home.run(&["logs", "evil"]).stdout.contains("MARK")
    });
    wait_until("its check has run", || {
        home.run(&["checks"]).stdout.contains("MARK")
    });
    let events = format!(
        "(for n in 1 2 3 4; do sleep 0.1; {BINARY} call evil emits; done >/dev/null 2>&1 &); exec {BINARY} events --timeout 2"
    );
    let shell = format!("printf 'call evil text\\ncall evil fails\\n' | {BINARY} shell");
    for (name, line) in [("events", events), ("shell", shell)] {
        assert_shown(name, &told(&home, &line));
    }
    for command in [
        "check -f text",
        "check -f text -v",
        "check -f json",
        "check -f jsonl",
        "checks",
        "checks -v",
        "checks --json",
        "check -f junit",
        "check -f tap",
        "check -f nagios",
        "check -f prometheus",
        "call evil text",
        "call evil tree",
        "call evil fails",
        "call evil fails -v",
        "call evil parts",
        "call evil text --json",
        "call evil tree --json",
        "logs evil",
        "logs evil --json",
        "status",
        "status --json",
        "list",
        "list --json",
        "eval evil 'return \"\\27]0;MARK\\7\\27[2JMARK\\u{9b}6nMARK\"'",
    ] {
        assert_shown(command, &on_a_terminal(&home, command));
    }
    let piped = home.run(&["call", "evil", "text"]).stdout;
    for attack in ATTACKS {
        assert!(
            piped.contains(attack),
            "in a pipe {attack:?} stays: {piped:?}"
        );
    }
}
