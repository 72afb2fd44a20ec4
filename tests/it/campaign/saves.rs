//! FI-15: a script is saved again and again, in every style, whole, cut and wrong, under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Random, Times, seed};
use crate::harness::{Home, rounds, wait_until};
use crate::reload::{STYLES, save};

/// The revision stands at both ends of the file: an answer in which they differ is of a mixture.
fn revision(number: u64) -> String {
    format!(
        "local first = {number}\nlocal moonkeep = require 'moonkeep'\nlocal last\nmoonkeep.handle('which', function() return first .. '/' .. last end)\nlast = {number}\n"
    )
}

/// What stands there for some milliseconds: the next revision, or the one that never works.
fn passing(random: &mut Random, number: u64) -> String {
    let whole = revision(number);
    match random.below(4) {
        // Cut within a statement, as a save that is not finished is.
        0 => whole[..whole.len() - 2 - random.below(4) as usize].replace("last =", "last = ="),
        1 => whole.replace("local last", "local local"),
        _ => whole,
    }
}

struct Load {
    stop: AtomicBool,
    saved: AtomicU64,
    answered: AtomicU64,
}

impl Load {
    fn call(&self, home: &Home) {
        let mut line = home.connect();
        while !self.stop.load(Ordering::Relaxed) {
            let end = line.try_call("r", "which", json!({}));
            assert_eq!(end["status"], "ok", "a request failed: {end}");
            let which = end["result"].as_str().expect("two revisions");
            let (first, last) = which.split_once('/').expect("two revisions");
            assert_eq!(first, last, "a mixture served");
            let known = self.saved.load(Ordering::SeqCst);
            assert!(first.parse::<u64>().is_ok_and(|first| first <= known));
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// FI-15, T18, S-07, S-08
#[test]
fn a_storm_of_saves_loses_no_request_and_its_last_good_content_serves() {
    let name = "FI-15";
    let mut random = Random(seed(name));
    let home = Home::new().kept_if_failed().script("r.lua", &revision(0));
    let daemon = home.up();
    let load = Load {
        stop: AtomicBool::new(false),
        saved: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    };
    let (mut served, begun) = (Times::default(), Instant::now());
    let (storms, saves) = (STYLES.len(), rounds(20, 1_000));
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| load.call(&home));
        }
        let ended = StopAtEnd(&load.stop);
        let mut number = 0;
        for style in STYLES {
            for _ in 0..saves {
                number += 1;
                load.saved.store(number, Ordering::SeqCst);
                save(&home, style, &passing(&mut random, number));
                std::thread::sleep(Duration::from_millis(10));
            }
            number += 1;
            load.saved.store(number, Ordering::SeqCst);
            save(&home, style, &revision(number));
            let last = Instant::now();
            let mut line = home.connect();
            wait_until("the last good content serves", || {
                line.call("r", "which", json!({})) == format!("{number}/{number}")
            });
            served.push(last.elapsed());
        }
        drop(ended);
    });
    let generation = home.script_status("r")["generation"].clone();
    eprintln!(
        "{name}: {storms} storms of {saves} saves in {:.1} s, {} requests answered, generation {generation}; the last save serves after: {served}",
        begun.elapsed().as_secs_f32(),
        load.answered.load(Ordering::Relaxed),
    );
    assert!(served.percentile(100) < Duration::from_secs(5), "{served}");
    assert!(daemon.stop().success());
}
