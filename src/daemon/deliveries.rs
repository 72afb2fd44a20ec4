//! Attempts to deliver alerts: a child of ours for each, until it has said how it ended or its time is up.
//!
//! It decides nothing: which alert is due, and whether it is tried again, is the monitor's. Whatever happens to the
//! child, an answer comes; and nothing that it has started outlives it, nor the daemon. An attempt that the daemon's
//! own end cuts short is not told at all: the next daemon makes it again.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{Ends, Process};
use super::inbox::Inbox;
use crate::deliver::{DELIVERED, Order, REFUSED, ROLE};
use crate::descendants::kill_tree;
use crate::engine::alphabet::{Exit, Input};
use crate::limits;
use crate::monitor::alphabet::{self as monitor, Delivery, Undelivered};
use crate::options::http::Http;
use crate::options::value::show_duration;
use crate::paths::{HOME_VARIABLE, Home};
use crate::sys;

/// How many are under way.
#[derive(Debug)]
pub(super) struct Deliveries {
    http: watch::Receiver<Option<Http>>,
    running: Rc<Cell<usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Deliveries {
    /// `http`: where the checks are shown, as it is configured at the time.
    pub(super) fn new(http: watch::Receiver<Option<Http>>) -> Self {
        Deliveries {
            http,
            running: Rc::default(),
        }
    }

    /// Begins an attempt. The future is to be spawned; it hands the end in. Dropped earlier, it kills what it began.
    pub(super) fn begin(
        &self,
        program: &Path,
        home: &Home,
        delivery: Delivery,
        inbox: Rc<Inbox>,
    ) -> impl Future<Output = ()> + 'static {
        let (id, limit) = (delivery.id, delivery.hook.timeout);
        let order = Order {
            delivery,
            home: home.root().to_owned(),
            page: self.http.borrow().as_ref().and_then(page),
        };
        let begun = match self.place() {
            Some(place) => Attempt::start(program, &order, place),
            None => Err(anyhow::anyhow!(
                "{} deliveries are under way already",
                limits::DELIVERIES_AT_ONCE
            )),
        };
        async move {
            let result = match begun {
                Ok(attempt) => attempt.end(limit).await,
                Err(error) => Err(Undelivered::Failed(format!("{error:#}"))),
            };
            inbox.push(Input::Monitor(monitor::Input::Delivered {
                delivery: id,
                result,
            }));
        }
    }

    fn place(&self) -> Option<Place> {
        let taken = self.running.get();
        (taken < limits::DELIVERIES_AT_ONCE).then(|| {
            self.running.set(taken + 1);
            Place(Rc::clone(&self.running))
        })
    }
}

/// The address of the status page, for who reads an alert: under a name of the home's own, if there is one.
fn page(http: &Http) -> Option<String> {
    let port = http.listen.port();
    let host = match http.hosts.first() {
        Some(host) => host.clone(),
        None if http.listen.ip().is_unspecified() => return None,
        None if http.listen.is_ipv6() => format!("[{}]", http.listen.ip()),
        None => http.listen.ip().to_string(),
    };
    // Which port the system chose is not known here.
    (port != 0).then(|| format!("http://{host}:{port}/"))
}

/// A child that delivers.
struct Attempt {
    child: Mortal,
    death: AsyncFd<OwnedFd>,
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    order: Vec<u8>,
    _place: Place,
}

impl Attempt {
    fn start(program: &Path, order: &Order, place: Place) -> anyhow::Result<Self> {
        let mut line = serde_json::to_vec(order).context("the alert is no JSON")?;
        line.push(b'\n');
        anyhow::ensure!(
            line.len() <= limits::DELIVERY_BYTES,
            "the alert and its hook have {} bytes, more than {}; shorten the hook's texts",
            line.len(),
            limits::DELIVERY_BYTES
        );
        let child = Command::new(program)
            .arg0("moonkeep")
            .arg(ROLE)
            .env(HOME_VARIABLE, &order.home)
            .current_dir(&order.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A panic's words, if it comes to that. They are for nobody else.
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context(
                "cannot start a process for it; see `ulimit -u` and `ulimit -n`, or free memory",
            )?;
        let (process, ends) = Process::adopt(child, false).context("cannot watch its process")?;
        let child = Mortal(Some(process));
        let Ends {
            death,
            stdin,
            stdout,
            stderr: _unread,
        } = ends;
        Ok(Attempt {
            child,
            death: sys::watch(death)?,
            stdin: pipe::Sender::from_owned_fd(stdin)?,
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            order: line,
            _place: place,
        })
    }

    /// Waits for its end, and kills it when it is late: it should have ended by itself before.
    async fn end(mut self, limit: Duration) -> Result<(), Undelivered> {
        let until = Instant::now() + limit + limits::DELIVERY_SLACK;
        let mut said = Vec::new();
        let mut talk = Box::pin(async {
            // It may have died: then it says nothing either.
            let _gone = self.stdin.write_all(&self.order).await;
            let most = limits::DELIVERY_OUTPUT_BYTES as u64 * 2;
            let mut stdout = (&mut self.stdout).take(most);
            let _gone = stdout.read_to_end(&mut said).await;
        });
        let mut talked = false;
        let in_time = loop {
            tokio::select! {
                biased;
                // Cancel safe: it only waits.
                _ready = self.death.readable() => break true,
                // Cancel safe: it only waits.
                () = sleep_until(until) => break false,
                // Cancel safe: pinned outside, polled on.
                () = &mut talk, if !talked => talked = true,
            }
        };
        if in_time && !talked {
            let _held_open = timeout(limits::DRAIN_AT_EXIT, &mut talk).await;
        }
        drop(talk);
        let exit = self.child.bury();
        if in_time {
            return meaning(exit, &String::from_utf8_lossy(&said));
        }
        Err(Undelivered::Failed(format!(
            "the delivery did not end within {} and was killed",
            show_duration(limit + limits::DELIVERY_SLACK)
        )))
    }
}

fn meaning(exit: Exit, said: &str) -> Result<(), Undelivered> {
    let said = said.trim();
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => {
            let why = format!("the delivery was killed by signal {signal}");
            return Err(Undelivered::Failed(why));
        }
    };
    if code == i32::from(DELIVERED) {
        Ok(())
    } else if said.is_empty() {
        let why =
            format!("the delivery ended with exit code {code} and said nothing; please report it");
        Err(Undelivered::Failed(why))
    } else if code == i32::from(REFUSED) {
        Err(Undelivered::Refused(said.to_owned()))
    } else {
        Err(Undelivered::Failed(said.to_owned()))
    }
}

/// Dies with this value, and all that it has started with it.
struct Mortal(Option<Process>);

impl Mortal {
    /// Kills what is left of it, and reaps it.
    fn bury(&mut self) -> Exit {
        let Some(process) = self.0.take() else {
            return Exit::Code(-1);
        };
        // Not reaped yet, so the number is nobody else's. What it leaves behind is the undertaker's.
        kill_tree(process.group());
        process.bury()
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _cut_short = self.bury();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_leads_to_the_page_where_its_address_is_known() {
        let at = |listen: &str, hosts: &[&str]| {
            page(&Http {
                listen: listen.parse().expect("an address"),
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            })
        };
        let shown = |text: &str| Some(text.to_owned());
        assert_eq!(at("127.0.0.1:9620", &[]), shown("http://127.0.0.1:9620/"));
        assert_eq!(at("[::1]:80", &[]), shown("http://[::1]:80/"));
        assert_eq!(at("0.0.0.0:80", &["a.b"]), shown("http://a.b:80/"));
        assert_eq!(at("0.0.0.0:80", &[]), None);
        assert_eq!(at("127.0.0.1:0", &[]), None);
    }

    #[test]
    fn every_end_of_the_child_means_something() {
        let failed = |why: &str| Err(Undelivered::Failed(why.to_owned()));
        for (exit, said, expected) in [
            (Exit::Code(0), "", Ok(())),
            (Exit::Code(75), " no answer\n", failed("no answer")),
            (
                Exit::Code(65),
                "404",
                Err(Undelivered::Refused("404".to_owned())),
            ),
            (Exit::Code(101), "panic", failed("panic")),
            (
                Exit::Code(101),
                "",
                failed("the delivery ended with exit code 101 and said nothing; please report it"),
            ),
            (
                Exit::Signal(9),
                "",
                failed("the delivery was killed by signal 9"),
            ),
        ] {
            assert_eq!(meaning(exit, said), expected);
        }
    }
}
