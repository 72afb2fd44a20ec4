//! A worker that writes what it likes, line by line through the codec: it reaches its own askers and nobody else.

use super::driver::*;
use crate::engine::alphabet::*;
use crate::options::Settings;
use crate::proto::codec;
use crate::proto::framer::{Frame, Framer};
use crate::proto::ids::*;
use crate::proto::messages::ToWorker;
use crate::random::Random;

/// Lines that one world is told.
const LINES: u64 = 100;

/// What lines of the protocol are made of, ends and ids of others above all.
const WORDS: &[&str] = &[
    "done",
    "error",
    "error: busy: x",
    "pong",
    "ping",
    "bye",
    "call s q",
    "call evil q",
    "cancel",
    "cancel 7",
    "cancel k",
    "events *",
    "emit tick a=1",
    "status",
    "hello 00000000-0000-0000-0000-000000000001",
    "shutdown",
    "stop s",
    "restart",
    "eval s \"1\"",
    "ack disable",
    "logs s",
    "help",
    "result",
    "\\done",
    "{\"a\":1}",
    "",
];

const STATUS: &[&str] = &[
    "\"status\":\"ok\",\"result\":\"forged\"",
    "\"status\":\"part\",\"part\":\"forged\"",
    "\"status\":\"error\"",
    "\"status\":\"accepted\"",
    "\"status\":\"error\",\"error\":{\"code\":\"timeout\",\"message\":\"forged\"}",
    "\"status\":\"ok\",\"replayed\":true",
    "\"command\":\"pong\",\"beat\":3",
    "\"command\":\"listen\",\"patterns\":[\"*\"]",
    "\"command\":\"handlers\",\"handlers\":[{\"name\":\"q\"}]",
    "\"command\":\"ready\"",
    "\"command\":\"handover\",\"state\":1",
    "\"command\":\"loaded\",\"files\":[]",
    "\"command\":\"ping\"",
    "\"command\":\"cancel\",\"target\":7",
    "\"command\":\"call\",\"script\":\"s\",\"handler\":\"q\",\"params\":{\"x\":1}",
    "\"command\":\"bye\"",
    "\"command\":\"shutdown\"",
];

fn below(random: &mut Random, end: u64) -> u64 {
    random.next() % end
}

/// Ids of others, tickets of others, and its own.
fn id(random: &mut Random) -> String {
    match below(random, 6) {
        0 => "7".to_owned(),
        1 => "k".to_owned(),
        2 => format!("@{}", u64::MAX),
        3 => v7(1, below(random, 20)),
        _ => format!("@{}", below(random, 24)),
    }
}

fn line(random: &mut Random) -> Vec<u8> {
    let word = |random: &mut Random, from: &[&str]| {
        from[below(random, from.len() as u64) as usize].to_owned()
    };
    let mut line = match below(random, 5) {
        0 => format!("{} request_id={}", word(random, WORDS), id(random)),
        1 => word(random, WORDS),
        2 => format!("{{{}}}", word(random, STATUS)),
        _ => format!(
            "{{\"request_id\":\"{}\",{}}}",
            id(random),
            word(random, STATUS)
        ),
    }
    .into_bytes();
    if below(random, 10) == 0 && !line.is_empty() {
        let at = below(random, line.len() as u64) as usize;
        line[at] ^= 1 << below(random, 8);
    }
    line.push(b'\n');
    line
}

/// Somebody who has asked the script `s` and waits; what else he has done.
struct Victims {
    sessions: Vec<SessionId>,
}

impl Victims {
    fn new(world: &mut World) -> Self {
        let sessions: Vec<SessionId> = (0..5).map(|_| world.connect()).collect();
        for session in &sessions[..3] {
            world.call(*session, "7", "o");
            world.call(*session, "k", "q");
        }
        // One asks with a key of the home, in text; one has asked nothing.
        world.input(Input::FromClient {
            session: sessions[3],
            message: codec::decode_client(format!("call s i request_id={}", v7(1, 3)).as_bytes()),
        });
        world.take_answers();
        Victims { sessions }
    }

    /// Whatever they were told since the last look.
    fn heard(&self, world: &World) -> Vec<String> {
        self.sessions
            .iter()
            .flat_map(|session| world.heard(*session))
            .collect()
    }
}

impl World {
    fn take_answers(&mut self) {
        self.seen
            .retain(|effect| !matches!(effect, Effect::ToClient { .. }));
    }

    /// As `input`, without a look at the invariants after each: that would take most of the time.
    fn hear(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(effect) = self.engine.poll_effect() {
            let (peer, cost) = match &effect {
                Effect::ToClient { session, answer } => (Peer::Session(*session), answer.cost()),
                Effect::ToWorker { worker, message } => {
                    (Peer::Worker(worker.clone()), message.cost())
                }
                Effect::Journal { mark, .. } => {
                    let (written, synced) = (*mark, *mark);
                    self.engine
                        .handle(self.now, Input::Journaled { written, synced });
                    continue;
                }
                _ => {
                    self.seen.push(effect);
                    continue;
                }
            };
            self.seen.push(effect);
            self.engine.handle(self.now, Input::Flushed { peer, cost });
        }
    }

    fn ends_of(&self, id: &WorkerId) -> bool {
        self.seen.iter().any(|effect| match effect {
            Effect::Signal { worker, .. } | Effect::Spawn { worker, .. } => {
                worker.script == id.script
            }
            _ => false,
        })
    }
}

/// One world: the hostile worker writes, the others wait; then they get what is theirs. Gives the lines written.
fn attack(random: &mut Random) -> u64 {
    let mut world = World::with_script(Settings::default());
    let (good, evil) = (worker("s", 1), worker("evil", 1));
    world.changed("evil", Settings::default());
    world.ready(&evil);
    let victims = Victims::new(&mut world);
    let tickets = world.tickets(&good);
    assert!(tickets.len() >= 5, "{tickets:?}");
    let own = world.connect();
    for number in 0..8 {
        world.ask(own, Some(&number.to_string()), call("evil", "o", None));
    }
    world.take();
    let mut framer = Framer::new(crate::limits::LINE_BYTES);
    let mut written = 0;
    // A notice may lead to its end; then a new world begins.
    while written < LINES && !world.ends_of(&evil) {
        world.take();
        let bytes = line(random);
        let mut rest = &bytes[..];
        while let Some(frame) = framer.next(&mut rest) {
            let Frame::Line(line) = frame else { continue };
            written += 1;
            let message = codec::decode_worker(line);
            world.hear(Input::FromWorker {
                worker: evil.clone(),
                message,
            });
            let shown = String::from_utf8_lossy(line);
            assert_eq!(victims.heard(&world), Vec::<String>::new(), "after {shown}");
            // It may ask the other script itself, and cancel that; nothing of the victims ends.
            let meddled = |message: &ToWorker| match message {
                ToWorker::Request(_) => false,
                ToWorker::Cancel { ticket } => tickets.contains(ticket),
                _ => true,
            };
            let told = world.to_worker(&good);
            assert!(!told.iter().any(meddled), "{told:?} after {shown}");
        }
    }
    world.engine.check_invariants();
    world.take();
    for ticket in tickets {
        world.done(&good, ticket, "\"yours\"");
    }
    let heard = victims.heard(&world);
    assert_eq!(heard.len(), 7, "{heard:?}");
    assert!(
        heard.iter().all(|answer| answer.ends_with("ok \"yours\"")),
        "{heard:?}"
    );
    written
}

// T17, R-004: 40,000 lines, 10^7 with MOONKEEP_LONG=1.
#[test]
fn whatever_a_worker_writes_reaches_its_own_askers_only() {
    let given = std::env::var("MOONKEEP_SEED").ok();
    let seed = given.and_then(|text| text.parse().ok()).unwrap_or(17);
    let wanted = if std::env::var_os("MOONKEEP_LONG").is_some() {
        10_000_000
    } else {
        40_000
    };
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut lines, mut worlds) = (0, 0);
    while lines < wanted {
        lines += attack(&mut random);
        worlds += 1;
    }
    println!("{lines} hostile lines in {worlds} worlds");
}
