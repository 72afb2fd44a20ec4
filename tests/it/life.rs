//! The daemon as the system sees it: signals, systemd, environments, long paths, and starts without number.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Home, PATIENCE, Program, kill, rounds, wait_for, wait_until};

const GREETER: &str =
    "require('moonkeep').handle('greet', function(r) return 'hello ' .. r.params.name end)\n";
const GREET: [&str; 4] = ["call", "greeter", "greet", "name=Ada"];

// S-05, DESIGN 5: what runs when the daemon dies gets its grace, then nothing is left.
#[test]
fn a_handler_that_runs_when_the_daemon_is_killed_may_finish() {
    let home = Home::new().script(
        "long.lua",
        r#"
        local moonkeep = require "moonkeep"
        local function touch(name) assert(io.open(moonkeep.state_dir .. "/" .. name, "w")):close() end
        local function exists(name)
          local file = io.open(moonkeep.state_dir .. "/" .. name)
          return file and file:close()
        end
        moonkeep.handle("long", function()
          touch("begun")
          while not exists("go") do moonkeep.sleep(0.01) end
          touch("ended")
        end)"#,
    );
    let daemon = home.up();
    let mut line = home.connect();
    line.send("call long long");
    wait_until("it runs", || home.path("state/scripts/long/begun").exists());
    daemon.kill();
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_millis(500) {
        assert!(!home.processes().is_empty(), "it had no time to finish");
    }
    home.write("state/scripts/long/go", "");
    wait_until("it has finished", || {
        home.path("state/scripts/long/ended").exists()
    });
    wait_until("nothing is left", || home.processes().is_empty());
}

#[test]
fn a_hang_up_reads_the_configuration_anew() {
    let home = Home::new().script("greeter.lua", GREETER);
    // The kernel tells of what is written under the name that is watched, not of this one.
    let elsewhere = home.user().join("elsewhere.toml");
    fs::hard_link(home.path("moonkeep.toml"), &elsewhere).expect("one file system");
    let daemon = home.up();
    for (enabled, state) in [(false, "stopped"), (true, "ready"), (false, "stopped")] {
        let text = format!("[script.greeter]\nenabled = {enabled}\n");
        fs::write(&elsewhere, text).expect("in place");
        daemon.signal(Signal::HUP);
        wait_until(&format!("it is {state}"), || {
            home.script_status("greeter")["state"] == state
        });
    }
}

#[test]
fn a_second_signal_skips_the_grace() {
    let stubborn = "#!/bin/sh
# /// moonkeep
# stop_timeout = \"5m\"
# ///
trap '' TERM
while read -r line; do
  case \"$line\" in shutdown*) : > asked ;; esac
done
while :; do sleep 0.1; done
";
    let home = Home::new().executable("stubborn.sh", stubborn);
    let daemon = home.up();
    daemon.signal(Signal::TERM);
    wait_until("the script is asked to leave", || {
        home.path("asked").exists()
    });
    assert!(
        daemon.stop().success(),
        "in order, and before its 5 minutes"
    );
}

// S-11
#[test]
fn systemd_is_told_when_the_daemon_serves_and_when_it_stops() {
    let home = Home::new().script("greeter.lua", GREETER);
    let place = home.user().join("notify");
    let socket = UnixDatagram::bind(&place).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut daemon = start(home.moonkeep(&["up"]).env("NOTIFY_SOCKET", &place));
    let told = || {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("systemd is told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(home.run(&GREET).ok(), "hello Ada\n", "ready means ready");
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    assert!(daemon.wait().expect("our own child").success());
}

fn start(program: Program) -> Child {
    let mut command = program.into_command();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("the daemon starts")
}

/// A private folder on a path that is longer than the address of a socket may be.
fn long_folder(home: &Home, letter: &str) -> PathBuf {
    let folder = home.user().join(letter.repeat(90)).join(letter.repeat(90));
    fs::create_dir_all(&folder).expect("created");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    folder
}

// T4
#[test]
fn homes_and_runtime_folders_on_long_paths_work() {
    let home = Home::new();
    let (lab, runtime) = (long_folder(&home, "h"), long_folder(&home, "r"));
    fs::create_dir(lab.join("scripts")).expect("created");
    fs::write(lab.join("moonkeep.toml"), "").expect("written");
    fs::write(lab.join("scripts/greeter.lua"), GREETER).expect("written");
    for long_runtime in [false, true] {
        let run = |words: &[&str]| {
            let program = home.moonkeep(words).env("MOONKEEP_HOME", &lab);
            let program = match long_runtime {
                true => program.env("XDG_RUNTIME_DIR", &runtime),
                false => program,
            };
            program.run().ok()
        };
        run(&["up", "-d"]);
        assert_eq!(run(&GREET), "hello Ada\n", "long runtime: {long_runtime}");
        run(&["down"]);
        assert!(home.processes().is_empty(), "{:?}", home.processes());
    }
}

// T4
#[test]
fn a_daemon_is_found_from_an_environment_with_another_runtime_folder_or_none() {
    let home = Home::new().script("greeter.lua", GREETER);
    let bare = |words: &[&str]| home.moonkeep(words).without_env("XDG_RUNTIME_DIR").run();
    home.run(&["up", "-d"]).ok();
    assert_eq!(bare(&GREET).ok(), "hello Ada\n");
    bare(&["up", "-d"])
        .expect_code(1)
        .expect_stderr("already running");
    bare(&["down"]).ok();
    bare(&["up", "-d"]).ok();
    assert_eq!(home.run(&GREET).ok(), "hello Ada\n");
    home.run(&["down"]).ok();
    assert!(home.processes().is_empty(), "{:?}", home.processes());
}

// R-037: the reports' script says SUCCESS whenever it is started, not only mostly.
#[test]
fn the_health_script_says_success_at_every_start() {
    let stock = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/api-health.lua");
    let text = fs::read_to_string(stock).expect("stock");
    let home = Home::new().script("api-health.lua", &text);
    for round in 1..=rounds(20, 200) {
        let daemon = home.up();
        wait_for("one more SUCCESS", || {
            let log = fs::read_to_string(home.path("logs/scripts/api-health.log")).ok()?;
            (log.matches("SUCCESS: ").count() >= round).then_some(())
        });
        assert_eq!(home.script_status("api-health")["restarts"], json!(0));
        assert!(daemon.stop().success());
    }
}

/// What `git clone` makes with umask 002.
#[test]
fn a_home_that_the_group_may_write_is_refused_with_the_command_that_closes_it() {
    let home = Home::new().script("greeter.lua", GREETER);
    let sh = |line: &str| {
        let program = home.program(Path::new("/bin/sh"));
        program.args(&["-c", line]).run().ok()
    };
    sh("chmod -R g+w .");
    home.run(&["up", "-d"])
        .expect_code(1)
        .expect_stderr("chmod go-w");
    sh("chmod -R go-w .");
    home.run(&["up", "-d"]).ok();
    assert_eq!(home.run(&GREET).ok(), "hello Ada\n");
    home.run(&["down"]).ok();
}
