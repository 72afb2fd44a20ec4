//! A seeded world against the engine: clients that come, go, repeat, cancel and stall; workers that die,
//! hang, forge and answer late; files that change. An independent checker watches every line.

mod checker;
mod clients;
mod workers;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::driver::{identity, name};
use super::seeds;
use crate::engine::Engine;
use crate::engine::alphabet::*;
use crate::options::{Rate, ReloadMode, RestartPolicy, Settings};
use crate::random::Random;
use checker::Checker;
use clients::Clients;
use workers::Workers;

/// Something that the world does at a moment.
#[derive(Debug)]
enum Happening {
    Client,
    File,
    Vanish(crate::proto::ids::SessionId),
    Input(Input),
    /// A worker's own doing, by its place in the list of processes.
    Worker(usize, workers::Doing),
    Flush(Peer, u64),
}

struct World {
    engine: Engine,
    now: Moment,
    random: Random,
    agenda: BTreeMap<(Moment, u64), Happening>,
    next: u64,
    clients: Clients,
    workers: Workers,
    checker: Checker,
    trace: DefaultHasher,
    steps: u64,
    /// Faults happen until then.
    calm: bool,
    left: bool,
}

const SCRIPTS: [(&str, u32); 3] = [("s", 3), ("t", 1), ("u", 2)];

impl World {
    fn new(seed: u64) -> Self {
        let mut identity = identity();
        identity.seed = seed;
        World {
            engine: Engine::new(identity),
            now: Moment(0),
            random: Random::new(seed ^ 0x5eed),
            agenda: BTreeMap::new(),
            next: 0,
            clients: Clients::default(),
            workers: Workers::default(),
            checker: Checker::default(),
            trace: DefaultHasher::new(),
            steps: 0,
            calm: false,
            left: false,
        }
    }

    fn chance(&mut self, of: u64) -> bool {
        !self.calm && self.below(of) == 0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random.next() % most
    }

    fn plan(&mut self, after: Duration, what: Happening) {
        let at = self.now.after(after);
        self.next += 1;
        self.agenda.insert((at, self.next), what);
    }

    fn soon(&mut self, most_ms: u64) -> Duration {
        Duration::from_micros(self.below(most_ms * 1000) + 1)
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.engine.check_invariants();
        self.steps += 1;
        let mut last = None;
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Journal { mark, .. } = &effect {
                last = Some(*mark);
            }
            format!("{:?} {effect:?}", self.now).hash(&mut self.trace);
            self.perform(effect);
        }
        if let Some(mark) = last {
            let (written, synced) = (mark, mark);
            self.input(Input::Journaled { written, synced });
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::ToClient { session, answer } => {
                self.checker.answer(session, &answer, self.now);
                self.deliver(Peer::Session(session), answer.cost());
            }
            Effect::ToWorker { worker, message } => {
                self.deliver(Peer::Worker(worker.clone()), message.cost());
                self.worker_hears(&worker, message);
            }
            Effect::Disconnect { session, .. } => {
                self.checker.closed(session);
                self.clients.closed(session);
            }
            Effect::Spawn { worker, spec, .. } => self.spawn(worker, &spec),
            Effect::Signal { worker, kill } => self.signal(&worker, kill),
            Effect::ReadLog { ask, .. } => {
                let lines = Ok("a line".to_owned());
                self.plan(
                    Duration::from_millis(1),
                    Happening::Input(Input::LogRead { ask, lines }),
                );
            }
            Effect::Rescan { look } => self.plan(
                Duration::from_millis(1),
                Happening::Input(Input::Looked { look }),
            ),
            Effect::Exit => self.left = true,
            Effect::Pause { .. }
            | Effect::Resume { .. }
            | Effect::Follow { .. }
            | Effect::Note { .. }
            | Effect::Shown { .. }
            | Effect::Journal { .. }
            | Effect::DropOutcomes { .. }
            | Effect::Monitor(_)
            | Effect::Settled { .. } => {}
        }
    }

    /// The kernel takes what is sent, unless the peer is stalled.
    fn deliver(&mut self, peer: Peer, cost: u64) {
        let wait = match &peer {
            Peer::Session(id) if self.clients.is_stalled(*id) => Duration::from_secs(4),
            Peer::Session(_) | Peer::Worker(_) | Peer::Monitor => self.soon(2),
        };
        self.plan(wait, Happening::Flush(peer, cost));
    }

    fn change_file(&mut self) {
        let (script, concurrency) = SCRIPTS[self.below(3) as usize];
        let change = match self.below(8) {
            0 => ScriptChange::Removed {
                name: name(script),
                because: "gone".into(),
            },
            1 => ScriptChange::Faulty {
                checks: Vec::new(),
                name: name(script),
                path: "faulty".into(),
                error: "line 3: no such key".into(),
            },
            _ => ScriptChange::Changed {
                spec: self.spec(script, concurrency),
                because: "saved".into(),
            },
        };
        self.input(Input::Script(change));
    }

    fn spec(&mut self, script: &str, concurrency: u32) -> Arc<ScriptSpec> {
        let mut settings = Settings {
            concurrency,
            queue: 8,
            timeout: Duration::from_secs(3),
            ready_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_millis(500),
            ..Settings::default()
        };
        if self.below(4) == 0 {
            settings.reload = ReloadMode::StopFirst;
        }
        if self.below(6) == 0 {
            settings.restart = RestartPolicy::OnFailure;
        }
        if self.below(6) == 0 {
            settings.rate = Some(Rate {
                burst: 3,
                period: Duration::from_secs(1),
            });
        }
        Arc::new(ScriptSpec {
            plugins: Vec::new(),
            check_defaults: crate::proto::messages::CheckDefaults::default(),
            name: name(script),
            path: format!("/home/lab/scripts/{script}.lua").into(),
            content: None,
            kind: ScriptKind::Lua,
            settings,
        })
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Client => {
                self.client_acts();
                if !self.calm {
                    let wait = self.soon(40);
                    self.plan(wait, Happening::Client);
                }
            }
            Happening::File => {
                if !self.calm {
                    self.change_file();
                    let wait = self.soon(1500);
                    self.plan(wait, Happening::File);
                }
            }
            Happening::Vanish(session) => self.vanish(session),
            Happening::Input(input) => self.input(input),
            Happening::Worker(index, doing) => self.worker_does(index, doing),
            Happening::Flush(peer, cost) => self.input(Input::Flushed { peer, cost }),
        }
    }

    /// Goes from moment to moment until `end`.
    fn run(&mut self, end: Moment) {
        loop {
            let own = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let timer = self.engine.next_timeout();
            let next = match (own, timer) {
                (None, None) => break,
                (Some(at), None) | (None, Some(at)) => at,
                (Some(own), Some(timer)) => own.min(timer),
            };
            if next > end || self.left {
                break;
            }
            self.now = self.now.max(next);
            if timer.is_some_and(|timer| timer <= self.now) {
                self.input(Input::Tick);
            } else if let Some((_, what)) = self.agenda.pop_first() {
                self.happen(what);
            }
        }
        self.now = self.now.max(end);
    }
}

/// What a life was like.
#[derive(Debug, PartialEq)]
struct Life {
    trace: u64,
    steps: u64,
    kinds: BTreeMap<String, u64>,
}

/// One life of a daemon.
fn live(seed: u64) -> Life {
    let mut world = World::new(seed);
    for (script, concurrency) in SCRIPTS {
        let spec = world.spec(script, concurrency);
        world.input(Input::Script(ScriptChange::Changed {
            spec,
            because: "new".into(),
        }));
    }
    world.input(Input::Loaded);
    world.plan(Duration::from_millis(1), Happening::Client);
    world.plan(Duration::from_millis(700), Happening::File);
    world.run(Moment(6_000_000));
    // The faults stop: everything ends within its deadlines.
    world.calm = true;
    world.calm_down();
    world.run(world.now.after(Duration::from_secs(60)));
    world.checker.all_ended();
    let why = "SIGTERM".to_owned();
    world.input(Input::Terminate { why });
    world.run(world.now.after(Duration::from_secs(30)));
    assert!(world.left, "the daemon leaves");
    world.checker.left();
    Life {
        trace: world.trace.finish(),
        steps: world.steps,
        kinds: world.checker.kinds,
    }
}

fn run_seed(seed: u64) -> Life {
    seeds::run(seed, live)
}

// FI-4
#[test]
fn any_seeded_life_keeps_every_promise() {
    if let Some(seed) = seeds::chosen() {
        run_seed(seed);
        return;
    }
    let mut kinds = seeds::Kinds::new();
    let mut steps = 0;
    for seed in 0..seeds::count() {
        let life = run_seed(seed);
        steps += life.steps;
        seeds::add(&mut kinds, life.kinds);
    }
    seeds::was_real(steps, &kinds, &KINDS);
}

/// Ends that a run of all seeds must have seen.
const KINDS: [&str; 13] = [
    "done",
    "replayed",
    "busy",
    "cancelled",
    "id_conflict",
    "not_ready",
    "outcome_unknown",
    "rate_limited",
    "script_error",
    "shutting_down",
    "timeout",
    "unknown_handler",
    "unknown_script",
];

#[test]
fn the_same_seed_leads_to_the_same_trace() {
    for seed in [1, 77, 4096] {
        assert_eq!(run_seed(seed), run_seed(seed), "seed {seed}");
    }
}
