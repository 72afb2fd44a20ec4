//! What plugin workers a home wants, found beside its scripts. Reads files; decides nothing that runs.
//!
//! A plugin worker is a pseudo-script: same spec, same supervision, same reloads. What it loads and may do is the
//! business of [`crate::check::groups`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::check::catalogue::catalogue;
use crate::check::groups::{Faulty, Group, groups};
use crate::engine::alphabet::{ScriptKind, ScriptSpec, Sections};
use crate::limits;
use crate::monitor::alphabet::Configured;
use crate::options::Config;
use crate::paths::Home;
use crate::scripts::{Found, Look, fingerprint};
use crate::trust;

/// What a look found of plugins and of what is configured for checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plugins {
    /// Sorted by name; the names begin with `@`.
    pub(super) found: Vec<Found>,
    pub(super) sections: Sections,
    /// Folders to watch.
    pub(super) folders: BTreeSet<PathBuf>,
}

/// Adds to a look what it found of plugins. If that cannot be looked at, it is as it was `before`.
pub(super) fn add_to(look: &mut Look, home: &Home, before: &Arc<Plugins>) -> Arc<Plugins> {
    let plugins = match find(home, &look.config) {
        Ok(plugins) => Arc::new(plugins),
        Err(why) => {
            look.skipped.push(why);
            Arc::clone(before)
        }
    };
    look.found.extend(plugins.found.iter().cloned());
    look.folders.extend(plugins.folders.iter().cloned());
    plugins
}

/// Looks at `plugins/` and at what `config` says of checks.
///
/// # Errors
/// If `plugins/` is there and cannot be listed.
fn find(home: &Home, config: &Config) -> Result<Plugins, String> {
    let catalogue = catalogue(home, config)?;
    let folders = RefCell::new(BTreeSet::from([home.plugins()]));
    let groups = groups(&catalogue, |path| {
        let file = trust::read(path, limits::SCRIPT_BYTES)?;
        folders.borrow_mut().extend(file.folders);
        Ok(file.bytes)
    });
    let mut found: Vec<Found> = groups
        .workers
        .into_iter()
        .map(|group| found_of(home, config, group))
        .chain(groups.faulty.into_iter().map(faulty))
        .collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(Plugins {
        found,
        sections: Sections {
            configured: Configured {
                hooks: config.alerts(),
                at_once: config.all_checks().at_once.unwrap_or(0),
                faults: groups.faults,
            },
            unclaimed: groups.unclaimed,
        },
        folders: folders.into_inner(),
    })
}

fn found_of(home: &Home, config: &Config, group: Group) -> Found {
    let nothing = blake3::hash(b"").to_hex().to_string();
    let empty = group.content.as_ref() == Some(&nothing);
    let mut settings = group.settings;
    config.apply(&group.name, &mut settings);
    let spec = ScriptSpec {
        name: group.name,
        path: group.path.unwrap_or_else(|| home.plugins()),
        content: group.content,
        kind: ScriptKind::Lua,
        settings,
        plugins: group.instances,
        check_defaults: config.all_checks().defaults.clone(),
    };
    Found::Script {
        // Its content is a part of the spec.
        hash: fingerprint(b"", &spec),
        empty,
        spec: Arc::new(spec),
    }
}

fn faulty(faulty: Faulty) -> Found {
    Found::Faulty {
        name: faulty.name,
        path: faulty.path,
        error: faulty.error,
        checks: faulty.checks,
    }
}
