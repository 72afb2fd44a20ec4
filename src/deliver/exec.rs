//! A hook's program: without a shell, in a process group of its own, until its time limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use super::failed;
use super::words::Words;
use crate::descendants::Own;
use crate::limits;
use crate::monitor::alphabet::Undelivered;
use crate::options::value::show_duration;

/// Runs it. Exit code 0 is success; all else may be different next time, so it is tried again.
pub(super) async fn run(
    argv: &[String],
    words: &Words<'_>,
    until: Instant,
    limit: Duration,
) -> Result<(), Undelivered> {
    let name = argv.first().map_or("", String::as_str);
    let mut child = start(argv, words).map_err(|error| failed(cannot_start(name, &error)))?;
    let _own = Own::new(child.id());
    let output = RefCell::new(Tail::default());
    let alert = words.json().to_string() + "\n";
    let status = attend(&mut child, alert, &output, until).await;
    let said = output.borrow().told();
    match status {
        None => {
            kill_group(&child);
            let limit = show_duration(limit);
            Err(failed(format!(
                "`{name}` did not end within {limit} and was killed, with all that it had started{said}"
            )))
        }
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(failed(format!("`{name}` {}{said}", how(status)))),
        Some(Err(error)) => Err(failed(format!("cannot wait for `{name}`: {error}"))),
    }
}

fn start(argv: &[String], words: &Words<'_>) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .envs(words.environment())
        .current_dir(&words.order.home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn cannot_start(name: &str, error: &io::Error) -> String {
    let kind = error.kind();
    let advice = if kind == io::ErrorKind::NotFound {
        "is it installed, and in the PATH of the daemon?"
    } else if kind == io::ErrorKind::PermissionDenied {
        "is it executable, for the daemon's user?"
    } else {
        "see `ulimit -u` and `ulimit -n`"
    };
    format!("cannot start `{name}`: {error}; {advice}")
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Feeds and hears the program until its end. `None`: its time is up.
///
/// A helper that outlives it and holds its pipe open is not waited for longer than a moment.
async fn attend(
    child: &mut Child,
    alert: String,
    output: &RefCell<Tail>,
    until: Instant,
) -> Option<io::Result<ExitStatus>> {
    let mut stdin = child.stdin.take();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let talk = async {
        let feed = async {
            if let Some(mut pipe) = stdin.take() {
                // A program that does not read it is no fault.
                let _closed = pipe.write_all(alert.as_bytes()).await;
            }
        };
        tokio::join!(feed, hear(out, output), hear(err, output))
    };
    tokio::pin!(talk);
    let mut talked = false;
    let status = loop {
        tokio::select! {
            biased;
            // Cancel safe: `wait` may be polled anew.
            status = child.wait() => break status,
            // Cancel safe: it only waits.
            () = sleep_until(until) => return None,
            // Cancel safe: pinned outside, polled on below.
            _ = &mut talk, if !talked => talked = true,
        }
    };
    if !talked {
        let _held_open = timeout(limits::OUTPUT_AFTER_EXIT, &mut talk).await;
    }
    Some(status)
}

/// Takes in all of it, so that the program does not hang at a full pipe.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, output: &RefCell<Tail>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut piece).await {
        output.borrow_mut().add(&piece[..count]);
    }
}

/// The program has not been reaped, so its number is nobody else's.
fn kill_group(child: &Child) {
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(group) = group {
        let _gone_already = kill_process_group(group, Signal::KILL);
    }
}

/// The last that a program has said: the reason mostly stands there.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend(piece);
        let beyond = self
            .bytes
            .len()
            .saturating_sub(limits::DELIVERY_OUTPUT_BYTES);
        self.is_cut |= beyond > 0;
        self.bytes.drain(..beyond);
    }

    /// For the end of a sentence; empty if there is nothing.
    fn told(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let dots = if self.is_cut { "..." } else { "" };
        match text.trim() {
            "" => String::new(),
            text => format!("; it said: {dots}{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_is_kept_in_bounded_memory() {
        let mut tail = Tail::default();
        assert_eq!(tail.told(), "");
        tail.add(b"short\n");
        assert_eq!(tail.told(), "; it said: short");
        for _ in 0..1_000 {
            tail.add(&[b'x'; 1_000]);
        }
        tail.add(b" the end\n");
        assert_eq!(tail.bytes.len(), limits::DELIVERY_OUTPUT_BYTES);
        let told = tail.told();
        assert!(
            told.starts_with("; it said: ...x") && told.ends_with("x the end"),
            "{told}"
        );
    }
}
