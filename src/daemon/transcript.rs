//! A record of everything that the engine was told and what it wanted, for replaying it in a test.
//!
//! Off unless [`VARIABLE`] names a file. One JSON object a line: `{"identity":...}` first, then
//! `{"at":MICROSECONDS,"input":...}`, each followed by its `{"effect":...}`s.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::engine::alphabet::{Effect, Identity, Input, Moment};

/// Names the file to record to.
pub const VARIABLE: &str = "MOONKEEP_TRANSCRIPT";

/// One line of a transcript.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    Identity { identity: Identity },
    Input { at: Moment, input: Input },
    Effect { effect: Effect },
}

/// An open transcript.
#[derive(Debug)]
pub(super) struct Transcript(BufWriter<File>);

impl Transcript {
    /// Opens the one that the environment names, if any.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn from_environment(identity: &Identity) -> anyhow::Result<Option<Self>> {
        let Some(path) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| {
                format!(
                    "cannot record to {}; correct or unset {VARIABLE}",
                    Path::new(&path).display()
                )
            })?;
        let mut transcript = Transcript(BufWriter::new(file));
        transcript.write(&Entry::Identity {
            identity: identity.clone(),
        });
        Ok(Some(transcript))
    }

    pub(super) fn input(&mut self, at: Moment, input: &Input) {
        self.write(&Entry::Input {
            at,
            input: input.clone(),
        });
    }

    pub(super) fn effect(&mut self, effect: &Effect) {
        self.write(&Entry::Effect {
            effect: effect.clone(),
        });
    }

    /// Makes the record whole up to here: the daemon may be killed at any time.
    pub(super) fn flush(&mut self) {
        let _disk_full = self.0.flush();
    }

    fn write(&mut self, entry: &Entry) {
        // A record that cannot be written is short; the test that replays it says so.
        let _disk_full = serde_json::to_writer(&mut self.0, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| self.0.write_all(b"\n"));
    }
}
