//! Transcripts: what a daemon's engine was told and what it wanted, replayed byte for byte.
//!
//! One JSON object a line: `{"identity":...}` first, then `{"at":MICROSECONDS,"input":...}`, each followed
//! by its `{"effect":...}`s. The engine that wrote it and the one that reads it are the same code.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::alphabet::{Effect, Identity, Input, Moment};

/// One line of a transcript.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Identity { identity: Identity },
    Input { at: Moment, input: Input },
    Effect { effect: Effect },
}

/// What a replay went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub inputs: usize,
    pub effects: usize,
}

/// Where a replay went another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Counted from 1.
    pub line: usize,
    pub recorded: String,
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: recorded {}, replayed {}",
            self.line, self.recorded, self.replayed
        )
    }
}

/// Replays a transcript and compares every effect, byte for byte. A last line without its newline (the
/// recorder was killed) is left out, and the effects of the last input may be cut off.
///
/// # Errors
/// The first difference, or the first line that is none of a transcript's.
pub fn replay(transcript: &str) -> Result<Replayed, Difference> {
    let mut replay = Replay {
        engine: None,
        counts: Replayed::default(),
    };
    let whole = transcript.rfind('\n').map_or("", |end| &transcript[..end]);
    for (index, line) in whole.lines().enumerate() {
        replay.line(index + 1, line)?;
    }
    Ok(replay.counts)
}

struct Replay {
    engine: Option<Engine>,
    counts: Replayed,
}

impl Replay {
    fn line(&mut self, number: usize, text: &str) -> Result<(), Difference> {
        let differs = |replayed: String| Difference {
            line: number,
            recorded: text.to_owned(),
            replayed,
        };
        let line: Line = serde_json::from_str(text)
            .map_err(|error| differs(format!("nothing: the line cannot be read: {error}")))?;
        match (line, &mut self.engine) {
            (Line::Identity { identity }, None) => self.engine = Some(Engine::new(identity)),
            (Line::Identity { .. }, Some(_)) => {
                return Err(differs("nothing: a transcript has one identity".into()));
            }
            (Line::Input { .. } | Line::Effect { .. }, None) => {
                return Err(differs(
                    "nothing: a transcript begins with its identity".into(),
                ));
            }
            (Line::Input { at, input }, Some(engine)) => {
                if let Some(effect) = engine.poll_effect() {
                    return Err(differs(written(&Line::Effect { effect })));
                }
                engine.handle(at, input);
                self.counts.inputs += 1;
            }
            (Line::Effect { .. }, Some(engine)) => {
                let replayed = engine.poll_effect().map_or_else(
                    || "nothing".to_owned(),
                    |effect| written(&Line::Effect { effect }),
                );
                if replayed != text {
                    return Err(differs(replayed));
                }
                self.counts.effects += 1;
            }
        }
        Ok(())
    }
}

/// Runs inputs through a new engine and gives the transcript of it.
#[must_use]
pub fn record(identity: Identity, inputs: impl IntoIterator<Item = (Moment, Input)>) -> String {
    let mut engine = Engine::new(identity.clone());
    let mut text = written(&Line::Identity { identity });
    text.push('\n');
    for (at, input) in inputs {
        engine.handle(at, input.clone());
        text.push_str(&written(&Line::Input { at, input }));
        text.push('\n');
        while let Some(effect) = engine.poll_effect() {
            text.push_str(&written(&Line::Effect { effect }));
            text.push('\n');
        }
    }
    text
}

fn written(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_else(|error| format!("cannot be written: {error}"))
}
