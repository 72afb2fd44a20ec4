//! The formats: pure functions of a view, so each case is made up.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use moonkeep::monitor::perfdata::Measure;
use moonkeep::monitor::state::State;
use moonkeep::monitor::view::{ChecksView, Facts};
use moonkeep::serve::{Reply, Snapshot, route};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::made::{self, check, quiet, view};

fn reply(view: ChecksView, facts: Facts, target: &str) -> Reply {
    let asked = route("GET", target).unwrap_or_else(|refused| panic!("{target}: {refused:?}"));
    asked.reply(Some(&Snapshot::new(view, facts)))
}

fn body(view: ChecksView, target: &str) -> String {
    reply(view, made::facts(), target).body.to_string()
}

#[test]
fn the_exposition_is_the_golden_one() {
    let mut one = check("a \"b\"\\\n", Some(State::Critical), "");
    one.last = Some(State::Warning);
    one.measures.push(Measure::new("time", Some(9.0), "s"));
    one.measures.push(Measure::new("lost", None, ""));
    let text = body(view(vec![one, check("new", None, "")]), "/metrics");
    let name = "check=\"a \\\"b\\\"\\\\\\n\"";
    for expected in [
        format!(
            "# HELP moonkeep_check_success Whether the last result is ok or a warning (1), or not (0).\n\
             # TYPE moonkeep_check_success gauge\n\
             moonkeep_check_success{{{name}}} 1\n# HELP"
        ),
        format!("moonkeep_check_state{{{name}}} 1\n# HELP"),
        format!("moonkeep_check_confirmed_state{{{name}}} 2\n# HELP"),
        format!("moonkeep_check_duration_seconds{{{name}}} 0.0423\n# HELP"),
        format!("moonkeep_check_last_run_timestamp_seconds{{{name}}} 1795234788\n# HELP"),
        format!(
            "# TYPE moonkeep_check_runs_total counter\nmoonkeep_check_runs_total{{{name},state=\"ok\"}} 2812\n"
        ),
        "moonkeep_check_runs_total{check=\"new\",state=\"unknown\"} 0\n# HELP".to_owned(),
        format!(
            "moonkeep_check_flapping{{{name}}} 0\nmoonkeep_check_flapping{{check=\"new\"}} 0\n# HELP"
        ),
        format!("moonkeep_check_uptime_ratio{{{name},window=\"24h\"}} 0.9987\n"),
        format!(
            "moonkeep_check_value{{{name},name=\"time\",unit=\"s\"}} 0.042\nmoonkeep_check_value{{{name},name=\"lost\",unit=\"\"}} NaN\n"
        ),
        "moonkeep_build_info{version=\"0.1.0\"} 1\n".to_owned(),
        "moonkeep_uptime_seconds 273600.5\n".to_owned(),
        "moonkeep_requests_in_flight 1\n".to_owned(),
        "moonkeep_scripts{state=\"ready\"} 1\nmoonkeep_scripts{state=\"draining\"} 0\n".to_owned(),
        "moonkeep_script_restarts_total{script=\"greeter\"} 1\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in:\n{text}");
    }
}

/// What a strict reader finds wrong with an exposition.
fn faults_of(text: &str) -> Vec<String> {
    let (mut faults, mut done, mut samples) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let (mut family, mut typed) = (String::new(), false);
    if !text.ends_with('\n') {
        faults.push("the last line has no end".to_owned());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap_or_default().to_owned();
            typed = false;
            if !done.insert(family.clone()) {
                faults.push(format!("family twice: {family}"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = true;
            if rest.split(' ').next() != Some(&family) {
                faults.push(format!("TYPE of another family: {line}"));
            }
        } else {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let (sample, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let number = matches!(value, "NaN" | "+Inf" | "-Inf")
                || value.parse::<f64>().is_ok_and(f64::is_finite);
            if name != family || !typed || !number || !samples.insert(sample.to_owned()) {
                faults.push(format!("sample out of place, twice, or no number: {line}"));
            }
        }
    }
    faults
}

/// `None`, with a message: it is not installed.
fn promtool(text: &str) -> Option<(bool, String)> {
    use std::io::Write;
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: promtool is not installed (Debian: apt-get install prometheus)");
        return None;
    };
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let done = child.wait_with_output().expect("promtool ends");
    let said = [done.stdout, done.stderr].concat();
    Some((
        done.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[test]
fn promtool_accepts_the_exposition() {
    let (hostile, facts) = made::hostile();
    let hostile = reply(hostile, facts, "/metrics").body.to_string();
    for text in [
        body(made::ten(), "/metrics"),
        hostile,
        body(view(Vec::new()), "/metrics"),
    ] {
        assert_eq!(faults_of(&text), Vec::<String>::new());
        if let Some((accepted, said)) = promtool(&text) {
            assert!(accepted && said.trim().is_empty(), "{said}");
        }
    }
    assert_eq!(faults_of("# HELP a b\na 1\na 1\nb x").len(), 4);
}

#[test]
fn probes_answer_as_kubernetes_does() {
    let good = || {
        view(vec![
            check("dns", Some(State::Ok), ""),
            check("load", Some(State::Warning), ""),
        ])
    };
    let bad = || {
        view(vec![
            check("dns", Some(State::Ok), ""),
            check("web", Some(State::Critical), "secret"),
        ])
    };
    for (checks, target, status, text) in [
        (good(), "/readyz", 200, "ok"),
        (good(), "/livez", 200, "ok"),
        (
            good(),
            "/readyz?verbose",
            200,
            "[+]ping ok\n[+]scripts ok\n[+]dns ok\n[+]load ok\nreadyz check passed\n",
        ),
        (
            good(),
            "/livez?verbose",
            200,
            "[+]ping ok\nlivez check passed\n",
        ),
        (bad(), "/livez", 200, "ok"),
        (
            bad(),
            "/readyz",
            500,
            "[+]ping ok\n[+]scripts ok\n[+]dns ok\n[-]web failed: reason withheld\nreadyz check failed\n",
        ),
        (bad(), "/readyz?exclude=web", 200, "ok"),
        (
            bad(),
            "/readyz?verbose&exclude=web&exclude=dns",
            200,
            "[+]ping ok\n[+]scripts ok\n[+]dns excluded: ok\n[+]web excluded: ok\nreadyz check passed\n",
        ),
        (
            good(),
            "/livez?verbose&exclude=x&exclude=a%0Ab",
            200,
            "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \"a\\nb\",\"x\"\nlivez check passed\n",
        ),
        (bad(), "/readyz/dns", 200, "ok"),
        (
            bad(),
            "/readyz/web",
            500,
            "internal server error: reason withheld\n",
        ),
        (
            bad(),
            "/readyz/nope",
            404,
            "/readyz has no part \"nope\"; /readyz?verbose names them\n",
        ),
        (
            bad(),
            "/livez/web",
            404,
            "/livez has no part \"web\"; /livez?verbose names them\n",
        ),
    ] {
        let reply = reply(checks, made::facts(), target);
        assert_eq!((reply.status, &*reply.body), (status, text), "{target}");
    }
}

#[test]
fn probes_count_what_is_not_known_and_leave_out_what_an_operator_made_quiet() {
    let ready = |check, facts| reply(view(vec![check]), facts, "/readyz").status;
    let bad = || check("web", Some(State::Critical), "");
    assert_eq!(ready(check("new", None, ""), made::facts()), 500);
    assert_eq!(ready(quiet(bad(), "downtime"), made::facts()), 200);
    assert_eq!(ready(quiet(bad(), "acknowledged"), made::facts()), 200);
    assert_eq!(ready(quiet(bad(), "flapping"), made::facts()), 500);
    assert_eq!(ready(quiet(bad(), "parent router"), made::facts()), 500);
    let mut heartbeat = check("backup", None, "");
    heartbeat.kind = moonkeep::monitor::view::Kind::Heartbeat;
    assert_eq!(ready(heartbeat, made::facts()), 200);
    for (state, status) in [
        ("ready", 200),
        ("stopped", 200),
        ("draining", 200),
        ("starting", 500),
        ("backoff", 500),
        ("failed", 500),
    ] {
        let mut facts = made::facts();
        facts.scripts[0].state = state.to_owned();
        assert_eq!(
            ready(check("a", Some(State::Ok), ""), facts),
            status,
            "{state}"
        );
    }
    let mut vital = bad();
    vital.tags = vec!["livez".to_owned()];
    assert_eq!(
        reply(view(vec![vital]), made::facts(), "/livez").status,
        500
    );
}

#[test]
fn health_json_is_the_golden_one() {
    let mut web = check("web:443", Some(State::Critical), "refused");
    web.measures[0].value = Some(2.0);
    let reply = reply(
        view(vec![web, check("new", None, "")]),
        made::facts(),
        "/health",
    );
    assert_eq!(
        (reply.status, reply.content_type),
        (503, "application/health+json")
    );
    let document: Value = serde_json::from_str(&reply.body).expect("JSON");
    let time = "2026-11-21T04:19:48Z";
    assert_eq!(
        document,
        json!({
            "status": "fail",
            "releaseId": "0.1.0",
            "serviceId": "0199f6c2-0000-7000-8000-000000000000",
            "description": "health of /home/ada/lab, kept by moonkeep",
            "output": "web:443 is critical",
            "links": { "about": "/", "checks": "/checks.json", "metrics": "/metrics" },
            "checks": {
                "new:state": [{ "componentId": "new", "componentType": "component" }],
                "new:time": [{ "componentId": "new", "componentType": "component", "observedValue": 0.042, "observedUnit": "s", "status": "pass" }],
                "web_443:state": [{ "componentId": "web:443", "componentType": "component", "observedValue": "critical", "status": "fail", "time": time, "output": "refused" }],
                "web_443:responseTime": [{ "componentId": "web:443", "componentType": "component", "observedValue": 0.0423, "observedUnit": "s", "time": time }],
                "web_443:time": [{ "componentId": "web:443", "componentType": "component", "observedValue": 2.0, "observedUnit": "s", "status": "fail", "time": time }],
            },
        })
    );
    for (state, status, word) in [
        (State::Ok, 200, "pass"),
        (State::Warning, 200, "warn"),
        (State::Unknown, 503, "fail"),
    ] {
        let reply = super::rendered::reply(
            view(vec![check("a", Some(state), "")]),
            made::facts(),
            "/health",
        );
        let document: Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(
            (reply.status, document["status"].as_str()),
            (status, Some(word))
        );
        assert_eq!(document.get("output").is_none(), state == State::Ok);
    }
}

#[test]
fn checks_json_is_the_view_itself() {
    let read: ChecksView = serde_json::from_str(&body(made::ten(), "/checks.json")).expect("JSON");
    assert_eq!(read, made::ten());
}

#[test]
fn what_is_not_served_is_told() {
    let refused = |method, target| route(method, target).expect_err("refused");
    let lost = refused("GET", "/nope");
    assert_eq!(lost.status, 404);
    for path in ["/metrics", "/checks.json", "/health", "/livez", "/readyz"] {
        assert!(lost.body.contains(path), "{path}");
        assert!(route("HEAD", path).is_ok());
        let wrong = refused("POST", path);
        assert_eq!(
            (wrong.status, &wrong.extra[..]),
            (405, &[("allow", "GET, HEAD")][..])
        );
    }
    for target in ["/livez/", "/livezz", "/metrics/", "//", "/../x"] {
        assert_eq!(refused("GET", target).status, 404, "{target}");
    }
    assert_eq!(route("GET", "/").expect("served").reply(None).status, 503);
    let silent = route("GET", "/livez").expect("served").reply(None);
    assert_eq!(
        (silent.status, &*silent.body),
        (500, "[-]ping failed: reason withheld\nlivez check failed\n")
    );
}

/// What of a page a browser would take for markup, and what for text.
fn parts(page: &str) -> (Vec<&str>, Vec<&str>) {
    let page = page.split_once("</style>").expect("a style").1;
    let (mut tags, mut texts, mut rest) = (Vec::new(), Vec::new(), page);
    while let Some(start) = rest.find('<') {
        texts.push(&rest[..start]);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        tags.push(&rest[start + 1..end]);
        rest = &rest[end + 1..];
    }
    texts.push(rest);
    (tags, texts)
}

/// What is on a page that nobody meant to be there.
fn intruders(page: &str) -> Vec<String> {
    const TAGS: &str = "head body svg defs symbol circle path use title header footer main section p h1 h2 h3 time div span bdi ul li dl dt dd b a \
                        details summary small table thead tbody tr th td code html pre";
    const NAMES: &str = "class id viewbox cx cy r d width height aria-hidden aria-labelledby aria-label href role preserveaspectratio scope";
    let (tags, texts) = parts(page);
    let mut found = Vec::new();
    for tag in tags {
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap_or_default();
        if !TAGS.split_whitespace().any(|known| known == name) {
            found.push(tag.to_owned());
        }
        let without_values = tag.split('"').step_by(2).collect::<String>();
        for pair in without_values
            .split_whitespace()
            .skip(1)
            .filter(|pair| *pair != "/")
        {
            let attribute = pair
                .split('=')
                .next()
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_lowercase();
            if !NAMES.split_whitespace().any(|known| known == attribute) {
                found.push(tag.to_owned());
            }
        }
    }
    let unseen = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c)
    };
    found.extend(
        texts
            .into_iter()
            .filter(|text| text.contains(unseen))
            .map(str::to_owned),
    );
    found
}

#[test]
fn nothing_that_is_said_becomes_markup() {
    let (hostile, facts) = made::hostile();
    for (checks, facts) in [
        (hostile, facts),
        (made::ten(), made::facts()),
        (view(Vec::new()), made::facts()),
    ] {
        let page = reply(checks, facts, "/").body.to_string();
        assert_eq!(intruders(&page), Vec::<String>::new());
        assert!(!page.contains("<script"), "{page}");
    }
    assert_eq!(intruders("</style><p onclick=\"x\"><img>\u{1b}").len(), 3);
}

proptest! {
    #[test]
    fn whatever_is_said_no_format_is_broken_by_it(said in prop::collection::vec("(?s)[<>\"'&a-c=/ \\\\\u{0}-\u{20}\u{202e}\u{65e5}]{0,12}|\\PC{0,12}", 12)) {
        let mut one = check(&said[0], Some(State::Critical), &said[1]);
        one.tags = vec![said[2].clone()];
        one.needs = vec![said[3].clone()];
        one.file.clone_from(&said[4]);
        one.cron = Some(said[5].clone());
        one.quiet = Some(said[6].clone());
        one.quiet_why = Some(said[7].clone());
        one.measures = vec![Measure::new(&said[8], Some(1.5), &said[9])];
        let mut facts = made::facts();
        facts.home.clone_from(&said[10]);
        facts.warnings = vec![said[11].clone()];
        facts.scripts[0].name.clone_from(&said[11]);
        let of = |target| reply(view(vec![one.clone()]), facts.clone(), target).body.to_string();
        prop_assert_eq!(intruders(&of("/")), Vec::<String>::new());
        prop_assert_eq!(faults_of(&of("/metrics")), Vec::<String>::new());
        prop_assert!(serde_json::from_str::<Value>(&of("/health")).is_ok());
        prop_assert_eq!(of("/readyz?verbose").lines().count(), 4);
    }
}

#[test]
fn the_page_says_the_whole_first_and_problems_before_the_rest() {
    let page = body(made::ten(), "/");
    let at = |text: &str| {
        page.find(text)
            .unwrap_or_else(|| panic!("{text:?} is not on the page"))
    };
    let order = [
        "<title>1 check is critical \u{b7} lab</title>",
        "<h1>1 check is critical</h1>",
        ">Needs attention (3)",
        "<bdi>web</bdi></h3>",
        "<bdi>ntp</bdi></h3>",
        "<bdi>certificate of shop.example.org</bdi></h3>",
        ">Quiet (2)",
        "acknowledged: <bdi>disk was replaced",
        ">Not known yet (1)",
        ">Ok (4)",
        "<b>warning</b> seen 1 of 3 times",
    ];
    assert!(order.is_sorted_by_key(|text| at(text)), "{page}");
    for (checks, said) in [
        (view(Vec::new()), "There are no checks yet"),
        (
            view(vec![check("a", None, "")]),
            "Waiting for the first results",
        ),
        (
            view(vec![check("a", Some(State::Ok), "")]),
            "Everything is ok",
        ),
        (
            view(vec![check("a", Some(State::Warning), "")]),
            "1 check warns",
        ),
        (
            view(vec![
                check("a", Some(State::Unknown), ""),
                check("b", Some(State::Unknown), ""),
            ]),
            "2 checks cannot be made",
        ),
    ] {
        let page = body(checks, "/");
        assert!(page.contains(&format!("<h1>{said}")), "{said}");
        assert!(
            page.contains("prefers-color-scheme:dark")
                && !page.contains("http-equiv=refresh content=0")
        );
    }
}
