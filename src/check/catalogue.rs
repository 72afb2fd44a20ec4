//! Which plugin instances there are: the home's own files, the sections of `moonkeep.toml`, and what the command
//! line names. Nothing is loaded here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::params::Written;
use super::plugin::Source;
use super::section::Section;
use super::stock;
use crate::nearest::nearest;
use crate::options::Config;
use crate::paths::{Home, is_leftover};

/// One plugin with what was written for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Of its section, else the file's stem.
    pub name: String,
    pub source: Source,
    /// The file as messages have it.
    pub shown: String,
    /// Its checks are named after the section, not by themselves.
    pub renames: bool,
    pub sections: Vec<Section>,
}

/// What cannot become an instance, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub name: String,
    pub message: String,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// In the order of their names.
    pub instances: Vec<Instance>,
    pub faults: Vec<Fault>,
    /// Sections that name no plugin; their names may be those of checks.
    pub loose: Vec<Section>,
    /// Names of instances that `enabled = false` switched off.
    pub disabled: Vec<String>,
}

/// Reads `plugins/` and the sections.
///
/// # Errors
/// If `plugins/` is there and cannot be listed.
pub fn catalogue(home: &Home, config: &Config) -> Result<Catalogue, String> {
    let mut catalogue = Catalogue::default();
    for path in plugin_files(&home.plugins())? {
        catalogue.instances.push(Instance::of_file(home, path));
    }
    for (name, section) in config.checks() {
        match Section::parse(name, &section.table) {
            Ok(section) => catalogue.place(section),
            Err(why) => catalogue.faults.push(Fault {
                name: name.to_owned(),
                message: format!("moonkeep.toml:{}: [check.{name}] {why}", section.line),
            }),
        }
    }
    catalogue.instances.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(catalogue)
}

/// The Lua files of a folder that are plugins, sorted. No folder: none.
fn plugin_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(format!(
                "cannot list {}: {error}; make it readable",
                folder.display()
            ));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_plugin(path))
        .collect();
    files.sort();
    Ok(files)
}

fn is_plugin(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let text = name.to_string_lossy();
    text.ends_with(".lua") && !text.ends_with("_test.lua") && !is_leftover(name) && path.is_file()
}

impl Instance {
    /// The plugin of a file, in the home or elsewhere.
    #[must_use]
    pub fn of_file(home: &Home, path: PathBuf) -> Self {
        let shown = path
            .strip_prefix(home.root())
            .unwrap_or(&path)
            .display()
            .to_string();
        Instance::new(Source::File(path), shown)
    }

    /// A plugin of the binary, without a section.
    #[must_use]
    pub fn of_stock(source: Source) -> Self {
        let shown = format!("stock/{}.lua", source.stem());
        Instance::new(source, shown)
    }

    fn new(source: Source, shown: String) -> Self {
        Instance {
            name: source.stem().to_owned(),
            source,
            shown,
            renames: false,
            sections: Vec::new(),
        }
    }

    /// What was written for it, by all its sections.
    #[must_use]
    pub fn written(&self) -> BTreeMap<String, Written> {
        self.sections
            .iter()
            .flat_map(|section| section.params.clone())
            .collect()
    }
}

impl Catalogue {
    /// Finds the section its plugin.
    fn place(&mut self, section: Section) {
        let stem = section.plugin.as_deref().unwrap_or(&section.name);
        let own = self
            .instances
            .iter()
            .position(|instance| !instance.renames && instance.source.stem() == stem);
        if !section.enabled {
            if own.is_some() && stem == section.name {
                self.instances
                    .retain(|instance| instance.renames || instance.source.stem() != stem);
            }
            self.disabled.push(section.name);
            return;
        }
        match own {
            Some(at) if stem == section.name => self.instances[at].sections.push(section),
            Some(at) => {
                let instance = self.instances[at].clone();
                self.add(
                    Instance {
                        sections: Vec::new(),
                        ..instance
                    },
                    section,
                );
            }
            None => match (stock::find(stem), &section.plugin) {
                (Some(source), _) => self.add(Instance::of_stock(source), section),
                (None, None) => self.loose.push(section),
                (None, Some(plugin)) => {
                    let message = no_plugin(&section.name, plugin, &self.stems());
                    self.faults.push(Fault {
                        name: section.name,
                        message,
                    });
                }
            },
        }
    }

    fn add(&mut self, instance: Instance, section: Section) {
        self.instances.push(Instance {
            renames: section.name != instance.source.stem(),
            name: section.name.clone(),
            sections: vec![section],
            ..instance
        });
    }

    /// Every name that `plugin = ...` can take.
    #[must_use]
    pub fn stems(&self) -> Vec<String> {
        let mut stems: Vec<String> = stock::names().map(str::to_owned).collect();
        let own = self.instances.iter();
        stems.extend(own.map(|instance| instance.source.stem().to_owned()));
        stems.sort_unstable();
        stems.dedup();
        stems
    }
}

/// The plugin that a name or a file means, without a section.
///
/// # Errors
/// If there is none; with the nearest.
pub fn find(home: &Home, word: &str) -> Result<Instance, String> {
    let bare = catalogue(home, &Config::default())?;
    let own = bare
        .instances
        .iter()
        .find(|instance| instance.name == word || instance.shown == word);
    if let Some(instance) = own {
        return Ok(instance.clone());
    }
    if let Some(source) = stock::find(word) {
        return Ok(Instance::of_stock(source));
    }
    match std::fs::canonicalize(word) {
        Ok(path) if path.is_file() => Ok(Instance::of_file(home, path)),
        Ok(_) | Err(_) => {
            let stems = bare.stems();
            let hint = match nearest(word, stems.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", stems.join(", ")),
            };
            Err(format!("there is no plugin `{word}`; {hint}"))
        }
    }
}

/// Why a section has no plugin.
#[must_use]
pub fn no_plugin(section: &str, plugin: &str, stems: &[String]) -> String {
    let hint = match nearest(plugin, stems.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", stems.join(", ")),
    };
    format!("[check.{section}] needs plugin = \"...\" and there is no plugin \"{plugin}\"; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[&str], config: &str) -> Catalogue {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
        for file in files {
            std::fs::write(folder.path().join("plugins").join(file), "").expect("a file");
        }
        let home = Home::at(folder.path()).expect("a home");
        catalogue(&home, &Config::parse(config).expect("good TOML")).expect("readable")
    }

    fn names(catalogue: &Catalogue) -> Vec<(&str, &str, bool)> {
        catalogue
            .instances
            .iter()
            .map(|i| (i.name.as_str(), i.shown.as_str(), i.renames))
            .collect()
    }

    #[test]
    fn files_and_sections_become_instances() {
        let found = with(
            &[
                "web.lua",
                "web_test.lua",
                ".hidden.lua",
                "notes.txt",
                "old.lua~",
            ],
            "[check.web]\nurl = \"x\"\n[check.two]\nplugin = \"web\"\n[check.root]\nplugin = \"disk\"\n[check.load]\n",
        );
        assert_eq!(
            names(&found),
            [
                ("load", "stock/load.lua", false),
                ("root", "stock/disk.lua", true),
                ("two", "plugins/web.lua", true),
                ("web", "plugins/web.lua", false),
            ]
        );
        assert_eq!(found.instances[3].written().len(), 1);
        assert!(found.instances[2].written().is_empty());
    }

    #[test]
    fn a_wrong_section_is_a_fault_of_its_own() {
        let found = with(
            &["web.lua"],
            "[check.a]\nplugin = \"webb\"\n[check.b]\nplugin = \"web\"\nevery = \"soon\"\n",
        );
        let [unknown, wrong] = &found.faults[..] else {
            panic!("{:?}", found.faults);
        };
        assert!(
            unknown.message.contains("did you mean \"web\"?"),
            "{unknown:?}"
        );
        assert!(
            wrong
                .message
                .starts_with("moonkeep.toml:3: [check.b] every takes"),
            "{wrong:?}"
        );
    }

    #[test]
    fn disabled_ones_are_not_there() {
        let found = with(
            &["web.lua"],
            "[check.web]\nenabled = false\n[check.x]\nplugin = \"disk\"\nenabled = false\n",
        );
        assert_eq!(found.instances, []);
        assert_eq!(found.disabled, ["web", "x"]);
    }
}
