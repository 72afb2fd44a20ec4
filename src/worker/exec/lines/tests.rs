use super::*;
use crate::proto::ids::ScriptName;
use crate::proto::messages::Json;

struct Case {
    translator: Translator,
    child: Outbox,
    daemon: Outbox,
}

impl Case {
    fn new(encoding: Encoding, legacy: bool) -> Self {
        Case {
            translator: Translator::new(encoding, legacy, Rc::new(Records::nowhere())),
            child: Outbox::default(),
            daemon: Outbox::default(),
        }
    }

    fn request(&mut self, ticket: u64) -> String {
        let dispatch = Dispatch {
            ticket: Ticket(ticket),
            script: ScriptName::new("x").expect("a name"),
            work: Work::Call {
                handler: "greet".into(),
                params: Some(Json::parse(r#"{"name":"Ada L","n":2}"#).expect("JSON")),
            },
            id: None,
            client: None,
            timeout: Duration::from_secs(5),
            record: false,
        };
        self.translator.request(dispatch, &self.child, &self.daemon);
        taken(&self.child)
    }

    fn line(&mut self, line: &str) -> (Said, String) {
        let said = self.translator.line(line.as_bytes(), &self.daemon);
        (said, taken(&self.daemon))
    }
}

fn taken(outbox: &Outbox) -> String {
    let mut bytes = Vec::new();
    outbox.swap(&mut bytes);
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_text_answer_is_joined_and_ends_its_ticket() {
    let mut case = Case::new(Encoding::Text, false);
    assert_eq!(
        case.request(7),
        "call x greet name=\"Ada L\" n:=2 request_id=@7\n"
    );
    assert_eq!(
        case.line("hello request_id=@7"),
        (Said::Answer, String::new())
    );
    assert_eq!(case.line("world request_id=@7").0, Said::Answer);
    let (said, sent) = case.line("done request_id=@7");
    assert_eq!(said, Said::Answer);
    assert_eq!(
        sent,
        "{\"request_id\":\"@7\",\"status\":\"ok\",\"result\":\"hello\\nworld\"}\n"
    );
    assert!(case.translator.is_idle());
}

#[test]
fn a_json_answer_is_taken_in_either_encoding() {
    for encoding in [Encoding::Text, Encoding::Json] {
        let mut case = Case::new(encoding, false);
        case.request(3);
        let (said, sent) = case.line(r#"{"request_id":"@3","status":"ok","result":5}"#);
        assert_eq!(
            (said, sent.as_str()),
            (
                Said::Answer,
                "{\"request_id\":\"@3\",\"status\":\"ok\",\"result\":5}\n"
            )
        );
    }
}

#[test]
fn a_forged_ticket_reaches_nobody() {
    let mut case = Case::new(Encoding::Text, false);
    case.request(1);
    for line in [
        "done request_id=@2",
        r#"{"request_id":"@2","status":"ok","result":1}"#,
        r#"{"command":"ready","handlers":null,"handover":false,"memory_bytes":0}"#,
        r#"{"command":"pong","beat":1,"memory_bytes":0}"#,
    ] {
        assert_eq!(case.line(line), (Said::Dropped, String::new()), "{line}");
    }
    assert_eq!(case.translator.dropped(), 4);
    assert!(!case.translator.is_idle());
}

#[test]
fn commands_of_its_own_pass() {
    let mut case = Case::new(Encoding::Text, false);
    case.request(1);
    for line in [
        "ping",
        "status request_id=5",
        r#"{"request_id":"8","command":"version"}"#,
        "nonsense",
    ] {
        assert_eq!(case.line(line).0, Said::Command, "{line}");
    }
}

#[test]
fn a_late_answer_after_a_cancel_or_a_timeout_is_dropped() {
    let mut case = Case::new(Encoding::Text, false);
    case.request(1);
    case.request(2);
    case.translator.cancel(Ticket(1), &case.daemon);
    assert!(taken(&case.daemon).contains("\"cancelled\""));
    case.translator
        .expire(Instant::now() + Duration::from_secs(6), &case.daemon);
    assert!(taken(&case.daemon).contains("\"timeout\""));
    for line in ["done request_id=@1", "done request_id=@2"] {
        assert_eq!(case.line(line), (Said::Dropped, String::new()));
    }
}

#[test]
fn a_script_without_ids_answers_by_bare_lines() {
    let mut case = Case::new(Encoding::Text, true);
    assert_eq!(case.request(9), "greet name=\"Ada L\" n:=2\n");
    case.translator.cancel(Ticket(9), &case.daemon);
    assert_eq!(taken(&case.daemon), "", "it cannot be told, so it goes on");
    assert_eq!(case.line("hello").0, Said::Answer);
    assert!(case.line("done").1.contains(r#""result":"hello""#));
    assert_eq!(
        case.line("ping").0,
        Said::Command,
        "nothing runs: a command of its own"
    );
}
