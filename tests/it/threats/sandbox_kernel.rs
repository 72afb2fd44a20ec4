//! What the kernel refuses to a confined worker: plain system calls from inside its sandbox, past the Lua API.
//!
//! Each row is tried four times: confined and not, with Landlock and without, as root and as nobody.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use moonkeep::proto::codec;
use moonkeep::proto::messages::{Allow, Confinement, SandboxMode, ToWorker};
use serde_json::{Value, json};

use crate::harness::{BINARY, Daemon, Home, Program, installed, worker};

/// Refused by the sandbox.
const ACCESS: i32 = 13;
/// Refused by Landlock's scopes.
const PERMISSION: i32 = 1;
/// As if it did not exist.
const NO_CALL: i32 = 38;

/// What is tried, and who refuses it.
type Row = (&'static str, Wall);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    /// Landlock alone.
    Files,
    /// Landlock, and without it, where we are root, what root has given up.
    Others,
    /// System calls: with Landlock and without.
    Calls,
    /// Landlock where it has scopes, else system calls.
    Signals,
    /// The call is not there.
    Absent,
    /// Not refused.
    Nobody,
}

use Wall::{Absent, Calls, Files, Nobody, Others, Signals};

const ROWS: &[Row] = &[
    ("read {key}", Files),
    ("read /etc/passwd", Files),
    ("read {home}/state/daemon.lock", Files),
    ("read {home}/state/journal.db", Files),
    ("read {home}/state/scripts/other/secret", Files),
    ("list {home}/state/scripts", Files),
    ("read {home}/logs/daemon.log", Files),
    ("read /proc/{daemon}/environ", Others),
    ("read /proc/{daemon}/cmdline", Files),
    ("list /", Files),
    ("list {home}", Files),
    ("write {home}/moonkeep.toml", Files),
    ("write {home}/scripts/probe.lua", Files),
    ("write {home}/state/scripts/other/secret", Files),
    ("make {home}/state/scripts/new", Files),
    ("make {home}/new", Files),
    ("make {tmp}/new", Files),
    ("chmod {home}/state/scripts/probe", Calls),
    ("chown {home}/state/scripts/probe", Calls),
    ("connect 127.0.0.1:{port}", Calls),
    ("bind 127.0.0.1:0", Calls),
    ("udp 127.0.0.1:{port}", Calls),
    ("unix {socket}", Calls),
    ("abstract moonkeep-nobody", Calls),
    ("netlink", Calls),
    ("raw", Calls),
    ("packet", Calls),
    ("run /bin/true", Calls),
    ("call execve", Calls),
    ("call execveat", Calls),
    ("call memfd_create", Calls),
    ("call clone3", Absent),
    ("call kill {daemon}", Signals),
    ("call tgkill {daemon}", Signals),
    ("call pidfd_open {daemon}", Calls),
    ("call prlimit64 {daemon}", Calls),
    ("call setpriority {daemon}", Calls),
    ("call ptrace {daemon}", Calls),
    ("call process_vm_readv {daemon}", Calls),
    ("call io_uring_setup", Calls),
    ("call bpf", Calls),
    ("call userfaultfd", Calls),
    ("call keyctl", Calls),
    ("call add_key", Calls),
    ("call unshare", Calls),
    ("call setns", Calls),
    ("call mount", Calls),
    ("call perf_event_open", Calls),
    ("call open_by_handle_at", Calls),
    ("call listen", Calls),
    ("call fchmod", Calls),
    ("call fchown", Calls),
    ("call shmget", Calls),
    ("call x32-getpid", Calls),
    // What a script needs.
    ("read {home}/scripts/probe.lua", Nobody),
    ("list {home}/lib", Nobody),
    ("make {home}/state/scripts/probe/new", Nobody),
    ("read /usr/share/zoneinfo/tzdata.zi", Nobody),
    ("read /proc/meminfo", Nobody),
    ("thread", Nobody),
];

/// A home with things worth stealing, and somebody to connect to.
struct Place {
    home: Home,
    words: BTreeMap<&'static str, String>,
    _tcp: TcpListener,
    _udp: UdpSocket,
}

impl Place {
    fn new() -> Self {
        let home = Home::new()
            .script("probe.lua", "return 1\n")
            .file("lib/x.lua", "return 1\n")
            .file("state/journal.db", "journal")
            .file("state/daemon.lock", "")
            .file("state/scripts/other/secret", "secret")
            .file("logs/daemon.log", "log");
        let key = home.user().join(".ssh/id_ed25519");
        fs::create_dir_all(key.parent().expect("a folder")).expect("a folder");
        fs::write(&key, "private").expect("a key");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("bound").port();
        let udp = UdpSocket::bind(("127.0.0.1", port)).expect("the same port");
        let words = BTreeMap::from([
            ("home", home.root().display().to_string()),
            ("user", home.user().display().to_string()),
            ("tmp", home.temporary().display().to_string()),
            ("key", key.display().to_string()),
            ("socket", home.socket().display().to_string()),
            ("port", port.to_string()),
            ("daemon", std::process::id().to_string()),
        ]);
        Place {
            home,
            words,
            _tcp: tcp,
            _udp: udp,
        }
    }

    fn of(&mut self, daemon: &Daemon<'_>) {
        self.words.insert("daemon", daemon.pid().to_string());
    }

    fn fill(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| {
            text.replace(&format!("{{{name}}}"), value)
        };
        self.words.iter().fold(text.to_owned(), fill)
    }

    /// The answers to these attempts, and what the worker said of its sandbox.
    fn probe(&self, by: &[&str], confinement: Confinement, attempts: &[&str]) -> (Value, Vec<i32>) {
        let mut setup = worker::setup(&self.home, "probe.lua");
        setup.confinement = confinement;
        let mut input = Vec::new();
        codec::encode_to_worker(&ToWorker::Setup(Box::new(setup)), &mut input);
        let mut input = String::from_utf8(input).expect("JSON");
        for attempt in attempts {
            input.push_str(&self.fill(attempt));
            input.push('\n');
        }
        let words: Vec<&str> = by
            .iter()
            .copied()
            .chain([BINARY, "worker", "probe", "--sandbox-probe"])
            .collect();
        let program: Program = self.home.program(Path::new(words[0])).args(&words[1..]);
        let output = program.input(&input).run().ok();
        let mut lines = output.lines();
        let notice = serde_json::from_str(lines.next().expect("a notice")).expect("JSON");
        let errno = |line: &str| {
            line.rsplit(": ")
                .next()
                .and_then(|number| number.parse().ok())
        };
        (
            notice,
            lines.map(|line| errno(line).expect("a number")).collect(),
        )
    }
}

fn confinement(mode: SandboxMode, landlock: bool, allow: Allow) -> Confinement {
    Confinement {
        mode,
        landlock,
        allow,
    }
}

fn attempts() -> Vec<&'static str> {
    ROWS.iter().map(|(attempt, _)| *attempt).collect()
}

/// Whether `errno` is what this wall answers.
fn fits(wall: Wall, landlock: bool, errno: i32) -> bool {
    match wall {
        Files => landlock == (errno == ACCESS),
        Others => (landlock || rustix::process::geteuid().is_root()) == (errno == ACCESS),
        Calls => errno == ACCESS,
        Signals => errno == if landlock { PERMISSION } else { ACCESS },
        Absent => errno == NO_CALL,
        Nobody => errno == 0,
    }
}

/// The version of Landlock that this kernel gives.
fn landlock_of(notice: &Value) -> u64 {
    notice["sandbox"]["landlock"].as_u64().expect("a number")
}

// FI-18, T15
#[test]
fn the_kernel_refuses_what_the_table_says_with_landlock_and_without() {
    let mut place = Place::new();
    let home = Home::new();
    let daemon = home.up();
    place.of(&daemon);
    for landlock in [true, false] {
        let confined = confinement(SandboxMode::On, landlock, Allow::default());
        let (notice, found) = place.probe(&[], confined, &attempts());
        if landlock && landlock_of(&notice) < 6 {
            eprintln!("skipped: this kernel has Landlock {}", landlock_of(&notice));
            continue;
        }
        let level = if landlock { "full" } else { "partial" };
        assert_eq!(notice["sandbox"]["level"], level, "{notice}");
        assert_eq!(found.len(), ROWS.len());
        for ((attempt, wall), errno) in ROWS.iter().zip(found) {
            assert!(
                fits(*wall, landlock, errno),
                "landlock {landlock}: {attempt}: {errno}, {wall:?}"
            );
        }
    }
}

// FI-18: the table shows something only if, unconfined, hardly anything of it is refused.
#[test]
fn without_a_sandbox_nothing_of_the_table_is_refused() {
    let mut place = Place::new();
    let home = Home::new();
    let daemon = home.up();
    place.of(&daemon);
    let free = confinement(SandboxMode::Off, true, Allow::default());
    let (notice, found) = place.probe(&[], free, &attempts());
    assert_eq!(notice["sandbox"]["level"], "off");
    for ((attempt, wall), errno) in ROWS.iter().zip(found) {
        let by_kind = matches!(wall, Nobody | Files) && errno != 0;
        assert!(errno != ACCESS && !by_kind, "{attempt}: {errno}");
        if rustix::process::geteuid().is_root() && *attempt != "call x32-getpid" {
            assert!(errno != PERMISSION, "{attempt}: {errno}");
        }
    }
}

// FI-18: as another user, which the files of the home then belong to.
#[test]
fn nobody_is_refused_the_same_as_root() {
    if !rustix::process::geteuid().is_root()
        || !installed("setpriv", "nobody_is_refused_the_same_as_root")
    {
        return;
    }
    let place = Place::new();
    let folder = place
        .home
        .root()
        .parent()
        .expect("the test's folder")
        .to_owned();
    let gave = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(&folder)
        .status();
    assert!(gave.expect("chown").success());
    // Made by the harness in passing, and again by it: it may be root's then.
    let state = place.home.path("state/scripts/probe");
    fs::create_dir_all(&state).expect("a folder");
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).expect("we are root");
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let confined = confinement(SandboxMode::On, true, Allow::default());
    let (notice, found) = place.probe(&user, confined, &attempts());
    if landlock_of(&notice) < 6 {
        eprintln!("skipped: this kernel has Landlock {}", landlock_of(&notice));
        return;
    }
    for ((attempt, wall), errno) in ROWS.iter().zip(found) {
        assert!(fits(*wall, true, errno), "{attempt}: {errno}, {wall:?}");
    }
}

/// With this line in its header (a key, an entry) a script may do this.
const OPENED: &[(&str, &str, &str)] = &[
    ("read {key}", "read", "{key}"),
    ("read {home}/state/journal.db", "read", "state/journal.db"),
    ("list {home}/logs", "read", "logs"),
    ("make {tmp}/new", "write", "{tmp}"),
    ("write {home}/moonkeep.toml", "write", "moonkeep.toml"),
    ("connect 127.0.0.1:{port}", "net", "127.0.0.1:{port}"),
    ("connect 127.0.0.1:{port}", "net", "*:*"),
    ("udp 127.0.0.1:{port}", "net", "127.0.0.1:{port}"),
    ("name localhost", "net", "localhost:1"),
    ("unix {user}/s", "unix", "*"),
    ("run /bin/true", "run", "true"),
    ("run /usr/bin/env", "run", "/usr/bin"),
];

/// With this line it still may not do that.
const CLOSED: &[(&str, &str, &str)] = &[
    ("connect 127.0.0.1:{port}", "net", "127.0.0.1:1"),
    ("bind 127.0.0.1:0", "net", "*:*"),
    ("unix {socket}", "net", "*:*"),
    ("raw", "net", "*:*"),
    ("packet", "net", "*:*"),
    ("netlink", "unix", "*"),
    ("connect 127.0.0.1:{port}", "unix", "*"),
    ("run /bin/ls", "run", "true"),
    ("call execveat", "run", "true"),
    ("call memfd_create", "run", "true"),
    ("call unshare", "run", "true"),
    ("read {key}", "write", "{key}"),
    ("write {key}", "read", "{key}"),
    ("make {home}/state/scripts/other/new", "read", "state"),
    // Landlock keeps other processes' memory closed, whatever files are open.
    ("read /proc/{daemon}/environ", "read", "/proc"),
];

fn errno_with(place: &Place, (attempt, key, entry): &(&'static str, &str, &str)) -> i32 {
    let allow = json!({ *key: [place.fill(entry)] });
    let allow = serde_json::from_value(allow).expect("a header");
    let allowed = confinement(SandboxMode::On, true, allow);
    place.probe(&[], allowed, &[attempt]).1[0]
}

// FI-18: each line opens what it names, and nothing beside it.
#[test]
fn what_the_header_allows_the_kernel_lets_through() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.home.user().join("s")).expect("a socket");
    for case in OPENED {
        assert_eq!(errno_with(&place, case), 0, "{case:?}");
    }
}

// FI-18
#[test]
fn what_the_header_does_not_name_stays_closed() {
    let place = Place::new();
    for case in CLOSED {
        assert_eq!(errno_with(&place, case), ACCESS, "{case:?}");
    }
}

// T15
#[test]
fn a_script_that_requires_its_sandbox_does_not_start_without_it() {
    let text = "-- /// moonkeep\n-- sandbox = \"required\"\n-- restart = \"never\"\n-- ///\nrequire('moonkeep').handle('h', function() return 1 end)\n";
    let home = Home::new().script("strict.lua", text);
    let daemon = home.up();
    let sandbox = home.script_status("strict")["sandbox"].clone();
    if landlock_of(&json!({ "sandbox": sandbox })) >= 4 {
        assert_eq!(home.connect().call("strict", "h", json!({})), 1);
        assert!(home.run(&["status"]).ok().contains("strict"));
    }
    daemon.stop();
    let program = home.moonkeep(&["run", "scripts/strict.lua"]);
    let refused = program.env("MOONKEEP_LANDLOCK", "off").run();
    refused.expect_stderr("sandbox = \"required\" needs Landlock ABI 4");
}

/// Descriptors that whoever started the worker left open are closed.
#[test]
fn a_worker_keeps_no_descriptor_that_it_was_given() {
    let place = Place::new();
    let left_open = fs::File::open(place.home.path("state/journal.db")).expect("a file");
    rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).expect("open");
    let number = std::os::fd::AsRawFd::as_raw_fd(&left_open);
    let path = format!("list /proc/self/fd/{number}/..");
    let read = format!("read /proc/self/fd/{number}");
    let free = confinement(SandboxMode::Off, true, Allow::default());
    let (_, found) = place.probe(&[], free, &[&read, &path]);
    assert_eq!(found, [2, 2], "no such file");
    let mode = fs::metadata(place.home.path("state"))
        .expect("a folder")
        .permissions()
        .mode();
    assert_ne!(mode & 0o700, 0);
}
