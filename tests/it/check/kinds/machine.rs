//! Kinds that look at this machine: disk, load, memory, swap, file, process, port.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use super::{expect, expect_in, measure};
use crate::harness::Home;

#[test]
fn the_machine_is_judged_by_its_figures() {
    let checks = expect(&[
        (
            "plugin = \"disk\"\nwarn = 100\ncrit = 100\ninodes_warn = \"\"\ninodes_crit = \"\"",
            "ok",
            "% full",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\nwarn = 0\ncrit = 100",
            "warning",
            "is above 0 (warning); / is",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\ncrit = \"101:\"",
            "critical",
            "% is below 101 (critical)",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\nwarn = 100\ncrit = 100\nfree_crit = \"900TB\"",
            "critical",
            "is below 900000000000000 (critical)",
        ),
        (
            "plugin = \"disk\"\npaths = \"/\"\nwarn = 100\ncrit = 100\nfree_warn = \"900TiB\"",
            "warning",
            "(warning)",
        ),
        (
            "plugin = \"disk\"\npaths = \"/nowhere\"",
            "critical",
            "/nowhere",
        ),
        (
            "plugin = \"load\"\nwarn = 1000\ncrit = 1000\nover = 1",
            "ok",
            "processors",
        ),
        (
            "plugin = \"load\"\nwarn = \"1000:\"",
            "warning",
            "is below 1000 (warning)",
        ),
        (
            "plugin = \"load\"\ncrit = \"1000:\"",
            "critical",
            "is below 1000 (critical)",
        ),
        (
            "plugin = \"memory\"\nwarn = \"0:\"\ncrit = \"0:\"",
            "ok",
            "GB is available",
        ),
        (
            "plugin = \"memory\"\nwarn = \"101:\"\ncrit = \"0:\"",
            "warning",
            "% is below 101 (warning)",
        ),
        (
            "plugin = \"memory\"\ncrit = \"101:\"",
            "critical",
            "% is below 101 (critical)",
        ),
        ("plugin = \"swap\"\nwarn = 100\ncrit = 100", "ok", "swap"),
    ]);
    assert!(measure(&checks[1], "free") > 0.0);
    assert!(measure(&checks[1], "inodes") >= 0.0);
}

#[test]
fn files_are_judged_by_facts_and_content() {
    let home = Home::new();
    let path = home
        .write("a/data.txt", "some text\n")
        .display()
        .to_string();
    let old = home.write("a/old.log", "x").display().to_string();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options()
        .write(true)
        .open(&old)
        .and_then(|file| file.set_modified(long_ago))
        .expect("its time");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&path, mode).expect("its mode");
    let uid = rustix::process::getuid().as_raw();
    let file = |place: &str, more: &str| format!("plugin = \"file\"\npath = \"{place}\"\n{more}");
    let newest = format!("{}/*.*", home.path("a").display());
    let checks = expect_in(
        &home,
        &[
            (
                &file(
                    &path,
                    "sha256 = \"a23e5fdcd7b276bdd81aa1a0b7b963101863dd3f61ff57935f8c5ba462681ea6\"\nage = \"1h\"\nsize = \"1:100\"\nkind = \"file\"\nmode = \"0640\"\ncontains = \"text\"\nlacks = \"moon\"\nmatches = '(?m)^some \\w+$'",
                ),
                "ok",
                "10 bytes",
            ),
            (
                &file(&path, "mode = \"0600\""),
                "critical",
                "is 0640, not 0600",
            ),
            (&file(&path, &format!("owner = {uid}")), "ok", ""),
            (&file(&path, "owner = 12345"), "critical", ", not 12345"),
            (
                &file(&path, "kind = \"folder\""),
                "critical",
                "is a file, not a folder",
            ),
            (
                &file(&path, "contains = \"moon\""),
                "critical",
                "does not contain \"moon\"",
            ),
            (
                &file(&path, "lacks = \"some\""),
                "critical",
                "contains \"some\"",
            ),
            (
                &file(&path, "matches = \"^x\""),
                "critical",
                "does not match ^x",
            ),
            (
                &file(&path, "size = \"100:\""),
                "critical",
                "size 10 B is below 100 (critical)",
            ),
            (
                &file(&path, "size_warn = \"100:\""),
                "warning",
                "size 10 B is below 100 (warning)",
            ),
            (
                &file(&path, "sha256 = \"00\""),
                "critical",
                "the SHA-256 of",
            ),
            (
                &file(&old, "age = \"1h\""),
                "critical",
                "s is above 3600 (critical)",
            ),
            (
                &file(&old, "age_warn = \"1h\"\nage = \"1d\""),
                "warning",
                "s is above 3600 (warning)",
            ),
            (&file(&newest, "age = \"1h\""), "ok", "data.txt: 10 bytes"),
            (&file("/nowhere/x", ""), "critical", "does not exist"),
            (
                &file("/nowhere/x", "missing = true"),
                "ok",
                "does not exist, as it should",
            ),
            (
                &file(&path, "missing = true"),
                "critical",
                "exists, but should not",
            ),
        ],
    );
    assert_eq!(measure(&checks[0], "size"), 10.0);
}

/// A child that is killed at the end of the test.
struct Sleeper(std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_are_counted_and_weighed() {
    let home = Home::new();
    let mark = format!("8{}", std::process::id());
    let idle = || Sleeper(Command::new("sleep").arg(&mark).spawn().expect("sleep"));
    let (one, _two) = (idle(), idle());
    let busy = Sleeper(
        Command::new("sh")
            .args(["-c", "while :; do :; done", &mark])
            .spawn()
            .expect("a shell"),
    );
    let pidfile = home
        .write("one.pid", &format!("{}\n", one.0.id()))
        .display()
        .to_string();
    let busy_file = home
        .write("busy.pid", &busy.0.id().to_string())
        .display()
        .to_string();
    let sleepers =
        |more: &str| format!("plugin = \"process\"\nmatches = \"^sleep {mark}$\"\n{more}");
    let uid = rustix::process::getuid().as_raw();
    let checks = expect_in(
        &home,
        &[
            (&sleepers("count = 2"), "ok", "2 of ^sleep"),
            (
                &sleepers("count = 3"),
                "critical",
                "processes 2 is below 3 (critical)",
            ),
            (
                &sleepers("count = \"0:1\""),
                "critical",
                "processes 2 is above 1 (critical)",
            ),
            (
                &sleepers("count_warn = \"3:\""),
                "warning",
                "processes 2 is below 3 (warning)",
            ),
            (
                &sleepers(&format!("name = \"sleep\"\nuser = {uid}\ncpu = 50")),
                "ok",
                "2 of sleep",
            ),
            (&sleepers("memory = 1"), "warning", "is above 1 (warning)"),
            (
                &sleepers("memory_crit = 1"),
                "critical",
                "is above 1 (critical)",
            ),
            (
                &format!("plugin = \"process\"\npidfile = \"{pidfile}\""),
                "ok",
                "1 of",
            ),
            (
                &format!("plugin = \"process\"\npidfile = \"{busy_file}\"\ncpu = 0.5"),
                "warning",
                "is above 0.5 (warning)",
            ),
            (
                &format!("plugin = \"process\"\npidfile = \"{busy_file}\"\ncpu_crit = 0.5"),
                "critical",
                "is above 0.5 (critical)",
            ),
            (
                "plugin = \"process\"\npidfile = \"/nowhere/x.pid\"",
                "critical",
                "there is no /nowhere/x.pid",
            ),
            (
                "plugin = \"process\"\nname = \"no-such-program\"",
                "critical",
                "processes 0 is below 1 (critical)",
            ),
            (
                "plugin = \"process\"\nname = \"no-such-program\"\ncount = 0",
                "ok",
                "0 of no-such-program",
            ),
        ],
    );
    assert_eq!(measure(&checks[0], "processes"), 2.0);
    assert!(measure(&checks[4], "cpu") < 50.0);
}

#[test]
fn ports_are_told_with_who_listens() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (port, data) = (
        tcp.local_addr().expect("bound").port(),
        udp.local_addr().expect("bound").port(),
    );
    let own = std::fs::read_to_string("/proc/self/comm").expect("Linux");
    let own = own.trim();
    let none = crate::check::closed().port();
    let at = |port: u16, more: &str| format!("plugin = \"port\"\nport = {port}\n{more}");
    expect(&[
        (&at(port, ""), "ok", "on 127.0.0.1"),
        (
            &at(port, "loopback = true\naddress = \"127.0.0.1\""),
            "ok",
            "",
        ),
        (
            &at(port, "address = \"127.0.0.2\""),
            "critical",
            "listens on 127.0.0.1, not 127.0.0.2",
        ),
        (&at(port, &format!("process = \"{own}\"")), "ok", own),
        (
            &at(port, "process = \"nginx-of-nobody\""),
            "critical",
            ", not nginx-of-nobody",
        ),
        (
            &at(port, "closed = true"),
            "critical",
            "is open, but nothing should listen there",
        ),
        (&at(none, ""), "critical", "nothing listens on tcp"),
        (&at(none, "closed = true"), "ok", "as it should"),
        (&at(data, "protocol = \"udp\""), "ok", ""),
    ]);
}
