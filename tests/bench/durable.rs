//! What it costs to write requests down: `once` at each level beside `query`, turn by turn.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::harness::Home;
use super::load::{Peer, Shape, round_trips, throughput};
use super::rows::{Row, Table, Target, median, per_second, quantile};

const ROUNDS: usize = 7;
const TRIPS: usize = 4_000;
const TIME: Duration = Duration::from_millis(500);
const IN_FLIGHT: Shape = Shape {
    clients: 1,
    in_flight: 64,
    bytes: 32,
};

/// The same work under each class and level.
struct Way {
    socket: PathBuf,
    script: &'static str,
    handler: &'static str,
}

impl Peer for Way {
    fn socket(&self) -> &Path {
        &self.socket
    }
    fn ask(&self, _client: usize, number: u64, bytes: usize, out: &mut Vec<u8>) {
        let Way {
            script, handler, ..
        } = self;
        // An id of this kind is a promise that is kept beyond the daemon's death.
        let id = Uuid::now_v7();
        writeln!(
            out,
            r#"{{"request_id":"{id}","command":"call","script":"{script}","handler":"{handler}","params":"{number:0bytes$}"}}"#
        )
        .expect("memory");
    }
}

fn echo(durability: &str) -> String {
    format!(
        r#"-- /// moonkeep
-- concurrency = 128
-- durability = "{durability}"
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("query", function(request) return request.params end, {{ delivery = "query" }})
moonkeep.handle("once", function(request) return request.params end)
"#
    )
}

pub(crate) fn run(table: &mut Table) {
    let home = Home::new()
        .script("process.lua", &echo("process"))
        .script("power.lua", &echo("power"));
    let daemon = home.up();
    let ways =
        [("process", "query"), ("process", "once"), ("power", "once")].map(|(script, handler)| {
            Way {
                socket: home.socket(),
                script,
                handler,
            }
        });
    sequential(table, &ways);
    many(table, &ways);
    drop(daemon);
}

fn sequential(table: &mut Table, ways: &[Way; 3]) {
    let mut medians: [Vec<f64>; 3] = Default::default();
    let mut tails: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (index, way) in ways.iter().enumerate() {
            let times = round_trips(way, 32, TRIPS / ROUNDS);
            medians[index].push(median(times.clone()));
            tails[index].push(quantile(times, 0.99));
        }
    }
    let [query, process, power] = medians.map(median);
    let [_, tail, slow_tail] = tails.map(median);
    let mut row = |what, figure: f64, value, target| {
        table.row(&Row {
            what,
            figure: format!("{figure:.1} us"),
            floor: format!("{query:.1} us"),
            value,
            target,
        });
    };
    row(
        "one at a time, `once` at `process`, p50, beside `query`",
        process,
        process / query,
        Target::AtMost(1.5, "x `query`"),
    );
    row("the same, p99", tail, tail / query, Target::None);
    row(
        "one at a time, `once` at `power`, p50, beside `query`",
        power,
        power / query,
        Target::None,
    );
    row("the same, p99", slow_tail, slow_tail / query, Target::None);
}

fn many(table: &mut Table, ways: &[Way; 3]) {
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (index, way) in ways.iter().enumerate() {
            rates[index].push(throughput(way, IN_FLIGHT, TIME));
        }
    }
    let [query, process, power] = rates.map(median);
    for (what, rate, target) in [
        (
            "64 in flight, `once` at `process`, beside `query`",
            process,
            Target::AtMost(1.5, "x as slow as `query`"),
        ),
        (
            "64 in flight, `once` at `power`, beside `query`",
            power,
            Target::None,
        ),
    ] {
        table.row(&Row {
            what,
            figure: per_second(rate),
            floor: per_second(query),
            value: query / rate,
            target,
        });
    }
}
