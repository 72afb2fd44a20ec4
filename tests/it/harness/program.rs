//! A program run to its end, with captured output, its exit code and a deadline.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A program to run, with an environment of its own: only `PATH`, `LANG`, `MOONKEEP_WEAKEN` and
/// what [`Program::env`] adds.
pub(crate) struct Program {
    command: Command,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Program {
    pub(crate) fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8");
        // A weakened build has to be weak in every process; others do not look.
        if let Some(weakening) = std::env::var_os("MOONKEEP_WEAKEN") {
            command.env("MOONKEEP_WEAKEN", weakening);
        }
        Program {
            command,
            input: None,
            limit: PATIENCE,
        }
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }
    /// What it reads on its stdin, which is then closed. Without it: nothing.
    pub(crate) fn input(mut self, text: &str) -> Self {
        self.input = Some(text.as_bytes().to_vec());
        self
    }
    /// The time after which it is killed and the test fails.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command itself, for a test that starts it in its own way.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Starts it and leaves it running, with piped stdin, stdout and stderr.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Child {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.command.spawn().expect("the program starts")
    }

    /// Runs it until it has exited and its stdout and stderr are closed, also by its descendants.
    ///
    /// # Panics
    /// If that takes longer than its limit.
    #[track_caller]
    pub(crate) fn run(self) -> Finished {
        let (shown, limit, input) = (
            format!("{:?}", self.command),
            self.limit,
            self.input.clone(),
        );
        let begun = Instant::now();
        let mut child = self.spawn();
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        let mut stdin = child.stdin.take().expect("piped");
        std::thread::spawn(move || stdin.write_all(&input.unwrap_or_default()));
        let status = await_exit(&mut child, begun, limit, &shown);
        let left = limit
            .saturating_sub(begun.elapsed())
            .max(Duration::from_secs(1));
        let text = |stream: Receiver<Vec<u8>>, name| {
            let bytes = stream.recv_timeout(left).unwrap_or_else(|_| {
                panic!("{shown} has exited, but somebody still holds its {name}")
            });
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Finished {
            status,
            stdout: text(stdout, "stdout"),
            stderr: text(stderr, "stderr"),
            took: begun.elapsed(),
            shown: shown.clone(),
        }
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok();
        send.send(bytes).ok();
    });
    receive
}

#[track_caller]
fn await_exit(child: &mut Child, begun: Instant, limit: Duration, shown: &str) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status;
        }
        if begun.elapsed() > limit {
            child.kill().ok();
            child.wait().ok();
            panic!("{shown} had not ended after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    shown: String,
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// # Panics
    /// If the exit code is another; shows everything.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "exit code of {self:#?}");
        self
    }

    /// The standard output of a program that has succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.expect_code(0).stdout
    }

    /// The standard output of a program that has succeeded, as one JSON document.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let shown = self.shown.clone();
        let text = self.ok();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{shown}: stdout is no JSON: {error}\n{text}"))
    }

    /// # Panics
    /// If stderr does not contain `part`.
    #[track_caller]
    pub(crate) fn expect_stderr(self, part: &str) -> Self {
        assert!(
            self.stderr.contains(part),
            "{part:?} in stderr of {self:#?}"
        );
        self
    }
}
