//! A client in Rust, with the library that the command line itself uses.
//!
//!     cargo run --example client -- SOCKET SCRIPT HANDLER [key=value ...]
//!
//! The socket's path is in `moonkeep status --json` under "socket". The library keeps one connection, pings,
//! connects again after a loss, and sends what is in flight again under the same id, so that nothing runs twice.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use moonkeep::client::{Client, ConnectOptions, Patience, RequestOptions};
use moonkeep::proto::ids::ScriptName;
use moonkeep::proto::messages::{Body, Call, Command, Json, Payload};

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows its result"
)]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [socket, script, handler, pairs @ ..] = words.as_slice() else {
        eprintln!("client SOCKET SCRIPT HANDLER [key=value ...]");
        return ExitCode::from(2);
    };
    match ask(socket, script, handler, pairs) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("client: {why}");
            ExitCode::FAILURE
        }
    }
}

fn ask(socket: &str, script: &str, handler: &str, pairs: &[String]) -> Result<String, String> {
    let params: serde_json::Map<String, serde_json::Value> = pairs
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let command = Command::Call(Call {
        script: ScriptName::new(script)?,
        handler: handler.into(),
        params: Some(Json::of(&params)),
        timeout: None,
    });
    let options = RequestOptions {
        timeout: Some(Duration::from_secs(10)),
        // Wait for a daemon that is not there yet, as long as the time limit allows.
        patience: Patience::Timeout,
        ..RequestOptions::default()
    };
    // Any tokio runtime will do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let answer = runtime.block_on(async {
        let client = Client::connect(ConnectOptions::new(PathBuf::from(socket)));
        let answer = client.call(command, options).await;
        client.close().await;
        answer
    });
    match answer.map_err(|failure| failure.to_string())? {
        Body::Ok { result, .. } => Ok(shown(&result)),
        Body::Error(refusal) => Err(format!("{}: {}", refusal.code, refusal.message)),
        Body::Accepted | Body::Running | Body::Part(_) => Err("the answer has no end".into()),
    }
}

/// A string as its characters, anything else as JSON.
fn shown(result: &Payload) -> String {
    match result {
        Payload::Empty => String::new(),
        Payload::Lines(lines) => lines.to_string(),
        Payload::Json(json) => {
            serde_json::from_str(json.as_str()).unwrap_or_else(|_| json.as_str().to_owned())
        }
    }
}
