//! The machine against a scripted daemon, in virtual time.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::proto::messages::{Call, FromClient, Json};

/// A machine, and what the daemon behind it has read.
struct Bench {
    machine: Machine,
    now: Duration,
    daemon: DaemonId,
    /// Effects that are not lines.
    effects: Vec<Effect>,
    /// Questions that the daemon has not answered.
    heard: VecDeque<Question>,
    epoch: Option<Epoch>,
    /// The daemon answers pings and hellos by itself.
    lively: bool,
    /// There is a daemon.
    there: bool,
    /// All bytes sent, by epoch.
    sent: Vec<(Epoch, String)>,
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn daemon(number: u128) -> DaemonId {
    DaemonId(Uuid::from_u128(number))
}

impl Bench {
    fn new(keep: bool) -> Self {
        let mut config = Config::new(ClientId(Uuid::from_u128(9)), 42);
        config.keep = keep;
        Bench {
            machine: Machine::new(config),
            now: Duration::ZERO,
            daemon: daemon(1),
            effects: Vec::new(),
            heard: VecDeque::new(),
            epoch: None,
            lively: true,
            there: true,
            sent: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect(epoch) => {
                    self.epoch = None;
                    let input = if self.there {
                        self.epoch = Some(epoch);
                        Input::Connected(epoch)
                    } else {
                        Input::Lost(epoch, "nobody there".into())
                    };
                    self.machine.handle(self.now, input);
                }
                Effect::Send(epoch, bytes) => self.hear(epoch, &bytes),
                Effect::Close(epoch) => {
                    if self.epoch == Some(epoch) {
                        self.epoch = None;
                    }
                    self.effects.push(Effect::Close(epoch));
                }
                other @ (Effect::Deliver(..)
                | Effect::Fail(..)
                | Effect::Notice(_)
                | Effect::Gone) => self.effects.push(other),
            }
        }
    }

    fn hear(&mut self, epoch: Epoch, bytes: &[u8]) {
        // no line of one connection on another.
        assert_eq!(
            self.epoch,
            Some(epoch),
            "sent over a connection that is not there"
        );
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for line in text.lines() {
            self.sent.push((epoch, line.to_owned()));
            let FromClient::Question(question) = codec::decode_client(line.as_bytes()) else {
                panic!("{line}");
            };
            match (&question.command, self.lively) {
                (Command::Hello(_) | Command::Bye | Command::Cancel { .. }, true) => {
                    self.answer(&question, ok(Payload::Empty));
                }
                (Command::Ping { .. }, true) => {
                    let pong = format!("{{\"pong\":\"{}\",\"active\":true}}", self.daemon);
                    self.answer(&question, ok(json(&pong)));
                }
                _ => self.heard.push_back(question),
            }
        }
    }

    fn answer(&mut self, question: &Question, body: Body) {
        let Some(epoch) = self.epoch else {
            return;
        };
        let answer = Answer {
            encoding: question.encoding,
            id: question.id.clone(),
            ack: true,
            body,
        };
        let mut bytes = Vec::new();
        codec::encode_answer(&answer, &mut bytes);
        for line in String::from_utf8(bytes).unwrap().lines() {
            let piece = codec::decode_answer(line.as_bytes()).unwrap();
            self.machine.handle(self.now, Input::Heard(epoch, piece));
        }
    }

    /// Lets time pass, stopping at each timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.machine.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = end;
    }

    fn ask(&mut self, token: u64, id: &str, timeout: Option<Duration>, patience: Patience) {
        let request = Request {
            command: Command::Call(Call {
                script: crate::proto::ids::ScriptName::new("s").unwrap(),
                handler: "h".into(),
                params: None,
                timeout,
            }),
            encoding: Encoding::Json,
            id: RequestId::new(id).unwrap(),
            timeout,
            patience,
        };
        self.input(Input::Ask(Token(token), request));
    }

    fn lose(&mut self) {
        let epoch = self.epoch.take().expect("connected");
        self.input(Input::Lost(epoch, "closed".into()));
    }

    fn answer_first(&mut self, body: Body) {
        let question = self.heard.pop_front().expect("a question");
        self.answer(&question, body);
        self.settle();
    }

    fn ends(&self) -> Vec<String> {
        let show = |effect: &Effect| match effect {
            Effect::Deliver(token, Body::Ok { result, .. }) => {
                Some(format!("{} {result:?}", token.0))
            }
            Effect::Deliver(token, Body::Error(refusal)) => {
                Some(format!("{} {}", token.0, refusal.code))
            }
            Effect::Fail(token, failure) => Some(format!("{} {failure:?}", token.0)),
            Effect::Deliver(..)
            | Effect::Notice(_)
            | Effect::Connect(_)
            | Effect::Send(..)
            | Effect::Close(_)
            | Effect::Gone => None,
        };
        self.effects.iter().filter_map(show).collect()
    }

    fn notices(&self) -> Vec<&Notice> {
        let mut notices = Vec::new();
        for effect in &self.effects {
            if let Effect::Notice(notice) = effect {
                notices.push(notice);
            }
        }
        notices
    }

    fn pings_sent(&self) -> usize {
        let ping = |line: &&(Epoch, String)| line.1.contains("\"ping\"");
        self.sent.iter().filter(ping).count()
    }
}

fn json(text: &str) -> Payload {
    Payload::Json(Json::parse(text).unwrap())
}

fn ok(result: Payload) -> Body {
    Body::Ok {
        result,
        replayed: false,
    }
}

fn busy(after: u64) -> Body {
    let mut refusal = Refusal::new(ErrorCode::Busy, "full");
    refusal.retry_after = Some(ms(after));
    Body::Error(refusal)
}

// a day of pings, at their times, also during a long command.
#[test]
fn a_client_pings_every_ten_seconds_for_a_day() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "long", None, Patience::None);
    bench.pass(Duration::from_secs(24 * 3600));
    assert_eq!(bench.pings_sent(), 1 + 8_640);
    assert_eq!(bench.notices().len(), 1, "{:?}", bench.notices());
    bench.answer_first(ok(Payload::Empty));
    assert_eq!(bench.ends(), ["1 Empty"]);
}

// a daemon that accepts and is silent.
#[test]
fn three_unanswered_pings_are_death_and_fewer_are_not() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "a", None, Patience::None);
    bench.lively = false;
    bench.pass(Duration::from_secs(39));
    assert!(bench.ends().is_empty());
    bench.lively = true;
    bench.heard.clear();
    bench.pass(Duration::from_secs(10));
    let pinged = bench.notices().len();
    bench.lively = false;
    bench.pass(Duration::from_secs(41));
    let missed: Vec<_> = bench.notices()[pinged..].iter().copied().cloned().collect();
    assert!(
        matches!(missed[0], Notice::PingMissed { missed: 1, of: 3 }),
        "{missed:?}"
    );
    assert!(missed.contains(&Notice::Dead { missed: 3 }), "{missed:?}");
    assert_eq!(bench.ends().len(), 1);
    assert!(bench.ends()[0].contains("sent: MayHaveRun"));
}

// the count of misses is the count of trailing pings that were not well answered.
#[test]
fn every_sequence_of_good_malformed_and_absent_pongs_counts_right() {
    for code in 0..3_u32.pow(5) {
        let mut bench = Bench::new(true);
        bench.input(Input::Tick);
        bench.lively = false;
        let (mut trailing, mut worst, mut rest) = (0, 0, code);
        for _ in 0..5 {
            bench.pass(ms(9_990));
            bench.pass(ms(20));
            if bench
                .notices()
                .iter()
                .any(|n| matches!(n, Notice::Dead { .. }))
            {
                break;
            }
            let ping = bench.heard.pop_back().expect("a ping");
            let body = match rest % 3 {
                0 => Some(ok(json(&format!("{{\"pong\":\"{}\"}}", bench.daemon)))),
                1 => Some(ok(json("{\"pong\":\"none\"}"))),
                _ => None,
            };
            trailing = if rest % 3 == 0 { 0 } else { trailing + 1 };
            worst = worst.max(trailing);
            rest /= 3;
            if let Some(body) = body {
                bench.answer(&ping, body);
            }
        }
        bench.pass(ms(9_980));
        let dead = bench
            .notices()
            .iter()
            .any(|n| matches!(n, Notice::Dead { .. }));
        assert_eq!(dead, worst >= 3, "sequence {code}");
    }
}

// no ping while there is no connection.
#[test]
fn pings_pause_while_the_connection_is_down() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.there = false;
    bench.lose();
    let before = bench.pings_sent();
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.pings_sent(), before);
    bench.there = true;
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.pings_sent(), before + 1, "the handshake's");
    assert!(
        !bench
            .notices()
            .iter()
            .any(|n| matches!(n, Notice::PingMissed { .. }))
    );
}

// exactly one notice for each restart, with both UUIDs.
#[test]
fn a_restart_is_told_once_with_both_uuids() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    for number in 2..102 {
        bench.daemon = daemon(number);
        bench.lose();
        bench.pass(Duration::from_secs(7));
        bench.lose();
        bench.pass(Duration::from_secs(7));
    }
    let mut restarts = Vec::new();
    for notice in bench.notices() {
        if let Notice::Restarted { old, new } = notice {
            restarts.push((*old, *new));
        }
    }
    let expected: Vec<_> = (1..101).map(|n| (daemon(n), daemon(n + 1))).collect();
    assert_eq!(restarts, expected);
}

// what is in flight is sent again, the same bytes, after the pong.
#[test]
fn requests_in_flight_survive_a_reconnect_and_are_repeated_byte_for_byte() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    for token in 1..=20 {
        bench.ask(token, &format!("id-{token}"), None, Patience::None);
    }
    let first: Vec<String> = bench
        .sent
        .iter()
        .map(|(_, line)| line.clone())
        .filter(|l| l.contains("call"))
        .collect();
    bench.answer_first(ok(json("1")));
    bench.heard.clear();
    bench.lose();
    bench.pass(Duration::from_secs(1));
    let again: Vec<String> = bench
        .sent
        .iter()
        .skip_while(|(epoch, _)| epoch.0 == 1)
        .map(|(_, line)| line.clone())
        .collect();
    assert!(
        again[0].contains("hello") && again[1].contains("ping"),
        "{again:?}"
    );
    assert_eq!(again[2..], first[1..]);
    while !bench.heard.is_empty() {
        bench.answer_first(ok(json("2")));
    }
    assert_eq!(bench.ends().len(), 20);
}

// gone: three attempts for what is in flight, one for what is new.
#[test]
fn without_a_daemon_the_impatient_fail_soon_and_the_patient_wait() {
    let mut bench = Bench::new(false);
    bench.there = false;
    bench.ask(1, "a", None, Patience::None);
    assert!(bench.ends()[0].contains("Unavailable") && bench.ends()[0].contains("sent: No"));
    bench.ask(2, "b", None, Patience::For(Duration::from_secs(2)));
    bench.ask(3, "c", Some(Duration::from_secs(5)), Patience::Timeout);
    bench.pass(ms(1_990));
    assert_eq!(bench.ends().len(), 1);
    bench.pass(ms(20));
    assert!(bench.ends()[1].starts_with("2 Unavailable"));
    bench.pass(ms(3_000));
    assert_eq!(bench.ends()[2], "3 TimedOut { sent: No }");
    bench.pass(Duration::from_secs(10));
    assert_eq!(
        bench.machine.next_timeout(),
        None,
        "nobody asks, nobody connects"
    );

    let mut bench = Bench::new(false);
    bench.ask(1, "a", None, Patience::None);
    assert_eq!(bench.heard.len(), 1);
    bench.there = false;
    bench.lose();
    bench.pass(ms(500));
    let tries = bench
        .notices()
        .iter()
        .filter(|n| matches!(n, Notice::Unreachable { .. }))
        .count();
    assert_eq!(tries, 3);
    assert!(bench.ends()[0].contains("sent: MayHaveRun"));
}

// a timeout says what is known; the late answer is nobody's; it is not sent again.
#[test]
fn a_request_that_timed_out_is_cancelled_not_repeated_and_its_late_answer_dropped() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "a", Some(ms(500)), Patience::Timeout);
    bench.ask(2, "b", None, Patience::None);
    bench.pass(ms(1_600));
    assert_eq!(bench.ends(), ["1 TimedOut { sent: MayHaveRun }"]);
    assert!(
        bench
            .sent
            .iter()
            .any(|(_, line)| line.contains("\"cancel\"") && line.contains("\"target\":\"a\""))
    );
    bench.answer_first(ok(json("\"late\"")));
    bench.answer_first(ok(json("\"mine\"")));
    assert_eq!(bench.ends()[1..], ["2 Json(\"mine\")"]);
    bench.lose();
    bench.pass(Duration::from_secs(1));
    assert_eq!(
        bench
            .sent
            .iter()
            .filter(|(_, line)| line.contains("\"call\""))
            .count(),
        2
    );
}

//
#[test]
fn busy_is_retried_within_the_time_limit_and_honours_retry_after() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "a", Some(Duration::from_secs(2)), Patience::Timeout);
    bench.answer_first(busy(700));
    bench.pass(ms(690));
    assert!(bench.heard.is_empty());
    bench.pass(ms(30));
    assert_eq!(bench.heard.len(), 1);
    bench.answer_first(busy(100));
    bench.pass(ms(200));
    bench.answer_first(ok(json("1")));
    assert_eq!(bench.ends(), ["1 Json(1)"]);
    bench.ask(2, "b", Some(Duration::from_secs(2)), Patience::Timeout);
    bench.answer_first(busy(5_000));
    assert_eq!(bench.ends()[1], "2 busy");
}

// R-063 on this side: before it is sent, a cancel is final.
#[test]
fn a_cancel_goes_to_the_daemon_or_is_final_if_nothing_was_sent() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "a", None, Patience::None);
    bench.input(Input::Cancel(Token(1)));
    assert!(bench.ends().is_empty());
    bench.answer_first(Body::Error(Refusal::new(ErrorCode::Cancelled, "never ran")));
    assert_eq!(bench.ends(), ["1 cancelled"]);
    bench.there = false;
    bench.lose();
    bench.ask(2, "b", Some(Duration::from_secs(9)), Patience::Timeout);
    bench.input(Input::Cancel(Token(2)));
    assert_eq!(bench.ends()[1], "2 Cancelled { sent: No }");
}

#[test]
fn an_id_in_flight_cannot_be_taken_again_nor_those_of_the_machine() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    bench.ask(1, "a", None, Patience::None);
    bench.ask(2, "a", None, Patience::None);
    bench.ask(3, "~moonkeep-ping-1", None, Patience::None);
    assert_eq!(bench.ends(), ["2 IdInUse", "3 IdInUse"]);
}

// DESIGN promise 7: a session with too much in flight is not read, so pings must not stand behind it.
#[test]
fn no_more_is_in_flight_than_the_daemon_reads() {
    let mut bench = Bench::new(true);
    bench.input(Input::Tick);
    for token in 1..=2_000 {
        bench.ask(token, &format!("id-{token}"), None, Patience::None);
    }
    assert_eq!(bench.heard.len(), MOST_IN_FLIGHT);
    for left in (0..2_000).rev() {
        bench.answer_first(ok(Payload::Empty));
        assert_eq!(bench.heard.len(), left.min(MOST_IN_FLIGHT));
    }
    assert_eq!(bench.ends().len(), 2_000);
}

//
#[test]
fn leaving_says_bye_and_ends_also_if_nobody_answers() {
    for lively in [true, false] {
        let mut bench = Bench::new(true);
        bench.input(Input::Tick);
        bench.ask(1, "a", None, Patience::None);
        bench.lively = lively;
        bench.input(Input::Leave);
        bench.pass(ms(250));
        assert!(bench.sent.last().unwrap().1.contains("\"bye\""));
        assert_eq!(bench.effects.last(), Some(&Effect::Gone));
        assert_eq!(bench.ends(), ["1 Closed"]);
        bench.ask(2, "b", None, Patience::None);
        assert_eq!(bench.ends()[1], "2 Closed");
    }
}

///
#[test]
fn a_daemon_that_accepts_and_is_silent_is_never_up() {
    let mut bench = Bench::new(false);
    bench.lively = false;
    bench.ask(1, "a", None, Patience::None);
    bench.pass(ms(5_001));
    assert_eq!(bench.ends().len(), 1);
    assert!(
        !bench
            .notices()
            .iter()
            .any(|n| matches!(n, Notice::Up { .. }))
    );
}

// L2: whatever happens in whatever order, every request ends exactly once.
#[test]
fn in_random_schedules_every_request_ends_exactly_once() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let mut bench = Bench::new(dice.roll().is_multiple_of(2));
        bench.input(Input::Tick);
        let mut asked = 0;
        let mut abandoned = Vec::new();
        for _ in 0..120 {
            match dice.roll() % 12 {
                0..=2 => {
                    asked += 1;
                    let patience = match dice.roll() % 3 {
                        0 => Patience::None,
                        1 => Patience::For(ms(dice.roll() % 3_000)),
                        _ => Patience::Timeout,
                    };
                    let timeout = ms(1 + dice.roll() % 9_000);
                    bench.ask(asked, &format!("r{asked}"), Some(timeout), patience);
                }
                3 | 4 if !bench.heard.is_empty() => bench.answer_first(ok(json("7"))),
                5 if !bench.heard.is_empty() => bench.answer_first(busy(dice.roll() % 900)),
                6 if bench.epoch.is_some() => {
                    bench.heard.clear();
                    bench.lose();
                }
                7 => bench.there = !bench.there,
                8 => bench.lively = !dice.roll().is_multiple_of(3),
                9 if asked > 0 => {
                    let token = Token(1 + dice.roll() % asked);
                    bench.input(Input::Cancel(token));
                }
                10 if asked > 0 => {
                    let token = Token(1 + dice.roll() % asked);
                    abandoned.push(token.0);
                    bench.input(Input::Abandon(token));
                }
                _ => bench.pass(ms(dice.roll() % 4_000)),
            }
        }
        bench.pass(Duration::from_secs(60));
        let ends = bench.ends();
        for token in 1..=asked {
            let count = ends
                .iter()
                .filter(|end| end.starts_with(&format!("{token} ")))
                .count();
            let most = 1;
            let least = usize::from(!abandoned.contains(&token));
            assert!(
                (least..=most).contains(&count),
                "seed {seed}: {token} ended {count} times"
            );
        }
    }
}
