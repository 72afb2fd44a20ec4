//! Health checks: what `check` costs beside a process for each check.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use super::harness::{Home, Program};
use super::rows::{Row, Table, Target, median, milliseconds};

const CHECKS: usize = 100;
const ROUNDS: usize = 15;
const CHECK_TCP: &str = "/usr/lib/nagios/plugins/check_tcp";

/// What some runs cost: the median of their times, and their processor time each.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

impl Cost {
    /// In milliseconds, of `rounds` runs.
    fn of(rounds: usize, mut run: impl FnMut()) -> Self {
        let before = processor_of_children();
        let walls: Vec<f64> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                run();
                milliseconds(begun.elapsed())
            })
            .collect();
        let spent = processor_of_children().saturating_sub(before);
        Cost {
            wall: median(walls),
            processor: milliseconds(spent) / rounds as f64,
        }
    }

    fn beyond(self, start: Cost) -> Cost {
        Cost {
            wall: self.wall - start.wall,
            processor: self.processor - start.processor,
        }
    }
}

/// Of all children that have been waited for, in steps of 10 ms: many runs are measured together.
fn processor_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("one's own stat");
    // Behind the name, which may hold anything: field 3 is the first.
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .expect("a name in brackets")
        .1
        .split(' ')
        .collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(16) + ticks(17)) * 10)
}

/// Takes connections and closes them, for ever.
fn listen() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// A plugin of one's own with a loop, and a section of `moonkeep.toml` for each.
fn homes(address: &str) -> [(&'static str, Home); 2] {
    let looped = Home::new().file("moonkeep.toml", "").file(
        "plugins/ports.lua",
        &format!(
            "for at = 1, {CHECKS} do
               check('port ' .. at, function(c)
                 local connection <close> = tcp.connect('{address}', {{ timeout = c:remaining() }})
                 c:measure('time', connection.seconds, 's', {{ warn = 0.5, crit = 5, min = 0 }})
               end)
             end"
        ),
    );
    let section = |at| format!("[check.port{at}]\nplugin = \"tcp\"\naddress = \"{address}\"\n");
    let sections: String = (0..CHECKS).map(section).collect();
    let sections = Home::new().file("moonkeep.toml", &sections);
    [
        ("a plugin with a loop", looped),
        ("a section each", sections),
    ]
}

pub(crate) fn run(table: &mut Table) {
    let address = listen();
    let homes = homes(&address);
    let start = Cost::of(ROUNDS, || {
        let _ = homes[0].1.run(&["version"]).expect_code(0);
    });
    let foreign = foreign(&address);
    for (how, home) in &homes {
        let cost = Cost::of(ROUNDS, || {
            let _ = home.run(&["check"]).expect_code(0);
        });
        let cost = cost.beyond(start);
        let shown = |what: &str| format!("{CHECKS} tcp checks, {how}: {what}");
        table.row(&Row {
            what: &shown("time beyond the start"),
            figure: format!("{:.1} ms", cost.wall),
            floor: format!("{:.1} ms (start)", start.wall),
            value: cost.wall,
            target: Target::AtMost(20.0, "ms"),
        });
        table.row(&Row {
            what: &shown("processor beyond the start"),
            figure: format!("{:.1} ms", cost.processor),
            floor: format!("{:.1} ms (start)", start.processor),
            value: cost.processor,
            target: Target::AtMost(15.0, "ms"),
        });
        if let Some(foreign) = foreign {
            table.row(&Row {
                what: &shown("processor, times that of `check_tcp`"),
                figure: format!("{:.1} ms", cost.processor + start.processor),
                floor: format!("{:.0} ms ({CHECKS} processes)", foreign.processor),
                value: foreign.processor / (cost.processor + start.processor),
                target: Target::AtLeast(10.0, "times less"),
            });
        }
    }
    if foreign.is_none() {
        table.skip("check_tcp is not installed: apt-get install monitoring-plugins-basic");
    }
}

/// One after the other, as a scheduler would start them.
fn foreign(address: &str) -> Option<Cost> {
    let (host, port) = address.split_once(':')?;
    Path::new(CHECK_TCP).is_file().then(|| {
        Cost::of(3, || {
            for _ in 0..CHECKS {
                let program = Program::new(Path::new(CHECK_TCP));
                let _ = program.args(&["-H", host, "-p", port]).run().expect_code(0);
            }
        })
    })
}
