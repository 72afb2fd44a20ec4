//! Random lives, judged at their end by a checker that knows nothing of the machine's inside.
//!
//! - No check runs twice at once (the driver watches that), and no more run at once than may.
//! - Starts keep their distance.
//! - A confirmed problem that is not silenced is told once, and its end is; nothing new is told of one that is silenced.
//! - Restarts lose and double nothing.

mod checker;

use super::driver::{World, hook, seconds, spec};
use crate::limits;
use crate::moment::Moment;
use crate::monitor::alphabet::{Configured, Undelivered};
use crate::monitor::state::State;
use crate::options::alerts::Hook;
use crate::proto::messages::{CheckSpec, Quiet};
use crate::random::Random;

const CHECKS: usize = 12;
const AT_ONCE: usize = 4;
const STEPS: usize = 100;

fn name(index: usize) -> String {
    format!("check {index}")
}

/// Checks 3 and above need one of the first three.
fn parent(index: usize) -> Option<usize> {
    (index >= 3).then_some(index % 3)
}

fn home(random: &mut Random) -> Vec<CheckSpec> {
    let own = |index: usize| CheckSpec {
        every: seconds(5.0 + (random.next() % 20) as f64),
        retry_every: seconds(1.0 + (random.next() % 3) as f64),
        rise: 1 + (random.next() % 3) as u32,
        fall: 1 + (random.next() % 3) as u32,
        jitter: 0.1,
        needs: parent(index).map(name).into_iter().collect(),
        tags: vec![name(index)],
        ..spec(&name(index))
    };
    (0..CHECKS).map(own).collect()
}

/// A time in which nothing new may be told of a check.
#[derive(Debug)]
struct Silence {
    check: String,
    from: Moment,
    to: Moment,
}

#[derive(Debug)]
struct Life {
    world: World,
    random: Random,
    specs: Vec<CheckSpec>,
    silences: Vec<Silence>,
    restarts: Vec<Moment>,
    seed: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let specs = home(&mut random);
        let mut world = World::new(seed);
        // One hook for each check: what is told of it arrives in its order.
        let hooks = (0..CHECKS).map(|index| Hook {
            tags: vec![name(index)],
            ..hook(&format!("hook {index}"))
        });
        world.configure(Configured {
            hooks: hooks.collect(),
            at_once: AT_ONCE,
            faults: Vec::new(),
        });
        world.declare("p", specs.clone());
        Life {
            world,
            random,
            specs,
            silences: Vec::new(),
            restarts: Vec::new(),
            seed,
        }
    }

    fn chance(&mut self, of: u64) -> u64 {
        self.random.next() % of
    }

    /// Something happens, and some time passes.
    fn step(&mut self) {
        let index = self.chance(CHECKS as u64) as usize;
        let check = name(index);
        match self.chance(20) {
            0..5 => self.world.set(&check, State::Ok),
            5 | 6 => self.world.set(&check, State::Warning),
            7..10 => self.world.set(&check, State::Critical),
            10 => self.world.set(&check, State::Unknown),
            11 | 12 => self.house(index % 3),
            13 => self.silence(&check),
            14 => self.speak(&check),
            15 | 16 => self.restart(),
            17 => {
                let failed = Err(Undelivered::Failed("no".to_owned()));
                let hook = format!("hook {index}");
                self.world.hook_answers.insert(hook, failed);
            }
            18 => self.world.hook_answers.clear(),
            _ => {
                let time = self.chance(80) as f64 / 10.0 + 0.01;
                self.world.takes(&check, time);
                self.world.declare("p", self.specs.clone());
            }
        }
        // Every second life is a hectic one, in which checks flap.
        let times = [[0.5, 5.0, 60.0, 300.0], [0.5, 5.0, 10.0, 20.0]][(self.seed % 2) as usize];
        let time = times[self.chance(4) as usize];
        self.world.pass(time);
    }

    /// A parent dies or recovers, and with it all that need it.
    fn house(&mut self, head: usize) {
        let state = [State::Ok, State::Critical][self.chance(2) as usize];
        for other in (0..CHECKS).filter(|other| *other == head || parent(*other) == Some(head)) {
            self.world.set(&name(other), state);
        }
    }

    fn silence(&mut self, check: &str) {
        let time = seconds(30.0 + self.chance(600) as f64);
        self.speak(check);
        self.world.quiet(check, Quiet::For(time)).unwrap();
        self.silences.push(Silence {
            check: check.to_owned(),
            from: self.world.now,
            to: self.world.now.after(time),
        });
    }

    fn speak(&mut self, check: &str) {
        let now = self.world.now;
        self.world.quiet(check, Quiet::Off).unwrap();
        for silence in self
            .silences
            .iter_mut()
            .filter(|silence| silence.check == check)
        {
            silence.to = silence.to.min(now);
        }
    }

    fn restart(&mut self) {
        let confirmed = |world: &World| -> Vec<_> {
            (0..CHECKS)
                .map(|index| world.confirmed(&name(index)))
                .collect()
        };
        let before = confirmed(&self.world);
        let gap = 0.1 + self.chance(300) as f64 / 10.0;
        self.world.restart(gap);
        self.restarts.push(self.world.now);
        assert_eq!(confirmed(&self.world), before, "seed {}", self.seed);
    }

    /// Everything is well again, for long enough that everybody knows.
    fn end(&mut self) {
        self.world.hook_answers.clear();
        for index in 0..CHECKS {
            self.speak(&name(index));
            self.world.set(&name(index), State::Ok);
            self.world.takes(&name(index), 0.1);
        }
        self.world
            .pass(limits::DELIVERY_RETRY_MOST.as_secs_f64() + 700.0);
    }
}

fn live(seed: u64) -> checker::Seen {
    let mut life = Life::new(seed);
    for _ in 0..STEPS {
        life.step();
    }
    life.end();
    checker::judge(&life)
}

#[test]
fn any_seeded_life_keeps_every_promise() {
    let lives = if std::env::var_os("MOONKEEP_LONG").is_some() {
        2_000
    } else {
        12
    };
    let first = std::env::var("MOONKEEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..lives, |first: u64| first..first + 1);
    let mut seen = checker::Seen::default();
    for seed in seeds {
        seen = seen + live(seed);
    }
    // The lives are no idyll.
    assert!(
        first.is_some() || seen.is_rich(),
        "too little happens in these lives: {seen:?}"
    );
}
