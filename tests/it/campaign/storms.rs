//! FI-3: many start at once, over each kind of debris.

use std::process::Child;
use std::time::Instant;

use super::{Random, Times, seed};
use crate::claim::{STARTING, leave, plant_files, plant_others, still_runs};
use crate::harness::{Home, Line, rounds, wait_for, wait_until};

const DEBRIS: [&str; 5] = ["recycled pid", "link", "fifo", "folder", "dead socket"];

const STARTERS: usize = 20;

// FI-3, R-100, R-101, R-110
#[test]
fn of_twenty_starters_over_any_debris_one_serves() {
    let name = "FI-3";
    let mut random = Random(seed(name));
    let home = Home::new().kept_if_failed().script(
        "a.lua",
        "require('moonkeep').handle('x', function() return 1 end)",
    );
    let (begun, mut serves, total) = (Instant::now(), Times::default(), rounds(20, 1_000));
    for round in 0..total {
        let debris = DEBRIS[round % DEBRIS.len()];
        match debris {
            // Of a process that lives and is no daemon: ours.
            "recycled pid" => plant_files(&home, &std::process::id().to_string()),
            other => plant_others(&home, other),
        }
        let arguments: &[&str] = if random.below(2) == 0 {
            &["up"]
        } else {
            &["up", "-q"]
        };
        let start = Instant::now();
        let mut starters: Vec<Child> = (0..STARTERS)
            .map(|_| home.moonkeep(arguments).spawn())
            .collect();
        let mut told = Vec::new();
        let winner = wait_for("all but one leave", || {
            let mut left = Vec::new();
            for child in std::mem::take(&mut starters) {
                left.extend(still_runs(child, &mut told));
            }
            starters = left;
            assert!(!starters.is_empty(), "nobody serves: {debris}: {told:?}");
            (starters.len() == 1).then(|| starters.pop().expect("one stays"))
        });
        wait_until("the winner serves", || {
            Line::try_connect(&home.socket()).is_ok()
        });
        serves.push(start.elapsed());
        assert_eq!(home.status()["pid"], winner.id(), "round {round}: {debris}");
        for (code, text) in &told {
            let why = text.contains(STARTING) || text.contains("already running (pid ");
            assert!(*code == Some(1) && why, "round {round}: {debris}: {text}");
        }
        leave(winner);
    }
    eprintln!(
        "{name}: {total} storms of {STARTERS} over {} kinds of debris in {:.1} s, 1 daemon each; one serves and all others have left: {serves}",
        DEBRIS.len(),
        begun.elapsed().as_secs_f32()
    );
}
