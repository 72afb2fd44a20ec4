//! `moonkeep check` on the real binary.

mod daemon;
mod formats;
mod judges;
mod junit;
mod kinds;
mod stock;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Finished, Home, wait_until};

/// A home with one plugin.
fn plugin(text: &str) -> Home {
    Home::new().file("plugins/p.lua", text)
}

/// The JSON of a run, whatever its exit code.
#[track_caller]
fn json(home: &Home, arguments: &[&str]) -> Value {
    let all = [&["check", "-f", "json"], arguments].concat();
    let finished = home.run(&all);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:#?}"))
}

#[track_caller]
fn has(finished: &Finished, part: &str) {
    assert!(
        finished.stdout.contains(part),
        "{part:?} in stdout of {finished:#?}"
    );
}

/// Answers every connection with `answer` after having read something, until the test ends.
fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut asked = [0; 4096];
                if !answer.starts_with("HTTP/") || stream.read(&mut asked).is_ok() {
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    address
}

/// A port that refuses.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

#[test]
fn the_exit_code_is_the_worst_state() {
    let home = plugin(
        "check('good', function(c) return 'fine' end)
         check('warned', { tags = { 't' } }, function(c) c:warn('a little') end)
         check('bad', function(c) c:expect(1 == 2, 'one is not two') end)
         check('odd', function(c) c:unknown('who knows') end)",
    );
    for (words, code) in [
        (&["check", "good"][..], 0),
        (&["check", "good", "warned"], 1),
        (&["check", "good", "odd", "warned"], 3),
        (&["check"], 2),
        (&["check", "t"], 1),
        (&["check", "--fail-on", "critical", "warned"], 0),
        (&["check", "--fail-on", "critical"], 2),
        (&["check", "--fail-on", "ok", "good"], 0),
    ] {
        let _ = home.run(words).expect_code(code);
    }
}

#[test]
fn a_bug_is_unknown_and_names_its_line() {
    let home = plugin("check('buggy', function(c)\n  local x\n  return x.field\nend)");
    let finished = home.run(&["check"]).expect_code(3);
    has(&finished, "UNKNOWN");
    has(&finished, "plugins/p.lua:3:");
    assert!(!finished.stdout.contains("traceback"), "{finished:#?}");
    has(&home.run(&["check", "-v"]), "stack traceback");
    let report = json(&home, &[]);
    assert_eq!(report["checks"][0]["state"], "unknown");
}

#[test]
fn a_file_that_is_no_lua_harms_itself_only() {
    let home = plugin("check('fine', function() end)").file("plugins/broken.lua", "check(\n= 1");
    let finished = home.run(&["check"]).expect_code(3);
    has(&finished, "plugins/broken.lua:2:");
    has(&finished, "fine");
    let _ = home.run(&["check", "fine"]).expect_code(0);
    let _ = home.run(&["check", "broken"]).expect_code(3);
}

#[test]
fn expectations_go_on_and_default_to_file_and_line() {
    let home = plugin(
        "check('e', function(c)\n  c:expect(false)\n  c:expect(nil, 'second')\n  c:expect(true, 'never')\n  return 'end'\nend)",
    );
    let report = json(&home, &[]);
    let message = report["checks"][0]["message"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(message.contains("plugins/p.lua:2"), "{message}");
    assert!(message.ends_with("; second; end"), "{message}");
    assert!(!message.contains("never"), "{message}");
}

#[test]
fn what_the_world_refuses_is_critical_with_a_sentence() {
    let home = plugin(
        "local address = param('address', nil, 'where')
         check('tcp', function() tcp.connect(address) end)
         check('http', function() http.get('http://' .. address .. '/') end)
         check('file', function() fs.read('/nowhere/at/all') end)
         check('run', function() process.run('no-such-program-here') end)
         check('caught', function() local ok = pcall(tcp.connect, address) return tostring(ok) end)",
    );
    let address = format!("address={}", closed());
    let report = json(&home, &["--set", &address]);
    let message = |name: &str| {
        let checks = report["checks"].as_array().expect("a list");
        let check = checks
            .iter()
            .find(|check| check["name"] == name)
            .expect("this check");
        (
            check["state"].as_str().expect("text").to_owned(),
            check["message"].to_string(),
        )
    };
    for (name, part) in [
        ("tcp", "connection refused"),
        ("http", "connection refused"),
        ("file", "no such file"),
        ("run", "there is no such program"),
    ] {
        let (state, text) = message(name);
        assert_eq!(state, "critical", "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
        assert!(
            !text.contains("p.lua"),
            "{name}: a sentence without a line: {text}"
        );
    }
    assert_eq!(message("caught").0, "ok");
}

#[test]
fn misuse_of_the_api_is_a_bug() {
    let home = plugin(
        "check('a', function(c) c:mesure('x', 1) end)
         check('b', function(c) tcp.connect('nonsense') end)
         check('c', function(c) c:measure('x', 1, '', { wran = 1 }) end)
         check('d', function(c) return {} end)
         check('e', function(c) counter = 1 end)
         check('f', function(c) c:measure('x', 1, '', { warn = '20:10' }) end)",
    );
    let report = json(&home, &[]);
    for (at, part) in [
        (0, "did you mean c:measure?"),
        (1, "host:port"),
        (2, "did you mean `warn`?"),
        (3, "return a text"),
        (4, "c.state.counter"),
        (5, "less than the start"),
    ] {
        let check = &report["checks"][at];
        assert_eq!(check["state"], "unknown", "{check}");
        let message = check["message"].as_str().expect("text");
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[test]
fn a_check_that_waits_or_spins_ends_at_its_limit() {
    let home = plugin(
        "check('waits', { timeout = '300ms' }, function() time.sleep('1h') end)
         check('spins', { timeout = 0.3 }, function()
           while true do end
         end)
         check('evades', { timeout = '300ms' }, function()
           while true do pcall(function() while true do end end) end
         end)
         check('others', function() time.sleep(0.2) return 'not held up' end)",
    );
    let begin = Instant::now();
    let report = json(&home, &[]);
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    for at in 0..3 {
        let check = &report["checks"][at];
        assert_eq!(check["state"], "critical", "{check}");
        let message = check["message"].as_str().expect("text");
        assert!(message.contains("timed out after 0.3 s"), "{message}");
    }
    let spinning = report["checks"][1]["message"].as_str().expect("text");
    assert!(spinning.contains("plugins/p.lua:3"), "{spinning}");
    assert_eq!(report["checks"][3]["state"], "ok");
}

#[test]
fn one_time_limit_can_hold_for_all() {
    let home = plugin("for i = 1, 300 do check('c' .. i, function() time.sleep(60) end) end");
    let begin = Instant::now();
    let finished = home.run(&["check", "--timeout", "300ms"]).expect_code(2);
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    has(&finished, "300 critical");
}

#[test]
fn a_command_is_killed_with_its_group_and_its_output_kept() {
    let home = Home::new();
    let mark = format!("9{}", std::process::id());
    let script = format!(
        "check('slow', {{ timeout = '400ms' }}, function()
           process.run({{ 'sh', '-c', 'echo first words; sleep {mark} & sleep {mark}' }})
         end)"
    );
    home.write("plugins/p.lua", &script);
    let report = json(&home, &[]);
    let message = report["checks"][0]["message"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(message.contains("output so far: first words"), "{message}");
    let left = std::process::Command::new("pgrep")
        .args(["-f", &format!("sleep {mark}")])
        .output();
    if let Ok(output) = left {
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "",
            "a child was left"
        );
    }
}

#[test]
fn checks_run_at_the_same_time() {
    let home = plugin("for i = 1, 50 do check('c' .. i, function() time.sleep(0.2) end) end");
    let begin = Instant::now();
    let _ = home.run(&["check"]).expect_code(0);
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_hundred_tcp_checks_pass_in_one_run() {
    let address = serve("hi\n");
    let home = plugin(&format!(
        "for i = 1, 100 do check('tcp' .. i, function(c) tcp.connect('{address}'):close() end) end"
    ));
    let report = json(&home, &[]);
    assert_eq!(report["state"], "ok", "{report}");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(100));
    let sections: String = (0..100)
        .map(|i| format!("[check.s{i}]\nplugin = \"tcp\"\naddress = \"{address}\"\n"))
        .collect();
    let home = Home::new().config(&sections);
    assert_eq!(
        json(&home, &[])["checks"].as_array().map(Vec::len),
        Some(100)
    );
}

#[test]
fn parameters_come_from_sections_and_the_command_line() {
    let home = plugin(
        "local limit = param('limit', 5, 'a number')
         local who = param('who', 'nobody', 'a name')
         check('p check', function(c) return who .. ' ' .. limit end)",
    );
    let message =
        |home: &Home, arguments: &[&str]| json(home, arguments)["checks"][0]["message"].clone();
    assert_eq!(message(&home, &[]), "nobody 5");
    assert_eq!(
        message(&home, &["--set", "limit=7", "--set", "who=Ada"]),
        "Ada 7"
    );
    assert_eq!(message(&home, &["--set", "limit:=0.5"]), "nobody 0.5");
    for section in ["p", "\"p check\""] {
        home.write(
            "moonkeep.toml",
            &format!("[check.{section}]\nwho = \"Grace\"\n"),
        );
        assert_eq!(message(&home, &[]), "Grace 5", "{section}");
    }
    home.write("moonkeep.toml", "[check.p]\nlimit = \"many\"\n");
    let _ = home.run(&["check"]).expect_code(3);
    home.write("moonkeep.toml", "[check.p]\nlimti = 3\n");
    has(
        &home.run(&["check"]).expect_code(3),
        "did you mean `limit`?",
    );
    home.write("moonkeep.toml", "");
    let _ = home
        .run(&["check", "--set", "limti=3"])
        .expect_code(64)
        .expect_stderr("did you mean `limit`?");
    let _ = home
        .run(&["check", "--set", "limit=many"])
        .expect_code(64)
        .expect_stderr("parameter `limit` takes a number");
}

#[test]
fn a_plugin_without_its_required_parameter_is_inactive() {
    let home = plugin(
        "local url = param('url', nil, 'address')
         check('web ' .. url, function() return url end)",
    );
    let _ = home.run(&["check"]).expect_code(0);
    has(&home.run(&["check", "--list"]), "inactive: needs url");
    let _ = home
        .run(&["check", "p"])
        .expect_code(64)
        .expect_stderr("--set url=");
    let _ = home.run(&["check", "p", "--set", "url=x"]).expect_code(0);
    home.write(
        "moonkeep.toml",
        "[check.a]\nplugin = \"p\"\nurl = \"1\"\n[check.b]\nplugin = \"p\"\nurl = \"2\"\n",
    );
    let report = json(&home, &[]);
    assert_eq!(report["checks"][0]["name"], "a");
    assert_eq!(report["checks"][1]["message"], "2");
    home.write("moonkeep.toml", "[check.a]\nplugin = \"p\"\n");
    has(&home.run(&["check"]).expect_code(3), "lacks url");
}

#[test]
fn checks_are_chosen_by_name_tag_and_file_and_run_once() {
    let home =
        plugin("check('one', { tags = { 't' } }, function() end)\ncheck('two', function() end)")
            .file(
                "plugins/q.lua",
                "check('three', { tags = { 't' } }, function() end)",
            );
    let names = |arguments: &[&str]| -> Vec<String> {
        let report = json(&home, arguments);
        let checks = report["checks"].as_array().expect("a list");
        checks
            .iter()
            .map(|check| check["name"].as_str().expect("text").to_owned())
            .collect()
    };
    assert_eq!(names(&["one"]), ["one"]);
    assert_eq!(names(&["t"]), ["one", "three"]);
    assert_eq!(names(&["p"]), ["one", "two"]);
    assert_eq!(names(&["plugins/q.lua"]), ["three"]);
    assert_eq!(
        names(&["three", "t", "one", "plugins/p.lua", "one"]),
        ["one", "two", "three"]
    );
    let _ = home
        .run(&["check", "thre"])
        .expect_code(64)
        .expect_stderr("did you mean `three`?");
    let _ = home
        .run(&["check", "one", "nothing-like-it"])
        .expect_code(64);
    let _ = home.run(&["check", "--no-such-option"]).expect_code(64);
    let _ = home.run(&["check", "-f", "xml"]).expect_code(64);
    let elsewhere = home.user().join("own.lua");
    std::fs::write(&elsewhere, "check('elsewhere', function() end)").expect("a file");
    assert_eq!(names(&[elsewhere.to_str().expect("text")]), ["elsewhere"]);
}

#[test]
fn wrong_declarations_are_told_with_their_line() {
    for (text, part) in [
        (
            "\ncheck('a', { evry = '3s' }, function() end)",
            "did you mean `every`?",
        ),
        ("\ncheck('a', { every = 'soon' }, function() end)", "soon"),
        ("\ncheck('a')", "a function"),
        (
            "\ncheck('a', function() end) check('a', function() end)",
            "declared twice",
        ),
    ] {
        let home = plugin(text);
        let finished = home.run(&["check"]).expect_code(3);
        has(&finished, part);
        has(&finished, "plugins/p.lua:2");
    }
    has(
        &plugin("local x = 1").run(&["check"]).expect_code(3),
        "declares no check",
    );
}

#[test]
fn two_checks_of_one_name_are_told_apart() {
    let home = plugin("check('same', function() end)")
        .file("plugins/q.lua", "check('same', function() end)");
    has(
        &home.run(&["check"]).expect_code(3),
        "already declared in plugins/p.lua",
    );
}

#[test]
fn a_faulty_configuration_is_unknown_and_says_the_line() {
    let home = plugin("check('a', function() end)").config("[check.a\n");
    let _ = home
        .run(&["check"])
        .expect_code(3)
        .expect_stderr("moonkeep.toml:1");
}

#[test]
fn globals_are_kept_between_the_checks_of_a_plugin_but_frozen() {
    let home = plugin(
        "words = 'shared'
         check('reads', function() return words .. ' ' .. type(http) end)
         check('state', function(c) c.state.n = (c.state.n or 0) + 1 return tostring(c.state.n) end)",
    );
    let report = json(&home, &[]);
    assert_eq!(report["checks"][0]["message"], "shared table");
    assert_eq!(report["checks"][1]["message"], "1");
}

#[test]
fn an_interrupt_ends_the_checks_and_their_commands() {
    let home = Home::new();
    let mark = home.path("started").display().to_string();
    home.write(
        "plugins/p.lua",
        &format!(
            "check('long', {{ timeout = '1m' }}, function()
               process.run({{ 'sh', '-c', 'sleep 60 & touch {mark}; wait' }})
             end)"
        ),
    );
    let mut child = home.moonkeep(&["check"]).spawn();
    wait_until("the command runs", || std::path::Path::new(&mark).exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our own child");
    assert_eq!(child.wait().expect("our own child").code(), Some(130));
    // The home's end fails the test if a process is left.
}
