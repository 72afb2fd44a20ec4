//! Views of checks that nobody ran.

use moonkeep::monitor::perfdata::{Measure, Threshold};
use moonkeep::monitor::state::State;
use moonkeep::monitor::view::{CheckView, ChecksView, Facts, Kind, ScriptFacts, Uptime};

/// The wall clock of all that is made up here.
pub(super) const NOW: u64 = 1_795_234_800_000;

/// A check with a day of history, different for each name.
pub(super) fn check(name: &str, confirmed: Option<State>, message: &str) -> CheckView {
    let salt = name.bytes().fold(7_u64, |salt, byte| {
        salt.wrapping_mul(31).wrapping_add(byte.into())
    });
    let known = confirmed.is_some();
    let bar = |at: u64| match salt.wrapping_mul(at + 13) >> 7 {
        _ if !known => None,
        some if some.is_multiple_of(61) => Some(State::Critical),
        some if some % 61 < 3 => Some(State::Warning),
        _ => Some(State::Ok),
    };
    let mut bars: Vec<Option<State>> = (0..48).map(bar).collect();
    bars[47] = confirmed;
    let uptime = Uptime {
        hour: Some(1.0),
        day: Some(0.9987),
        week: Some(0.99912),
        month: Some(0.99999),
    };
    let mut time = Measure::new("time", Some(0.042), "s");
    (time.warn, time.crit) = (Some(Threshold::Above(0.3)), Some(Threshold::Above(1.5)));
    CheckView {
        name: name.to_owned(),
        kind: Kind::Active,
        last: confirmed,
        confirmed,
        seen: 0,
        needed: 0,
        since_unix_ms: confirmed.map(|_| NOW - 5_000_000),
        message: message.to_owned(),
        measures: vec![time],
        tags: vec!["web".to_owned()],
        needs: Vec::new(),
        file: "plugins/web.lua".to_owned(),
        duration_seconds: confirmed.map(|_| 0.0423),
        every_seconds: Some(30.0),
        cron: None,
        last_run_unix_ms: confirmed.map(|_| NOW - 12_000),
        next_run_unix_ms: Some(NOW + 18_000),
        is_running: false,
        history: confirmed.into_iter().collect(),
        bars,
        uptime: if known { uptime } else { Uptime::default() },
        runs: if known { [2_812, 4, 2, 0] } else { [0; 4] },
        is_flapping: false,
        flapping_percent: 3.0,
        quiet: None,
        quiet_until_unix_ms: None,
        quiet_why: None,
    }
}

pub(super) fn quiet(mut check: CheckView, why: &str) -> CheckView {
    check.quiet = Some(why.to_owned());
    check
}

pub(super) fn facts() -> Facts {
    Facts {
        version: "0.1.0".to_owned(),
        uuid: "0199f6c2-0000-7000-8000-000000000000".to_owned(),
        home: "/home/ada/lab".to_owned(),
        uptime_seconds: 273_600.5,
        clients: 2,
        requests: 1,
        warnings: Vec::new(),
        scripts: vec![ScriptFacts {
            name: "greeter".to_owned(),
            state: "ready".to_owned(),
            restarts: 1,
            in_flight: 1,
            queued: 0,
            memory_bytes: Some(4_000_000),
        }],
    }
}

pub(super) fn view(mut checks: Vec<CheckView>) -> ChecksView {
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    let loud = checks.iter().filter(|check| check.quiet.is_none());
    let state = loud
        .filter_map(|check| check.confirmed)
        .max()
        .unwrap_or_default();
    ChecksView {
        state,
        at_unix_ms: NOW,
        checks,
    }
}

/// One of each state, two that are quiet, one that is not known, and some that are fine.
pub(super) fn ten() -> ChecksView {
    let mut soft = check("search", Some(State::Ok), "time 0.29 s");
    (soft.last, soft.seen, soft.needed) = (Some(State::Warning), 1, 3);
    let mut backup = quiet(
        check(
            "backup",
            Some(State::Critical),
            "nothing heard for 26 h, expected every 1 d",
        ),
        "acknowledged",
    );
    backup.kind = Kind::Heartbeat;
    backup.quiet_why = Some("disk was replaced, first run tonight".to_owned());
    view(vec![
        check(
            "web",
            Some(State::Critical),
            "connection to 10.0.0.7:443 refused: nobody listens there\n  tried 3 addresses",
        ),
        check(
            "certificate of shop.example.org",
            Some(State::Warning),
            "days 12 is below 14 (warning)",
        ),
        check(
            "ntp",
            Some(State::Unknown),
            "plugins/ntp.lua:12: attempt to index a nil value (local 'answer')",
        ),
        check("dns", Some(State::Ok), "example.org has 93.184.215.14"),
        check("disk /", Some(State::Ok), "used 61 %, inodes 12 %"),
        check(
            "postgres",
            Some(State::Ok),
            "accepts connections, 14 of 100 used",
        ),
        check("mail queue", None, ""),
        quiet(
            check("api", Some(State::Critical), "status is 502"),
            "parent web",
        ),
        backup,
        soft,
    ])
}

/// Everything that a script can say, meant badly.
pub(super) fn hostile() -> (ChecksView, Facts) {
    let script = "<script>document.title = 'taken over'</script>";
    let mut first = check(
        script,
        Some(State::Critical),
        "</p></li><img src=x onerror=alert(1)><style>*{display:none}</style>\u{1b}[31mred\u{202e}desrever",
    );
    first.tags = vec!["</dl><script>".to_owned(), "a\"b".to_owned()];
    first.needs = vec!["' onclick='x".to_owned()];
    first.file = "\"><x".to_owned();
    first.cron = Some("*/5 <a> * * *".to_owned());
    first.quiet_why = Some("<b>".to_owned());
    first.measures = vec![
        Measure::new("<u>", Some(f64::INFINITY), "<s>"),
        Measure::new(&"m".repeat(500), None, ""),
    ];
    let marks = "\u{335}\u{321}\u{322}\u{323}\u{324}\u{325}\u{326}\u{329}".repeat(20);
    let checks = vec![
        first,
        check(
            &"long-name-without-any-blank-".repeat(12),
            Some(State::Critical),
            &"x".repeat(5_000),
        ),
        quiet(
            check(
                "a\"b' onmouseover=alert(1)",
                Some(State::Warning),
                "one\r\n\n\n\ntwo\tthree",
            ),
            "parent <i>x",
        ),
        check(
            &format!("Z{marks}algo"),
            Some(State::Ok),
            "\u{5d0}\u{5d1} \u{627}\u{644}",
        ),
        check("", Some(State::Ok), ""),
        check(
            "\u{1f468}\u{200d}\u{1f469} \u{65e5}\u{672c}\u{8a9e}",
            Some(State::Unknown),
            &"\u{65e5}".repeat(800),
        ),
    ];
    let mut facts = facts();
    facts.home = format!("/srv/{script}\u{202e}");
    facts.warnings = vec![format!("moonkeep.toml:3: unknown key {script}")];
    facts.scripts[0].name = "a\"b\\c\nd".to_owned();
    (view(checks), facts)
}

pub(super) fn many(count: u32) -> ChecksView {
    let state = |at: u32| match at % 97 {
        0 => State::Critical,
        1 => State::Warning,
        _ => State::Ok,
    };
    let one = |at: u32| {
        check(
            &format!("host-{at:04} tcp {at}"),
            Some(state(at)),
            "connected in 0.4 ms",
        )
    };
    view((0..count).map(one).collect())
}
