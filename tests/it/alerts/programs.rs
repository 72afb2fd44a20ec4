//! Programs as hooks: what they get, how they fail, and that nothing of them is left.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A hook that runs a shell text; the shell is the program's, not ours.
fn shell(text: &str, more: &str) -> String {
    let text = serde_json::Value::from(text).to_string();
    format!("exec = [\"/bin/sh\", \"-c\", {text}, \"sh\", \"$(id) ; *\"]\n{more}")
}

#[test]
fn a_program_gets_the_alert_as_json_and_in_its_environment_and_no_shell() {
    let home = Home::new();
    let text = "cat > alert.json; env | grep '^MOONKEEP_' | sort > environment; printf %s \"$1\" > argument; pwd > folder";
    let (end, said) = deliver(&home, &shell(text, ""), problem());
    assert_eq!((end, said.as_str()), (End::Delivered, ""));
    let alert: serde_json::Value = serde_json::from_str(&home.read("alert.json")).expect("JSON");
    assert_eq!(alert["check"], "web");
    assert_eq!(alert["message"], "cannot \"connect\"\nsecond line");
    let environment = home.read("environment");
    for line in [
        "MOONKEEP_ALERT_CHECK=web",
        "MOONKEEP_ALERT_STATE=critical",
        "MOONKEEP_ALERT_FROM=ok",
        "MOONKEEP_ALERT_KIND=problem",
        "MOONKEEP_ALERT_MESSAGE=cannot \"connect\"",
        "MOONKEEP_ALERT_SINCE=2026-11-21T03:40:12Z",
        "MOONKEEP_ALERT_TAGS=prod, http",
        "MOONKEEP_ALERT_MEASURES=time 0.31 s",
        "MOONKEEP_ALERT_ATTEMPT=1",
        &format!("MOONKEEP_ALERT_ID={}", alert["id"].as_str().expect("an id")),
        &format!("MOONKEEP_HOME={}", home.root().display()),
    ] {
        assert!(
            environment.lines().any(|found| found == line),
            "{line}: {environment}"
        );
    }
    assert_eq!(home.read("argument"), "$(id) ; *");
    assert_eq!(
        home.read("folder").trim(),
        home.root().display().to_string()
    );
}

#[test]
fn how_programs_fail() {
    let home = Home::new();
    home.write("plain", "no program");
    for (section, expected) in [
        (
            shell("echo out; echo why >&2; exit 3", ""),
            "`/bin/sh` ended with exit code 3; it said: ",
        ),
        (shell("exit 75", ""), "`/bin/sh` ended with exit code 75"),
        (shell("kill -9 $$", ""), "`/bin/sh` was killed by signal 9"),
        (
            "exec = [\"no-such-program-of-moonkeep\"]".to_owned(),
            "cannot start `no-such-program-of-moonkeep`: No such file or directory (os error 2); is it installed, and in the PATH of the daemon?",
        ),
        (
            "exec = [\"./plain\"]".to_owned(),
            "cannot start `./plain`: Permission denied (os error 13); is it executable, for the daemon's user?",
        ),
    ] {
        let (end, said) = deliver(&home, &section, problem());
        assert_eq!(end, End::Failed, "{said}");
        assert!(said.starts_with(expected), "{said}");
    }
    let (_, said) = deliver(
        &home,
        &shell("echo out; echo why >&2; exit 3", ""),
        problem(),
    );
    assert!(said.contains("out") && said.contains("why"), "{said}");
}

#[test]
fn a_large_output_is_read_and_its_end_is_told() {
    let home = Home::new();
    let text = "yes 0123456789 | head -c 3000000; echo the end; exit 1";
    let (end, said) = deliver(&home, &shell(text, ""), problem());
    assert_eq!(end, End::Failed);
    assert!(said.ends_with("the end"), "{}", &said[said.len() - 40..]);
    assert!(said.len() < 9 * 1024, "{}", said.len());
}

#[test]
fn a_program_that_reads_nothing_is_no_fault() {
    let home = Home::new();
    let alert = Alert {
        message: "x".repeat(200_000),
        ..problem()
    };
    assert_eq!(
        deliver(&home, &shell("exit 0", ""), alert),
        (End::Delivered, String::new())
    );
}

// Dropping the home fails the test if any of them is left.
#[test]
fn at_the_time_limit_all_that_was_started_ends_also_what_has_left_the_group() {
    let home = Home::new();
    let text = "echo begun; setsid sh -c 'echo $$ > escaped; sleep 600' & (trap '' TERM; sleep 601) & sleep 602";
    let begun = Instant::now();
    let (end, said) = deliver(&home, &shell(text, "timeout = \"500ms\""), problem());
    assert_eq!(end, End::Failed);
    assert!(
        said.contains(
            "did not end within 500ms and was killed, with all that it had started; it said: begun"
        ),
        "{said}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert!(!home.read("escaped").is_empty(), "it had left the session");
    assert_eq!(home.processes(), []);
}

#[test]
fn what_a_program_leaves_behind_ends_with_the_delivery() {
    let home = Home::new();
    let text = "setsid sleep 600 & echo left; exit 0";
    let begun = Instant::now();
    assert_eq!(
        deliver(&home, &shell(text, ""), problem()).0,
        End::Delivered
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(home.processes(), []);
}

#[test]
fn a_program_ends_with_the_daemon_that_wanted_it() {
    let home = Home::new();
    let section = shell("echo > begun; sleep 600", "timeout = \"5m\"");
    let mut attempt = Attempt::start(&home, &order(&home, hook(&section), problem()), &[]);
    wait_for("the program runs", || {
        home.path("begun").exists().then_some(())
    });
    attempt.abandon();
    assert_eq!(attempt.end().0, End::Failed);
    assert_eq!(home.processes(), []);
}

#[test]
fn a_program_may_kill_its_group_without_harm() {
    let home = Home::new();
    let program = home.write("hook", "#!/bin/sh\ntrap '' TERM\nkill -TERM 0\nexit 0\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    assert_eq!(
        deliver(&home, "exec = [\"./hook\"]", problem()).0,
        End::Delivered
    );
}
