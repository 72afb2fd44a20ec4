//! A daemon as a child of the test: in the foreground, ended when it is dropped.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Home, Line, Program, leftovers, wait_for, wait_until};

/// How long a daemon may take to leave after SIGTERM before the test counts it as hung.
const TO_LEAVE: Duration = Duration::from_secs(20);

/// How long the first look at a home may take.
const TO_LOOK: Duration = Duration::from_secs(2);

/// A running `moonkeep up`.
pub(crate) struct Daemon<'home> {
    home: &'home Home,
    child: Child,
}

impl<'home> Daemon<'home> {
    /// Starts it and waits until it serves and every script has settled.
    #[track_caller]
    pub(super) fn start(home: &'home Home) -> Self {
        Daemon::start_by(home, home.moonkeep(&["up"]))
    }

    /// As [`Daemon::start`], by this command line.
    #[track_caller]
    pub(super) fn start_by(home: &'home Home, program: Program) -> Self {
        let mut daemon = Daemon::spawn_by(home, program);
        wait_until("the daemon serves", || {
            daemon.assert_alive();
            Line::try_connect(&home.socket()).is_ok()
        });
        let begun = Instant::now();
        wait_until("the scripts have settled", || {
            let status = home.status();
            let scripts = status["scripts"].as_array().expect("a list of scripts");
            // The first look at the home hands in all scripts at once. A home may have none that can be named.
            let looked = !scripts.is_empty() || !home.has_scripts() || begun.elapsed() > TO_LOOK;
            looked && scripts.iter().all(|script| script["state"] != "starting")
        });
        daemon
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub(crate) fn spawn(home: &'home Home) -> Self {
        Daemon::spawn_by(home, home.moonkeep(&["up"]))
    }

    #[track_caller]
    fn spawn_by(home: &'home Home, program: Program) -> Self {
        let output = |name: &str| {
            File::create(home.user().join(name)).expect("a file for the daemon's output")
        };
        let child = program
            .into_command()
            .stdin(Stdio::null())
            .stdout(output("up.out"))
            .stderr(output("up.err"))
            .spawn()
            .expect("the daemon starts");
        Daemon { home, child }
    }

    #[track_caller]
    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("our own child") {
            panic!("the daemon ended ({status}): {}", self.output());
        }
    }

    /// What it has said so far on stdout, then on stderr.
    pub(crate) fn output(&self) -> String {
        ["up.out", "up.err"]
            .map(|name| fs::read_to_string(self.home.user().join(name)).unwrap_or_default())
            .concat()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        leftovers::kill(self.pid(), signal);
    }

    /// SIGKILL: as if it had crashed. Its socket and pid file stay behind.
    pub(crate) fn kill(mut self) {
        self.home.expect_debris();
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Waits until it has left by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait_for("the daemon leaves", || {
            self.child.try_wait().expect("our own child")
        })
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub(crate) fn resident(&self) -> u64 {
        resident(self.pid())
    }

    /// Open descriptors.
    #[track_caller]
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the daemon lives")
            .count()
    }
}

/// Resident memory of a process, in bytes.
#[track_caller]
pub(crate) fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("a line VmRSS") * 1024
}

/// Processor time of a process, in clock ticks (1/100 s).
#[track_caller]
pub(crate) fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let after_name = stat.rsplit(") ").next().expect("a name in parentheses");
    let field = |index: usize| -> u64 {
        let text = after_name.split(' ').nth(index).expect("enough fields");
        text.parse().expect("a number")
    };
    field(11) + field(12)
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if std::thread::panicking() {
            eprintln!("the daemon had said: {}", self.output());
        }
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > TO_LEAVE {
                self.home.expect_debris();
                self.child.kill().ok();
                let status = self.child.wait().ok().and_then(|status| status.signal());
                assert!(
                    std::thread::panicking(),
                    "the daemon had not left {TO_LEAVE:?} after SIGTERM, killed: {status:?}"
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
