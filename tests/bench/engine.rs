//! What the engine itself costs for a request: no socket, no process, no clock inside.

use std::sync::Arc;
use std::time::Instant;

use moonkeep::engine::Engine;
use moonkeep::engine::alphabet::{
    Effect, Identity, Input, Moment, Peer, ScriptChange, ScriptKind, ScriptSpec,
};
use moonkeep::options::Settings;
use moonkeep::proto::ids::{
    ClientId, DaemonId, Generation, RequestId, ScriptName, SessionId, Ticket, WorkerId,
};
use moonkeep::proto::messages::{
    Body, Call, Command, Delivery, Encoding, FromClient, FromWorker, Handler, Json, Notice,
    Payload, Question, ToWorker,
};
use uuid::Uuid;

use crate::rows::{Row, Table, Target};

const REQUESTS: u64 = 300_000;
/// Requests in flight at one time.
const BATCH: u64 = 64;

pub(crate) fn run(table: &mut Table) {
    for (what, delivery, keys) in [
        ("engine: a query", Delivery::Query, false),
        ("engine: a once request", Delivery::Once, false),
        ("engine: a once request with a UUIDv7", Delivery::Once, true),
    ] {
        let nanos = measure(delivery, keys);
        table.row(&Row {
            what,
            figure: format!("{nanos:.0} ns"),
            floor: String::new(),
            value: nanos / 1000.0,
            target: Target::AtMost(1.5, "us"),
        });
    }
}

fn script() -> ScriptName {
    ScriptName::new("echo").expect("a name")
}

fn worker() -> WorkerId {
    WorkerId {
        script: script(),
        generation: Generation(1),
    }
}

fn engine(delivery: Delivery) -> Engine {
    let mut engine = Engine::new(Identity {
        daemon: DaemonId(Uuid::from_u128(1)),
        pid: 1,
        version: "bench".into(),
        home: "/home".into(),
        socket: "/socket".into(),
        seed: 1,
        started_unix_ms: 0,
        is_roots: false,
    });
    let spec = Arc::new(ScriptSpec {
        plugins: Vec::new(),
        check_defaults: Default::default(),
        name: script(),
        path: "/home/scripts/echo.lua".into(),
        content: None,
        kind: ScriptKind::Lua,
        settings: Settings {
            concurrency: 128,
            ..Settings::default()
        },
    });
    let because = spec.path.clone();
    let ready = FromWorker::Notice(Notice::Ready {
        handlers: Some(vec![Handler {
            name: "echo".into(),
            delivery,
            timeout: None,
        }]),
        handover: false,
        memory_bytes: 1,
    });
    for input in [
        Input::Script(ScriptChange::Changed { spec, because }),
        Input::FromWorker {
            worker: worker(),
            message: ready,
        },
        Input::Connected {
            session: SessionId(1),
            uid: 0,
            fresh: ClientId(Uuid::from_u128(2)),
        },
    ] {
        engine.handle(Moment(1), input);
    }
    while engine.poll_effect().is_some() {}
    engine
}

/// Nanoseconds of one request, from its question to its answer, in batches as the shell's.
fn measure(delivery: Delivery, keys: bool) -> f64 {
    let mut engine = engine(delivery);
    let mut spent = 0;
    let mut answers = 0;
    for batch in 0..REQUESTS / BATCH {
        let now = Moment(1_000 + batch * 100);
        let questions: Vec<Input> = (0..BATCH)
            .map(|n| question(batch * BATCH + n, keys))
            .collect();
        let begun = Instant::now();
        let mut tickets: Vec<(Ticket, u64)> = Vec::with_capacity(BATCH as usize);
        for input in questions {
            engine.handle(now, input);
        }
        while let Some(effect) = engine.poll_effect() {
            if let Effect::ToWorker {
                message: ToWorker::Request(dispatch),
                ..
            } = effect
            {
                tickets.push((dispatch.ticket, 200));
            }
        }
        spent += begun.elapsed().as_nanos();
        let ends: Vec<Input> = tickets.iter().map(|(ticket, _)| end(*ticket)).collect();
        let begun = Instant::now();
        let mut cost = 0;
        for input in ends {
            engine.handle(now, input);
        }
        while let Some(effect) = engine.poll_effect() {
            if let Effect::ToClient { answer, .. } = effect {
                cost += answer.cost();
                answers += 1;
            }
        }
        for (peer, cost) in [
            (Peer::Session(SessionId(1)), cost),
            (Peer::Worker(worker()), 1 << 40),
        ] {
            engine.handle(now, Input::Flushed { peer, cost });
        }
        while engine.poll_effect().is_some() {}
        spent += begun.elapsed().as_nanos();
    }
    assert_eq!(answers, REQUESTS / BATCH * BATCH, "each was answered");
    spent as f64 / answers as f64
}

fn question(number: u64, key: bool) -> Input {
    let id = if key {
        // A millisecond for each batch: ids of one millisecond are pruned together.
        let ms = 1_760_000_000_000_u128 + u128::from(number / BATCH);
        let bits = (ms << 80) | (0x7 << 76) | (0x2 << 62) | u128::from(number);
        RequestId::from_uuid(Uuid::from_u128(bits))
    } else {
        RequestId::number(number.cast_signed())
    };
    let params = Json::of(&number);
    Input::FromClient {
        session: SessionId(1),
        message: FromClient::Question(Question {
            encoding: Encoding::Json,
            id: Some(id),
            command: Command::Call(Call {
                script: script(),
                handler: "echo".into(),
                params: Some(params),
                timeout: None,
            }),
        }),
    }
}

fn end(ticket: Ticket) -> Input {
    Input::FromWorker {
        worker: worker(),
        message: FromWorker::Answer {
            ticket,
            body: Body::Ok {
                result: Payload::Json(Json::of("hello")),
                replayed: false,
            },
        },
    }
}
