//! What scripts a home holds: names, kinds, headers and settings. Reads files; decides nothing that runs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::alphabet::ScriptSpec;
use crate::paths::Home;
use crate::proto::ids::ScriptName;

/// One entry of `scripts/` as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// `hash`: blake3, hex, over the script's bytes and its settings.
    Script { spec: Arc<ScriptSpec>, hash: String },
    /// It cannot run as it stands; the error names the files and what to do.
    Faulty {
        name: ScriptName,
        path: PathBuf,
        error: String,
    },
}

/// A whole look at a home.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Sorted by name; each name once.
    pub found: Vec<Found>,
    /// What is wrong with `moonkeep.toml`; settings are then those of `previous`.
    pub config_fault: Option<String>,
    /// Folders to watch: `scripts/`, its subfolders, the folders of links' targets, the home itself.
    pub folders: Vec<PathBuf>,
    /// Files that are no scripts and why (shown once in the log).
    pub skipped: Vec<String>,
}

/// Looks at the home now. Never fails as a whole: what cannot be read is a `Faulty` or a `config_fault`.
#[must_use]
pub fn look(_home: &Home) -> Look {
    Look::default()
}
