//! The shell: batches from a pipe, and a terminal.

use std::path::Path;

use super::TALKER;
use crate::harness::{Finished, Home, installed, wait_until};

#[track_caller]
fn batch(home: &Home, lines: &str) -> Finished {
    home.moonkeep(&["shell"]).input(lines).run()
}

#[test]
fn a_batch_prints_each_answer_and_exits_with_the_worst() {
    let home = Home::new().script("talker.lua", TALKER);
    let _daemon = home.up();
    let finished = batch(
        &home,
        "# a remark\n\ncall talker text name=Ada\ncall talker text\n",
    )
    .expect_code(0);
    assert_eq!(finished.stdout, "hello Ada\nhello world\n");
    assert_eq!(finished.stderr, "");
    let finished = batch(&home, "call talker fail\ncall talker text\n").expect_code(1);
    assert_eq!(
        finished.stdout, "hello world\n",
        "it goes on after a failure"
    );
    assert!(
        finished.stderr.contains("no luck today"),
        "{}",
        finished.stderr
    );
    let finished = batch(&home, "call talker slow --timeout=0.1\nstatsu\n");
    assert!(finished.stderr.contains("status"), "{}", finished.stderr);
    batch(&home, "exit\ncall talker fail\n").expect_code(0);
}

#[test]
fn json_and_text_prefixes_choose_the_form() {
    let home = Home::new().script("talker.lua", TALKER);
    let _daemon = home.up();
    let out = batch(
        &home,
        "json call talker text\ntext status\njson status\nping\n",
    )
    .ok();
    let lines: Vec<&str> = out.lines().collect();
    let first: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!(first["result"], "hello world");
    assert!(out.contains("\nUUID: "), "{out}");
    let pong = lines.last().expect("a line");
    assert!(
        pong.starts_with("pong ") && pong.ends_with("active=true"),
        "{pong}"
    );
}

/// Runs the shell in a terminal of tmux and types.
struct Terminal<'a> {
    home: &'a Home,
}

impl<'a> Terminal<'a> {
    fn open(home: &'a Home, command: &str) -> Self {
        let terminal = Terminal { home };
        // Ctrl-C goes to the surrounding shell too.
        let line = format!(
            "trap : INT; {} {command}; echo EXIT=$?; sleep 60",
            env!("CARGO_BIN_EXE_moonkeep")
        );
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "40",
            &line,
        ]);
        terminal
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        self.try_tmux(arguments).ok()
    }

    fn try_tmux(&self, arguments: &[&str]) -> Finished {
        let socket = self.home.path("tmux").display().to_string();
        let all = [&["-S", &socket], arguments].concat();
        self.home
            .program(Path::new("/usr/bin/tmux"))
            .args(&all)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .run()
    }

    fn type_line(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn see(&self, part: &str) {
        wait_until(part, || self.screen().contains(part));
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // A server that is gone is as good.
        self.try_tmux(&["kill-server"]);
    }
}

#[test]
fn a_terminal_has_completion_history_and_survives_a_restart() {
    // R-024 R-041
    let test = "a_terminal_has_completion_history_and_survives_a_restart";
    if !installed("tmux", test) {
        return;
    }
    let home = Home::new().script("talker.lua", TALKER);
    let daemon = home.up();
    let before = home.status()["uuid"].as_str().expect("a uuid").to_owned();
    let terminal = Terminal::open(&home, "shell");
    terminal.see("Connected to the moonkeep daemon");
    terminal.see("moonkeep>");
    terminal.type_line(&["call tal", "Tab", "tex", "Tab", "name=Bob", "Enter"]);
    terminal.see("hello Bob");
    terminal.type_line(&["call talker escape", "Enter"]);
    terminal.see("^[]52;c;aGk=^G^[[31mred");
    terminal.type_line(&["call talker slow", "Enter"]);
    wait_until("the request runs", || {
        home.script_status("talker")["in_flight"] == 1
    });
    terminal.type_line(&["C-c"]);
    terminal.see("stopped at its asker's wish");
    daemon.kill();
    let _daemon = home.up();
    let after = home.status()["uuid"].as_str().expect("a uuid").to_owned();
    terminal.see("the daemon was restarted");
    let screen = terminal.screen().replace('\n', "");
    assert!(
        screen.contains(&before) && screen.contains(&after),
        "{screen}"
    );
    terminal.type_line(&["call talker text name=Eve", "Enter"]);
    terminal.see("hello Eve");
    terminal.type_line(&["C-d"]);
    terminal.see("EXIT=0");
    let history = home.read("state/shell_history");
    assert!(history.contains("call talker text name=Eve"), "{history}");
}
