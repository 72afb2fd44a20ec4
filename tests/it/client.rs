//! The client library and what the command line makes of it: reconnect, resend, restart notices.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use moonkeep::client::wire::{Client, ConnectOptions, RequestOptions, Status};
use moonkeep::client::{Failure, Notice, Patience, Sent};
use moonkeep::proto::ids::ScriptName;
use moonkeep::proto::messages::{Body, Call, Command, ErrorCode, Json, Payload};
use rustix::process::Signal;
use tokio::sync::mpsc::Receiver;

use crate::harness::{Home, PATIENCE, rounds, wait_until};

/// Sleeps and echoes; counts its runs in a file; takes one at a time.
const SLOW: &str = r#"
-- /// moonkeep
-- concurrency = 64
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request)
  if request.params.wait then moonkeep.sleep(request.params.wait) end
  return request.params.value
end, { delivery = "query" })
"#;

/// One at a time, one may wait.
const NARROW: &str = r#"
-- /// moonkeep
-- concurrency = 1
-- queue = 1
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("hold", function(request)
  moonkeep.sleep(0.1)
  return request.params.value
end)
"#;

/// Runs a client's side of a test, with a deadline.
fn play<T>(part: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let played = runtime.block_on(async { tokio::time::timeout(PATIENCE, part).await });
    played.expect("the test ends within its deadline")
}

fn call(script: &str, handler: &str, params: &serde_json::Value) -> Command {
    Command::Call(Call {
        script: ScriptName::new(script).expect("a good name"),
        handler: handler.into(),
        params: Some(Json::of(params)),
        timeout: None,
    })
}

fn echo(value: &str, wait: f64) -> Command {
    let params = serde_json::json!({ "value": value, "wait": wait });
    call("slow", "echo", &params)
}

fn patient() -> RequestOptions {
    RequestOptions {
        timeout: Some(PATIENCE),
        patience: Patience::Timeout,
        ..RequestOptions::default()
    }
}

fn result(end: Result<Body, Failure>) -> String {
    match end {
        Ok(Body::Ok {
            result: Payload::Json(json),
            ..
        }) => json.as_str().trim_matches('"').to_owned(),
        other => format!("{other:?}"),
    }
}

/// The next notice that `wanted` finds something in.
async fn notice<T>(notices: &mut Receiver<Notice>, wanted: impl Fn(&Notice) -> Option<T>) -> T {
    loop {
        let notice = notices.recv().await.expect("the client lives");
        if let Some(found) = wanted(&notice) {
            return found;
        }
    }
}

fn pinging_every(home: &Home, interval: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(home.socket()).keep();
    options.config.ping_every = interval;
    options.config.ping_timeout = interval;
    options
}

// R-007, R-011, R-024, R-041: one notice a restart, with the old and the new UUID.
#[test]
fn a_restart_is_told_once_with_both_uuids() {
    let home = Home::new();
    let mut daemon = home.up();
    let uuid = || home.status()["uuid"].as_str().expect("a uuid").to_owned();
    let mut old = uuid();
    play(async {
        let mut client = Client::connect(ConnectOptions::new(home.socket()).keep());
        let mut notices = client.notices().expect("the first to ask");
        client.ready().await.expect("a daemon");
        for _ in 0..rounds(3, 100) {
            daemon.kill();
            daemon = home.up();
            let new = uuid();
            let told = notice(&mut notices, |notice| match notice {
                Notice::Restarted { old, new } => Some((old.to_string(), new.to_string())),
                Notice::Up { .. }
                | Notice::PingMissed { .. }
                | Notice::Dead { .. }
                | Notice::Lost { .. }
                | Notice::Unreachable { .. }
                | Notice::Said(_) => None,
            });
            assert_eq!(told.await, (old, new.clone()));
            let end = client
                .call(Command::Status, RequestOptions::default())
                .await;
            assert!(matches!(end, Ok(Body::Ok { .. })), "{end:?}");
            old = new;
        }
        while let Ok(notice) = notices.try_recv() {
            assert!(!matches!(notice, Notice::Restarted { .. }), "told twice");
        }
        client.close().await;
    });
}

// R-041: the words of the shell.
#[test]
fn the_shell_warns_of_a_restart_with_both_uuids() {
    let home = Home::new();
    let daemon = home.up();
    let old = home.status()["uuid"].as_str().expect("a uuid").to_owned();
    let mut shell = home.moonkeep(&["shell"]).spawn();
    let mut typed = shell.stdin.take().expect("piped");
    let mut shown = BufReader::new(shell.stdout.take().expect("piped")).lines();
    let mut answer_of_ping = || {
        writeln!(typed, "ping").expect("the shell reads");
        let line = shown.next().expect("an answer").expect("text");
        assert!(line.starts_with("pong "), "{line}");
    };
    // Answered, not only connected: a daemon that dies during the handshake was never there.
    answer_of_ping();
    daemon.kill();
    let _daemon = home.up();
    let new = home.status()["uuid"].as_str().expect("a uuid").to_owned();
    answer_of_ping();
    drop(typed);
    let output = shell.wait_with_output().expect("our own child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&old) && said.contains(&new), "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

// R-025, FI-16: a daemon that is stopped, not gone.
#[test]
fn a_stopped_daemon_is_dead_after_three_missed_pings_and_not_after_fewer() {
    let home = Home::new();
    let daemon = home.up();
    play(async {
        let interval = Duration::from_millis(200);
        let mut client = Client::connect(pinging_every(&home, interval));
        let mut notices = client.notices().expect("the first to ask");
        client.ready().await.expect("a daemon");
        daemon.signal(Signal::STOP);
        let begun = Instant::now();
        let two = notice(&mut notices, |notice| {
            matches!(notice, Notice::PingMissed { missed: 2, of: 3 }).then_some(())
        });
        two.await;
        daemon.signal(Signal::CONT);
        assert!(begun.elapsed() >= interval * 2);
        // The count begins anew: three more are needed.
        tokio::time::sleep(interval * 2).await;
        assert!(matches!(client.status(), Status::Up(_)));
        daemon.signal(Signal::STOP);
        let begun = Instant::now();
        let dead = |notice: &Notice| matches!(notice, Notice::Dead { missed: 3 }).then_some(());
        let waiting = client.call(Command::Status, RequestOptions::default());
        let (end, ()) = tokio::join!(waiting, notice(&mut notices, dead));
        let took = begun.elapsed();
        assert!(took >= interval * 3 - Duration::from_millis(50), "{took:?}");
        assert!(took <= interval * 4 + Duration::from_secs(2), "{took:?}");
        assert!(
            matches!(
                end,
                Err(Failure::Unavailable {
                    sent: Sent::Harmless,
                    ..
                })
            ),
            "{end:?}"
        );
        daemon.signal(Signal::CONT);
        let up = |notice: &Notice| matches!(notice, Notice::Up { again: true, .. }).then_some(());
        notice(&mut notices, up).await;
        client.close().await;
    });
}

// R-025, R-042: the one-shot command line.
#[test]
fn a_command_of_a_stopped_daemon_exits_69_and_says_why() {
    let home = Home::new();
    let daemon = home.up();
    let listener = home
        .moonkeep(&["events"])
        .env("MOONKEEP_PING_INTERVAL_MS", "100")
        .spawn();
    wait_until("it listens", || home.status()["clients"] == 2);
    daemon.signal(Signal::STOP);
    let output = listener.wait_with_output().expect("our own child");
    daemon.signal(Signal::CONT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(said.contains("pings"), "{said}");
}

// R-006, R-007, R-016 (a) (b): commands in flight when the daemon is killed all get their own answers.
#[test]
fn commands_in_flight_survive_a_kill_and_a_restart() {
    let home = Home::new().script("slow.lua", SLOW);
    let mut daemon = home.up();
    play(async {
        let client = Client::connect(ConnectOptions::new(home.socket()).keep());
        client.ready().await.expect("a daemon");
        for round in 0..rounds(4, 100) {
            let calls: Vec<_> = (0..30)
                .map(|number| {
                    let wait = f64::from(number % 10) / 50.0;
                    client.request(echo(&format!("{round}-{number}"), wait), patient())
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(20 * (round as u64 % 8))).await;
            daemon.kill();
            daemon = home.up();
            for (number, mut responses) in calls.into_iter().enumerate() {
                let end = loop {
                    match responses.next().await.expect("an end") {
                        Ok(body) if !body.is_end() => {}
                        end => break end,
                    }
                };
                assert_eq!(result(end), format!("{round}-{number}"));
            }
        }
        client.close().await;
    });
}

// R-129, R-125: busy is retried, and everything runs once.
#[test]
fn busy_commands_are_retried_until_they_run() {
    let home = Home::new().script("narrow.lua", NARROW);
    let _daemon = home.up();
    play(async {
        let client = Client::connect(ConnectOptions::new(home.socket()));
        let ask = |number: usize| {
            let params = serde_json::json!({ "value": number.to_string() });
            client.call(call("narrow", "hold", &params), patient())
        };
        let (a, b, c, d, e) = tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4));
        for (number, end) in [a, b, c, d, e].into_iter().enumerate() {
            assert_eq!(result(end), number.to_string());
        }
        // Without time for it the refusal is the answer.
        let (_a, _b, refused) = tokio::join!(ask(5), ask(6), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let options = RequestOptions {
                timeout: Some(Duration::from_millis(1)),
                ..RequestOptions::default()
            };
            let params = serde_json::json!({ "value": "no" });
            client.call(call("narrow", "hold", &params), options).await
        });
        let busy = matches!(&refused, Ok(Body::Error(refusal)) if matches!(refusal.code, ErrorCode::Busy | ErrorCode::Timeout));
        assert!(busy, "{refused:?}");
        client.close().await;
    });
}

// R-063: a cancelled request ends, and its place is free again.
#[test]
fn cancelled_and_abandoned_requests_give_their_places_back() {
    let home = Home::new().script("slow.lua", SLOW);
    let _daemon = home.up();
    play(async {
        let client = Client::connect(ConnectOptions::new(home.socket()));
        let mut responses = client.request(echo("x", 20.0), RequestOptions::default());
        tokio::time::sleep(Duration::from_millis(50)).await;
        responses.cancel();
        let end = responses.next().await.expect("an end");
        let cancelled =
            matches!(&end, Ok(Body::Error(refusal)) if refusal.code == ErrorCode::Cancelled);
        assert!(cancelled, "{end:?}");
        for number in 0..200 {
            let abandoned = client.request(echo("x", 20.0), RequestOptions::default());
            drop(abandoned);
            let end = client
                .call(echo(&number.to_string(), 0.0), RequestOptions::default())
                .await;
            assert_eq!(result(end), number.to_string());
        }
        wait_until("nothing is in flight", || {
            home.script_status("slow")["in_flight"] == 0
        });
        client.close().await;
    });
}

// R-013, R-034: clients come and go, and nothing stays.
#[test]
fn a_thousand_clients_come_and_go() {
    let home = Home::new();
    let daemon = home.up();
    let before = daemon.descriptors();
    play(async {
        for _ in 0..rounds(200, 1_000) {
            let client = Client::connect(ConnectOptions::new(home.socket()));
            let end = client
                .call(Command::Version, RequestOptions::default())
                .await;
            assert!(matches!(end, Ok(Body::Ok { .. })), "{end:?}");
            client.close().await;
        }
    });
    wait_until("all are gone", || home.status()["clients"] == 1);
    wait_until("the descriptors are given back", || {
        daemon.descriptors() <= before + 2
    });
}

// R-035, R-042: no daemon: no waiting, but for those who want it.
#[test]
fn without_a_daemon_only_the_patient_wait() {
    let home = Home::new();
    play(async {
        let client = Client::connect(ConnectOptions::new(home.socket()));
        let begun = Instant::now();
        let end = client
            .call(Command::Status, RequestOptions::default())
            .await;
        assert!(
            matches!(end, Err(Failure::Unavailable { sent: Sent::No, .. })),
            "{end:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(1));
        let (end, daemon) = tokio::join!(client.call(Command::Version, patient()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            home.up()
        });
        assert!(matches!(end, Ok(Body::Ok { .. })), "{end:?}");
        client.close().await;
        drop(daemon);
    });
}
