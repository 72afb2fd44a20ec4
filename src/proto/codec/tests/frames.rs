//! Questions in both encodings: the golden table, and what round trips.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::proto::ids::ClientId;
use crate::proto::messages::{AckMode, Beat, Hello, Quiet, Verb};

const UUID: &str = "0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d";

fn uuid() -> ClientId {
    ClientId(Uuid::parse_str(UUID).unwrap())
}

pub(super) fn script() -> ScriptName {
    ScriptName::new("s").unwrap()
}

fn ping(client: Option<ClientId>, timestamp: Option<&str>) -> Command {
    Command::Ping {
        client,
        timestamp: timestamp.map(str::to_owned),
    }
}

fn control(verb: Verb, script: Option<ScriptName>) -> Command {
    Command::Control { verb, script }
}

fn emit(data: Option<&str>) -> Command {
    Command::Emit {
        event: "e".into(),
        data: data.map(|text| Json::parse(text).unwrap()),
    }
}

pub(super) fn eval(code: &str, timeout: Option<Duration>) -> Command {
    Command::Eval {
        script: script(),
        code: code.into(),
        timeout,
    }
}

fn heartbeat(beat: Beat, message: Option<&str>) -> Command {
    Command::Heartbeat {
        check: "backup".into(),
        beat,
        message: message.map(str::to_owned),
    }
}

fn downtime(quiet: Quiet, why: Option<&str>) -> Command {
    Command::Downtime {
        check: "backup".into(),
        quiet,
        why: why.map(str::to_owned),
    }
}

fn hello(version: Option<&str>, pings: bool, progress: bool) -> Command {
    Command::Hello(Hello {
        client: uuid(),
        version: version.map(str::to_owned),
        pings,
        progress,
    })
}

/// A line in text, the same in JSON, and what both mean.
fn golden() -> Vec<(String, String, Command)> {
    let timed = |timeout| match call(Some("{\"a\":\"1\"}")) {
        Command::Call(call) => Command::Call(crate::proto::messages::Call {
            timeout: Some(timeout),
            ..call
        }),
        other => other,
    };
    let cases: Vec<(&str, &str, Command)> = vec![
        ("ping", r#"{"command":"ping"}"#, ping(None, None)),
        (
            "session ping",
            r#"{"command":"session ping"}"#,
            ping(None, None),
        ),
        (
            "ping UUID",
            r#"{"command":"ping","client":"UUID"}"#,
            ping(Some(uuid()), None),
        ),
        (
            "ping UUID 17.5",
            r#"{"command":"ping","client":"UUID","timestamp":"17.5"}"#,
            ping(Some(uuid()), Some("17.5")),
        ),
        (
            "ping 17.5",
            r#"{"command":"ping","timestamp":"17.5"}"#,
            ping(None, Some("17.5")),
        ),
        (
            "ping timestamp=9",
            r#"{"timestamp":"9","command":"ping"}"#,
            ping(None, Some("9")),
        ),
        (
            "  ping\t",
            r#"{ "command" : "ping" , "unknown":[1,{"command":"bye"}] }"#,
            ping(None, None),
        ),
        (
            "hello UUID",
            r#"{"command":"hello","client":"UUID"}"#,
            hello(None, false, false),
        ),
        (
            "hello UUID 0.1 features=pings,progress",
            r#"{"command":"hello","client":"UUID","version":"0.1","features":["pings","progress","later"]}"#,
            hello(Some("0.1"), true, true),
        ),
        (
            "hello UUID features=pings",
            r#"{"command":"hello","client":"UUID","features":["pings"]}"#,
            hello(None, true, false),
        ),
        ("bye", r#"{"command":"bye"}"#, Command::Bye),
        ("session bye", r#"{"command":"session bye"}"#, Command::Bye),
        ("status", r#"{"command":"status"}"#, Command::Status),
        (
            "daemon status",
            r#"{"command":"daemon status"}"#,
            Command::Status,
        ),
        ("list", r#"{"command":"list"}"#, Command::List),
        ("version", r#"{"command":"version"}"#, Command::Version),
        (
            "system version",
            r#"{"command":"system version"}"#,
            Command::Version,
        ),
        ("help", r#"{"command":"help"}"#, Command::Help),
        ("system help", r#"{"command":"system help"}"#, Command::Help),
        ("shutdown", r#"{"command":"shutdown"}"#, Command::Shutdown),
        (
            "daemon shutdown",
            r#"{"command":"daemon shutdown"}"#,
            Command::Shutdown,
        ),
        (
            "call s h",
            r#"{"command":"call","script":"s","handler":"h"}"#,
            call(None),
        ),
        (
            "call s h a=1",
            r#"{"command":"call","script":"s","handler":"h","params":{"a":"1"}}"#,
            call(Some(r#"{"a":"1"}"#)),
        ),
        (
            "call s h a:=1",
            r#"{"command":"call","script":"s","handler":"h","params":{"a":1}}"#,
            call(Some(r#"{"a":1}"#)),
        ),
        (
            "call s h a=\"x y\" b=",
            r#"{"command":"call","script":"s","handler":"h","params":{"a":"x y","b":""}}"#,
            call(Some(r#"{"a":"x y","b":""}"#)),
        ),
        (
            "call s h a:={\"b\":[1,2]} c=d",
            r#"{"command":"call","script":"s","handler":"h","params":{"a":{"b":[1,2]},"c":"d"}}"#,
            call(Some(r#"{"a":{"b":[1,2]},"c":"d"}"#)),
        ),
        (
            "call s h q=\"\\\"\\\\\\n\\t\\r\"",
            r#"{"command":"call","script":"s","handler":"h","params":{"q":"\"\\\n\t\r"}}"#,
            call(Some(r#"{"q":"\"\\\n\t\r"}"#)),
        ),
        (
            "call s h timeout=5 script=x",
            r#"{"command":"call","script":"s","handler":"h","params":{"timeout":"5","script":"x"}}"#,
            call(Some(r#"{"timeout":"5","script":"x"}"#)),
        ),
        (
            "call --timeout=2.5 s h a=1",
            r#"{"command":"call","timeout":2.5,"script":"s","handler":"h","params":{"a":"1"}}"#,
            timed(Duration::from_millis(2_500)),
        ),
        (
            "call --params:=[1] s h",
            r#"{"command":"call","script":"s","handler":"h","params":[1]}"#,
            call(Some("[1]")),
        ),
        (
            "call s h ä=ö",
            r#"{"command":"call","script":"s","handler":"h","params":{"ä":"ö"}}"#,
            call(Some(r#"{"ä":"ö"}"#)),
        ),
        (
            "call s h a=pong",
            r#"{"command":"call","script":"s","handler":"\u0068","params":{"a":"pong"}}"#,
            call(Some(r#"{"a":"pong"}"#)),
        ),
        (
            "eval s \"return 1\"",
            r#"{"command":"eval","script":"s","code":"return 1"}"#,
            eval("return 1", None),
        ),
        (
            "eval --timeout=1 s x",
            r#"{"command":"eval","script":"s","code":"x","timeout":1}"#,
            eval("x", Some(Duration::from_secs(1))),
        ),
        (
            "cancel 7",
            r#"{"command":"cancel","target":"7"}"#,
            Command::Cancel {
                target: RequestId::new("7").unwrap(),
            },
        ),
        (
            "start",
            r#"{"command":"start"}"#,
            control(Verb::Start, None),
        ),
        (
            "stop s",
            r#"{"command":"stop","script":"s"}"#,
            control(Verb::Stop, Some(script())),
        ),
        (
            "restart script=s",
            r#"{"command":"restart","script":"s"}"#,
            control(Verb::Restart, Some(script())),
        ),
        (
            "reload s",
            r#"{"command":"reload","script":"s"}"#,
            control(Verb::Reload, Some(script())),
        ),
        (
            "logs",
            r#"{"command":"logs","script":null}"#,
            Command::Logs {
                script: None,
                lines: 200,
            },
        ),
        (
            "logs s lines=5",
            r#"{"command":"logs","script":"s","lines":5}"#,
            Command::Logs {
                script: Some(script()),
                lines: 5,
            },
        ),
        (
            "events",
            r#"{"command":"events"}"#,
            Command::Events {
                pattern: "*".into(),
            },
        ),
        (
            "events disk.*",
            r#"{"command":"events","pattern":"disk.*"}"#,
            Command::Events {
                pattern: "disk.*".into(),
            },
        ),
        ("emit e", r#"{"command":"emit","event":"e"}"#, emit(None)),
        (
            "emit e a=1 b:=true",
            r#"{"command":"emit","event":"e","data":{"a":"1","b":true}}"#,
            emit(Some(r#"{"a":"1","b":true}"#)),
        ),
        (
            "ack enable",
            r#"{"command":"ack","mode":"enable"}"#,
            Command::Ack(AckMode::Enable),
        ),
        (
            "session ack disable",
            r#"{"command":"session ack","mode":"disable"}"#,
            Command::Ack(AckMode::Disable),
        ),
        (
            "silence-ack",
            r#"{"command":"silence-ack"}"#,
            Command::Ack(AckMode::Silence),
        ),
        (
            "enable-ack",
            r#"{"command":"enable-ack"}"#,
            Command::Ack(AckMode::Enable),
        ),
        (
            "disable-ack",
            r#"{"command":"disable-ack"}"#,
            Command::Ack(AckMode::Disable),
        ),
        (
            "check",
            r#"{"command":"check","words":[]}"#,
            Command::Check { words: Vec::new() },
        ),
        (
            "check web \"disk of a=b\" #1",
            r##"{"command":"check","words":["web","disk of a=b","#1"]}"##,
            Command::Check {
                words: vec!["web".into(), "disk of a=b".into(), "#1".into()],
            },
        ),
        (
            "checks",
            r#"{"command":"checks"}"#,
            Command::Checks { words: Vec::new() },
        ),
        (
            "checks http://x/?q",
            r#"{"command":"checks","words":"http://x/?q"}"#,
            Command::Checks {
                words: vec!["http://x/?q".into()],
            },
        ),
        (
            "heartbeat backup",
            r#"{"command":"heartbeat","check":"backup"}"#,
            heartbeat(Beat::Ok, None),
        ),
        (
            "heartbeat backup start",
            r#"{"command":"heartbeat","check":"backup","beat":"start"}"#,
            heartbeat(Beat::Start, None),
        ),
        (
            "heartbeat backup fail message=\"disk full\\nat 3\"",
            r#"{"command":"heartbeat","check":"backup","beat":"fail","message":"disk full\nat 3"}"#,
            heartbeat(Beat::Fail, Some("disk full\nat 3")),
        ),
        (
            "heartbeat backup -9",
            r#"{"command":"heartbeat","check":"backup","beat":-9}"#,
            heartbeat(Beat::Code(-9), None),
        ),
        (
            "heartbeat check=backup beat=3 message=",
            r#"{"command":"heartbeat","check":"backup","beat":"3","message":""}"#,
            heartbeat(Beat::Code(3), Some("")),
        ),
        (
            "downtime backup 2h",
            r#"{"command":"downtime","check":"backup","quiet":7200}"#,
            downtime(Quiet::For(Duration::from_secs(7_200)), None),
        ),
        (
            "downtime backup 90.5 why=\"new disk\"",
            r#"{"command":"downtime","check":"backup","quiet":"1m30.5s","why":"new disk"}"#,
            downtime(Quiet::For(Duration::from_millis(90_500)), Some("new disk")),
        ),
        (
            "downtime backup until-ok",
            r#"{"command":"downtime","check":"backup","quiet":"until-ok"}"#,
            downtime(Quiet::UntilOk, None),
        ),
        (
            "downtime backup off",
            r#"{"command":"downtime","check":"backup","quiet":"off"}"#,
            downtime(Quiet::Off, None),
        ),
        ("peer list", r#"{"command":"peer list"}"#, Command::Peers),
        (
            "show neighbor json",
            r#"{"command":"show neighbor json"}"#,
            Command::Peers,
        ),
    ];
    let named = |line: &str| line.replace("UUID", UUID);
    cases
        .into_iter()
        .map(|(text, json, command)| (named(text), named(json), command))
        .collect()
}

// R-002, R-039: each command in both encodings, without an id, with a text id, with a number.
#[test]
fn the_golden_table_means_the_same_in_both_encodings() {
    let table = golden();
    assert!(table.len() >= 40);
    for (text, json, command) in table {
        let expected = format!("{command:?}");
        assert_eq!(read(&text), expected, "{text}");
        assert_eq!(read(&json), expected, "{json}");
        assert_eq!(
            read(&format!("{text}\r")),
            expected,
            "with a carriage return"
        );
        assert_eq!(
            read(&format!("{text} request_id=A-1")),
            format!("{expected} #A-1")
        );
        let with_id = json.replacen('{', "{\"request_id\":\"A-1\",", 1);
        assert_eq!(read(&with_id), format!("{expected} #A-1"));
        let with_number = with_id.replacen("\"A-1\"", "-9", 1);
        assert_eq!(read(&with_number), format!("{expected} #-9"));
        round_trip(&command, None);
        round_trip(&command, RequestId::new("A-1").ok());
    }
}

pub(super) fn round_trip(command: &Command, id: Option<RequestId>) {
    for encoding in [Encoding::Text, Encoding::Json] {
        let question = Question {
            encoding,
            id: id.clone(),
            command: command.clone(),
        };
        let line = encode(&question);
        assert!(
            line.ends_with('\n') && line.matches('\n').count() == 1,
            "{line:?}"
        );
        let read = decode_client(line.trim_end_matches('\n').as_bytes());
        assert_eq!(read, FromClient::Question(question), "{line:?}");
    }
}

#[test]
fn empty_lines_and_comments_are_nothing() {
    for line in ["", " ", "\t", "\r", "# comment", "  # request_id=7", "#"] {
        assert_eq!(read(line), "Nothing", "{line:?}");
    }
}

// R-028, D3: an id is read at its fixed place only.
#[test]
fn a_text_id_is_read_only_as_the_last_word() {
    let params = |line| match decode_client(str::as_bytes(line)) {
        FromClient::Question(Question {
            command: Command::Call(call),
            id,
            ..
        }) => (
            call.params.map(|p| p.as_str().to_owned()),
            id.map(|id| id.to_string()),
        ),
        other => panic!("{other:?}"),
    };
    let first = params("call s h request_id=1 a=2");
    assert_eq!(first, (Some(r#"{"request_id":"1","a":"2"}"#.into()), None));
    let last = params("call s h note=\"see request_id=1\" request_id=2");
    assert_eq!(last.1, Some("2".into()));
    assert_eq!(params("call s h note=\"see request_id=1\"").1, None);
    assert!(read("ping UUIDs 1 request_id=@7").contains("tickets"));
}

// R-002: ExaBGP's client writes the id of a ping as its third word.
#[test]
fn a_ping_takes_its_id_as_third_word() {
    assert_eq!(
        read(&format!("ping {UUID} 17.5 42")),
        format!("{} #42", {
            let command = ping(Some(uuid()), Some("17.5"));
            format!("{command:?}")
        })
    );
}

// R-044
#[test]
fn refusals_say_what_to_do_next() {
    let cases = [
        (
            "pnig",
            "!unknown_command: there is no command \"pnig\"; did you mean `ping`?",
        ),
        (
            "get-daemon-identity",
            "!unknown_command: there is no command \"get-daemon-identity\"; ask for the list with: help",
        ),
        (
            "{\"command\":\"statsu\",\"request_id\":4}",
            "!unknown_command: there is no command \"statsu\"; did you mean `status`? #4",
        ),
        (
            "chekc web",
            "!unknown_command: there is no command \"chekc\"; did you mean `check`?",
        ),
        ("check a=b", "\"a\" has no place here; write: check [NAME"),
        ("check \"\"", "have 1 to 256 bytes"),
        (
            "{\"command\":\"checks\",\"words\":[7]}",
            "\"words\" is faulty",
        ),
        ("{\"command\":\"downtime\"}", "\"check\" is missing"),
        ("heartbeat", "\"check\" is missing; write: heartbeat NAME"),
        ("heartbeat x maybe", "\"maybe\" is no beat: start, ok"),
        ("heartbeat x 1.5", "\"1.5\" is no beat"),
        ("heartbeat x ok again", "\"again\" has no place here"),
        ("heartbeat x message:=7", "\"message\" must be a string"),
        (
            "downtime x",
            "\"quiet\" is missing; write: downtime NAME 2h",
        ),
        (
            "downtime x soon",
            "\"soon\" is no downtime: a time such as 2h",
        ),
        ("downtime x 0", "not between a moment and 366 days"),
        ("downtime x 401d", "not between a moment and 366 days"),
        ("call", "\"script\" is missing; write: call "),
        ("call s", "\"handler\" is missing"),
        ("call s h word", "\"word\" has no place here"),
        ("call s h a=1 a=2", "\"a\" stands twice"),
        ("call s h --timeout=5", "\"--timeout\" has no place here"),
        ("call ../etc h", "cannot name a script"),
        (
            "call s h a=\"x request_id=3",
            "a quote is not closed; end the value",
        ),
        ("call s h a=\"x\"y", "must be followed by a blank"),
        ("call s h a=\"\\x\"", "knows the escapes"),
        ("call s h a:=x", "behind a:= stands no JSON"),
        ("call s h a:=1]", "must be followed by a blank"),
        ("call --timeout=0 s h", "more than 0"),
        (
            "call --timeout=nan s h",
            "must be a number of seconds, not nan",
        ),
        ("call --timeout=1e99 s h", "must be a number of seconds"),
        ("call --timeout=86401 s h", "at most 86400"),
        ("cancel", "\"target\" is missing; write: cancel ID"),
        ("ack maybe", "\"maybe\" is no ack mode"),
        ("logs s lines=-1", "must be a whole number"),
        ("hello me", "is no UUID"),
        ("bye bye", "\"bye\" has no place here; write: bye"),
        ("start a b", "has no place here"),
        ("{}", "no \"command\""),
        ("{\"command\":7}", "\"command\" must be a string"),
        ("{\"command\":\"ping\"", "no JSON object that can be read"),
        ("{\"command\":\"ping\"}}", "trailing characters"),
        (
            "{\"command\":\"ping\",\"command\":\"bye\"}",
            "the key \"command\" stands twice",
        ),
        (
            "{\"command\":\"ping\",\"x\":1,\"\\u0078\":2}",
            "the key \"x\" stands twice",
        ),
        (
            "{\"request_id\":1,\"command\":\"ping\",\"request_id\":1}",
            "stands twice",
        ),
        ("{\"request_id\":\"5\",\"command\":\"ping\",,}", "#5"),
        (
            "{\"request_id\":1.5,\"command\":\"ping\"}",
            "a string or a 64-bit integer, not 1.5",
        ),
        (
            "{\"request_id\":99999999999999999999,\"command\":\"ping\"}",
            "64-bit integer",
        ),
        (
            "{\"request_id\":\"a b\",\"command\":\"ping\"}",
            "without blanks",
        ),
        (
            "{\"command\":\"call\",\"script\":\"s\",\"handler\":\"\"}",
            "\"handler\" must have 1 to 128 bytes",
        ),
        (
            "{\"command\":\"call\",\"script\":\"s\",\"handler\":\"\\n\"}",
            "no control characters",
        ),
        (
            "{\"command\":\"call\",\"script\":\"s\",\"handler\":\"\\ud800\"}",
            "Unicode characters",
        ),
        (
            "{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"timeout\":\"5\"}",
            "number of seconds, not \"5\"",
        ),
        ("call s h x:=1 request_id=@4", "'@'"),
    ];
    for (line, expected) in cases {
        let said = read(line);
        assert!(
            said.starts_with('!') && said.contains(expected),
            "{line}\n  {said}"
        );
    }
    assert!(
        read("call s h a=\"x request_id=3").ends_with("#3"),
        "the id is read all the same"
    );
}
