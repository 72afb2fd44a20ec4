//! The clients of a campaign: many connections of the client library, and one-shot command lines. They write
//! down what they sent and heard, and ask for each id until it has its end.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moonkeep::client::backoff::Backoff;
use moonkeep::client::{Client, ConnectOptions, Failure, Patience, RequestOptions};
use moonkeep::proto::ids::{RequestId, ScriptName};
use moonkeep::proto::messages::{Body, Call, Command, Json, Payload};
use uuid::Uuid;

use super::Random;
use super::scripts::Target;
use crate::harness::Home;

/// How long one id may take to its end, daemons that die included.
const TO_END: Duration = Duration::from_secs(60);

/// The time limit of one asking.
const TO_ANSWER: Duration = Duration::from_secs(20);

/// The time limit of what nobody asks for again: it must not be over before its turn.
const TO_RUN: Duration = Duration::from_secs(600);

/// Between two attempts to connect.
const AT_ONCE: Backoff = Backoff {
    first: Duration::from_millis(5),
    most: Duration::from_millis(20),
};

/// Who asks for what.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) targets: &'static [Target],
    pub(super) clients: usize,
    /// Requests that each client keeps in flight.
    pub(super) each: usize,
    /// Command lines beside them, one at a time.
    pub(super) command_lines: bool,
    /// Clients beside them that leave as soon as they have heard `accepted`.
    pub(super) leavers: bool,
    /// Of a hundred requests so many are cancelled some milliseconds later.
    pub(super) cancelled: u64,
    /// Longest that a handler takes before and after its effect, in milliseconds.
    pub(super) work: u64,
}

pub(super) const USUAL: Plan = Plan {
    targets: &super::scripts::MIXED,
    clients: 8,
    each: 3,
    command_lines: true,
    leavers: true,
    cancelled: 8,
    work: 30,
};

/// What the clients write down, and when they are to stop.
#[derive(Default)]
pub(super) struct Log {
    lines: Mutex<String>,
    stop: AtomicBool,
    ended: AtomicUsize,
}

impl Log {
    pub(super) fn line(&self, line: std::fmt::Arguments<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(lines, "{line}").expect("a string takes everything");
    }

    fn end(&self, id: Uuid, code: &str, text: &str) {
        let text = text.replace('\n', " ");
        self.line(format_args!("end {id} {code} {text}"));
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// No new requests; those that are under way go on to their ends.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends heard so far.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn text(&self) -> String {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Stops the clients when it is dropped, also by a panic: their threads would be waited for in vain.
pub(super) struct StopAtEnd<'a>(pub(super) &'a Log);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One request, made up once and asked for as often as it takes.
struct Wish {
    target: Target,
    id: Uuid,
    nonce: String,
    before: String,
    after: String,
}

impl Wish {
    fn new(plan: &Plan, random: &mut Random) -> Self {
        let seconds = |milliseconds: u64| format!("0.{milliseconds:03}");
        Wish {
            target: plan.targets[random.below(plan.targets.len() as u64) as usize],
            id: Uuid::now_v7(),
            nonce: format!("{:016x}{:016x}", random.next(), random.next()),
            before: seconds(random.below(plan.work)),
            after: seconds(random.below(plan.work)),
        }
    }

    fn command(&self) -> Command {
        let params = serde_json::json!({
            "nonce": self.nonce, "before": self.before, "after": self.after,
        });
        Command::Call(Call {
            script: ScriptName::new(self.target.script).expect("a good name"),
            handler: self.target.handler.into(),
            params: Some(Json::of(&params)),
            timeout: Some(TO_ANSWER),
        })
    }

    fn write_down(&self, log: &Log) {
        let (id, class, nonce) = (self.id, self.target.class, &self.nonce);
        log.line(format_args!("sent {id} {class} {nonce}"));
    }
}

/// Asks until [`Log::stop`], and then until everything has its end.
pub(super) fn run(plan: Plan, home: &Home, seed: u64, log: &Arc<Log>) {
    std::thread::scope(|threads| {
        if plan.command_lines {
            threads.spawn(|| call_by_command_lines(&plan, home, Random(seed ^ 1), log));
        }
        if plan.leavers {
            threads.spawn(|| leave_with_what_is_accepted(&plan, home, Random(seed ^ 3), log));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..plan.clients as u64 {
                let mut options = ConnectOptions::new(home.socket()).keep().progress();
                // The next daemon lives for some milliseconds: they have to be back at once.
                options.config.backoff = AT_ONCE;
                let client = Arc::new(Client::connect(options));
                for lane in 0..plan.each as u64 {
                    let (client, log) = (Arc::clone(&client), Arc::clone(log));
                    let random = Random(seed ^ (number << 32) ^ (lane << 16) ^ 2);
                    tasks.spawn(async move { live(plan, &client, random, &log).await });
                }
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("a client does not panic");
            }
        });
    });
}

async fn live(plan: Plan, client: &Client, mut random: Random, log: &Log) {
    while !log.stopped() {
        let wish = Wish::new(&plan, &mut random);
        wish.write_down(log);
        let tired = random.below(100) < plan.cancelled;
        let patience = tired.then(|| Duration::from_millis(random.below(2 * plan.work)));
        pursue(client, &wish, patience, log).await;
        // What has ended stays so, whoever asks again and when.
        if random.below(4) == 0 {
            pursue(client, &wish, None, log).await;
        }
    }
}

async fn pursue(client: &Client, wish: &Wish, mut patience: Option<Duration>, log: &Log) {
    let begun = Instant::now();
    while begun.elapsed() < TO_END {
        match ask(client, wish, patience.take(), log).await {
            Ok(Body::Ok { result, .. }) => return log.end(wish.id, "ok", &text_of(&result)),
            Ok(Body::Error(refusal)) => {
                log.end(wish.id, refusal.code.as_str(), &refusal.message);
                // Nothing ran, and nothing was kept: it may be asked again.
                if refusal.retry_after.is_none()
                    && !matches!(refusal.code.as_str(), "not_ready" | "shutting_down")
                {
                    return;
                }
            }
            Ok(Body::Accepted | Body::Running | Body::Part(_)) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log.line(format_args!("gave-up {}", wish.id));
}

async fn ask(
    client: &Client,
    wish: &Wish,
    patience: Option<Duration>,
    log: &Log,
) -> Result<Body, Failure> {
    let options = RequestOptions {
        id: Some(RequestId::from_uuid(wish.id)),
        timeout: Some(TO_ANSWER),
        patience: Patience::Timeout,
        ..RequestOptions::default()
    };
    let mut responses = client.request(wish.command(), options);
    let mut tired = patience.map(|patience| Box::pin(tokio::time::sleep(patience)));
    loop {
        let piece = match &mut tired {
            None => responses.next().await,
            // Both are cancel safe: a piece that is not taken stays in its channel.
            Some(over) => tokio::select! {
                piece = responses.next() => piece,
                () = over => {
                    responses.cancel();
                    tired = None;
                    continue;
                }
            },
        };
        match piece {
            Some(Ok(Body::Accepted)) => log.line(format_args!("accepted {}", wish.id)),
            Some(Ok(body)) if !body.is_end() => {}
            Some(end) => return end,
            None => return Err(Failure::Closed),
        }
    }
}

fn text_of(payload: &Payload) -> String {
    match payload {
        Payload::Empty => String::new(),
        Payload::Json(json) => json.as_str().trim_matches('"').to_owned(),
        Payload::Lines(lines) => lines.trim_end().to_owned(),
    }
}

/// A shell script's way: the id first, then `moonkeep call --id` until the exit code says what became of it.
fn call_by_command_lines(plan: &Plan, home: &Home, mut random: Random, log: &Log) {
    while !log.stopped() {
        let wish = Wish::new(plan, &mut random);
        wish.write_down(log);
        let begun = Instant::now();
        while begun.elapsed() < TO_END && !call_once(home, &wish, log) {}
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the request has its end.
fn call_once(home: &Home, wish: &Wish, log: &Log) -> bool {
    let arguments = [
        "call".to_owned(),
        wish.target.script.into(),
        wish.target.handler.into(),
        format!("nonce={}", wish.nonce),
        format!("before={}", wish.before),
        format!("after={}", wish.after),
        "--id".into(),
        wish.id.to_string(),
        "--timeout".into(),
        format!("{}s", TO_ANSWER.as_secs()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let finished = home.moonkeep(&arguments).within(TO_END).run();
    match finished.code() {
        Some(0) => log.end(wish.id, "ok", finished.stdout.trim_end()),
        Some(76) => log.end(wish.id, "outcome_unknown", finished.stderr.trim_end()),
        Some(1) => log.end(wish.id, "failed", finished.stderr.trim_end()),
        // Not run, no daemon, or no answer in time: the same id is asked again.
        _ => return false,
    }
    true
}

/// Clients that are content with `accepted`, and never come back: not for this daemon, nor for the next.
fn leave_with_what_is_accepted(plan: &Plan, home: &Home, mut random: Random, log: &Log) {
    while !log.stopped() {
        let mut wish = Wish::new(plan, &mut random);
        while wish.target.class != "once" {
            wish = Wish::new(plan, &mut random);
        }
        if let Ok(stream) = UnixStream::connect(home.socket()) {
            wish.write_down(log);
            // The daemon may die in the middle: then nobody knows, and nobody asks.
            if let Ok(true) = wait_accepted(stream, &wish) {
                log.line(format_args!("accepted {}", wish.id));
            }
            log.line(format_args!("left {}", wish.id));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_accepted(mut stream: UnixStream, wish: &Wish) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(TO_ANSWER))?;
    let hello = serde_json::json!({
        "command": "hello", "client": Uuid::now_v7(), "features": ["progress"],
    });
    let call = serde_json::json!({
        "request_id": wish.id, "command": "call", "timeout": TO_RUN.as_secs(),
        "script": wish.target.script, "handler": wish.target.handler,
        "params": { "nonce": wish.nonce, "before": wish.before, "after": wish.after },
    });
    writeln!(stream, "{hello}\n{call}")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.contains(&wish.id.to_string()) {
            return Ok(line.contains("\"accepted\""));
        }
    }
    Ok(false)
}
