//! One table of cases for both encodings, and properties over what no table holds.

#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "tables of cases, and a panic for whatever is not expected"
)]

mod answers;
mod frames;
mod hostile;
mod pipes;
mod properties;

use super::*;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Call, Json};

/// What a line means, in a short notation; `!code: message` if it is refused.
fn read(line: &str) -> String {
    match decode_client(line.as_bytes()) {
        FromClient::Question(question) => {
            let id = question.id.map(|id| format!(" #{id}")).unwrap_or_default();
            format!("{:?}{id}", question.command)
        }
        FromClient::Malformed(malformed) => {
            let id = malformed.id.map(|id| format!(" #{id}")).unwrap_or_default();
            format!(
                "!{}: {}{id}",
                malformed.refusal.code, malformed.refusal.message
            )
        }
    }
}

fn call(params: Option<&str>) -> Command {
    Command::Call(Call {
        script: ScriptName::new("s").unwrap(),
        handler: "h".into(),
        params: params.map(|text| Json::parse(text).unwrap()),
        timeout: None,
    })
}

fn encode(question: &Question) -> String {
    let mut out = Vec::new();
    encode_question(question, &mut out);
    String::from_utf8(out).unwrap()
}

/// Few cases by default, many with `MOONKEEP_LONG=1`; a failure prints its input.
fn settings() -> proptest::test_runner::Config {
    let long = std::env::var_os("MOONKEEP_LONG").is_some();
    proptest::test_runner::Config {
        cases: if long { 1_000_000 } else { 300 },
        failure_persistence: None,
        ..Default::default()
    }
}
