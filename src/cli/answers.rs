//! Showing what a script answers: parts as they come, progress as a bar, the result at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proto::ids::RequestId;
use crate::proto::messages::{Body, Payload, Refusal};

use super::exit::{Exit, Failure};
use super::output::Output;

/// Shows the pieces of one answer.
pub(crate) struct Shower<'a> {
    output: &'a Output,
    id: RequestId,
    bar: Option<ProgressBar>,
}

/// What `request:progress(0.4, "copying")` sends as a part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    progress: f64,
    note: Option<String>,
}

/// Parts of the bar; enough for the eye.
const STEPS: u64 = 1_000;

impl<'a> Shower<'a> {
    pub(crate) fn new(output: &'a Output, id: RequestId) -> Self {
        Shower {
            output,
            id,
            bar: None,
        }
    }

    /// Shows a piece that does not end the answer.
    pub(crate) fn piece(&mut self, body: &Body) -> Result<(), Failure> {
        if self.output.json {
            return self.output.json(&Line::of(&self.id, body));
        }
        match body {
            Body::Part(payload) => match progress_of(payload) {
                Some(progress) => self.progress(&progress),
                None => self.payload(payload),
            },
            Body::Accepted | Body::Running | Body::Ok { .. } | Body::Error(_) => Ok(()),
        }
    }

    /// Shows the end, and says how the command ends.
    pub(crate) fn end(mut self, body: &Body) -> Result<Exit, Failure> {
        self.clear_bar();
        if self.output.json {
            self.output.json(&Line::of(&self.id, body))?;
        }
        match body {
            Body::Ok { result, replayed } => {
                if *replayed && self.output.verbose {
                    self.output
                        .note("This is the stored answer: the request had run before.");
                }
                if !self.output.json {
                    self.payload(result)?;
                }
                Ok(Exit::Ok)
            }
            Body::Error(refusal) => Err(Failure::refused(refusal)),
            Body::Part(_) | Body::Accepted | Body::Running => Ok(Exit::Ok),
        }
    }

    fn payload(&mut self, payload: &Payload) -> Result<(), Failure> {
        let output = self.output;
        let print = || match text_of(payload) {
            Some(text) => output.data(&text),
            None => Ok(()),
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), Failure> {
        let note = progress.note.as_deref().unwrap_or_default();
        let share = progress.progress.clamp(0.0, 1.0);
        if !self.output.shows_progress() {
            self.output
                .note(format!("{:.0} % {note}", share * 100.0).trim_end());
            return Ok(());
        }
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_position((share * STEPS as f64) as u64);
        bar.set_message(super::output::escape(note, false).replace(['\n', '\t'], " "));
        Ok(())
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shower<'_> {
    fn drop(&mut self) {
        self.clear_bar();
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {msg} {elapsed:.dim}")
        .expect("a constant template");
    let bar = ProgressBar::new(STEPS).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn progress_of(payload: &Payload) -> Option<Progress> {
    match payload {
        Payload::Json(json) => serde_json::from_str(json.as_str()).ok(),
        Payload::Empty | Payload::Lines(_) => None,
    }
}

/// A string as it is, nothing for null, anything else as JSON.
pub(crate) fn text_of(payload: &Payload) -> Option<String> {
    match payload {
        Payload::Empty => None,
        Payload::Lines(lines) => Some(lines.to_string()),
        Payload::Json(json) if json.as_str() == "null" => None,
        Payload::Json(json) => Some(
            serde_json::from_str::<String>(json.as_str())
                .unwrap_or_else(|_| json.as_str().to_owned()),
        ),
    }
}

/// A piece of an answer as it stands on the wire: what `--json` prints.
#[derive(Serialize)]
pub(crate) struct Line {
    request_id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorLine>,
}

#[derive(Serialize)]
struct ErrorLine {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
}

impl Line {
    pub(crate) fn of(id: &RequestId, body: &Body) -> Line {
        let mut line = Line {
            request_id: id.to_string(),
            status: "ok",
            part: None,
            result: None,
            replayed: false,
            error: None,
        };
        match body {
            Body::Accepted => line.status = "accepted",
            Body::Running => line.status = "running",
            Body::Part(payload) => {
                line.status = "part";
                line.part = Some(raw(payload));
            }
            Body::Ok { result, replayed } => {
                line.result = Some(raw(result));
                line.replayed = *replayed;
            }
            Body::Error(refusal) => {
                line.status = "error";
                line.error = Some(ErrorLine::of(refusal));
            }
        }
        line
    }
}

impl ErrorLine {
    fn of(refusal: &Refusal) -> Self {
        ErrorLine {
            code: refusal.code.as_str(),
            message: refusal.message.clone(),
            retry_after: refusal.retry_after.map(|wait| wait.as_secs_f64()),
            data: refusal.data.as_ref().map(|json| raw_json(json.as_str())),
            traceback: refusal.traceback.clone(),
        }
    }
}

pub(crate) fn raw(payload: &Payload) -> Box<RawValue> {
    match payload {
        Payload::Empty => raw_json("null"),
        Payload::Json(json) => raw_json(json.as_str()),
        Payload::Lines(lines) => {
            serde_json::value::to_raw_value(lines.as_ref()).expect("a string serializes")
        }
    }
}

/// Reads an answer of the daemon itself.
pub(crate) fn read<T: serde::de::DeserializeOwned>(result: &Payload) -> Result<T, Failure> {
    let raw = raw(result);
    serde_json::from_str(raw.get()).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("the daemon's answer cannot be read: {error}. Is it of another version? Restart it with: moonkeep down, moonkeep up -d"),
        )
    })
}

fn raw_json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("it was validated when it was read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messages::{ErrorCode, Json};

    fn json(text: &str) -> Payload {
        Payload::Json(Json::parse(text).expect("JSON"))
    }

    #[test]
    fn a_string_is_shown_as_it_is_and_the_rest_as_json() {
        assert_eq!(
            text_of(&json("\"hello\\nAda\"")).as_deref(),
            Some("hello\nAda")
        );
        assert_eq!(text_of(&json("{\"a\":1}")).as_deref(), Some("{\"a\":1}"));
        assert_eq!(text_of(&json("null")), None);
        assert_eq!(text_of(&Payload::Empty), None);
    }

    #[test]
    fn only_progress_is_progress() {
        assert!(progress_of(&json("{\"progress\":0.4,\"note\":\"copying\"}")).is_some());
        assert!(progress_of(&json("{\"progress\":1}")).is_some());
        for other in [
            "{\"progress\":0.4,\"x\":1}",
            "{\"progress\":\"x\"}",
            "0.4",
            "{}",
        ] {
            assert!(progress_of(&json(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn json_lines_are_those_of_the_wire() {
        let id = RequestId::new("7").expect("an id");
        let show = |body: &Body| serde_json::to_string(&Line::of(&id, body)).expect("JSON");
        let ok = Body::Ok {
            result: json("[1, 2]"),
            replayed: false,
        };
        assert_eq!(
            show(&ok),
            r#"{"request_id":"7","status":"ok","result":[1, 2]}"#
        );
        let error = Body::Error(Refusal::new(ErrorCode::Busy, "full"));
        assert_eq!(
            show(&error),
            r#"{"request_id":"7","status":"error","error":{"code":"busy","message":"full"}}"#
        );
    }
}
