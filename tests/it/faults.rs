//! System calls that fail: each one of a start, one at a time, by `strace`. The start ends with a clean error or
//! serves all the same; afterwards a start without faults works, and nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{BINARY, Home, Line, installed, kill, long, ticks, wait_until};

/// The calls of a start, and what each may fail with.
const CALLS: &[(&str, &str)] = &[
    ("openat", "EMFILE"),
    ("openat", "EACCES"),
    ("write", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
    ("rename", "ENOSPC"),
    ("renameat", "ENOSPC"),
    ("bind", "EADDRINUSE"),
    ("listen", "ENOBUFS"),
    ("accept4", "EMFILE"),
    ("flock", "ENOLCK"),
    ("clone3", "EAGAIN"),
    ("execve", "ENOENT"),
    ("pipe2", "EMFILE"),
    ("epoll_ctl", "ENOSPC"),
    ("mkdir", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("chmod", "EPERM"),
    ("fchmod", "EPERM"),
    ("inotify_add_watch", "ENOSPC"),
];

/// Points of one call in a usual run: the first ones, and the rest spread over what there are.
const POINTS: usize = 8;
/// No start takes longer, with or without a fault.
const LIMIT: Duration = Duration::from_secs(20);

/// A daemon started by strace, which writes what it saw to a file.
fn start(home: &Home, options: &[&str]) -> Child {
    let seen = home.user().join("strace");
    let errors = fs::File::create(home.user().join("up.err")).expect("a file");
    let shown = seen.to_str().expect("a path in UTF-8");
    let all = [
        &["-D", "-f", "-y", "-qq", "-o", shown],
        options,
        &[BINARY, "up"],
    ]
    .concat();
    home.program(Path::new("/usr/bin/strace"))
        .args(&all)
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("strace starts")
}

/// How a start went.
#[derive(Debug)]
enum Start {
    Serves,
    Failed { code: Option<i32>, said: String },
    Hangs,
}

/// Waits until it serves, or has left.
fn outcome(home: &Home, child: &mut Child) -> Start {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(status) = child.try_wait().expect("our own child") {
            let said = fs::read_to_string(home.user().join("up.err")).unwrap_or_default();
            return Start::Failed {
                code: status.code(),
                said,
            };
        }
        if Line::try_connect(&home.socket()).is_ok_and(|mut line| answers(&mut line)) {
            return Start::Serves;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Start::Hangs
}

fn answers(line: &mut Line) -> bool {
    use std::io::{Read, Write};
    let mut stream = line.stream();
    let mut first = [0; 5];
    let asked = stream
        .write_all(b"ping\n")
        .and_then(|()| stream.read_exact(&mut first));
    asked.is_ok() && &first == b"pong "
}

/// SIGTERM, and its end; `false`: it had to be killed.
fn end(child: &mut Child) -> bool {
    kill(child.id().cast_signed(), Signal::TERM);
    let begun = Instant::now();
    loop {
        match child.try_wait().expect("our own child") {
            Some(_) => return true,
            None if begun.elapsed() > LIMIT => break,
            None => std::thread::sleep(Duration::from_millis(3)),
        }
    }
    child.kill().ok();
    child.wait().ok();
    false
}

/// How often a start makes each call, counted over all its processes and threads.
fn counted(home: &Home) -> BTreeMap<String, usize> {
    let mut child = start(home, &[]);
    assert!(
        matches!(outcome(home, &mut child), Start::Serves),
        "it starts below strace"
    );
    assert!(end(&mut child));
    let seen = fs::read_to_string(home.user().join("strace")).expect("what strace saw");
    let mut counts = BTreeMap::new();
    for line in seen.lines() {
        let call = line
            .split_whitespace()
            .nth(1)
            .and_then(|rest| rest.split('(').next());
        *counts
            .entry(call.unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    counts
}

/// The first of `count` calls, and the rest spread.
fn points(count: usize) -> Vec<usize> {
    if long() || count <= POINTS {
        return (1..=count).collect();
    }
    let mut points = vec![1, 2];
    points.extend((1..=POINTS - 2).map(|step| 2 + (count - 2) * step / (POINTS - 2)));
    points
}

/// Whether the fault struck the wake-up of a thread, which is no file: no kernel refuses it for want of space.
fn hit_a_waker(home: &Home) -> bool {
    let seen = fs::read_to_string(home.user().join("strace")).unwrap_or_default();
    seen.lines()
        .any(|line| line.contains("(INJECTED)") && line.contains("anon_inode:[eventfd]"))
}

/// One fault; what is wrong with how it went, if anything.
fn try_fault(home: &Home, call: &str, error: &str, nth: usize) -> Option<String> {
    let inject = format!("inject={call}:error={error}:when={nth}");
    let mut child = start(home, &["-e", &format!("trace={call}"), "-e", &inject]);
    let started = outcome(home, &mut child);
    let place = format!("{call} {error} {nth}");
    let wrong = match started {
        Start::Serves => {
            (!end(&mut child)).then(|| format!("{place}: served, and did not leave after SIGTERM"))
        }
        Start::Hangs => {
            end(&mut child);
            Some(format!("{place}: neither serves nor ends"))
        }
        Start::Failed {
            code: Some(0),
            said,
        } => Some(format!("{place}: claims success: {said}")),
        // Before main() the loader speaks, and the kernel's own refusal of the program has no words of ours.
        Start::Failed {
            code: Some(127), ..
        } => None,
        Start::Failed {
            code: Some(1),
            said,
        } if call == "execve" && nth == 1 || said.contains("strace") => {
            let _strace_speaks = said;
            None
        }
        Start::Failed {
            code: Some(_),
            said,
        } if said.starts_with("moonkeep") && !said.contains("panicked") => None,
        Start::Failed { code, said } => {
            Some(format!("{place}: ended with {code:?} and said {said:?}"))
        }
    };
    let wrong = wrong.filter(|_| !hit_a_waker(home));
    // A start without faults, on whatever this one has left.
    let mut again = home.moonkeep(&["up"]).into_command();
    let errors = fs::File::create(home.user().join("up.err")).expect("a file");
    let mut again = again
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("starts");
    let next = outcome(home, &mut again);
    let next_wrong = match next {
        Start::Serves => None,
        Start::Failed { .. } | Start::Hangs => Some(format!("{place}: the next start: {next:?}")),
    };
    let left = end(&mut again);
    wrong
        .or(next_wrong)
        .or((!left).then(|| format!("{place}: the next one does not leave")))
}

/// Whether strace is there and may trace.
fn may_trace(test: &str) -> bool {
    if !installed("strace", test) {
        return false;
    }
    let works = std::process::Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        eprintln!("{test}: skipped, strace may not trace here");
    }
    works
}

// FI-10, R-104: up to 8 points of each call of a start, all with MOONKEEP_LONG=1.
#[test]
fn whatever_system_call_of_a_start_fails_the_next_start_works() {
    if !may_trace("faults of system calls") {
        return;
    }
    let counts = counted(&Home::new());
    let faults: Vec<(&str, &str, usize)> = CALLS
        .iter()
        .flat_map(|(call, error)| {
            let count = counts.get(*call).copied().unwrap_or(0);
            points(count)
                .into_iter()
                .map(move |nth| (*call, *error, nth))
        })
        .collect();
    let begun = Instant::now();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..3)
            .map(|part| {
                let faults = &faults;
                scope.spawn(move || {
                    let home = Home::new();
                    let mine = faults.iter().skip(part).step_by(3);
                    let wrong =
                        mine.filter_map(|(call, error, nth)| try_fault(&home, call, error, *nth));
                    let wrong: Vec<String> = wrong.collect();
                    // The last start has left in order, so nothing may be here.
                    wrong
                })
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("a part of the sweep"))
            .collect()
    });
    println!("{} faults in {:.1?}", faults.len(), begun.elapsed());
    assert_eq!(wrong, Vec::<String>::new());
    assert!(
        faults.len() >= 30,
        "only {} faults: {counts:?}",
        faults.len()
    );
}

// FI-9, R-124: descriptors run out while clients connect.
#[test]
fn when_no_descriptor_is_free_the_daemon_waits_without_spinning_and_recovers() {
    if !may_trace("descriptors that run out") {
        return;
    }
    for error in ["EMFILE", "ENFILE"] {
        let home = Home::new();
        let inject = format!("inject=accept4:error={error}:when=2..6");
        let mut child = start(&home, &["-e", "trace=accept4", "-e", &inject]);
        assert!(matches!(outcome(&home, &mut child), Start::Serves));
        let pid = child.id().cast_signed();
        let before = ticks(pid);
        for _ in 0..8 {
            wait_until("a client is served again", || {
                Line::try_connect(&home.socket()).is_ok_and(|mut line| answers(&mut line))
            });
        }
        let spent = ticks(pid) - before;
        assert!(spent < 100, "{spent} ticks for eight clients");
        assert!(end(&mut child), "it leaves");
    }
}

// one connection for a thousand commands.
#[test]
fn a_command_line_connects_once_however_many_commands_it_sends() {
    if !may_trace("connections") {
        return;
    }
    let home = Home::new();
    let _daemon = home.up();
    let seen = home.user().join("connects");
    let shown = seen.to_str().expect("a path in UTF-8");
    let script = "ping\n".repeat(1_000);
    let finished = home
        .program(Path::new("/usr/bin/strace"))
        .args(&[
            "-f",
            "-qq",
            "-o",
            shown,
            "-e",
            "trace=connect",
            BINARY,
            "shell",
        ])
        .input(&script)
        .within(Duration::from_secs(60))
        .run();
    let answers = finished
        .stdout
        .lines()
        .filter(|line| line.contains("pong"))
        .count();
    assert_eq!(answers, 1_000, "{finished:?}");
    let connects = fs::read_to_string(&seen).expect("what strace saw");
    let own = connects
        .lines()
        .filter(|line| line.contains("daemon.sock"))
        .count();
    assert_eq!(own, 1, "{connects}");
}
