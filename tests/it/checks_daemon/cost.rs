//! What a thousand checks cost the daemon and the worker.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::plugin;
use crate::harness::{Home, ticks, wait_until};

/// Seconds that are measured.
const MEASURED: u64 = 30;

const MANY: &str = r#"
local port = param("port", nil, "where somebody listens")
for number = 1, 1000 do
  check("tcp " .. number, { every = "10s", timeout = "5s" }, function(c)
    tcp.connect("127.0.0.1:" .. port):close()
  end)
end
"#;

/// Only with `MOONKEEP_LONG=1`: three quarters of a minute. Says the figure; it counts in a release build.
#[test]
fn a_thousand_checks_every_ten_seconds_cost_little() {
    if std::env::var_os("MOONKEEP_LONG").is_none() {
        eprintln!("the cost of 1,000 checks is measured with MOONKEEP_LONG=1");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
        }
    });
    let home = Home::new()
        .file("plugins/many.lua", MANY)
        .config(&format!("[check.many]\nport = {port}\n"));
    let daemon = home.up();
    let mut line = home.connect();
    wait_until("all have run", || {
        std::thread::sleep(Duration::from_millis(200));
        let checks = line.ask("checks");
        checks.iter().filter(|line| line.starts_with("OK ")).count() == 1000
    });
    let worker = plugin(&home, "@many")["pid"].as_i64().expect("a pid");
    let worker = i32::try_from(worker).expect("a pid");
    let spent = || (ticks(daemon.pid()), ticks(worker));
    let (begun, before) = (Instant::now(), spent());
    // Time has to pass: it is what is measured.
    std::thread::sleep(Duration::from_secs(MEASURED));
    let after = spent();
    let seconds = begun.elapsed().as_secs_f64();
    let percent = |ticks: u64| ticks as f64 / seconds;
    let (of_daemon, of_worker) = (percent(after.0 - before.0), percent(after.1 - before.1));
    eprintln!(
        "1,000 tcp checks every 10 s: daemon {of_daemon:.2} %, worker {of_worker:.2} % of a core"
    );
    if !cfg!(debug_assertions) {
        assert!(of_daemon + of_worker <= 2.0, "at most 2 % of a core");
    }
}
