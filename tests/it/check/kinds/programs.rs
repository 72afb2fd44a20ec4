//! Kinds against real programs: nginx, redis-server, postgres, systemctl (a stand-in), commands, and scripts of a daemon.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{compare, configure, expect, expect_in, measure};
use crate::harness::{Home, installed, wait_until};

/// A program that serves until the test is over.
pub(super) struct Service {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Service {
    /// Starts a program that listens on `address`, and waits until it does.
    pub(super) fn start(command: &mut Command, address: SocketAddr) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let service = Service { child, address };
        wait_until("the service listens", || {
            TcpStream::connect(address).is_ok()
        });
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on now.
pub(super) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// A web server with a page, a redirect and a document of health.
pub(super) fn nginx(home: &Home) -> Service {
    let (address, folder) = (free(), home.path("nginx"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let place = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;\n\
         uwsgi_temp_path {place}/d; scgi_temp_path {place}/e; server {{ listen {address};\n\
         location = / {{ return 200 'hello world'; }} location /old {{ return 301 /; }}\n\
         location /gone {{ return 404 'no'; }} location /health {{ default_type application/vnd.spring-boot.actuator.v3+json;\n\
         return 503 '{{\"status\":\"DOWN\",\"components\":{{\"db\":{{\"status\":\"DOWN\"}},\"disk\":{{\"status\":\"UP\"}}}}}}'; }} }} }}\n"
    );
    let file = home.write("nginx/nginx.conf", &config);
    let mut command = Command::new("nginx");
    command
        .arg("-c")
        .arg(file)
        .arg("-e")
        .arg(folder.join("log"));
    Service::start(&mut command, address)
}

#[test]
fn http_understands_nginx() {
    let home = Home::new();
    if !installed("nginx", "http_understands_nginx") {
        return;
    }
    let web = nginx(&home);
    let at = |path: &str, more: &str| {
        format!(
            "plugin = \"http\"\nurl = \"http://{}{path}\"\n{more}",
            web.address
        )
    };
    let checks = expect_in(
        &home,
        &[
            (&at("/", "contains = \"hello\""), "ok", "answered 200 in"),
            (&at("/old", "redirect = \"http\""), "ok", "answered 200"),
            (
                &at("/old", "follow = false\nstatus = 301\nredirect = \"/\""),
                "ok",
                "answered 301",
            ),
            (
                &at("/old", "redirect = \"/login\""),
                "critical",
                "which does not contain \"/login\"",
            ),
            (
                &at("/gone", ""),
                "critical",
                "status is 404, but should be 200:399",
            ),
            (&at("/gone", "status = \"4xx\""), "ok", "answered 404"),
            (&at("/health", ""), "critical", "health is DOWN: db is DOWN"),
            (&at("/", "method = \"HEAD\""), "ok", "answered 200"),
            (
                &format!(
                    "plugin = \"port\"\nport = {}\nprocess = \"nginx\"",
                    web.address.port()
                ),
                "ok",
                "nginx on 127.0.0.1",
            ),
        ],
    );
    assert_eq!(measure(&checks[0], "size"), 11.0);
}

#[test]
fn redis_is_asked_for_its_info() {
    let home = Home::new();
    if !installed("redis-server", "redis_is_asked_for_its_info") {
        return;
    }
    let address = free();
    let mut command = Command::new("redis-server");
    let port = address.port().to_string();
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--save",
        "",
        "--requirepass",
        "secret",
        "--maxmemory",
        "64mb",
    ]);
    let redis = Service::start(command.current_dir(home.root()), address);
    home.write("words/redis", "secret\n");
    let at = |more: &str| {
        format!(
            "plugin = \"redis\"\naddress = \"{}\"\n{more}",
            redis.address
        )
    };
    let checks = expect_in(
        &home,
        &[
            (
                &at(
                    "password = \"secret\"\ninfo = [\"role == master\", \"connected_clients >= 1\"]",
                ),
                "ok",
                "Redis",
            ),
            (
                &at("password = \"file:words/redis\"\nmemory = 90"),
                "ok",
                "master",
            ),
            (
                &at("password = \"env:NO_SUCH_VARIABLE\""),
                "unknown",
                "`password`",
            ),
            (
                &at("password = \"secret\"\nclients = 0"),
                "warning",
                "is above 0 (warning)",
            ),
            (
                &at("password = \"secret\"\ninfo = [\"role == slave\"]"),
                "critical",
                "role is master, but should be == slave",
            ),
            (
                &at("password = \"secret\"\ninfo = [\"nonsense > 1\"]"),
                "critical",
                "INFO has no nonsense",
            ),
            (
                &at("password = \"wrong\""),
                "critical",
                "refuses the password",
            ),
            (&at(""), "critical", "give the parameter password"),
            (
                &at("password = \"secret\"\nwarn = \"0:0\"\ncrit = 60"),
                "warning",
                "time",
            ),
            (
                &format!("plugin = \"redis\"\naddress = \"{}\"", free()),
                "critical",
                "connection refused",
            ),
        ],
    );
    assert!(measure(&checks[0], "memory") > 0.0);
    assert!(measure(&checks[1], "memory_used") < 90.0);
}

/// The folder of PostgreSQL's server programs.
fn postgres_folder() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions
        .map(|entry| entry.path().join("bin"))
        .find(|folder| folder.join("initdb").is_file())
}

/// A command as a user that may run the server: not root.
fn as_ordinary_user(program: &Path) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(program);
    command
}

#[test]
fn postgres_accepts_connections_and_answers_queries() {
    let test = "postgres_accepts_connections_and_answers_queries";
    let Some(programs) = postgres_folder().filter(|_| installed("setpriv", test)) else {
        eprintln!("{test}: skipped, the server of PostgreSQL is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).expect("its owner");
    }
    let data = folder.path().join("data");
    let made = as_ordinary_user(&programs.join("initdb"))
        .args(["-A", "trust", "-U", "alice", "--no-sync", "-D"])
        .arg(&data)
        .current_dir("/")
        .output()
        .expect("initdb starts");
    if !made.status.success() {
        eprintln!(
            "{test}: skipped, initdb cannot run here: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        return;
    }
    let address = free();
    let mut command = as_ordinary_user(&programs.join("postgres"));
    command
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(folder.path())
        .current_dir("/");
    command.args([
        "-p",
        &address.port().to_string(),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
    ]);
    let mut server = Service::start(&mut command, address);
    let at = |more: &str| format!("plugin = \"postgres\"\naddress = \"{address}\"\n{more}");
    let alice = |more: &str| {
        at(&format!(
            "user = \"alice\"\ndatabase = \"postgres\"\n{more}"
        ))
    };
    let checks = expect(&[
        (&at(""), "ok", "accepts connections"),
        (
            &alice("query = \"select 42\"\nexpect = \"42\""),
            "ok",
            "the query gave 42",
        ),
        (
            &alice("query = \"select 42\"\nvalue_warn = 40"),
            "warning",
            "value 42 is above 40 (warning)",
        ),
        (
            &alice("query = \"select 42\"\nvalue_crit = 40"),
            "critical",
            "value 42 is above 40 (critical)",
        ),
        (
            &alice("query = \"select 'a'\"\nexpect = \"b\""),
            "critical",
            "the query gave \"a\", not \"b\"",
        ),
        (
            &alice("query = \"selct\""),
            "critical",
            "the query failed: syntax error",
        ),
        (
            &alice("query = \"select 1 where false\""),
            "critical",
            "the query gave no row",
        ),
        (
            &at("user = \"nobody\""),
            "critical",
            "role \"nobody\" does not exist",
        ),
    ]);
    assert_eq!(measure(&checks[1], "value"), 42.0);
    // Fast shutdown: its own children end with it.
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our own child");
    let _ = server.child.wait();
}

#[test]
fn postgres_that_is_starting_or_wants_a_password_is_told_apart() {
    let answer = |bytes: &'static [u8]| {
        super::fakes::tcp(move |mut stream| {
            let mut asked = [0; 512];
            let _ = std::io::Read::read(&mut stream, &mut asked);
            let _ = std::io::Write::write_all(&mut stream, bytes);
            let _ = std::io::Read::read(&mut stream, &mut asked);
        })
    };
    let starting = answer(b"E\0\0\0\x2eSFATAL\0C57P03\0Mthe system is starting up\0\0");
    let scram = answer(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    let web = answer(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let at =
        |address, more: &str| format!("plugin = \"postgres\"\naddress = \"{address}\"\n{more}");
    expect(&[
        (
            &at(starting, ""),
            "critical",
            "the system is starting up (57P03)",
        ),
        (&at(scram, ""), "ok", "accepts connections"),
        (
            &at(scram, "user = \"a\"\nquery = \"select 1\""),
            "unknown",
            "asks for a SCRAM password",
        ),
        (
            &at(web, ""),
            "critical",
            "does not speak as PostgreSQL does",
        ),
    ]);
}

/// A `systemctl` that knows three units, in a folder for PATH.
fn systemctl(home: &Home) -> String {
    let text = "#!/bin/sh\nfor unit; do :; done\ncase \"$*\" in\n\
        *--failed*|*--state=failed*) echo 'bad.service loaded failed failed A bad one';;\n\
        *good.service*) echo LoadState=loaded; echo ActiveState=active; echo SubState=running; echo NRestarts=3;\n\
        echo MemoryCurrent=4096; echo 'StateChangeTimestamp=Sat 2026-11-21 03:00:00 UTC';;\n\
        *bad.service*) echo LoadState=loaded; echo ActiveState=failed; echo SubState=failed; echo Result=exit-code;\n\
        echo ExecMainStatus=7; echo 'MemoryCurrent=[not set]';;\n\
        *slow.service*) echo LoadState=loaded; echo ActiveState=activating; echo SubState=start;;\n\
        *) echo LoadState=not-found; echo ActiveState=inactive;;\nesac\n";
    let path = home.write("bin/systemctl", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let folder = path.parent().expect("a folder").display().to_string();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

#[test]
fn units_of_systemd_are_judged_and_its_absence_is_told() {
    let home = Home::new();
    let path = systemctl(&home);
    let cases = [
        (
            "plugin = \"systemd\"\nunits = \"good.service\"",
            "ok",
            "good.service is active (running) since Sat",
        ),
        (
            "plugin = \"systemd\"\nunits = \"bad.service\"",
            "critical",
            "bad.service is failed (failed): exit-code with status 7, but should be active",
        ),
        (
            "plugin = \"systemd\"\nunits = \"slow.service\"",
            "warning",
            "activating (start)",
        ),
        (
            "plugin = \"systemd\"\nunits = \"none.service\"",
            "critical",
            "there is no unit none.service",
        ),
        (
            "plugin = \"systemd\"\nunits = \"good.service\"\nrestarts = 2",
            "warning",
            "restarts 3 is above 2",
        ),
        (
            "plugin = \"systemd\"\nunits = \"*\"",
            "critical",
            "1 units have failed: bad.service",
        ),
        (
            "plugin = \"systemd\"\nunits = \"slow.service\"\nstates = [\"active\", \"activating\"]",
            "ok",
            "",
        ),
    ];
    configure(&home, &cases);
    let finished = home
        .moonkeep(&["check", "-f", "json"])
        .env("PATH", &path)
        .run();
    let checks = compare(&cases, &finished.stdout);
    assert_eq!(measure(&checks[0], "memory"), 4096.0);
    // Nothing in PATH: a machine without systemd.
    let cases = [(
        "plugin = \"systemd\"\nunits = \"x\"",
        "unknown",
        "use the plugins process and port",
    )];
    configure(&home, &cases);
    let finished = home
        .moonkeep(&["check", "-f", "json"])
        .env("PATH", "/nowhere")
        .run();
    compare(&cases, &finished.stdout);
}

#[test]
fn commands_are_judged_by_exit_code_output_and_value() {
    let sh = |line: &str, more: &str| {
        format!("plugin = \"command\"\ncommand = [\"sh\", \"-c\", '''{line}''']\n{more}")
    };
    let checks = expect(&[
        (
            &sh(
                "echo all is well",
                "contains = \"well\"\nlacks = \"bad\"\nmatches = \"^all\"",
            ),
            "ok",
            "all is well",
        ),
        (
            &sh(
                "echo 17 jobs wait",
                "value = '(\\d+) jobs'\nwarn = 10\ncrit = 20",
            ),
            "warning",
            "value 17 is above 10 (warning)",
        ),
        (
            &sh(
                "echo 27 jobs wait",
                "value = '(\\d+) jobs'\nwarn = 10\ncrit = 20",
            ),
            "critical",
            "value 27 is above 20 (critical)",
        ),
        (
            &sh("echo no jobs", "value = '(\\d+) jobs'"),
            "critical",
            "there is no number in the output \"no jobs\"",
        ),
        (
            &sh("echo why >&2; exit 3", ""),
            "critical",
            "sh ended with exit code 3, not 0: why",
        ),
        (&sh("exit 3", "exit = [0, 3]"), "ok", "sh ended well"),
        (
            &sh("exit 1", "exit_warn = 1"),
            "warning",
            "exit code 1, not 0",
        ),
        (&sh("kill -9 $$", ""), "critical", "was killed by signal 9"),
        (
            &sh("echo good", "contains = \"better\""),
            "critical",
            "the output \"good\" does not contain \"better\"",
        ),
        (
            &sh("echo bad >&2", "lacks = \"bad\""),
            "critical",
            "the output contains \"bad\"",
        ),
        (
            &sh("cat", "input = \"heard\"\ncontains = \"heard\""),
            "ok",
            "heard",
        ),
        (
            "plugin = \"command\"\ncommand = \"no-such-program-here\"",
            "critical",
            "there is no such program",
        ),
    ]);
    assert_eq!(measure(&checks[1], "value"), 17.0);
}

const SCRIPT: &str = r#"
local moonkeep = require "moonkeep"
local function answer(name, value) moonkeep.handle(name, function() return value end) end
answer("health", true)
answer("bad", false)
answer("says", "all queues are short")
answer("table", { state = "warning", message = "a long queue", measures = { queue = 7 } })
answer("list", { state = "ok", measures = { { name = "queue", value = 7, unit = "B", warn = 5 } } })
answer("odd", { state = "purple" })
moonkeep.handle("fails", function() error{ code = "broken", message = "the pump is broken" } end)
moonkeep.handle("given", function(request) return request.params.word == "x" end)
moonkeep.handle("slow", function() moonkeep.sleep(60) end)
"#;

#[test]
fn handlers_of_scripts_are_checks() {
    let home = Home::new().script("app.lua", SCRIPT);
    let at = |handler: &str, more: &str| {
        format!("plugin = \"script\"\nscript = \"app\"\nhandler = \"{handler}\"\n{more}")
    };
    {
        expect_in(
            &home,
            &[(&at("health", ""), "critical", "start it with `moonkeep up`")],
        );
        home.write("moonkeep.toml", "");
    }
    let _daemon = home.up();
    let cases = [
        (
            "plugin = \"script\"\nscript = \"app\"".to_owned(),
            "ok",
            "app health answered in",
        ),
        (at("bad", ""), "critical", "app bad returned false"),
        (at("says", ""), "ok", "all queues are short"),
        (at("table", ""), "warning", "a long queue"),
        (at("list", ""), "warning", "queue 7 B is above 5"),
        (at("odd", ""), "unknown", "the state \"purple\""),
        (at("fails", ""), "critical", "the pump is broken"),
        (at("given", "params = { word = \"x\" }"), "ok", ""),
        (at("none", ""), "unknown", "`handler`"),
        (
            "plugin = \"script\"\nscript = \"nobody\"".to_owned(),
            "unknown",
            "`script`",
        ),
        (at("slow", "timeout = \"700ms\""), "critical", ""),
        (at("health", "warn = 0"), "warning", "is above 0"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(section, state, part)| (section.as_str(), *state, *part))
        .collect();
    // Its own home would start these checks in the daemon as well: another home that knows where the first one's socket is.
    let outside = Home::new();
    outside.write("state/daemon.socket", &home.read("state/daemon.socket"));
    let checks = expect_in(&outside, &cases);
    assert_eq!(measure(&checks[3], "queue"), 7.0);
}
