//! The pipes of a worker: every message there and back, forgeries, executables.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::proto::ids::{ClientId, Generation, Ticket};
use crate::proto::messages::*;

fn to_worker(message: &ToWorker) -> String {
    let mut out = Vec::new();
    encode_to_worker(message, &mut out);
    String::from_utf8(out).unwrap()
}

fn dispatch(work: Work) -> Dispatch {
    Dispatch {
        ticket: Ticket(17),
        script: ScriptName::new("s").unwrap(),
        work,
        id: Some(RequestId::number(5)),
        client: Some(ClientId(Uuid::from_u128(3))),
        timeout: Duration::from_micros(4_990_001),
        record: true,
    }
}

fn work(params: &str) -> Work {
    Work::Call {
        handler: "h".into(),
        params: Some(Json::parse(params).unwrap()),
    }
}

fn setup() -> Setup {
    Setup {
        script: ScriptName::new("s").unwrap(),
        generation: Generation(3),
        home: PathBuf::from("/home/a b"),
        socket: PathBuf::from("/run/x"),
        path: PathBuf::from("/home/s.lua"),
        content: Some("00ff".into()),
        exec: false,
        args: vec!["-x".into(), "\n".into()],
        concurrency: 16,
        memory_bytes: 1 << 27,
        preempt: true,
        keep_children: false,
        files: 1_024,
        encoding: Encoding::Json,
        legacy: false,
        handover: Some(Json::parse("{\"n\":[1]}").unwrap()),
        outcomes: PathBuf::from("/home/state/outcomes/s.x.3"),
        lock: PathBuf::from("/home/state/scripts/s.lock"),
        user: Some(RunAs {
            name: "nobody".into(),
            uid: 65_534,
            gid: 65_534,
        }),
        plugins: vec![
            PluginInstance {
                name: "web".into(),
                path: None,
                stem: "http".into(),
                shown: "stock/http.lua".into(),
                renames: true,
                sections: vec![("web".into(), Json::parse("{\"url\":\"x\"}").unwrap())],
            },
            PluginInstance {
                name: "own".into(),
                path: Some("/home/plugins/own.lua".into()),
                stem: "own".into(),
                shown: "plugins/own.lua".into(),
                renames: false,
                sections: Vec::new(),
            },
        ],
        check_defaults: CheckDefaults {
            every: Some(Duration::from_secs(60)),
            fall: Some(1),
            jitter: Some(0.25),
            ..CheckDefaults::default()
        },
        confinement: Confinement {
            mode: SandboxMode::Required,
            landlock: true,
            allow: Allow {
                net: vec!["*:443".into()],
                ..Allow::default()
            },
        },
    }
}

fn check(name: &str, kind: CheckKind) -> CheckSpec {
    CheckSpec {
        name: name.into(),
        instance: "web".into(),
        file: "stock/http.lua".into(),
        kind,
        every: Duration::from_millis(30_500),
        retry_every: Duration::from_secs(5),
        cron: Some("*/5 * * * *".into()),
        jitter: 0.1,
        timeout: Duration::from_secs(10),
        rise: 2,
        fall: 3,
        tags: vec!["a \"b\"".into()],
        needs: vec!["gateway".into()],
        on_change: true,
    }
}

fn checks() -> Vec<CheckSpec> {
    let grace = Duration::from_secs(60);
    let broken = CheckKind::Broken {
        message: "web.lua:1: no\n".into(),
        traceback: Some("stack".into()),
    };
    vec![
        check("web", CheckKind::Active),
        check("backup", CheckKind::Heartbeat { grace }),
        check("bad", broken),
    ]
}

#[test]
fn every_message_to_a_worker_round_trips() {
    let messages = [
        ToWorker::Setup(Box::new(setup())),
        ToWorker::Request(dispatch(work("{\"a\":1}"))),
        ToWorker::Request(dispatch(Work::Eval {
            code: "return \"x\"\n".into(),
        })),
        ToWorker::Cancel { ticket: Ticket(0) },
        ToWorker::Ping {
            beat: u64::MAX,
            settled: None,
        },
        ToWorker::Ping {
            beat: 2,
            settled: Some(1),
        },
        ToWorker::Event {
            event: "e".into(),
            data: Some(Json::parse("[1]").unwrap()),
            from: Some(ScriptName::new("t").unwrap()),
        },
        ToWorker::Event {
            event: "e".into(),
            data: None,
            from: None,
        },
        ToWorker::Handover,
        ToWorker::Shutdown {
            grace: Duration::from_millis(5_250),
        },
    ];
    for message in messages {
        let line = to_worker(&message);
        let read = decode_daemon(line.trim_end_matches('\n').as_bytes());
        assert_eq!(read, Ok(FromDaemon::Message(message)), "{line}");
    }
    let request = to_worker(&ToWorker::Request(dispatch(work("{}"))));
    assert!(request.starts_with("{\"request_id\":\"@17\",\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":{},\"id\":5,"), "{request}");
}

#[test]
fn every_notice_and_outcome_of_a_worker_round_trips() {
    let handlers = vec![
        Handler {
            name: "a".into(),
            delivery: Delivery::Query,
            timeout: Some(Duration::from_millis(2_500)),
        },
        Handler {
            name: "b".into(),
            delivery: Delivery::Once,
            timeout: None,
        },
    ];
    let notices = [
        Notice::Ready {
            handlers: Some(handlers.clone()),
            handover: true,
            memory_bytes: 7,
        },
        Notice::Ready {
            handlers: None,
            handover: false,
            memory_bytes: 0,
        },
        Notice::Confined {
            sandbox: Sandbox {
                mode: SandboxMode::On,
                level: SandboxLevel::Partial,
                landlock: 3,
                seccomp: true,
                notes: vec!["a note".into()],
            },
        },
        Notice::Handlers {
            handlers,
            handover: false,
        },
        Notice::Loaded {
            files: vec![LoadedFile {
                path: "/x y".into(),
                hash: "ab".into(),
            }],
        },
        Notice::Pong {
            beat: 9,
            memory_bytes: 1,
        },
        Notice::Handover { state: None },
        Notice::Handover {
            state: Some(Json::parse("{\"a\":[]}").unwrap()),
        },
        Notice::Listen {
            patterns: vec!["a*".into()],
        },
        Notice::Failed {
            refusal: Refusal::new(ErrorCode::ScriptError, "s.lua:1: \"no\""),
        },
        Notice::Outdated,
        Notice::Declared { checks: Vec::new() },
        Notice::Declared { checks: checks() },
        Notice::Unrecorded,
    ];
    for notice in notices {
        let mut out = Vec::new();
        encode_notice(&notice, &mut out);
        assert_eq!(
            decode_worker(&out[..out.len() - 1]),
            FromWorker::Notice(notice),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
    for body in [
        Body::Part(Payload::Json(Json::parse("{\"progress\":0.5}").unwrap())),
        Body::Ok {
            result: Payload::Empty,
            replayed: false,
        },
        Body::Error(Refusal::new(ErrorCode::ScriptError, "x")),
    ] {
        let mut out = Vec::new();
        encode_outcome(Ticket(3), &body, &mut out);
        let expected = FromWorker::Answer {
            ticket: Ticket(3),
            body,
        };
        assert_eq!(decode_worker(&out[..out.len() - 1]), expected);
    }
}

// R-004, T17: what carries no ticket, or a crooked one, is nobody's answer.
#[test]
fn an_answer_without_a_proper_ticket_is_none() {
    for line in [
        "{\"status\":\"ok\",\"result\":1}",
        "{\"request_id\":\"17\",\"status\":\"ok\"}",
        "{\"request_id\":17,\"status\":\"ok\"}",
        "{\"request_id\":\"@017\",\"status\":\"ok\"}",
        "{\"request_id\":\"@+17\",\"status\":\"ok\"}",
        "{\"request_id\":\"@99999999999999999999\",\"status\":\"ok\"}",
        "{\"request_id\":\"@17\",\"status\":\"accepted\"}",
        "{\"request_id\":\"@17\",\"status\":\"yes\"}",
        "{\"request_id\":\"@17\",\"request_id\":\"@18\",\"status\":\"ok\"}",
        "{\"request_id\":\"@17\",\"command\":\"ping\"}",
        "done",
        "done request_id=17",
    ] {
        let read = decode_worker(line.as_bytes());
        assert!(matches!(read, FromWorker::Malformed(_)), "{line}: {read:?}");
    }
}

#[test]
fn text_lines_with_a_ticket_are_answers_also_if_they_look_like_json() {
    let read = |line: &str| match decode_worker(line.as_bytes()) {
        FromWorker::Answer {
            ticket: Ticket(17),
            body,
        } => body,
        other => panic!("{other:?}"),
    };
    let part = |text: &str| Body::Part(Payload::Lines(text.into()));
    assert_eq!(read("hello request_id=@17"), part("hello"));
    assert_eq!(read("{\"a\":1} request_id=@17"), part("{\"a\":1}"));
    assert_eq!(read("\\done request_id=@17"), part("done"));
    assert!(read("done request_id=@17").is_end());
    assert_eq!(
        read("error: no luck request_id=@17"),
        Body::Error(Refusal::new(ErrorCode::ScriptError, "no luck"))
    );
}

// A script must not be able to speak as the daemon to another script's worker.
#[test]
fn no_text_payload_is_taken_for_a_message_of_the_daemon() {
    for payload in [
        "{\"command\":\"shutdown\",\"grace\":0}",
        "\\{\"command\":\"handover\"}",
        "{",
        "done",
        "\\\\{x",
    ] {
        for id in [None, RequestId::new("x").ok()] {
            let answer = Answer {
                encoding: Encoding::Text,
                id: id.clone(),
                ack: false,
                body: Body::Part(Payload::Lines(payload.into())),
            };
            let hop = to_worker(&ToWorker::Answer(answer.clone()));
            let mut plain = Vec::new();
            encode_answer(&answer, &mut plain);
            let read = decode_daemon(hop.trim_end_matches('\n').as_bytes());
            let expected = FromDaemon::Answer {
                encoding: Encoding::Text,
                id,
                line: &plain[..plain.len() - 1],
            };
            assert_eq!(read, Ok(expected), "{hop:?}");
        }
    }
}

#[test]
fn executables_get_words_and_their_lines_are_joined() {
    let written = |write: fn(&Dispatch, &mut Vec<u8>), params: &str| {
        let mut out = Vec::new();
        write(&dispatch(work(params)), &mut out);
        String::from_utf8(out).unwrap()
    };
    let params = "{\"name\":\"Ada L\",\"n\":[1,2],\"empty\":\"\"}";
    assert_eq!(
        written(encode_text_request, params),
        "call s h name=\"Ada L\" n:=[1,2] empty=\"\" request_id=@17\n"
    );
    assert_eq!(
        written(encode_legacy_request, params),
        "h name=\"Ada L\" n:=[1,2] empty=\"\"\n"
    );
    assert_eq!(
        written(encode_text_request, "{}"),
        "call --params:={} s h request_id=@17\n"
    );

    let mut outcomes = Outcomes::default();
    outcomes.open(Ticket(1));
    outcomes.open(Ticket(2));
    assert_eq!(outcomes.line("a request_id=@1"), Joined::More);
    assert_eq!(outcomes.line("\\done request_id=@1"), Joined::More);
    assert_eq!(outcomes.line("stolen request_id=@9"), Joined::Other);
    assert_eq!(outcomes.line("ping"), Joined::Other);
    assert_eq!(
        outcomes.line("error: not_ready: soon request_id=@2"),
        Joined::More
    );
    let end = |ticket, body| Joined::End {
        ticket: Ticket(ticket),
        body,
    };
    let failed = Body::Error(Refusal::new(ErrorCode::NotReady, "soon"));
    assert_eq!(outcomes.line("error request_id=@2"), end(2, failed));
    let joined = Body::Ok {
        result: Payload::Lines("a\ndone".into()),
        replayed: false,
    };
    assert_eq!(outcomes.line("done request_id=@1"), end(1, joined));
    assert_eq!(outcomes.line("done request_id=@1"), Joined::Other);
    outcomes.open(Ticket(3));
    assert_eq!(outcomes.legacy_line("x request_id=@1"), Joined::More);
    let body = Body::Ok {
        result: Payload::Lines("x request_id=@1".into()),
        replayed: false,
    };
    assert_eq!(outcomes.legacy_line("done"), end(3, body));
}

#[test]
fn a_worker_asks_as_a_client_does() {
    let read = decode_worker(b"ping request_id=4");
    assert!(matches!(
        read,
        FromWorker::Question(Question {
            command: Command::Ping { .. },
            ..
        })
    ));
    let read = decode_worker(
        b"{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"request_id\":\"u\"}",
    );
    assert!(matches!(
        read,
        FromWorker::Question(Question {
            command: Command::Call(_),
            ..
        })
    ));
}
