//! The plugins that moonkeep brings, and existing monitoring plugins, against local targets.

use serde_json::Value;

use super::{closed, has, json, plugin, serve};
use crate::harness::{Home, installed};

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
const BROKEN_PAGE: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[test]
fn the_stock_plugins_find_good_and_bad() {
    let web = serve(PAGE);
    let broken = serve(BROKEN_PAGE);
    let greeting = serve("220 hello\r\n");
    let home = Home::new().file("data.txt", "some text\n");
    let data = home.path("data.txt").display().to_string();
    let config = format!(
        "[check.disk]\nwarn = \"100\"\ncrit = \"100\"\n[check.memory]\nwarn = \"0:\"\ncrit = \"0:\"\n\
         [check.load]\nwarn = 1000\ncrit = 2000\n\
         [check.web]\nplugin = \"http\"\nurl = \"http://{web}/\"\ncontains = \"hell\"\n\
         [check.port]\nplugin = \"tcp\"\naddress = \"{greeting}\"\nexpect = \"220\"\n\
         [check.data]\nplugin = \"file\"\npath = \"{data}\"\nage = \"1h\"\nsize = \"1:100\"\ncontains = \"text\"\n\
         [check.me]\nplugin = \"process\"\nname = \"moonkeep\"\n\
         [check.true]\nplugin = \"command\"\ncommand = [\"sh\", \"-c\", \"echo fine\"]\n"
    );
    home.write("moonkeep.toml", &config);
    let finished = home.run(&["check"]).expect_code(0);
    has(&finished, "8 checks: 8 ok");

    let refused = closed();
    let bad = format!(
        "[check.disk]\ncrit = \"0\"\n[check.memory]\ncrit = \"101:\"\n[check.load]\ncrit = \"@0:1000000\"\n\
         [check.web]\nplugin = \"http\"\nurl = \"http://{broken}/\"\n\
         [check.text]\nplugin = \"http\"\nurl = \"http://{web}/\"\ncontains = \"bye\"\n\
         [check.port]\nplugin = \"tcp\"\naddress = \"{refused}\"\n\
         [check.greeting]\nplugin = \"tcp\"\naddress = \"{greeting}\"\nexpect = \"250\"\n\
         [check.data]\nplugin = \"file\"\npath = \"{data}-not\"\n\
         [check.size]\nplugin = \"file\"\npath = \"{data}\"\nsize = \"@0:100\"\n\
         [check.gone]\nplugin = \"process\"\nname = \"no-such-process\"\n\
         [check.false]\nplugin = \"command\"\ncommand = [\"sh\", \"-c\", \"echo bad; exit 2\"]\n"
    );
    home.write("moonkeep.toml", &bad);
    let report = json(&home, &[]);
    let checks = report["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 11);
    for check in checks {
        assert_eq!(check["state"], "critical", "{check}");
    }
}

#[test]
fn every_stock_plugin_describes_its_parameters() {
    let home = Home::new();
    for (name, parameter) in [
        ("disk", "paths"),
        ("memory", "warn"),
        ("load", "crit"),
        ("process", "name (required)"),
        ("tcp", "address (required)"),
        ("http", "url (required)"),
        ("file", "path (required)"),
        ("command", "command (required)"),
    ] {
        has(
            &home.run(&["check", "help", name]).expect_code(0),
            parameter,
        );
    }
    let _ = home
        .run(&["check", "help", "htpp"])
        .expect_code(64)
        .expect_stderr("did you mean `http`?");
}

#[test]
fn the_repository_is_a_home_whose_checks_run() {
    let home = Home::new();
    let repository = env!("CARGO_MANIFEST_DIR");
    let finished = home.run(&["--home", repository, "check", "-f", "json"]);
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("a list");
    let names: Vec<_> = checks
        .iter()
        .map(|check| check["name"].as_str().expect("text"))
        .collect();
    assert_eq!(names, ["disk", "load", "memory", "swap"]);
    for check in checks {
        assert_ne!(check["state"], "unknown", "{check}");
    }
}

/// A monitoring plugin with this body, and the JSON of its check.
#[track_caller]
fn wrapped(body: &str) -> Value {
    let home = plugin("check('n', { timeout = '5s' }, nagios('check_it'))")
        .file("plugins/check_it", &format!("#!/bin/sh\n{body}\n"));
    let path = home.path("plugins/check_it");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("its mode");
    json(&home, &[])["checks"][0].clone()
}

#[test]
fn existing_monitoring_plugins_are_understood() {
    for (body, state, message) in [
        ("echo 'OK - fine'", "ok", "OK - fine"),
        (
            "echo 'CRITICAL says the text'",
            "ok",
            "CRITICAL says the text",
        ),
        ("echo odd; exit 1", "warning", "odd"),
        ("echo bad; exit 2", "critical", "bad"),
        ("echo what; exit 3", "unknown", "what"),
        (
            "echo x; exit 4",
            "critical",
            "return code of 4 is out of bounds: x",
        ),
        (
            "exit 127",
            "critical",
            "return code of 127 is out of bounds; check if plugin exists: `check_it` said nothing",
        ),
        (
            "echo why >&2; exit 2",
            "critical",
            "`check_it` said nothing on its output, but: why",
        ),
        (
            "kill -9 $$",
            "critical",
            "killed by signal 9: `check_it` said nothing",
        ),
    ] {
        let check = wrapped(body);
        assert_eq!(check["state"], state, "{body}: {check}");
        assert_eq!(check["message"], message, "{body}");
    }
}

#[test]
fn performance_data_become_measures() {
    let check = wrapped(
        "echo \"DISK OK | '/a b'=5MB;10;20;0;30\"\necho 'long text | more=1s;;@3:5'\necho 'last=U'",
    );
    let measures = &check["measures"];
    assert_eq!(measures[0]["name"], "/a b");
    assert_eq!(measures[0]["value"], 5);
    assert_eq!(measures[0]["unit"], "MB");
    assert_eq!(measures[0]["crit"], "20");
    assert_eq!(measures[1]["crit"], "@3:5");
    assert_eq!(measures[2]["value"], Value::Null);
    assert_eq!(check["message"], "DISK OK");
}

#[test]
fn our_values_are_those_of_the_monitoring_plugins() {
    let folder = "/usr/lib/nagios/plugins";
    if !installed(
        &format!("{folder}/check_dummy"),
        "our_values_are_those_of_the_monitoring_plugins",
    ) {
        return;
    }
    for code in 0..4 {
        let home = plugin(&format!("check('d', nagios('check_dummy {code} words'))"));
        let report = json(&home, &[]);
        let expected = ["ok", "warning", "critical", "unknown"][code];
        assert_eq!(report["state"], expected);
    }
}
