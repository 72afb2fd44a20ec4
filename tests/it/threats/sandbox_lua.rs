//! What a script is told when its sandbox refuses something: the line of its header that would allow it; and that with
//! this line it works.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::Home;

/// Runs Lua code that it is given and says how it ended, as `error` or as `nil, message`.
const RUNNER: &str = r#"
local moonkeep = require "moonkeep"
local fs, tcp, http, process, system = require "moonkeep.fs", require "moonkeep.tcp", require "moonkeep.http", require "moonkeep.process", require "moonkeep.system"
local env = setmetatable({ moonkeep = moonkeep, fs = fs, tcp = tcp, http = http, process = process, system = system }, { __index = _G })
moonkeep.handle("try", function(request)
  local results = table.pack(pcall(assert(load(request.params.code, "=code", "t", env))))
  local ok, first, problem = results[1], results[2], results[3]
  if not ok then
    return { text = type(first) == "table" and first.message or tostring(first), code = type(first) == "table" and first.code or nil }
  end
  for position = 3, results.n do
    if first == nil and type(results[position]) == "string" and #results[position] > 6 then problem = results[position] end
  end
  return { text = first == nil and type(problem) == "string" and problem or "fine" }
end)
"#;

/// Code, and what it wants: the key, its entry, and whether the error has a code.
const WANTS: &[(&str, &str, &str, bool)] = &[
    ("return fs.read('{far}/key')", "read", "{far}/key", true),
    ("return fs.list('{far}')", "read", "{far}", true),
    (
        "return fs.write('{far}/new', 'x') or 1",
        "write",
        "{far}/new",
        true,
    ),
    (
        "return fs.append('{far}/key', 'x') or 1",
        "write",
        "{far}/key",
        true,
    ),
    (
        "return fs.mkdir('{far}/made') or 1",
        "write",
        "{far}/made",
        true,
    ),
    (
        "return fs.remove('{far}/gone') or 1",
        "write",
        "{far}/gone",
        true,
    ),
    (
        "return fs.rename('{far}/key', '{far}/lock') or 1",
        "write",
        "{far}/key",
        true,
    ),
    (
        "return fs.read('state/journal.db')",
        "read",
        "{home}/state/journal.db",
        true,
    ),
    ("return io.open('{far}/lock')", "read", "{far}/lock", false),
    (
        "return io.open('{far}/lock', 'w')",
        "write",
        "{far}/lock",
        false,
    ),
    ("return io.lines('{far}/lock')", "read", "{far}/lock", false),
    (
        "return os.rename('{far}/lock', '{far}/key')",
        "write",
        "{far}/lock",
        false,
    ),
    ("return os.remove('{far}/key')", "write", "{far}/key", false),
    (
        "return dofile('{far}/module.lua') or 1",
        "read",
        "{far}/module.lua",
        false,
    ),
    (
        "return loadfile('{far}/module.lua')",
        "read",
        "{far}/module.lua",
        false,
    ),
    (
        "local path = package.path; package.path = '{far}/?.lua'; local ok, value = pcall(require, 'module'); package.path = path; return ok and value or nil, value",
        "read",
        "{far}/module.lua",
        false,
    ),
    ("return os.execute 'true'", "run", "true", false),
    ("return io.popen('true')", "run", "true", false),
    ("return process.run('true').code", "run", "true", true),
    (
        "return process.run({ '/bin/true' }).code",
        "run",
        "/bin/true",
        true,
    ),
    (
        "return tcp.connect('127.0.0.1:{port}').peer",
        "net",
        "127.0.0.1:{port}",
        true,
    ),
    (
        "return tcp.connect('localhost:{port}').peer",
        "net",
        "localhost:{port}",
        true,
    ),
    (
        "return http.get('http://127.0.0.1:{port}/').status",
        "net",
        "127.0.0.1:{port}",
        true,
    ),
    ("return #system.processes()", "read", "/proc", true),
];

/// What every script may do.
const FREE: &[&str] = &[
    "return fs.read('lib/shared.lua')",
    "return require 'shared'",
    "fs.write(moonkeep.state_dir .. '/a', 'x'); return fs.read(moonkeep.state_dir .. '/a')",
    "local f = assert(io.open(moonkeep.state_dir .. '/b', 'w')); f:write('x'); return f:close()",
    "local name = os.tmpname(); return os.remove(name)",
    "local f = assert(io.tmpfile()); f:write('x'); f:seek('set'); return f:read('a')",
    "return system.load().one, system.memory().total, system.uptime()",
    "return system.disk('/').total",
    "return os.date('%c') .. os.getenv 'PATH'",
    "return fs.exists('/etc/shadow')",
];

struct Place {
    home: Home,
    words: BTreeMap<&'static str, String>,
}

impl Place {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let _asked = stream.read(&mut [0; 1024]);
                    let _gone = stream.write_all(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    );
                });
            }
        });
        let home = Home::new().file("lib/shared.lua", "return 7\n");
        let far = fs::canonicalize(home.user()).expect("a folder").join("far");
        fs::create_dir(&far).expect("a folder");
        for name in ["key", "gone", "lock"] {
            fs::write(far.join(name), "content").expect("a file");
        }
        fs::write(far.join("module.lua"), "return 5\n").expect("a file");
        let words = BTreeMap::from([
            ("home", home.root().display().to_string()),
            ("far", far.display().to_string()),
            ("port", port.to_string()),
        ]);
        home.write("state/journal.db", "journal");
        Place { home, words }
    }

    fn fill(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| {
            text.replace(&format!("{{{name}}}"), value)
        };
        self.words.iter().fold(text.to_owned(), fill)
    }

    fn attempt(&self, script: &str, code: &str) -> Value {
        self.home
            .connect()
            .call(script, "try", json!({ "code": self.fill(code) }))
    }

    /// A header with every line that the refusals name.
    fn allowing(&self) -> String {
        let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (_, key, entry, _) in WANTS {
            // What is made anew needs its folder.
            let entry = if *key == "write" { "{far}" } else { entry };
            keys.entry(key).or_default().push(self.fill(entry));
        }
        let lines = keys
            .iter()
            .map(|(key, entries)| format!("-- allow.{key} = {entries:?}\n"));
        format!(
            "-- /// moonkeep\n{}-- ///\n{RUNNER}",
            lines.collect::<String>()
        )
    }
}

fn refusals(place: &Place, script: &str) {
    for (code, key, entry, has_code) in WANTS {
        let entry = place.fill(entry);
        let found = place.attempt(script, code);
        let text = found["text"].as_str().expect("a text");
        assert!(
            text.contains("denied: this script may not "),
            "{code}: {text}"
        );
        let line = format!("add to its header: -- allow.{key} = [{entry:?}]");
        assert!(text.contains(&line), "{code}: {text}, not {line}");
        if *has_code {
            assert_eq!(found["code"], "denied", "{code}");
        }
    }
    for code in FREE {
        let found = place.attempt(script, code);
        assert_eq!(found["text"], "fine", "{code}");
    }
}

// FI-18, T15
#[test]
fn each_refusal_names_the_line_that_allows_it_and_with_it_it_works() {
    let place = Place::new();
    place.home.write("scripts/closed.lua", RUNNER);
    place.home.write("scripts/open.lua", &place.allowing());
    let _daemon = place.home.up();
    let status = place.home.script_status("closed");
    assert!(status["memory_bytes"].as_u64() > Some(0), "{status}");
    refusals(&place, "closed");
    for (code, ..) in WANTS {
        let found = place.attempt("open", code);
        assert_eq!(found["text"], "fine", "{code}: {found}");
    }
}

// FI-18: where the kernel has no Landlock, the API still asks.
#[test]
fn without_landlock_the_api_refuses_the_same() {
    let place = Place::new();
    place.home.write("scripts/closed.lua", RUNNER);
    let up = place.home.moonkeep(&["up"]).env("MOONKEEP_LANDLOCK", "off");
    let _daemon = place.home.up_by(up);
    let status = place.home.script_status("closed");
    assert_eq!(status["sandbox"]["level"], "partial", "{status}");
    assert_eq!(status["sandbox"]["landlock"], 0);
    refusals(&place, "closed");
}

/// An answer that leads elsewhere leads no further than the header says.
#[test]
fn a_redirect_is_followed_only_to_where_the_script_may_go() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let to = place.fill("http://127.0.0.1:{port}/");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the script");
        let _asked = stream.read(&mut [0; 1024]);
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        stream
            .write_all(answer.as_bytes())
            .expect("the script reads");
    });
    let header = format!("-- /// moonkeep\n-- allow.net = [\"127.0.0.1:{port}\"]\n-- ///\n");
    place
        .home
        .write("scripts/near.lua", &format!("{header}{RUNNER}"));
    let _daemon = place.home.up();
    let found = place.attempt(
        "near",
        &format!("return http.get('http://127.0.0.1:{port}/').status"),
    );
    let text = found["text"].as_str().expect("a text");
    assert!(
        text.contains(&place.fill("allow.net = [\"127.0.0.1:{port}\"]")),
        "{text}"
    );
}

/// `moonkeep run` confines as the daemon does.
#[test]
fn a_script_in_the_foreground_is_confined_too() {
    let home = Home::new()
        .script("peek.lua", "print(pcall(require('moonkeep.fs').read, '/etc/passwd'))\n")
        .script("free.lua", "-- /// moonkeep\n-- allow.read = [\"/etc/passwd\"]\n-- ///\nprint(#require('moonkeep.fs').read('/etc/passwd') > 0)\n")
        .config("[script.off]\nsandbox = \"off\"\n")
        .script("off.lua", "print(io.open('/etc/passwd') ~= nil)\n");
    let said = |file: &str| home.run(&["run", file]).ok();
    assert!(said("scripts/peek.lua").contains("-- allow.read = [\"/etc/passwd\"]"));
    assert_eq!(said("scripts/free.lua"), "true\n");
    assert_eq!(said("scripts/off.lua"), "true\n");
}

/// A path that does not exist is told of in the log, and is no reason not to start.
#[test]
fn an_entry_that_names_nothing_is_a_warning() {
    let header = "-- /// moonkeep\n-- allow.read = [\"/nowhere/at/all\"]\n-- ///\n";
    let home = Home::new().script("odd.lua", &format!("{header}{RUNNER}"));
    let _daemon = home.up();
    assert_eq!(home.script_status("odd")["state"], "ready");
    crate::harness::wait_until("a warning in its log", || {
        home.run(&["logs", "odd"])
            .ok()
            .contains("warning: allow.read: there is no /nowhere/at/all now")
    });
}
