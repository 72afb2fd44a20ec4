//! Alerts on their way out: `moonkeep deliver` alone, against servers and programs that behave and that do not, and
//! with a daemon that is killed meanwhile.

mod life;
mod manager;
mod programs;
mod server;
mod webhooks;

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use moonkeep::deliver::{DELIVERED, FAILED, Order, REFUSED};
use moonkeep::monitor::alphabet::{Alert, AlertKind, Delivery, DeliveryId};
use moonkeep::monitor::perfdata::Measure;
use moonkeep::monitor::state::State;
use moonkeep::options::Config;
use moonkeep::options::alerts::Hook;

use super::harness::{self, Home, wait_for};

/// 2026-11-21T03:40:12.345Z
const BEGAN: u64 = 1_795_232_412_345;
/// A minute later.
const AT: u64 = BEGAN + 60_000;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Delivered,
    /// It is tried again.
    Failed,
    /// It is given up.
    Refused,
}

/// The hook of a section, as the configuration gives it.
#[track_caller]
fn hook(section: &str) -> Hook {
    let text = format!("[alert.ops]\n{section}\n");
    let config = Config::parse(&text).unwrap_or_else(|fault| panic!("{section}: {fault}"));
    config.alerts().remove(0)
}

fn problem() -> Alert {
    Alert {
        kind: AlertKind::Problem,
        check: "web".to_owned(),
        instance: "web".to_owned(),
        plugin: None,
        from: Some(State::Ok),
        to: State::Critical,
        told: Vec::new(),
        message: "cannot \"connect\"\nsecond line".to_owned(),
        measures: vec![Measure::new("time", Some(0.31), "s")],
        tags: vec!["prod".to_owned(), "http".to_owned()],
        began_unix_ms: BEGAN,
        at_unix_ms: AT,
    }
}

fn recovery() -> Alert {
    Alert {
        kind: AlertKind::Recovery,
        from: Some(State::Critical),
        to: State::Ok,
        told: vec![State::Critical],
        message: "fine".to_owned(),
        at_unix_ms: AT + 60_000,
        ..problem()
    }
}

fn order(home: &Home, hook: Hook, alert: Alert) -> Order {
    Order {
        delivery: Delivery {
            id: DeliveryId(7),
            hook,
            alert,
            failed: 0,
            since_unix_ms: AT,
        },
        home: home.root(),
        page: None,
    }
}

/// A delivery that runs.
struct Attempt {
    child: std::process::Child,
}

impl Attempt {
    /// With these variables beside the home's.
    fn start(home: &Home, order: &Order, env: &[(&str, &str)]) -> Self {
        let line = serde_json::to_string(order).expect("JSON") + "\n";
        let mut command = home.moonkeep(&["deliver"]).into_command();
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy"))
        {
            command.env_remove(name);
        }
        let mut child = command
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.as_mut().expect("a pipe");
        stdin.write_all(line.as_bytes()).expect("it reads");
        Attempt { child }
    }

    /// As if the daemon had died.
    fn abandon(&mut self) {
        drop(self.child.stdin.take());
    }

    #[track_caller]
    fn end(mut self) -> (End, String) {
        let status = wait_for("the delivery ends", || {
            self.child.try_wait().expect("our own child")
        });
        let read = |pipe: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            pipe.expect("a pipe")
                .read_to_string(&mut text)
                .expect("text");
            text
        };
        let said = read(self.child.stdout.as_mut().map(|pipe| pipe as _));
        let log = read(self.child.stderr.as_mut().map(|pipe| pipe as _));
        assert_eq!(log, "", "nothing is for the log");
        let end = match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(DELIVERED) => End::Delivered,
            Some(FAILED) => End::Failed,
            Some(REFUSED) => End::Refused,
            other => panic!("it ended with {other:?} ({status}): {said}"),
        };
        (end, said)
    }
}

/// Delivers once.
#[track_caller]
fn deliver(home: &Home, section: &str, alert: Alert) -> (End, String) {
    Attempt::start(home, &order(home, hook(section), alert), &[]).end()
}

/// What anybody types by hand is told whose it is.
#[test]
fn the_role_is_the_daemons_and_says_so() {
    let home = Home::new();
    let ended = home.moonkeep(&["deliver"]).input("nonsense\n").run();
    assert_eq!(ended.code(), Some(i32::from(FAILED)));
    assert!(
        ended
            .stdout
            .contains("is started by the daemon, not by hand"),
        "{}",
        ended.stdout
    );
}
