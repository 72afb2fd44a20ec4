//! FI-4: several daemons, one after the other, over one journal. They are killed, the power is lost, the disk is
//! full or fails; workers outlive them, die and hang; clients come back and ask again under the same ids. A
//! checker that knows none of this watches what is told and what takes effect.

mod checker;
mod clients;
mod disk;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::driver::{identity, name};
use super::seeds;
use crate::engine::Engine;
use crate::engine::alphabet::*;
use crate::engine::delivery::Retention;
use crate::engine::records::*;
use crate::options::{Durability, Settings};
use crate::proto::ids::*;
use crate::proto::messages::*;
use crate::random::Random;
use crate::weakenings::{Weakened, Weakening};
use checker::Checker;
use clients::Client;
use disk::Disk;
use processes::{Doing, Process};

/// Something that the world does at a moment. What belongs to one daemon names it: it dies with it.
#[derive(Debug)]
enum Happening {
    Start,
    Kill,
    PowerLoss,
    Trouble,
    TroubleEnds(u64),
    Save,
    Write(u64),
    Synced(u64, usize),
    Input(u64, Input),
    /// The daemon looks whether old workers are gone.
    Look(u64),
    Process(usize, Doing),
    Client(usize),
    Hears(usize, SessionId, Answer),
}

#[derive(Debug)]
struct Daemon {
    number: u64,
    engine: Engine,
    /// Microseconds of the world's time.
    born: u64,
    /// Scripts of which old workers run, and since when that is known.
    held: BTreeMap<ScriptName, u64>,
    /// Outcome records that go when all up to the mark is safe.
    spent: Vec<(Mark, Vec<usize>)>,
}

struct World {
    now: u64,
    random: Random,
    agenda: BTreeMap<(u64, u64), Happening>,
    next: u64,
    daemon: Option<Daemon>,
    daemons: u64,
    disk: Disk,
    processes: Vec<Process>,
    clients: Vec<Client>,
    last_session: u64,
    checker: Checker,
    weakened: Weakened,
    /// The next daemon finds that the machine was started, in milliseconds since 1970.
    booted: Option<u64>,
    /// No more faults.
    calm: bool,
    trace: DefaultHasher,
    steps: u64,
}

/// Milliseconds since 1970 at the world's moment 0.
const EPOCH: u64 = 1_760_000_000_000;
const SCRIPTS: [(&str, Durability); 2] = [("s", Durability::Process), ("p", Durability::Power)];
const CHAOS: u64 = 1_000_000;
/// How late records may be written that stand elsewhere too.
const LATE: u64 = 20_000;
/// An old worker that has not left by then is killed.
const PATIENCE: u64 = 400_000;

impl World {
    fn new(seed: u64, weakened: Weakened) -> Self {
        World {
            now: 0,
            random: Random::new(seed ^ 0xc4a5),
            agenda: BTreeMap::new(),
            next: 0,
            daemon: None,
            daemons: 0,
            disk: Disk::default(),
            processes: Vec::new(),
            clients: (0..4).map(|_| Client::default()).collect(),
            last_session: 0,
            checker: Checker::default(),
            weakened,
            booted: None,
            calm: false,
            trace: DefaultHasher::new(),
            steps: 0,
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random.next() % most
    }

    fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0 && !self.calm
    }

    /// Plans something for a random moment within so many microseconds.
    fn soon(&mut self, most: u64, what: Happening) {
        let wait = self.below(most) + 1;
        self.plan(wait, what);
    }

    fn plan(&mut self, wait: u64, what: Happening) {
        self.next += 1;
        self.agenda.insert((self.now + wait, self.next), what);
    }

    fn unix_ms(&self) -> u64 {
        EPOCH + self.now / 1000
    }

    fn is_current(&self, number: u64) -> bool {
        self.daemon
            .as_ref()
            .is_some_and(|daemon| daemon.number == number)
    }

    /// Steps the daemon that lives, if one does, and does what it wants.
    fn input(&mut self, input: Input) {
        let mut wanted = Vec::new();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.engine.handle(Moment(self.now - daemon.born), input);
        daemon.engine.check_invariants();
        self.steps += 1;
        while let Some(effect) = daemon.engine.poll_effect() {
            (self.now, std::mem::discriminant(&effect)).hash(&mut self.trace);
            wanted.push(effect);
        }
        for effect in wanted {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let Some(number) = self.daemon.as_ref().map(|daemon| daemon.number) else {
            return;
        };
        match effect {
            Effect::ToClient { session, answer } => {
                let cost = answer.cost();
                self.client_is_told(session, answer);
                let peer = Peer::Session(session);
                self.soon(300, Happening::Input(number, Input::Flushed { peer, cost }));
            }
            Effect::ToWorker { worker, message } => {
                let (cost, peer) = (message.cost(), Peer::Worker(worker.clone()));
                self.soon(300, Happening::Input(number, Input::Flushed { peer, cost }));
                self.process_is_told(number, &worker, message);
            }
            Effect::Disconnect { session, .. } => self.disconnected(session),
            Effect::Journal {
                mark,
                level,
                record,
                late,
            } => self.give(number, mark, level, record, late),
            Effect::DropOutcomes { worker } => self.drop_outcomes(number, &worker),
            Effect::Spawn { worker, .. } => self.spawn(number, worker),
            Effect::Signal { worker, kill } => self.signal(number, &worker, kill),
            Effect::Rescan { look } => {
                self.soon(500, Happening::Input(number, Input::Looked { look }));
            }
            Effect::ReadLog { .. }
            | Effect::Pause { .. }
            | Effect::Resume { .. }
            | Effect::Follow { .. }
            | Effect::Note { .. }
            | Effect::Monitor(_)
            | Effect::Shown { .. }
            | Effect::Settled { .. }
            | Effect::Exit => {}
        }
        // Where it matters most: between what is wanted and what is done.
        if self.chance(400) {
            self.soon(1500, Happening::Kill);
        }
    }

    fn give(&mut self, number: u64, mark: Mark, level: Durability, record: Record, late: bool) {
        let (first, lazy) = (!self.disk.has_given(), !self.disk.urgent);
        if let Record::Freed { entry } = &record {
            self.checker.freed(&self.disk.id_of(*entry));
        }
        self.disk.give(mark, level, record);
        self.disk.urgent |= !late;
        if late && first {
            self.plan(LATE, Happening::Write(number));
        }
        if !late && (first || lazy) {
            let slow = self.chance(8);
            let most = if slow { 30_000 } else { 400 };
            self.soon(most, Happening::Write(number));
        }
    }

    /// The batch is written, unless the disk does not take it.
    fn write(&mut self, number: u64) {
        if !self.is_current(number) {
            return;
        }
        if let Some(fault) = self.disk.fault.clone() {
            self.input(Input::JournalFailed(fault));
            return;
        }
        // With what followed from the boot, the boot is written: the next daemon is not told of it.
        self.booted = None;
        if self.disk.write() {
            let len = self.disk.len();
            self.soon(3_000, Happening::Synced(number, len));
        }
        self.say_journaled();
    }

    fn say_journaled(&mut self) {
        let (written, synced) = (self.disk.written_mark(), self.disk.synced_mark());
        self.input(Input::Journaled { written, synced });
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let safe =
            |mark: &Mark| *mark <= written && *mark <= synced.max(Mark(0)) || *mark <= synced;
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut daemon.spent)
            .into_iter()
            .partition(|(mark, _)| safe(mark));
        daemon.spent = left;
        for (_, files) in gone {
            for index in files {
                self.processes[index].outcomes = None;
            }
        }
    }

    fn trouble(&mut self) {
        if self.calm || self.disk.fault.is_some() {
            return;
        }
        let kind = if self.below(2) == 0 {
            FaultKind::DiskFull
        } else {
            FaultKind::Failed
        };
        let text = format!("the disk: {kind:?}; look at it");
        self.disk.fault = Some(JournalFault { kind, text });
        let end = Happening::TroubleEnds(self.daemons);
        self.soon(150_000, end);
        self.soon(900_000, Happening::Trouble);
    }

    fn trouble_ends(&mut self) {
        self.disk.fault = None;
        let number = self.daemons;
        self.write(number);
    }

    /// A daemon starts, and finds what was left.
    fn start(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.daemons += 1;
        let mut identity = identity();
        identity.seed = self.daemons;
        identity.started_unix_ms = self.unix_ms();
        let mut engine = Engine::new(identity).weakened(self.weakened);
        engine.stored.retention = Retention {
            answers: 25,
            at_once: 3,
            ..Retention::default()
        };
        let mut found = self.disk.open();
        found.rebooted_unix_ms = self.booted;
        let mut held = BTreeMap::new();
        let mut read = Vec::new();
        for (script, _) in SCRIPTS {
            let script = name(script);
            if self.is_held(&script) {
                held.insert(script.clone(), self.now);
                found.held.push(script);
            } else if let Some((outcomes, files)) = self.read_outcomes(&script) {
                found.outcomes.insert(script, outcomes);
                read.extend(files);
            }
        }
        self.daemon = Some(Daemon {
            number: self.daemons,
            engine,
            born: self.now,
            held,
            spent: Vec::new(),
        });
        self.input(Input::Recovered(Box::new(found)));
        self.spend(read);
        for (script, level) in SCRIPTS {
            let spec = spec(script, level);
            let because = "new".into();
            self.input(Input::Script(ScriptChange::Changed { spec, because }));
        }
        self.input(Input::Loaded);
        let number = self.daemons;
        self.plan(5_000, Happening::Look(number));
    }

    /// What was read goes when all that followed from it is safe.
    fn spend(&mut self, files: Vec<usize>) {
        let last = self.disk.last_mark();
        if let Some(daemon) = &mut self.daemon {
            daemon.spent.push((last, files));
        }
    }

    fn look_at_held(&mut self, number: u64) {
        let Some(daemon) = self
            .daemon
            .as_ref()
            .filter(|daemon| daemon.number == number)
        else {
            return;
        };
        for (script, since) in daemon.held.clone() {
            if self.is_held(&script) {
                if self.now - since > PATIENCE {
                    self.kill_old(&script);
                }
                continue;
            }
            if let Some(daemon) = &mut self.daemon {
                daemon.held.remove(&script);
            }
            let (outcomes, files) = self.read_outcomes(&script).unwrap_or_default();
            self.input(Input::Freed { script, outcomes });
            self.spend(files);
        }
        self.plan(5_000, Happening::Look(number));
    }

    fn kill_daemon(&mut self) {
        if self.calm || self.daemon.take().is_none() {
            return;
        }
        self.disk.daemon_died();
        self.disk.look();
        let number = self.daemons;
        self.orphans(number);
        for client in &mut self.clients {
            client.session = None;
        }
        self.soon(40_000, Happening::Start);
    }

    fn lose_power(&mut self) {
        if self.calm {
            return;
        }
        self.kill_daemon();
        self.disk.look();
        let mut random = Random::new(self.random.next());
        self.disk.power_lost(|most| random.next() % most);
        self.checker.power_lost();
        self.all_processes_vanish();
        self.booted = Some(self.unix_ms());
        // The clock has gone on before anybody mints an id.
        self.now += 2_000;
        self.soon(10_000, Happening::Start);
    }

    /// A file is saved: a new generation, beside the old one.
    fn save(&mut self) {
        if self.calm {
            return;
        }
        let (script, level) = SCRIPTS[self.below(2) as usize];
        let spec = spec(script, level);
        let because = "saved".into();
        self.input(Input::Script(ScriptChange::Changed { spec, because }));
        self.soon(1_500_000, Happening::Save);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start => self.start(),
            Happening::Kill => self.kill_daemon(),
            Happening::PowerLoss => self.lose_power(),
            Happening::Trouble => self.trouble(),
            Happening::TroubleEnds(number) => {
                if self.is_current(number) {
                    self.trouble_ends();
                }
            }
            Happening::Save => self.save(),
            Happening::Write(number) => self.write(number),
            Happening::Synced(number, len) => {
                if self.is_current(number) && self.disk.fault.is_none() {
                    self.disk.sync(len);
                    self.say_journaled();
                }
            }
            Happening::Input(number, input) => {
                if self.is_current(number) {
                    self.input(input);
                }
            }
            Happening::Look(number) => self.look_at_held(number),
            Happening::Process(index, doing) => self.process_does(index, doing),
            Happening::Client(index) => self.client_acts(index),
            Happening::Hears(index, session, answer) => self.client_hears(index, session, &answer),
        }
    }

    /// Runs to a moment, or to the first violation.
    fn run(&mut self, end: u64) {
        while self.checker.violation.is_none() {
            let own = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let timer = self.daemon.as_ref().and_then(|daemon| {
                let due = daemon.engine.next_timeout()?;
                Some(daemon.born + due.0)
            });
            let next = match (own, timer) {
                (None, None) => break,
                (Some(at), None) | (None, Some(at)) => at,
                (Some(own), Some(timer)) => own.min(timer),
            };
            if next > end {
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

fn spec(script: &str, durability: Durability) -> Arc<ScriptSpec> {
    Arc::new(ScriptSpec {
        plugins: Vec::new(),
        check_defaults: CheckDefaults::default(),
        name: name(script),
        path: format!("/home/lab/scripts/{script}.lua").into(),
        content: None,
        kind: ScriptKind::Lua,
        settings: Settings {
            concurrency: 2,
            queue: 8,
            durability,
            timeout: Duration::from_secs(2),
            ready_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_millis(200),
            ..Settings::default()
        },
    })
}

/// What some lives were like.
#[derive(Debug, PartialEq)]
struct Lives {
    trace: u64,
    steps: u64,
    daemons: u64,
    kinds: BTreeMap<String, u64>,
    violation: Option<String>,
}

/// Safety: whatever happens, nothing false is said and nothing is done twice. Liveness: when the faults stop,
/// everybody hears the end of everything.
fn live(seed: u64, weakened: Weakened) -> Lives {
    let mut world = World::new(seed, weakened);
    world.start();
    for index in 0..world.clients.len() {
        world.soon(5_000, Happening::Client(index));
    }
    world.soon(200_000, Happening::Kill);
    for _ in 0..3 {
        world.soon(CHAOS, Happening::Kill);
    }
    for _ in 0..world.below(3) {
        world.soon(CHAOS, Happening::PowerLoss);
    }
    world.soon(CHAOS, Happening::Trouble);
    world.soon(CHAOS, Happening::Save);
    world.run(CHAOS);
    world.calm = true;
    world.disk.fault = None;
    world.start();
    world.trouble_ends();
    // Long enough for the hung ones to be found by their heartbeats.
    world.run(world.now + 60_000_000);
    world.audit();
    world.run(world.now + 60_000_000);
    world.all_ended();
    Lives {
        trace: world.trace.finish(),
        steps: world.steps,
        daemons: world.daemons,
        kinds: std::mem::take(&mut world.checker.kinds),
        violation: world.checker.violation.take(),
    }
}

fn run_seed(seed: u64, weakened: Weakened) -> Lives {
    seeds::run(seed, |seed| live(seed, weakened))
}

fn keeps_its_promises(seed: u64) -> Lives {
    let lives = run_seed(seed, Weakened::default());
    if let Some(violation) = &lives.violation {
        panic!("seed {seed} (MOONKEEP_SEED={seed} runs it alone): {violation}");
    }
    lives
}

// FI-4, R-007, R-008
#[test]
fn whatever_dies_no_acknowledged_command_is_lost_and_no_once_runs_twice() {
    if let Some(seed) = seeds::chosen() {
        keeps_its_promises(seed);
        return;
    }
    let mut kinds = seeds::Kinds::new();
    let (mut steps, mut daemons) = (0, 0);
    for seed in 0..seeds::count() {
        let lives = keeps_its_promises(seed);
        steps += lives.steps;
        daemons += lives.daemons;
        seeds::add(&mut kinds, lives.kinds);
    }
    eprintln!("{steps} steps, {daemons} daemons, {kinds:?}");
    assert!(
        daemons >= 4 * seeds::count(),
        "{daemons} daemons are no real test"
    );
    seeds::was_real(steps, &kinds, &KINDS);
}

/// Ends that a run of all seeds must have seen.
const KINDS: [&str; 8] = [
    "done",
    "replayed",
    "busy",
    "cancelled",
    "expired_id",
    "outcome_unknown",
    "script_error",
    "timeout",
];

#[test]
fn the_same_seed_leads_to_the_same_crashes() {
    for seed in [1, 77, 4096] {
        let lives = || run_seed(seed, Weakened::default());
        assert_eq!(lives(), lives(), "seed {seed}");
    }
}

/// Each rule of the protocol is needed: without it the checker finds somebody deceived.
fn is_noticed(weakening: Weakening) {
    const WITHIN: u64 = 200;
    for seed in 0..WITHIN {
        let lives = run_seed(seed, Weakened::by(weakening));
        if let Some(violation) = lives.violation {
            eprintln!("{} at seed {seed}: {violation}", weakening.as_str());
            return;
        }
    }
    panic!(
        "{} is not noticed within {WITHIN} seeds",
        weakening.as_str()
    );
}

macro_rules! noticed {
    ($($test:ident: $weakening:ident,)*) => {
        $(
            // FI-20
            #[test]
            fn $test() {
                is_noticed(Weakening::$weakening);
            }
        )*
        /// Every weakening has its test.
        const NOTICED: &[Weakening] = &[$(Weakening::$weakening),*];
    };
}

noticed! {
    to_send_before_the_start_is_safe_is_noticed: SendBeforeStarted,
    a_start_that_is_not_synced_is_noticed: StartedUnsynced,
    an_acceptance_that_is_not_synced_is_noticed: AcceptedUnsynced,
    an_end_that_is_not_synced_is_noticed: DoneUnsynced,
    to_run_again_what_was_started_is_noticed: StartedRunAgain,
    not_to_resume_what_was_accepted_is_noticed: AcceptedNotResumed,
    a_missing_low_water_mark_is_noticed: NoLowWater,
    to_say_cancelled_after_the_start_is_noticed: CancelledAfterStart,
    neither_to_wait_nor_to_write_down_the_unknown_is_noticed: NoWaitNoUnknown,
    workers_without_locks_are_noticed: NoLocks,
    workers_without_records_are_noticed: NoRecords,
}

#[test]
fn every_weakening_has_its_test() {
    let named: BTreeSet<&str> = NOTICED.iter().map(|one| one.as_str()).collect();
    assert_eq!(named.len(), Weakening::ALL.len());
}
