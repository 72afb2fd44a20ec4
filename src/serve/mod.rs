//! What is answered over HTTP: from the head of a request and one [`Snapshot`] of the checks to a [`Reply`]. Pure.
//!
//! [`route`] says what is asked, or refuses; [`Asked::reply`] renders it. Who waits, and for whom, is the matter of
//! `daemon::http`. Each format is rendered once for a snapshot, however many ask for it.

mod escape;
mod health;
mod metrics;
mod page;
mod probes;
mod target;

use std::sync::{Arc, OnceLock};

use crate::monitor::view::{ChecksView, Facts};
use probes::Probe;
use target::Target;

/// The checks and the daemon at one moment, and what was rendered of them.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub view: ChecksView,
    pub facts: Facts,
    page: OnceLock<Arc<str>>,
    metrics: OnceLock<Arc<str>>,
    health: OnceLock<Arc<str>>,
    checks: OnceLock<Arc<str>>,
}

impl Snapshot {
    #[must_use]
    pub fn new(view: ChecksView, facts: Facts) -> Self {
        Snapshot {
            view,
            facts,
            ..Snapshot::default()
        }
    }
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub cache_control: &'static str,
    /// Headers of this reply alone; those of all are [`headers_of_all`].
    pub extra: Vec<(&'static str, &'static str)>,
    pub body: Arc<str>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const NOT_KEPT: &str = "no-store";

impl Reply {
    fn text(status: u16, body: impl Into<Arc<str>>) -> Self {
        Reply::new(status, TEXT, body.into())
    }

    fn new(status: u16, content_type: &'static str, body: Arc<str>) -> Self {
        Reply {
            status,
            content_type,
            cache_control: NOT_KEPT,
            extra: Vec::new(),
            body,
        }
    }

    /// The request names a host that is none of ours.
    #[must_use]
    pub fn foreign_host() -> Self {
        let text = "This request names a host that is not known here, as a page of somebody else's would (DNS rebinding).\n\
                    Ask by address or as localhost, or put the name into moonkeep.toml:\n\n\
                    [http]\nhosts = [\"status.example.org\"]\n";
        Reply::text(403, text)
    }
}

/// Headers of every reply: nothing may be loaded, framed, guessed or told on.
#[must_use]
pub fn headers_of_all() -> [(&'static str, &'static str); 4] {
    [
        ("content-security-policy", page::policy()),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ]
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    what: What,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Page,
    Metrics,
    Checks,
    Health,
    Probe(Probe),
    /// One check of a probe, by its name.
    ProbeOf(Probe, String),
}

/// Every path, and what is there.
const PATHS: &[(&str, &str)] = &[
    ("/", "the status page, for people"),
    ("/metrics", "Prometheus' text format"),
    ("/checks.json", "all that is known of the checks"),
    ("/health", "application/health+json; 503 if something fails"),
    (
        "/livez",
        "does the daemon live? ?verbose ?exclude=NAME /livez/NAME; 500 if not",
    ),
    (
        "/readyz",
        "are scripts and checks well? ?verbose ?exclude=NAME /readyz/NAME; 500 if not",
    ),
];

/// What `method` and `target` (path and query) ask for.
///
/// # Errors
/// The reply to what is not served: 404 names the paths, 405 the methods.
pub fn route(method: &str, target: &str) -> Result<Asked, Reply> {
    let target = Target::parse(target);
    let what = match target.path.as_str() {
        "/" => What::Page,
        "/metrics" => What::Metrics,
        "/checks.json" => What::Checks,
        "/health" => What::Health,
        "/livez" => What::Probe(Probe::Live),
        "/readyz" => What::Probe(Probe::Ready),
        other => match probe_of(other) {
            Some((probe, name)) => What::ProbeOf(probe, name.to_owned()),
            None => return Err(Reply::text(404, not_found())),
        },
    };
    if method != "GET" && method != "HEAD" {
        let text = "Nothing can be changed here: ask with GET or HEAD. Commands go through the daemon's socket; see `moonkeep help`.\n";
        let mut reply = Reply::text(405, text);
        reply.extra.push(("allow", "GET, HEAD"));
        return Err(reply);
    }
    Ok(Asked { what, target })
}

fn probe_of(path: &str) -> Option<(Probe, &str)> {
    [Probe::Live, Probe::Ready].into_iter().find_map(|probe| {
        let name = path.strip_prefix('/')?.strip_prefix(probe.word())?;
        let name = name.strip_prefix('/')?;
        (!name.is_empty()).then_some((probe, name))
    })
}

fn not_found() -> String {
    let paths = PATHS
        .iter()
        .map(|(path, what)| format!("{path:<14}{what}\n"));
    format!(
        "There is nothing here. What there is:\n\n{}",
        paths.collect::<String>()
    )
}

impl Asked {
    /// Renders it. `None`: the core has not answered in time.
    #[must_use]
    pub fn reply(&self, snapshot: Option<&Snapshot>) -> Reply {
        let Some(snapshot) = snapshot else {
            return self.silent();
        };
        match &self.what {
            What::Page => {
                let body = snapshot.page.get_or_init(|| page::render(snapshot).into());
                Reply::new(200, "text/html; charset=utf-8", Arc::clone(body))
            }
            What::Metrics => {
                let render = || metrics::render(&snapshot.view, &snapshot.facts).into();
                let body = snapshot.metrics.get_or_init(render);
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                Reply::new(200, kind, Arc::clone(body))
            }
            What::Checks => {
                let body = snapshot.checks.get_or_init(|| json(&snapshot.view));
                Reply::new(200, "application/json", Arc::clone(body))
            }
            What::Health => {
                let render = || json(&health::document(&snapshot.view, &snapshot.facts));
                let body = snapshot.health.get_or_init(render);
                let status = health::http_status(snapshot.view.state);
                let mut reply = Reply::new(status, "application/health+json", Arc::clone(body));
                reply.cache_control = "max-age=1";
                reply
            }
            What::Probe(probe) => probe.reply(snapshot, &self.target),
            What::ProbeOf(probe, name) => probe.reply_of(snapshot, name),
        }
    }

    /// Whether [`Asked::reply`] would only hand out what has been rendered, or nearly so.
    #[must_use]
    pub fn is_cheap(&self, snapshot: &Snapshot) -> bool {
        match &self.what {
            What::Page => snapshot.page.get().is_some(),
            What::Metrics => snapshot.metrics.get().is_some(),
            What::Checks => snapshot.checks.get().is_some(),
            What::Health => snapshot.health.get().is_some(),
            What::Probe(_) | What::ProbeOf(..) => true,
        }
    }

    fn silent(&self) -> Reply {
        match &self.what {
            What::Probe(probe) => probe.silent(),
            What::ProbeOf(..) => Reply::text(500, probes::INTERNAL),
            What::Page | What::Metrics | What::Checks | What::Health => {
                let text = "The daemon does not answer in time; it may be overloaded. Try again; `moonkeep status` says more.\n";
                let mut reply = Reply::text(503, text);
                reply.extra.push(("retry-after", "5"));
                reply
            }
        }
    }
}

fn json(value: &impl serde::Serialize) -> Arc<str> {
    let mut text = serde_json::to_string(value)
        .expect("strings, finite numbers and lists always have a JSON form");
    text.push('\n');
    text.into()
}
