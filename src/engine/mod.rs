//! What happens. Pure: `handle(now, Input)`, then `poll_effect()` until empty, `next_timeout()`.
//!
//! No clock, task, socket, lock or `await` is in here. The daemon's shell gathers inputs, steps the
//! engine, and performs the effects without waiting. The same inputs lead to the same effects, byte for
//! byte: chance comes from a seed, time and ids from outside, and no map is iterated whose order is not fixed.
//!
//! | file | its one matter |
//! |---|---|
//! | [`records`], `journaling`, `holding` | what the journal is told; marks; what waits until they are safe |
//! | `lost`, `recovery` | what becomes of a request whose worker, or whose daemon, is gone |
//! | [`alphabet`] | everything that can happen, everything that can be wanted |
//! | `commands`, `view` | what each command leads to; what is shown |
//! | `calls`, `coalesce`, `delivery` | how a request is admitted, shared, or known already |
//! | `requests`, `slots`, `rate`, `dispatch` | one value in one state; the right to run; from queue to worker |
//! | `ends`, `cancel` | `finish` is the only way a request ends; asking it to stop |
//! | `sessions`, `asking`, `inorder`, `credit` | `leave` is the only way a session ends; open questions; outboxes |
//! | `scripts`, `generation`, `lifecycle`, `leaving`, `restart`, `reload`, `controls` | the life of a script |
//! | `checking`, `checks` | the monitor's runs and deliveries; what plugins declare, what is asked about checks |
//! | `events`, `health`, `shutdown`, `timers`, `rising` | subscriptions; heartbeats; leaving; what is due when; a small sorted map |

pub mod alphabet;
mod asking;
mod calls;
mod cancel;
mod checking;
mod checks;
mod coalesce;
mod commands;
mod controls;
mod credit;
mod delivery;
mod dispatch;
mod ends;
mod events;
mod generation;
mod hash;
mod health;
mod holding;
mod inorder;
#[cfg(any(test, debug_assertions))]
mod invariants;
mod journaling;
mod leaving;
mod lifecycle;
mod lost;
mod outdated;
mod rate;
pub mod records;
mod recovery;
mod refusals;
mod reload;
mod replay;
mod requests;
mod restart;
mod rising;
mod scripts;
mod sessions;
mod showing;
mod shutdown;
mod slots;
mod step;
#[cfg(test)]
mod tests;
mod timers;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use alphabet::{Effect, Identity, Input, Level, LogAsk, Moment, Peer};
use asking::{Ask, Asker, Manner, Released, What};
use hash::FastMap;
pub use replay::{Difference, Replayed, record, replay};
use scripts::Script;
use sessions::Leaving;
pub use view::COMMANDS;

use crate::proto::ids::{Generation, ScriptName, Ticket, WorkerId};
use crate::proto::messages::{Answer, Body, Encoding, ErrorCode, ToWorker};
use crate::weakenings::Weakened;

/// The machine. It owns sessions, requests and scripts; nothing else changes them.
#[derive(Debug)]
pub struct Engine {
    identity: Identity,
    now: Moment,
    /// By how much the timer in hand fired late.
    late: Duration,
    effects: VecDeque<Effect>,
    timers: timers::Timers,
    sessions: sessions::Sessions,
    requests: requests::Requests,
    stored: delivery::Stored,
    journal: journaling::Journaling,
    recovery: recovery::Recovery,
    weakened: Weakened,
    flights: coalesce::Flights,
    scripts: BTreeMap<ScriptName, Script>,
    /// Last generations of scripts that are gone: a generation is never used twice.
    removed: BTreeMap<ScriptName, Generation>,
    controls: controls::Controls,
    checking: checking::Checking,
    /// Everybody who listens for events.
    subscribers: BTreeSet<Peer>,
    logs: FastMap<LogAsk, Ask>,
    random: crate::random::Random,
    counters: Counters,
    life: shutdown::Life,
    config_fault: Option<String>,
    http: showing::Listener,
    next_ticket: u64,
    next_log: u64,
    /// Scripts whose queues are looked at before this step ends.
    awake: Vec<ScriptName>,
    /// Peers that have more waiting than anybody may: dropped before this step ends.
    overfull: Vec<Peer>,
    loaded: bool,
    settled: bool,
    beating: bool,
}

/// What went wrong on the other side and was ignored.
#[derive(Debug, Default)]
struct Counters {
    /// Answers whose ticket was unknown, finished or of another generation.
    stray: u64,
    /// Inputs that make no sense now.
    senseless: u64,
    noted_at: Option<Moment>,
}

impl Engine {
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Engine {
            random: crate::random::Random::new(identity.seed),
            checking: checking::Checking::new(identity.seed),
            identity,
            now: Moment::default(),
            late: Duration::ZERO,
            effects: VecDeque::new(),
            timers: timers::Timers::default(),
            sessions: sessions::Sessions::default(),
            requests: requests::Requests::default(),
            stored: delivery::Stored::default(),
            journal: journaling::Journaling::default(),
            recovery: recovery::Recovery::default(),
            weakened: Weakened::default(),
            flights: coalesce::Flights::default(),
            scripts: BTreeMap::new(),
            removed: BTreeMap::new(),
            controls: controls::Controls::default(),
            subscribers: BTreeSet::new(),
            logs: FastMap::default(),
            counters: Counters::default(),
            life: shutdown::Life::default(),
            config_fault: None,
            http: showing::Listener::default(),
            next_ticket: 1,
            next_log: 1,
            awake: Vec::new(),
            overfull: Vec::new(),
            loaded: false,
            settled: false,
            beating: false,
        }
    }

    /// Breaks a promise on purpose, so that a test can show that it notices.
    #[must_use]
    pub fn weakened(mut self, weakened: Weakened) -> Self {
        self.weakened = weakened;
        self
    }

    /// One step. Timers that are due fire before the input: what is over is over. Never fails: an input
    /// that makes no sense is counted and ignored.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.now = self.now.max(now);
        self.fire_timers();
        self.take(input);
        self.finish_step();
    }

    /// The next thing to be done, in order. Poll until `None`; several steps may come before.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is to be handed in at the latest, unless something else comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.timers.next()
    }

    fn asker(&self, peer: &Peer) -> Option<&Asker> {
        match peer {
            Peer::Session(id) => self.sessions.table.get(id).map(|session| &session.asker),
            Peer::Worker(id) => self.worker(id).map(|worker| &worker.asker),
            Peer::Monitor => Some(&self.checking.asker),
        }
    }

    fn asker_mut(&mut self, peer: &Peer) -> Option<&mut Asker> {
        match peer {
            Peer::Session(id) => self.sessions.get_mut(*id).map(|session| &mut session.asker),
            Peer::Worker(id) => self.worker_mut(id).map(|worker| &mut worker.asker),
            Peer::Monitor => Some(&mut self.checking.asker),
        }
    }

    fn worker(&self, id: &WorkerId) -> Option<&generation::Worker> {
        self.scripts.get(&id.script)?.worker(id.generation)
    }

    fn worker_mut(&mut self, id: &WorkerId) -> Option<&mut generation::Worker> {
        self.scripts.get_mut(&id.script)?.worker_mut(id.generation)
    }

    /// Opens a question of a peer; at its limit the peer is not read until answers drain.
    fn open_question(&mut self, peer: &Peer, manner: Manner, what: What) -> Option<u64> {
        let asker = self.asker_mut(peer)?;
        let number = asker.open(manner, what);
        self.review_pause(peer);
        Some(number)
    }

    /// A piece of the answer to an open question. To one that is closed, or whose peer is gone: nothing.
    fn tell(&mut self, ask: &Ask, body: Body) {
        let released = self
            .asker_mut(&ask.peer)
            .and_then(|asker| asker.piece(ask.number, body));
        if let Some(released) = released {
            self.send(&ask.peer, released);
        }
    }

    /// Answers a question in the step that asked it.
    fn answer_at_once(&mut self, peer: &Peer, manner: Manner, body: Body) {
        if let Some(asker) = self.asker_mut(peer) {
            let released = asker.at_once(manner, body);
            self.send(peer, released);
        }
    }

    fn send(&mut self, peer: &Peer, released: Released) {
        match released {
            Released::One(answer) => self.send_one(peer, answer),
            Released::Many(answers) => {
                for answer in answers {
                    self.send_one(peer, answer);
                }
            }
        }
        self.review_pause(peer);
    }

    fn send_one(&mut self, peer: &Peer, answer: Answer) {
        if *peer == Peer::Monitor {
            return self.answer_monitor(answer);
        }
        let now = self.now;
        let cost = answer.cost();
        let Some(asker) = self.asker_mut(peer) else {
            return;
        };
        let first = asker.outbox.waiting() == 0;
        asker.sent(cost, now);
        match peer {
            Peer::Session(id) => {
                if first && let Some(at) = asker.outbox.stalls_at() {
                    self.arm_write_deadline(*id, at);
                }
                self.effects.push_back(Effect::ToClient {
                    session: *id,
                    answer,
                });
            }
            Peer::Worker(id) => self.effects.push_back(Effect::ToWorker {
                worker: id.clone(),
                message: ToWorker::Answer(answer),
            }),
            Peer::Monitor => {}
        }
    }

    fn encoding_of(&self, ask: &Ask) -> Encoding {
        self.asker(&ask.peer)
            .and_then(|asker| asker.encoding(ask.number))
            .unwrap_or(Encoding::Json)
    }

    fn note(&mut self, level: Level, text: impl FnOnce() -> String) {
        self.effects.push_back(Effect::Note {
            level,
            text: text(),
        });
    }

    /// An input that makes no sense now: counted, and that is all.
    fn senseless(&mut self, _what: &'static str) {
        self.counters.senseless += 1;
    }

    /// An answer that nobody waits for.
    fn stray(&mut self, worker: &WorkerId, ticket: Ticket) {
        self.counters.stray += 1;
        let quiet = self
            .counters
            .noted_at
            .is_some_and(|at| self.now.since(at) < crate::limits::NOTE_EVERY);
        if quiet {
            return;
        }
        self.counters.noted_at = Some(self.now);
        let count = self.counters.stray;
        self.note(Level::Warn, || {
            format!("{worker} answered {ticket}, which it does not hold: dropped ({count} such answers so far)")
        });
    }

    /// What an operator should know beyond the scripts' states.
    fn warning_of_root(&self) -> Option<String> {
        let roots = |script: &&scripts::Script| {
            let spec = script.spec.as_ref();
            !script.name.is_plugin() && spec.is_some_and(|spec| spec.settings.user.is_none())
        };
        let count = self.scripts.values().filter(roots).count();
        (self.identity.is_roots && count > 0).then(|| {
            let scripts = match count {
                1 => "does a script".to_owned(),
                more => format!("do {more} scripts"),
            };
            format!(
                "the daemon runs as root, and so {scripts}; name another user for them at the top of moonkeep.toml, such as: user = \"nobody\""
            )
        })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.config_fault.iter().cloned().collect();
        warnings.extend(self.http.fault.clone());
        warnings.extend(self.journal.warning.clone());
        warnings.extend(self.journal.fault.iter().map(|fault| fault.text.clone()));
        warnings.extend(self.scripts.values().filter_map(|script| {
            let fault = script.fault.as_ref()?;
            Some(format!("{}: {fault}", script.name))
        }));
        warnings.extend(self.warning_of_root());
        warnings
    }

    fn too_much_waiting(&mut self, peer: &Peer) {
        match peer {
            Peer::Session(id) => self.leave(
                *id,
                Leaving::Dropped {
                    code: ErrorCode::TooLarge,
                    message: format!(
                        "slow: more than {} bytes of answers wait to be read; read them, or ask for less at once",
                        crate::limits::OUTBOX_DROP_BYTES
                    ),
                },
            ),
            Peer::Worker(id) => {
                let text = format!(
                    "killed: more than {} bytes wait on its stdin, which it does not read",
                    crate::limits::OUTBOX_DROP_BYTES
                );
                self.kill_worker(id, text);
            }
            // It has no outbox.
            Peer::Monitor => {}
        }
    }
}
