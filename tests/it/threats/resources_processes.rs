//! A script that starts more processes than it should, or hides those that it has started.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;
use rustix::process::Signal;
use serde_json::json;

use super::leeway;
use crate::harness::{Home, Line, kill, rounds, wait_for, wait_for_within, wait_until};

/// From the end of a script to that of the last thing it has started.
const GONE: Duration = Duration::from_secs(2);
/// A ping takes no longer while a bomb goes off.
const PING: Duration = Duration::from_millis(200);

/// A helper in a session of its own, without environment, with an orphaned child of its own; none of them can be
/// found by group, session or name.
const HIDES: &str = "#!/bin/sh
setsid env -i sh -c 'sh -c \"trap : TERM HUP INT; echo \\$\\$ >> hidden; while :; do sleep 0.2; done\" &' &
setsid sh -c 'trap : TERM; echo $$ >> hidden; while :; do sleep 0.2; done' &
while read -r line; do :; done
";

fn pids(home: &Home, file: &str) -> Vec<i32> {
    let text = fs::read_to_string(home.path(file)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_there(pid: i32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

#[track_caller]
fn assert_gone(what: &str, pids: &[i32]) {
    wait_for_within(GONE, what, || {
        pids.iter().all(|pid| !is_there(*pid)).then_some(())
    });
}

fn generation(home: &Home, script: &str) -> u64 {
    let status = home.script_status(script);
    let ready = status["state"] == "ready";
    status["generation"].as_u64().filter(|_| ready).unwrap_or(0)
}

// T13, S-04, DESIGN 5: no orphan, whatever leaves its group, its session and its environment.
#[test]
fn what_a_script_has_hidden_ends_with_it_however_it_ends() {
    let home = Home::new().executable("hides.sh", HIDES);
    let daemon = home.up();
    let mut hidden = Vec::new();
    let ends: [(&str, &dyn Fn()); 4] = [
        ("its wrapper is killed", &|| {
            let pid = home.script_status("hides")["pid"].as_i64();
            kill(
                i32::try_from(pid.expect("a pid")).expect("a pid"),
                Signal::KILL,
            );
        }),
        ("it is restarted", &|| {
            drop(home.run(&["restart", "hides"]).ok())
        }),
        ("it is reloaded", &|| {
            home.replace("scripts/hides.sh", &format!("{HIDES}#\n"))
        }),
        ("it is stopped", &|| drop(home.run(&["stop", "hides"]).ok())),
    ];
    for (round, (what, end)) in ends.iter().enumerate() {
        let now = 2 * (round + 1);
        wait_until("the helpers run", || pids(&home, "hidden").len() == now);
        wait_until("it serves", || generation(&home, "hides") > round as u64);
        hidden.splice(.., pids(&home, "hidden").split_off(now - 2));
        assert!(hidden.iter().all(|pid| is_there(*pid)), "{what}");
        end();
        wait_until("its end", || generation(&home, "hides") != round as u64 + 1);
        assert_gone(what, &hidden);
    }
    assert!(daemon.stop().success());
}

// T13
#[test]
fn what_is_hidden_ends_with_the_daemon_too_and_no_zombie_stays_while_it_lives() {
    let home = Home::new().executable("hides.sh", HIDES).executable(
        "brief.sh",
        "#!/bin/sh\nfor i in 1 2 3 4 5; do setsid sh -c 'sh -c \"echo \\$\\$ >> brief; exit 3\" &'; done\nwhile read -r line; do :; done\n",
    );
    let daemon = home.up();
    wait_until("all have run", || pids(&home, "brief").len() == 5);
    assert_gone("the dead are reaped", &pids(&home, "brief"));
    wait_until("the helpers run", || pids(&home, "hidden").len() == 2);
    daemon.kill();
    wait_until("everything is gone", || home.processes().is_empty());
    assert_gone("with the daemon", &pids(&home, "hidden"));
}

// T13: what is not a script's, and what a script may leave, is left alone.
#[test]
fn strangers_and_what_keep_children_lets_live_are_spared() {
    let keeps = "#!/bin/sh\n# /// moonkeep\n# keep_children = true\n# ///\nsetsid sh -c 'echo $$ >> kept; exec sleep 60' &\nwhile read -r line; do :; done\n";
    let home = Home::new()
        .executable("hides.sh", HIDES)
        .executable("keeps.sh", keeps);
    // Children of the daemon that it has not started: one of before, one whose parent leaves it to the daemon.
    let before = format!(
        "sh -c 'echo $$ >> strangers; exec sleep 60' & sh -c '(sleep 0.3; sh -c \"echo \\$\\$ >> strangers; exec sleep 60\" &) & wait' & exec {} up",
        crate::harness::BINARY
    );
    let mut daemon = home
        .program("/bin/sh".as_ref())
        .args(&["-c", &before])
        .into_command()
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("it serves", || Line::try_connect(&home.socket()).is_ok());
    wait_until("all run", || {
        pids(&home, "strangers").len() == 2
            && pids(&home, "kept").len() == 1
            && pids(&home, "hidden").len() == 2
    });
    let spared = [pids(&home, "strangers"), pids(&home, "kept")].concat();
    for script in ["hides", "keeps"] {
        let pid = home.script_status(script)["pid"].as_i64().expect("a pid");
        kill(i32::try_from(pid).expect("a pid"), Signal::KILL);
    }
    // The one that still carries its environment; the other cannot be told from a stranger here.
    let hidden = pids(&home, "hidden");
    wait_until("the marked one is gone", || {
        hidden.iter().any(|pid| !is_there(*pid))
    });
    wait_until("both serve again", || {
        generation(&home, "hides") == 2 && generation(&home, "keeps") == 2
    });
    assert!(spared.iter().all(|pid| is_there(*pid)), "{spared:?}");
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
    for process in home.processes() {
        kill(process.pid, Signal::KILL);
    }
    for pid in [spared, hidden, pids(&home, "hidden")].concat() {
        kill(pid, Signal::KILL);
    }
}

/// A control group that is left to us to divide; removed at the end. `None`: this system gives us none.
struct Delegated(PathBuf);

impl Delegated {
    fn new(home: &Home) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let name = home.root().parent()?.file_name()?.to_owned();
        let folder = Path::new(line.split(' ').nth(4)?).join(name);
        fs::create_dir(&folder).ok()?;
        let delegated = Delegated(folder);
        rustix::fs::setxattr(&delegated.0, "user.delegate", b"1", XattrFlags::empty()).ok()?;
        Some(delegated)
    }

    fn groups(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let begun = Instant::now();
        fs::write(self.0.join("cgroup.kill"), "1").ok();
        while fs::remove_dir(&self.0).is_err() && begun.elapsed() < GONE {
            for group in self.groups() {
                fs::remove_dir(self.0.join(group)).ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

// T13: with a control group of our own nothing has to be guessed, and what is not the script's is spared all the same.
#[test]
fn where_a_control_group_is_left_to_us_each_worker_has_one_and_nothing_leaves_it() {
    let home = Home::new().executable("hides.sh", HIDES);
    let Some(delegated) = Delegated::new(&home) else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    let command = format!(
        "echo $$ > {}/cgroup.procs; sh -c 'echo $$ >> strangers; exec sleep 60' & exec {} up",
        delegated.0.display(),
        crate::harness::BINARY
    );
    let mut daemon = home
        .program("/bin/sh".as_ref())
        .args(&["-c", &command])
        .into_command()
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("the helpers run", || pids(&home, "hidden").len() == 2);
    wait_until("it serves", || generation(&home, "hides") == 1);
    assert_eq!(delegated.groups().len(), 2, "{:?}", delegated.groups());
    let pid = home.script_status("hides")["pid"].as_i64().expect("a pid");
    let hidden = pids(&home, "hidden");
    kill(i32::try_from(pid).expect("a pid"), Signal::KILL);
    assert_gone("all of the first generation", &hidden);
    wait_until("it serves again", || generation(&home, "hides") == 2);
    assert!(pids(&home, "strangers").iter().all(|pid| is_there(*pid)));
    home.run(&["stop", "hides"]).ok();
    assert_gone("all of the second", &pids(&home, "hidden"));
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
    for pid in pids(&home, "strangers") {
        kill(pid, Signal::KILL);
    }
}

/// Doubles without end until its count of processes is reached; each lives on, in a session of its own.
const BOMB: &str = "#!/bin/sh
# /// moonkeep
# stop_timeout = \"300ms\"
# ///
cat > bomb <<'END'
echo $$ >> fuses
[ $(wc -l < fuses) -gt COUNT ] && exec sleep 30
setsid sh bomb & sh bomb &
trap : TERM
while :; do sleep 5; done
END
sh bomb &
while read -r line; do :; done
";

// T13: `:(){ :|:& };:`, with a fuse for the sake of the machine.
#[test]
fn a_fork_bomb_leaves_the_daemon_prompt_and_is_gone_when_its_script_ends() {
    let mut pings = Vec::new();
    for round in 0..rounds(2, 20) {
        let home = Home::new().executable("bomb.sh", &BOMB.replace("COUNT", "80"));
        let _daemon = home.up();
        let mut line = home.connect();
        let ping = |pings: &mut Vec<Duration>, line: &mut Line| {
            let asked = Instant::now();
            line.ask("ping");
            pings.push(asked.elapsed());
        };
        wait_for("it has gone off", || {
            ping(&mut pings, &mut line);
            (pids(&home, "fuses").len() > 80).then_some(())
        });
        let begun = Instant::now();
        if round % 2 == 0 {
            home.run(&["stop", "bomb"]).ok();
        } else {
            let pid = home.script_status("bomb")["pid"].as_i64().expect("a pid");
            kill(i32::try_from(pid).expect("a pid"), Signal::KILL);
        }
        let fuses = pids(&home, "fuses");
        wait_for_within(GONE, "all are gone", || {
            ping(&mut pings, &mut line);
            fuses.iter().all(|pid| !is_there(*pid)).then_some(())
        });
        eprintln!("{} fuses, gone after {:?}", fuses.len(), begun.elapsed());
    }
    pings.sort();
    let late = pings[pings.len() * 99 / 100];
    eprintln!("{} pings, p99 {late:?}", pings.len());
    assert!(late < leeway() * PING, "a ping took {late:?}");
}

/// Leaves orphans that live and orphans that die, and runs programs whose ends it wants to know.
const LUA: &str = r#"
-- /// moonkeep
-- allow.run = ["setsid", "sleep", "true", "sh"]
-- ///
local moonkeep = require "moonkeep"
local process = require "moonkeep.process"
moonkeep.handle("hide", function()
  process.run { "setsid", "-f", "sleep", "61" }
  return os.execute("setsid -f true")
end)
moonkeep.handle("code", function(request)
  local result = process.run { "sh", "-c", "exit " .. request.params.code }
  local _, _, code = os.execute("sh -c 'exit " .. request.params.code .. "'")
  return { result.code, code }
end, { delivery = "query" })
"#;

// T13: the worker reaps what its programs orphan, and nothing that somebody waits for.
#[test]
fn a_lua_worker_reaps_orphans_only_and_ends_them_with_itself() {
    let home = Home::new().script("lua.lua", LUA);
    let _daemon = home.up();
    let mut line = home.connect();
    for _ in 0..3 {
        assert_eq!(line.call("lua", "hide", json!({})), true);
    }
    for number in 0..rounds(60, 600) {
        line.send_json(&json!({
            "request_id": number, "command": "call", "script": "lua", "handler": "code",
            "params": { "code": number % 50 + 1 },
        }));
    }
    for _ in 0..rounds(60, 600) {
        let answer = line.recv_json();
        let code = answer["request_id"].as_u64().expect("a number") % 50 + 1;
        assert_eq!(answer["result"], json!([code, code]), "{answer}");
    }
    let pid = home.script_status("lua")["pid"].as_i64().expect("a pid");
    wait_until("only the living are left", || {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).expect("the worker lives");
        children.split_whitespace().count() == 3
    });
    let hidden = || {
        home.processes()
            .iter()
            .filter(|process| process.arguments.contains("sleep 61"))
            .count()
    };
    assert_eq!(hidden(), 3);
    home.run(&["stop", "lua"]).ok();
    wait_for_within(GONE, "they end with it", || (hidden() == 0).then_some(()));
}
