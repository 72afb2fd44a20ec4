//! A worker without a daemon: the test holds its pipes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use moonkeep::check::catalogue::catalogue;
use moonkeep::check::groups::groups;
use moonkeep::limits;
use moonkeep::proto::codec;
use moonkeep::proto::ids::{Generation, ScriptName};
use moonkeep::proto::messages::{Confinement, Encoding, Setup, ToWorker};
use rustix::fs::FlockOperation;
use rustix::process::Signal;
use serde_json::Value;
use uuid::Uuid;

use super::{BINARY, Home, PATIENCE, leftovers, wait_for};

/// A running `moonkeep worker`, and its first line.
pub(crate) struct Worker {
    pub(crate) setup: Setup,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its lines, as a thread reads them: a read of a pipe has no deadline.
    lines: Receiver<String>,
    log: PathBuf,
}

/// What a daemon would say of `scripts/FILE`; executable if the file is.
pub(crate) fn setup(home: &Home, file: &str) -> Setup {
    use std::os::unix::fs::PermissionsExt;
    let path = home.path(&format!("scripts/{file}"));
    let mode = fs::metadata(&path).expect("a script").permissions().mode();
    let name = file.split('.').next().expect("a name");
    fs::create_dir_all(home.path(&format!("state/scripts/{name}"))).expect("its folder");
    Setup {
        script: ScriptName::new(name).expect("a script's name"),
        generation: Generation(1),
        home: home.root(),
        socket: home.socket(),
        path,
        content: None,
        exec: mode & 0o100 != 0,
        args: Vec::new(),
        concurrency: limits::CONCURRENCY,
        memory_bytes: limits::LUA_MEMORY,
        preempt: true,
        keep_children: false,
        files: limits::WORKER_FILES,
        encoding: Encoding::Text,
        legacy: false,
        handover: None,
        outcomes: home.path(&format!("state/outcomes/{name}.1.test")),
        lock: home.path(&format!("state/scripts/{name}.lock")),
        user: None,
        plugins: Vec::new(),
        check_defaults: Default::default(),
        confinement: Default::default(),
    }
}

/// What a daemon would say of the worker of `plugins/FILE`, or of `@stock` for no file. By the same way as the daemon:
/// the home's `moonkeep.toml` counts.
pub(crate) fn plugin_setup(home: &Home, worker: &str) -> Setup {
    let place = moonkeep::paths::Home::at(&home.root()).expect("a home");
    let config = moonkeep::scripts::load_config(&place).expect("a good moonkeep.toml");
    let catalogue = catalogue(&place, &config).expect("readable");
    let groups = groups(&catalogue, |path| {
        fs::read(path).map_err(|error| error.to_string())
    });
    let found = groups
        .workers
        .iter()
        .find(|group| group.name.as_str() == worker);
    let group = found.unwrap_or_else(|| panic!("no worker {worker}: {groups:#?}"));
    fs::create_dir_all(home.path("state/scripts").join(worker)).expect("its folder");
    Setup {
        script: group.name.clone(),
        generation: Generation(1),
        home: home.root(),
        socket: home.socket(),
        path: group.path.clone().unwrap_or_else(|| home.path("plugins")),
        content: group.content.clone(),
        exec: false,
        args: Vec::new(),
        concurrency: group.settings.concurrency,
        memory_bytes: group.settings.memory_bytes,
        preempt: group.settings.preempt,
        keep_children: false,
        files: group.settings.files,
        encoding: Encoding::Text,
        legacy: false,
        handover: None,
        outcomes: home.path(&format!("state/outcomes/{}", Uuid::now_v7())),
        lock: home.path(&format!("state/scripts/{worker}.lock")),
        user: None,
        plugins: group.instances.clone(),
        check_defaults: config.all_checks().defaults.clone(),
        confinement: Confinement {
            mode: group.settings.sandbox.unwrap_or_default(),
            landlock: true,
            allow: group.settings.allow.clone(),
        },
    }
}

impl Worker {
    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(home: &Home, setup: Setup) -> Self {
        let mut worker = Worker::spawn(home, setup);
        worker.await_ready();
        worker
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub(crate) fn spawn(home: &Home, setup: Setup) -> Self {
        let command = home.program(Path::new(BINARY)).into_command();
        Worker::spawn_by(command, home, setup)
    }

    /// As [`Worker::spawn`], by a command that ends in running the words it is given.
    #[track_caller]
    pub(crate) fn spawn_by(mut command: Command, home: &Home, setup: Setup) -> Self {
        let log = home.user().join(format!("worker.{}.err", Uuid::now_v7()));
        command.args(["worker", setup.script.as_str()]);
        if setup.exec {
            command.arg("--exec");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file for its log"))
            .process_group(0)
            .spawn()
            .expect("the worker starts");
        let mut worker = Worker {
            stdin: child.stdin.take(),
            lines: lines(child.stdout.take().expect("piped")),
            log,
            child,
            setup: setup.clone(),
        };
        worker.tell(&[ToWorker::Setup(Box::new(setup))]);
        worker
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Writes all messages at once.
    #[track_caller]
    pub(crate) fn tell(&mut self, messages: &[ToWorker]) {
        let mut bytes = Vec::new();
        for message in messages {
            codec::encode_to_worker(message, &mut bytes);
        }
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        stdin.write_all(&bytes).expect("the worker reads");
    }

    /// The daemon has gone, as far as the worker can see.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next line, as JSON; `None` at the end.
    ///
    /// # Panics
    /// If none comes within the deadline.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(serde_json::from_str(&line).expect("the worker writes JSON")),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came: {}", self.log()),
        }
    }

    /// What it has said in its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The next line that is `wanted`; others are passed over.
    #[track_caller]
    pub(crate) fn hear(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next_line().expect("a line, not the worker's end");
            if wanted(&line) {
                return line;
            }
        }
    }

    /// The end of a ticket.
    #[track_caller]
    pub(crate) fn end_of(&mut self, ticket: u64) -> Value {
        let id = format!("@{ticket}");
        self.hear(|line| line["request_id"] == *id && line["status"] != "part")
    }

    #[track_caller]
    pub(crate) fn await_ready(&mut self) {
        self.try_ready().expect("the worker becomes ready");
    }

    /// As [`Worker::await_ready`]; `None`: it ended before.
    #[track_caller]
    pub(crate) fn try_ready(&mut self) -> Option<()> {
        while let Some(line) = self.next_line() {
            if line["command"] == "ready" {
                return Some(());
            }
        }
        None
    }

    /// SIGKILL, to this process alone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Waits until it has left by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the worker leaves", || {
            self.child.try_wait().expect("our own child")
        })
    }

    /// The lines of its outcome record, ids by their order of appearance (`1`, `2`), behind the header, which is checked.
    #[track_caller]
    pub(crate) fn record(&self) -> Vec<String> {
        lines_of(&self.setup.outcomes, self.child.id())
    }

    /// Whether anybody holds the script's lock.
    #[track_caller]
    pub(crate) fn is_locked(&self) -> bool {
        is_locked(&self.setup.lock)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It leads its group; a script's child that a test leaves is found by the home's own look.
        if matches!(self.child.try_wait(), Ok(None)) {
            leftovers::kill(self.pid(), Signal::KILL);
            self.child.wait().ok();
        }
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        for line in lines.map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// See [`Worker::is_locked`].
#[track_caller]
pub(crate) fn is_locked(lock: &Path) -> bool {
    let file = File::open(lock).expect("the worker has made it");
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

#[track_caller]
pub(crate) fn lines_of(record: &Path, pid: u32) -> Vec<String> {
    let text = fs::read_to_string(record).expect("an outcome record");
    let mut lines = text.split_inclusive('\n').map(|line| {
        line.strip_suffix('\n')
            .unwrap_or_else(|| panic!("a torn line: {line:?}"))
    });
    let header: Vec<&str> = lines.next().expect("a header").split(' ').collect();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc");
    assert_eq!(header[..2], ["W", &pid.to_string()]);
    assert!(
        header[2].parse::<u64>().is_ok_and(|ticks| ticks > 0),
        "{header:?}"
    );
    assert_eq!(header[3..], [boot.trim()]);
    let mut ids: Vec<String> = Vec::new();
    lines
        .map(|line| {
            let mut words: Vec<String> = line.splitn(3, ' ').map(str::to_owned).collect();
            if let Some(id) = words.get_mut(1) {
                assert!(Uuid::try_parse(id).is_ok(), "{line}");
                let known = ids.iter().position(|other| other == id);
                let at = known.unwrap_or_else(|| {
                    ids.push(id.clone());
                    ids.len() - 1
                });
                *id = (at + 1).to_string();
            }
            words.join(" ")
        })
        .collect()
}
