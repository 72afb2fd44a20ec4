//! FI-6, FI-21, FI-14: many clients at once; far more than can be done; and for a long time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moonkeep::client::{Client, ConnectOptions, Patience, RequestOptions};
use moonkeep::proto::ids::ScriptName;
use moonkeep::proto::messages::{Body, Call, Command, Json, Payload};
use serde_json::{Value, json};

use super::load::{self, Log, StopAtEnd, USUAL};
use super::{Random, Times, scripts, seed, settle};
use crate::harness::{Daemon, Home, long, rounds, wait_until};

const ECHO: &str = r#"-- /// moonkeep
-- concurrency = 1024
-- queue = 65536
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request)
  moonkeep.sleep(request.params.wait)
  return request.params.nonce
end)
"#;

fn echo(nonce: &str, wait: f64) -> Command {
    Command::Call(Call {
        script: ScriptName::new("echo").expect("a good name"),
        handler: "echo".into(),
        params: Some(Json::of(&json!({ "nonce": nonce, "wait": wait }))),
        timeout: None,
    })
}

/// One client's life: its answers must be its own. Gives how long each took.
async fn echoes(
    home_socket: std::path::PathBuf,
    count: usize,
    mut random: Random,
) -> Vec<Duration> {
    let client = Client::connect(ConnectOptions::new(home_socket).keep());
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let nonce = format!("{:016x}{:016x}", random.next(), random.next());
        let wait = random.below(20) as f64 / 1e3;
        let options = RequestOptions {
            timeout: Some(Duration::from_secs(60)),
            patience: Patience::Timeout,
            ..RequestOptions::default()
        };
        let begun = Instant::now();
        match client.call(echo(&nonce, wait), options).await {
            Ok(Body::Ok {
                result: Payload::Json(json),
                ..
            }) => assert_eq!(json.as_str().trim_matches('"'), nonce, "another's answer"),
            other => panic!("no answer: {other:?}"),
        }
        times.push(
            begun
                .elapsed()
                .saturating_sub(Duration::from_secs_f64(wait)),
        );
    }
    client.close().await;
    times
}

// FI-6, R-001
#[test]
fn every_one_of_many_clients_gets_its_own_answers() {
    let name = "FI-6";
    let seed = seed(name);
    let home = Home::new().kept_if_failed().script("echo.lua", ECHO);
    let daemon = home.up();
    let (clients, each) = (rounds(100, 1_000), rounds(50, 100));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let begun = Instant::now();
    let times = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..clients as u64 {
            tasks.spawn(echoes(home.socket(), each, Random(seed ^ (number << 32))));
        }
        let mut times = Times::default();
        while let Some(ended) = tasks.join_next().await {
            times.0.extend(ended.expect("a client does not panic"));
        }
        times
    });
    let resident = daemon.resident() >> 20;
    eprintln!(
        "{name}: {clients} clients x {each} calls in {:.1} s, all answers their own; beyond the handler's own time: {times}; the daemon takes {resident} MiB",
        begun.elapsed().as_secs_f32()
    );
    assert_eq!(times.0.len(), clients * each);
    assert!(resident < 256);
    wait_until("all have left", || home.status()["clients"] == 1);
    assert!(daemon.stop().success());
}

const NARROW: &str = r#"-- /// moonkeep
-- concurrency = 4
-- queue = 8
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("work", function() moonkeep.sleep(0.02) end)
"#;

/// Who fills all slots of the script above and its queue, each with one request after the other.
const ENOUGH: usize = 4 + 8;

/// What the script above does in a second when it always has something to do, and nobody too much.
fn capacity(home: &Home, lasts: Duration) -> f64 {
    let begun = Instant::now();
    let ask = || {
        let (mut line, mut served) = (home.connect(), 0_u32);
        while begun.elapsed() < lasts {
            line.call("narrow", "work", json!({}));
            served += 1;
        }
        served
    };
    let served: u32 = std::thread::scope(|threads| {
        let askers: Vec<_> = (0..ENOUGH).map(|_| threads.spawn(ask)).collect();
        let join = |one: std::thread::ScopedJoinHandle<'_, u32>| one.join().expect("no panic");
        askers.into_iter().map(join).sum()
    });
    f64::from(served) / begun.elapsed().as_secs_f64()
}

/// What came of one connection's part of the overload.
#[derive(Default)]
struct Share {
    served: usize,
    busy: Times,
    other: Vec<String>,
}

/// Sends at a fixed rate, whatever comes back; answers are read beside it.
fn overload(home: &Home, rate: f64, lasts: Duration) -> Share {
    let line = home.connect();
    let mut writer = line.stream().try_clone().expect("a second handle");
    let sent = std::sync::Mutex::new(std::collections::HashMap::new());
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reading = threads.spawn(|| read_all(line, &sent, &over));
        let (begun, step) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        for number in 0_u32.. {
            let due = step * number;
            if due > lasts {
                break;
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let id = uuid::Uuid::now_v7().to_string();
            let question = json!({ "request_id": id, "command": "call", "script": "narrow", "handler": "work" });
            sent.lock().expect("no panic").insert(id, Instant::now());
            let line = format!("{question}\n");
            std::io::Write::write_all(&mut writer, line.as_bytes()).expect("the daemon reads");
        }
        over.store(true, Ordering::SeqCst);
        reading.join().expect("no panic")
    })
}

fn read_all(
    mut line: crate::harness::Line,
    sent: &std::sync::Mutex<std::collections::HashMap<String, Instant>>,
    over: &AtomicBool,
) -> Share {
    let mut share = Share::default();
    loop {
        if over.load(Ordering::SeqCst) && sent.lock().expect("no panic").is_empty() {
            return share;
        }
        if line.is_silent_for(Duration::from_millis(100)) {
            continue;
        }
        let answer: Value = line.recv_json();
        let id = answer["request_id"].as_str().expect("an id");
        let asked = sent.lock().expect("no panic").remove(id);
        let took = asked.expect("an answer to a question").elapsed();
        match answer["error"]["code"].as_str() {
            None => share.served += 1,
            Some("busy") => share.busy.push(took),
            Some(_) => share.other.push(answer.to_string()),
        }
    }
}

// FI-21, R-125, R-127
#[test]
fn at_ten_times_its_capacity_it_serves_its_capacity_and_says_busy_at_once() {
    let name = "FI-21";
    let home = Home::new().kept_if_failed().script("narrow.lua", NARROW);
    let daemon = home.up();
    let lasts = Duration::from_secs(rounds(3, 1_800) as u64);
    let capacity = capacity(&home, Duration::from_secs(rounds(2, 20) as u64));
    let before = daemon.resident();
    let begun = Instant::now();
    let shares: Vec<Share> = std::thread::scope(|threads| {
        let senders: Vec<_> = (0..4)
            .map(|_| threads.spawn(|| overload(&home, capacity * 10.0 / 4.0, lasts)))
            .collect();
        let join = |one: std::thread::ScopedJoinHandle<'_, Share>| one.join().expect("no panic");
        senders.into_iter().map(join).collect()
    });
    let took = begun.elapsed();
    let grown = daemon.resident().saturating_sub(before) >> 20;
    let (mut busy, mut served, mut other) = (Times::default(), 0, Vec::new());
    for share in shares {
        served += share.served;
        busy.0.extend(share.busy.0);
        other.extend(share.other);
    }
    let goodput = served as f64 / (took.as_secs_f64() * capacity) * 100.0;
    eprintln!(
        "{name}: {} asked in {:.1} s, {served} served ({goodput:.0} % of the {capacity:.0}/s without overload), {} told busy: {busy}; the daemon grew by {grown} MiB",
        served + busy.0.len(),
        took.as_secs_f32(),
        busy.0.len()
    );
    assert_eq!(other, Vec::<String>::new());
    // The tests beside this one take their part of the machine, now more, now less.
    let least = if long() { 90.0 } else { 75.0 };
    assert!(goodput >= least, "{goodput} % of the capacity");
    let most = Duration::from_millis(if long() { 10 } else { 50 });
    assert!(busy.percentile(50) < most, "{busy}");
    assert!(busy.0.len() > served, "it was no overload");
    // Stored answers take their place, within their own limit.
    assert!(grown < 96, "{grown} MiB more");
    assert!(daemon.stop().success());
}

fn open_files(daemon: &Daemon<'_>) -> (u64, usize) {
    (daemon.resident(), daemon.descriptors())
}

// FI-14: only with MOONKEEP_LONG=1, five minutes.
#[test]
fn a_soak_leaves_memory_descriptors_and_processes_as_they_were() {
    if !long() {
        eprintln!("FI-14: the soak runs with MOONKEEP_LONG=1");
        return;
    }
    let name = "FI-14";
    let seed = seed(name);
    let (home, log) = (scripts::home(), Arc::new(Log::default()));
    let daemon = home.up();
    let (mut warm, mut last) = ((0, 0), (0, 0));
    std::thread::scope(|threads| {
        let stop = StopAtEnd(&log);
        let load = threads.spawn(|| load::run(USUAL, &home, seed, &log));
        for half_minute in 0..10 {
            std::thread::sleep(Duration::from_secs(30));
            let text = home.read("scripts/one.lua");
            home.replace("scripts/one.lua", &format!("{text}-- {half_minute}\n"));
            last = open_files(&daemon);
            if half_minute == 1 {
                warm = last;
            }
            eprintln!(
                "{name}: {} s: {} ends, {} KiB, {} descriptors",
                30 * (half_minute + 1),
                log.ended(),
                last.0 >> 10,
                last.1
            );
        }
        drop(stop);
        load.join().expect("the clients end");
    });
    settle(name, &home, &log.text(), false);
    assert!(last.1 <= warm.1 + 8, "descriptors: {warm:?}, then {last:?}");
    // Stored answers are kept for a day, up to 64 MiB.
    assert!(last.0 < warm.0 + (96 << 20), "{warm:?}, then {last:?}");
    assert!(daemon.stop().success());
}
