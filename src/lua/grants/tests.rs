use super::*;

fn subject(home: &Path) -> Subject<'_> {
    Subject {
        home,
        own: Path::new("/nowhere/own"),
        path: Path::new("/nowhere/x.lua"),
        exec: false,
    }
}

fn confinement(allow: Allow) -> Confinement {
    Confinement {
        mode: SandboxMode::On,
        landlock: true,
        allow,
    }
}

#[test]
fn a_home_is_read_but_for_state_logs_and_what_is_hidden() {
    let home = tempfile::tempdir().expect("a folder");
    for name in ["lib", "scripts", "state", "logs", ".git"] {
        std::fs::create_dir(home.path().join(name)).expect("a folder");
    }
    let grants = Grants::of(&confinement(Allow::default()), subject(home.path()));
    let may = |need, name: &str| grants.denied(need, &home.path().join(name)).is_none();
    assert!(may(Need::Read, "lib/x/y.lua") && may(Need::Read, "scripts/../lib/x"));
    for name in [
        "state/journal.db",
        "logs/daemon.log",
        ".git/config",
        "lib/../state/x",
        ".",
        "..",
    ] {
        assert!(!may(Need::Read, name), "{name}");
    }
    assert!(!may(Need::Write, "lib/x"));
    assert!(
        grants
            .denied(Need::Write, Path::new("/nowhere/own/a/b"))
            .is_none()
    );
    assert!(
        grants
            .denied(Need::Write, Path::new("/nowhere/owner"))
            .is_some()
    );
}

#[test]
fn a_refusal_names_the_line_that_would_allow_it() {
    let grants = Grants::of(
        &confinement(Allow::default()),
        subject(Path::new("/nowhere")),
    );
    let error = grants
        .denied(Need::Read, Path::new("/etc/shadow"))
        .expect("refused");
    assert_eq!(
        error.message,
        "denied: this script may not read /etc/shadow; add to its header: -- allow.read = [\"/etc/shadow\"]"
    );
    assert_eq!(error.code, DENIED_CODE);
    let missing = grants
        .denied(Need::Write, Path::new("/nowhere/at/all"))
        .expect("refused");
    assert_eq!(
        missing.message,
        "denied: this script may not write /nowhere/at/all; add to its header: -- allow.write = [\"/nowhere/at/all\"]; it is not there yet: make it first, or allow a folder for it"
    );
    let told = |result: Result<(), ApiError>| result.expect_err("refused").message;
    assert!(told(grants.check_host("::1", 80)).ends_with("-- allow.net = [\"[::1]:80\"]"));
    assert!(told(grants.check_program("id")).ends_with("-- allow.run = [\"id\"]"));
}

#[test]
fn hosts_and_ports_are_compared_as_they_are_written() {
    let covers =
        |entry: &str, host: &str, port| HostPort::parse(entry).expect(entry).covers(host, port);
    assert!(covers("*:443", "example.org", 443) && !covers("*:443", "example.org", 80));
    assert!(covers("a.b:*", "A.B", 1) && !covers("a.b:*", "x.a.b", 1));
    assert!(covers("[::1]:80", "0:0:0:0:0:0:0:1", 80) && covers("localhost:80", "127.0.0.1", 80));
    assert!(!covers("127.0.0.1:80", "localhost", 80) && !covers("localhost:80", "10.0.0.1", 80));
}

#[test]
fn nothing_is_refused_where_nothing_is_confined() {
    let grants = Grants::unrestricted();
    assert!(grants.denied(Need::Write, Path::new("/")).is_none());
    assert!(grants.check_host("x", 1).is_ok() && grants.check_program("x").is_ok());
}

#[test]
fn an_entry_that_names_nothing_is_noted() {
    let allow = Allow {
        read: vec!["/nowhere/at/all".into()],
        run: vec!["no-such-program".into()],
        ..Allow::default()
    };
    let grants = Grants::of(&confinement(allow), subject(Path::new("/nowhere")));
    assert_eq!(grants.notes().len(), 2, "{:?}", grants.notes());
}
