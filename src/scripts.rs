//! What scripts a home holds: names, kinds, headers and settings. Reads files; decides nothing that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::alphabet::{ScriptKind, ScriptSpec};
use crate::limits;
use crate::options::header::{self, Language};
use crate::options::{Config, Settings};
use crate::paths::{Home, is_leftover};
use crate::proto::ids::ScriptName;
use crate::proto::messages::CheckSpec;
use crate::trust;

/// One entry of `scripts/` as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// `hash`: blake3, hex, over the script's bytes, its path, kind and settings.
    /// `empty`: not a byte is in its file, which may be a moment of somebody's save.
    Script {
        spec: Arc<ScriptSpec>,
        hash: String,
        empty: bool,
    },
    /// It cannot run as it stands; the error names the files and what to do.
    Faulty {
        name: ScriptName,
        path: PathBuf,
        error: String,
        /// A plugin's: what stands in the place of its checks, if it has none.
        checks: Vec<CheckSpec>,
    },
}

impl Found {
    #[must_use]
    pub fn name(&self) -> &ScriptName {
        match self {
            Found::Script { spec, .. } => &spec.name,
            Found::Faulty { name, .. } => name,
        }
    }
}

/// A whole look at a home.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Sorted by name; each name once.
    pub found: Vec<Found>,
    /// What `moonkeep.toml` says; if it is faulty, what it said before.
    pub config: Arc<Config>,
    /// What is wrong with `moonkeep.toml`; `config` is then the one before.
    pub config_fault: Option<String>,
    /// Folders to watch: `scripts/`, its subfolders, the folders of links and their targets, the home itself.
    pub folders: Vec<PathBuf>,
    /// Files that are no scripts and why (shown once in the log).
    pub skipped: Vec<String>,
}

/// Looks at the home now, for the first time. See [`look_again`].
#[must_use]
pub fn look(home: &Home) -> Look {
    look_again(home, &Arc::default())
}

/// Looks at the home now. Never fails as a whole: what cannot be read is a `Faulty` or a `config_fault`.
///
/// `before` is the configuration that runs ([`Look::config`]); it stays, if `moonkeep.toml` is faulty.
#[must_use]
pub fn look_again(home: &Home, before: &Arc<Config>) -> Look {
    let mut look = Look::default();
    match load_config(home) {
        Ok(config) => look.config = Arc::new(config),
        Err(fault) => {
            look.config = Arc::clone(before);
            look.config_fault = Some(fault);
        }
    }
    let mut folders = BTreeSet::from([home.root().to_owned(), home.scripts()]);
    let candidates = candidates(home, &mut look.skipped, &mut folders);
    for (name, paths) in candidates {
        let found = examine(home, &look.config, name, &paths, &mut folders);
        look.found.push(found);
    }
    for (name, line) in look.config.scripts() {
        if !look.found.iter().any(|found| found.name() == name) {
            look.skipped.push(format!(
                "{}:{line}: [script.{name}] names no script in scripts/; create it, or correct the name",
                home.config().display()
            ));
        }
    }
    look.folders = folders.into_iter().collect();
    look
}

/// Reads the home's `moonkeep.toml`; none is an empty one.
///
/// # Errors
/// `file:line: what is wrong; what to write instead`, or why it cannot be trusted or read.
pub fn load_config(home: &Home) -> Result<Config, String> {
    let path = home.config();
    if let Err(error) = fs::symlink_metadata(&path)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(Config::default());
    }
    let file = trust::read(&path, limits::CONFIG_BYTES)?;
    let text = String::from_utf8(file.bytes)
        .map_err(|_| format!("{} is not UTF-8; rewrite it", path.display()))?;
    Config::parse(&text).map_err(|fault| fault.in_file(&path))
}

/// The files that could be scripts, by name. Two files may claim one name.
fn candidates(
    home: &Home,
    skipped: &mut Vec<String>,
    folders: &mut BTreeSet<PathBuf>,
) -> BTreeMap<ScriptName, Vec<PathBuf>> {
    let mut out: BTreeMap<ScriptName, Vec<PathBuf>> = BTreeMap::new();
    let entries = match list(&home.scripts()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return out,
        Err(error) => {
            skipped.push(format!(
                "{} cannot be listed: {error}",
                home.scripts().display()
            ));
            return out;
        }
    };
    let mut more = 0_usize;
    for entry in entries {
        match candidate(&entry, folders) {
            Candidate::Script(_, _) | Candidate::Not(Some(_))
                if skipped.len() >= limits::SKIPPED && out.len() >= limits::SCRIPTS =>
            {
                more += 1;
            }
            Candidate::Not(Some(_)) if skipped.len() >= limits::SKIPPED => more += 1,
            Candidate::Script(_, _) if out.len() >= limits::SCRIPTS => skipped.push(format!(
                "{} is one script too many: a home holds at most {}",
                entry.display(),
                limits::SCRIPTS
            )),
            Candidate::Script(name, path) => out.entry(name).or_default().push(path),
            Candidate::Not(Some(reason)) => {
                skipped.push(format!("{} is no script: {reason}", entry.display()));
            }
            Candidate::Not(None) => {}
        }
    }
    if more > 0 {
        skipped.push(format!(
            "{} holds {more} more files that are no scripts; clear it up",
            home.scripts().display()
        ));
    }
    out
}

/// The entries of a folder, sorted, without what editors leave behind.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_leftover(&entry.file_name()) {
            out.push(entry.path());
        }
    }
    out.sort();
    Ok(out)
}

enum Candidate {
    Script(ScriptName, PathBuf),
    /// Why not, if it is worth a word.
    Not(Option<String>),
}

fn candidate(path: &Path, folders: &mut BTreeSet<PathBuf>) -> Candidate {
    // A link that leads nowhere is shown as a faulty script, if its name promises one.
    let facts = fs::metadata(path).ok();
    let is_folder = facts.as_ref().is_some_and(fs::Metadata::is_dir);
    let stem = if is_folder {
        path.file_name()
    } else {
        path.file_stem()
    };
    let stem = stem.unwrap_or_default().to_string_lossy();
    let is_lua = path.extension() == Some(OsStr::new("lua"));
    if !is_folder && is_lua && stem.ends_with("_test") {
        return Candidate::Not(None);
    }
    let file = if is_folder {
        folders.insert(path.to_owned());
        path.join("init.lua")
    } else {
        path.to_owned()
    };
    if is_folder && fs::symlink_metadata(&file).is_err() {
        return Candidate::Not(Some("the folder has no init.lua".into()));
    }
    if !is_folder && !is_lua && !facts.as_ref().is_some_and(is_program) {
        return Candidate::Not(Some(
            "it is neither a .lua file nor executable (chmod +x)".into(),
        ));
    }
    match ScriptName::new(&stem) {
        Ok(name) => Candidate::Script(name, file),
        Err(why) => Candidate::Not(Some(why)),
    }
}

fn is_program(facts: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    facts.is_file() && facts.permissions().mode() & 0o111 != 0
}

fn examine(
    home: &Home,
    config: &Config,
    name: ScriptName,
    paths: &[PathBuf],
    folders: &mut BTreeSet<PathBuf>,
) -> Found {
    let path = paths[0].clone();
    let shown = |path: &PathBuf| {
        let inside = path.strip_prefix(home.root()).unwrap_or(path);
        inside.display().to_string()
    };
    let examined = if paths.len() > 1 {
        let all: Vec<String> = paths.iter().map(shown).collect();
        Err(format!(
            "{} both have the name {name}; rename one of them",
            all.join(" and ")
        ))
    } else {
        examine_one(config, &name, &path, folders)
    };
    match examined {
        Ok(found) => found,
        Err(error) => Found::Faulty {
            name,
            path,
            error,
            checks: Vec::new(),
        },
    }
}

fn examine_one(
    config: &Config,
    name: &ScriptName,
    path: &Path,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<Found, String> {
    let file = trust::read(path, limits::SCRIPT_BYTES).inspect_err(|_| {
        // Also a link that leads nowhere is to be noticed when it is mended.
        folders.extend(link_target_folder(path));
    })?;
    folders.extend(file.folders);
    let (kind, language) = if path.extension() == Some(OsStr::new("lua")) {
        (ScriptKind::Lua, Language::Lua)
    } else {
        (ScriptKind::Executable, Language::Other)
    };
    let mut settings = Settings::default();
    header::apply(&file.bytes, language, &mut settings).map_err(|fault| fault.in_file(path))?;
    config.apply(name, &mut settings);
    let spec = ScriptSpec {
        name: name.clone(),
        path: path.to_owned(),
        content: (kind == ScriptKind::Lua).then(|| blake3::hash(&file.bytes).to_hex().to_string()),
        kind,
        settings,
        plugins: Vec::new(),
        check_defaults: crate::proto::messages::CheckDefaults::default(),
    };
    Ok(Found::Script {
        hash: fingerprint(&file.bytes, &spec),
        empty: file.bytes.is_empty(),
        spec: Arc::new(spec),
    })
}

fn link_target_folder(path: &Path) -> Option<PathBuf> {
    let target = path.parent()?.join(fs::read_link(path).ok()?);
    let folder = target.parent()?;
    folder.is_dir().then(|| folder.to_owned())
}

/// Different as soon as anything differs that a worker would notice.
pub(crate) fn fingerprint(bytes: &[u8], spec: &ScriptSpec) -> String {
    let spec = serde_json::to_vec(spec).expect("our own types serialize");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(spec.len() as u64).to_le_bytes());
    hasher.update(&spec);
    hasher.update(bytes);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests;
