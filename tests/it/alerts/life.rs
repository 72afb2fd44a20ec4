//! Alerts of a daemon that dies: every one arrives, in its order, and the same one is known by its id.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::harness::{Daemon, rounds, wait_until};

/// Notes each attempt in `attempts`; while there is a file `broken` it fails, else the alert is in `ledger`.
/// While there is a file `hanging` it hangs, and so does what it starts.
const HOOK: &str = "#!/bin/sh
echo \"$MOONKEEP_ALERT_ID $MOONKEEP_ALERT_KIND\" >> attempts
if test -e hanging; then setsid sleep 600 & sleep 601; fi
test ! -e broken || exit 1
echo \"$MOONKEEP_ALERT_ID $MOONKEEP_ALERT_KIND\" >> ledger
";

/// A port that is watched, and who listens there.
struct Target {
    port: u16,
    listener: Option<TcpListener>,
}

impl Target {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        Target {
            port,
            listener: Some(listener),
        }
    }

    fn kill(&mut self) {
        self.listener = None;
    }

    fn revive(&mut self) {
        if self.listener.is_none() {
            let bound = TcpListener::bind(("127.0.0.1", self.port));
            self.listener = Some(bound.expect("the port is still ours"));
        }
    }

    fn is_alive(&self) -> bool {
        self.listener.is_some()
    }
}

/// A home that watches the target, and tells a program.
fn home(target: &Target) -> Home {
    let config = format!(
        "[check.web]\nplugin = \"tcp\"\naddress = \"127.0.0.1:{}\"\nevery = \"100ms\"\nretry_every = \"100ms\"\nrise = 1\nfall = 2\n\n[alert.ops]\nexec = [\"./hook\"]\n",
        target.port
    );
    let home = Home::new().config(&config).file("hook", HOOK);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.path("hook"), mode).expect("its mode");
    home
}

/// Ids and kinds, as they came.
fn lines(home: &Home, file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(home.path(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, kind)| (id.to_owned(), kind.to_owned()))
        .collect()
}

/// The kinds of what has arrived, each alert once: of problems and their ends, or of flapping.
fn arrived(home: &Home, of: [&str; 2]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut kinds = Vec::new();
    for (id, kind) in lines(home, "ledger") {
        if of.contains(&kind.as_str()) && !seen.contains(&id) {
            seen.push(id);
            kinds.push(kind);
        }
    }
    kinds
}

const PROBLEMS: [&str; 2] = ["problem", "recovery"];
const FLAPPING: [&str; 2] = ["flapping_start", "flapping_stop"];

/// What the daemon believes of the check; `None` while it is not known, or changes all the time.
fn confirmed(home: &Home) -> Option<String> {
    let checks = home.run(&["checks", "--json"]).stdout;
    let checks: serde_json::Value = serde_json::from_str(&checks).ok()?;
    let check = &checks["checks"][0];
    let state = check["confirmed"].as_str()?.to_owned();
    (check["is_flapping"] == false).then_some(state)
}

fn is_confirmed(home: &Home, state: &str) -> bool {
    confirmed(home).as_deref() == Some(state)
}

fn up_and_ok(home: &Home) -> Daemon<'_> {
    let daemon = home.up();
    wait_until("the check is ok", || is_confirmed(home, "ok"));
    daemon
}

#[test]
fn an_alert_that_a_killed_daemon_could_not_deliver_arrives_after_the_restart_and_one_recovery() {
    let mut target = Target::new();
    let home = home(&target);
    home.write("broken", "");
    let daemon = up_and_ok(&home);
    target.kill();
    wait_until("an attempt fails", || !lines(&home, "attempts").is_empty());
    daemon.kill();
    assert!(arrived(&home, PROBLEMS).is_empty());
    home.remove("broken");
    let daemon = home.up();
    wait_until("the problem arrives", || {
        arrived(&home, PROBLEMS) == ["problem"]
    });
    target.revive();
    wait_until("the recovery arrives", || {
        arrived(&home, PROBLEMS).len() == 2
    });
    assert_eq!(arrived(&home, PROBLEMS), ["problem", "recovery"]);
    let attempts = lines(&home, "attempts");
    assert_eq!(attempts[0].0, lines(&home, "ledger")[0].0, "the same alert");
    assert!(daemon.stop().success());
    assert_eq!(arrived(&home, PROBLEMS), ["problem", "recovery"]);
}

// Dropping the home fails the test if anything of the hook is left.
#[test]
fn a_delivery_that_hangs_ends_with_its_daemon_and_is_made_again_by_the_next() {
    let mut target = Target::new();
    let home = home(&target);
    home.write("hanging", "");
    for is_killed in [true, false] {
        let daemon = home.up();
        if target.is_alive() {
            wait_until("the check is ok", || is_confirmed(&home, "ok"));
            target.kill();
        }
        let before = lines(&home, "attempts").len();
        wait_until("it hangs", || lines(&home, "attempts").len() > before);
        let begun = Instant::now();
        if is_killed {
            daemon.kill();
        } else {
            assert!(daemon.stop().success());
        }
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(8),
            "it waits for no hook: {took:?}"
        );
        wait_until("nothing is left", || home.processes().is_empty());
    }
    home.remove("hanging");
    let daemon = home.up();
    wait_until("it arrives", || arrived(&home, PROBLEMS) == ["problem"]);
    assert!(daemon.stop().success());
    let attempts = lines(&home, "attempts");
    assert!(
        attempts.len() >= 3 && attempts.iter().all(|one| *one == attempts[0]),
        "{attempts:?}"
    );
}

/// Or for a moment: while the check flaps there is none.
fn wait_for_an_attempt(home: &Home) {
    let (before, begun) = (lines(home, "attempts").len(), Instant::now());
    while lines(home, "attempts").len() == before && begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

// Problems and recoveries alternate: one that was lost would leave two of a kind side by side.
#[test]
fn no_alert_is_lost_however_often_the_daemon_is_killed() {
    let name = "no_alert_is_lost_however_often_the_daemon_is_killed";
    let mut random = Random::of(name);
    let mut target = Target::new();
    let home = home(&target);
    let mut daemon = up_and_ok(&home);
    for round in 0..rounds(6, 40) {
        // Not so often that it counts as flapping: then no problem would be told.
        match (round % 2, target.is_alive()) {
            (0, true) => target.kill(),
            (0, false) => target.revive(),
            _same => {}
        }
        if random.below(2) == 0 {
            home.write("broken", "");
        } else {
            let _ = std::fs::remove_file(home.path("broken"));
        }
        if random.below(2) == 0 {
            wait_for_an_attempt(&home);
        } else {
            std::thread::sleep(Duration::from_millis(random.below(600)));
        }
        daemon.kill();
        daemon = home.up();
    }
    let _ = std::fs::remove_file(home.path("broken"));
    for state in ["ok", "critical", "ok"] {
        match state {
            "ok" => target.revive(),
            _bad => target.kill(),
        }
        wait_until("the state is confirmed", || is_confirmed(&home, state));
    }
    for of in [PROBLEMS, FLAPPING] {
        wait_until("the last end arrives", || {
            let kinds = arrived(&home, of);
            kinds.len().is_multiple_of(2) && kinds.last().is_none_or(|kind| kind == of[1])
        });
        let kinds = arrived(&home, of);
        for (count, kind) in kinds.iter().enumerate() {
            let told = lines(&home, "ledger");
            assert_eq!(kind, of[count % 2], "{kinds:?}: {told:?}");
        }
    }
    let problems = arrived(&home, PROBLEMS).len();
    let (all, attempts) = (lines(&home, "ledger").len(), lines(&home, "attempts").len());
    eprintln!("{name}: {problems} problems and recoveries, {all} deliveries, {attempts} attempts");
    assert!(problems >= 2);
    assert!(daemon.stop().success());
}

/// Choices that can be made again (splitmix64).
struct Random(u64);

impl Random {
    /// The seed is said, and can be given.
    fn of(test: &str) -> Self {
        let given = std::env::var("MOONKEEP_SEED").ok();
        let seed = given
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
        eprintln!("{test}: MOONKEEP_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
