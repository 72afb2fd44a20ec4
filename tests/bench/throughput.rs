//! Round trips, one at a time and many at once, beside the floor's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::floor::Floor;
use super::harness::Home;
use super::load::{Peer, Shape, round_trips, throughput};
use super::redis::Redis;
use super::rows::{Row, Table, Target, median, per_second, quantile};

/// Turns in which each peer is measured once; the median counts.
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_millis(500);
const TRIPS: usize = 4_000;

const ECHO: &str = r##"-- /// moonkeep
-- concurrency = 128
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("query", function(request) return request.params end, { delivery = "query" })
moonkeep.handle("once", function(request) return request.params end)
moonkeep.handle("push", function(request)
  for _ = 1, request.params.count do
    io.write("# nothing\n")
    assert(io.read("l") == "done")
  end
end)
"##;

struct PlainFloor {
    socket: PathBuf,
}

impl Peer for PlainFloor {
    fn socket(&self) -> &Path {
        &self.socket
    }
    fn ask(&self, client: usize, number: u64, bytes: usize, out: &mut Vec<u8>) {
        let rest = bytes.saturating_sub(3);
        writeln!(out, "{client:02}{number:0rest$}").expect("memory");
    }
    fn greet(&self, client: usize) -> Option<String> {
        Some(format!("{client:02}\n"))
    }
}

/// Calls of one handler of the echo script, in JSON.
struct Moonkeep {
    socket: PathBuf,
    handler: &'static str,
}

impl Peer for Moonkeep {
    fn socket(&self) -> &Path {
        &self.socket
    }
    fn ask(&self, _client: usize, number: u64, bytes: usize, out: &mut Vec<u8>) {
        let handler = self.handler;
        writeln!(
            out,
            r#"{{"request_id":"{number}","command":"call","script":"echo","handler":"{handler}","params":"{number:0bytes$}"}}"#
        )
        .expect("memory");
    }
}

struct Setting {
    name: &'static str,
    shape: Shape,
    /// Least share of the floor.
    target: f64,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "1 client x 64 in flight, 32 B",
        shape: Shape {
            clients: 1,
            in_flight: 64,
            bytes: 32,
        },
        target: 0.2,
    },
    Setting {
        name: "8 clients x 16 in flight, 1 kB",
        shape: Shape {
            clients: 8,
            in_flight: 16,
            bytes: 1024,
        },
        target: 0.0,
    },
    Setting {
        name: "64 clients x 1, 32 B",
        shape: Shape {
            clients: 64,
            in_flight: 1,
            bytes: 32,
        },
        target: 0.4,
    },
];

pub(crate) fn run(table: &mut Table) {
    let home = Home::new().script("echo.lua", ECHO);
    let daemon = home.up();
    let socket = home.temporary().join("floor.sock");
    let floor_process = Floor::start(&socket);
    let floor = PlainFloor { socket };
    let query = Moonkeep {
        socket: home.socket(),
        handler: "query",
    };
    let once = Moonkeep {
        socket: home.socket(),
        handler: "once",
    };
    let redis = Redis::start(&home.temporary());
    if redis.is_none() {
        table.skip("redis: not installed, skipped");
    }
    sequential(table, &floor, &query, &once);
    for setting in SETTINGS {
        pipelined(table, setting, &floor, &query, redis.as_ref());
    }
    drop(floor_process);
    drop(daemon);
}

/// One at a time: the median of each turn's medians, and the tail of all turns.
fn sequential(table: &mut Table, floor: &dyn Peer, query: &dyn Peer, once: &dyn Peer) {
    let mut medians: [Vec<f64>; 3] = Default::default();
    let mut tails = Vec::new();
    for _ in 0..ROUNDS {
        for (index, peer) in [floor, query, once].into_iter().enumerate() {
            let times = round_trips(peer, 32, TRIPS / ROUNDS);
            medians[index].push(median(times.clone()));
            if index == 1 {
                tails.push(quantile(times, 0.99));
            }
        }
    }
    let [floor, query, once] = medians.map(median);
    let tail = median(tails);
    table.row(&Row {
        what: "one at a time, 32 B, `query`, p50",
        figure: format!("{query:.1} us"),
        floor: format!("{floor:.1} us"),
        value: query / floor,
        target: Target::AtMost(1.6, "x the floor"),
    });
    table.row(&Row {
        what: "the same, p99",
        figure: format!("{tail:.1} us"),
        floor: String::new(),
        value: tail / query,
        target: Target::AtMost(3.0, "x its p50"),
    });
    table.row(&Row {
        what: "one at a time, 32 B, `once`, p50",
        figure: format!("{once:.1} us"),
        floor: format!("{floor:.1} us"),
        value: once / query,
        target: Target::AtMost(1.5, "x `query`"),
    });
}

fn pipelined(
    table: &mut Table,
    setting: &Setting,
    floor: &dyn Peer,
    query: &dyn Peer,
    redis: Option<&Redis>,
) {
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        rates[0].push(throughput(floor, setting.shape, TIME));
        rates[1].push(throughput(query, setting.shape, TIME));
        if let Some(redis) = redis {
            rates[2].push(throughput(redis, setting.shape, TIME));
        }
    }
    let [floor, query, peer] = rates;
    let (floor, query) = (median(floor), median(query));
    table.row(&Row {
        what: setting.name,
        figure: per_second(query),
        floor: per_second(floor),
        value: query / floor,
        target: match setting.target {
            0.0 => Target::None,
            least => Target::AtLeast(least, "of the floor"),
        },
    });
    if !peer.is_empty() {
        let peer = median(peer);
        let least = if setting.shape.clients == 1 { 0.5 } else { 1.0 };
        table.row(&Row {
            what: "the same against Redis FCALL",
            figure: per_second(query),
            floor: per_second(peer),
            value: query / peer,
            target: Target::AtLeast(least, "of Redis"),
        });
    }
}

/// Commands that a script pushes, each awaiting its `done`.
pub(crate) fn pushed(table: &mut Table) {
    const COUNT: u32 = 20_000;
    let home = Home::new().script("echo.lua", ECHO);
    let daemon = home.up();
    let mut client = home.connect();
    let rates = (0..3).map(|_| {
        let begun = std::time::Instant::now();
        client.call("echo", "push", json!({ "count": COUNT }));
        f64::from(COUNT) / begun.elapsed().as_secs_f64()
    });
    let rate = median(rates.collect());
    table.row(&Row {
        what: "commands pushed by one script, each acknowledged",
        figure: per_second(rate),
        floor: String::new(),
        value: rate / 1e3,
        target: Target::AtLeast(41.0, "k/s"),
    });
    drop(daemon);
}
