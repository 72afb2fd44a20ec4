//! Which plugin workers a home has, and what each of them loads. Pure: what is read is handed in.
//!
//! Every file in `plugins/` has a worker of its own, `@STEM`, in which all instances of it live. What the binary brings
//! has one for all, [`STOCK`]; so has a file in `plugins/` that is, byte for byte, what the binary brings under its name.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalogue::{Catalogue, Fault, Instance, no_plugin};
use super::options::{CheckOptions, SpecNames};
use super::plugin::Source;
use super::section::Section;
use super::stock;
use crate::options::{Settings, header};
use crate::proto::ids::ScriptName;
use crate::proto::messages::{CheckDefaults, CheckKind, CheckSpec, PluginInstance};

/// The name (without its `@`) of the worker for what the binary brings.
pub const STOCK: &str = "stock";

/// One plugin worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    pub name: ScriptName,
    /// The plugin's file; `None`: what the binary brings.
    pub path: Option<PathBuf>,
    /// blake3 (hex) of the file's bytes.
    pub content: Option<String>,
    /// Of the file's header. Its `sandbox` is always said: off, unless the header allows something.
    pub settings: Settings,
    /// For [`crate::proto::messages::Setup::plugins`]; at least one, in the order of their names.
    pub instances: Vec<PluginInstance>,
}

/// A plugin that cannot be loaded as it stands: its file cannot be read or trusted, or its header is wrong. Its worker,
/// if one runs, goes on with what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Faulty {
    pub name: ScriptName,
    pub path: PathBuf,
    /// With file and line.
    pub error: String,
    /// What its worker would declare, if it has none: a broken check for each instance.
    pub checks: Vec<CheckSpec>,
}

/// All of a home.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    /// Sorted by name, each name once.
    pub workers: Vec<Group>,
    pub faulty: Vec<Faulty>,
    /// Checks that cannot be, with why: sections with a mistake or without their plugin, files with an impossible name.
    pub faults: Vec<(String, String)>,
    /// As `faults`, if no worker declares a check of that name: only they know.
    pub unclaimed: Vec<(String, String)>,
}

/// Groups the catalogue's instances by worker. `read` gives a file's bytes, or why it cannot be trusted or read.
pub fn groups(catalogue: &Catalogue, read: impl Fn(&Path) -> Result<Vec<u8>, String>) -> Groups {
    let mut groups = Groups {
        faults: catalogue.faults.iter().map(told).collect(),
        unclaimed: unclaimed(catalogue),
        ..Groups::default()
    };
    let mut brought = Vec::new();
    let mut files: Vec<(&Path, Vec<&Instance>)> = Vec::new();
    for instance in &catalogue.instances {
        match &instance.source {
            Source::Stock { .. } => brought.push(plugin(instance, catalogue)),
            Source::File(path) => match files.iter_mut().find(|(known, _)| known == path) {
                Some((_, instances)) => instances.push(instance),
                None => files.push((path, vec![instance])),
            },
        }
    }
    files.sort_by_key(|(path, _)| *path);
    for (path, instances) in files {
        let text = read(path);
        let is_stock = |bytes: &Vec<u8>| stock::is_text_of(instances[0].source.stem(), bytes);
        if text.as_ref().is_ok_and(is_stock) {
            brought.extend(instances.iter().map(|instance| PluginInstance {
                path: None,
                ..plugin(instance, catalogue)
            }));
        } else {
            groups.file(path, &instances, text, catalogue);
        }
    }
    groups.stock(brought);
    groups.workers.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

impl Groups {
    fn stock(&mut self, mut instances: Vec<PluginInstance>) {
        if instances.is_empty() {
            return;
        }
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        let mut settings = Settings::default();
        let bare = header::apply_to_plugin(b"", &mut settings);
        debug_assert!(bare.is_ok(), "no header is a good one");
        self.workers.push(Group {
            name: stock_worker(),
            path: None,
            content: None,
            settings,
            instances,
        });
    }

    fn file(
        &mut self,
        path: &Path,
        instances: &[&Instance],
        text: Result<Vec<u8>, String>,
        catalogue: &Catalogue,
    ) {
        let name = match worker_of(instances[0].source.stem()) {
            Ok(name) => name,
            Err(why) => {
                let fault = |instance: &&Instance| {
                    let message = format!("{}: {why}; rename the file", instance.shown);
                    (instance.name.clone(), message)
                };
                return self.faults.extend(instances.iter().map(fault));
            }
        };
        let examined = text.and_then(|bytes| {
            let mut settings = Settings::default();
            header::apply_to_plugin(&bytes, &mut settings)
                .map_err(|fault| fault.in_file(Path::new(&instances[0].shown)))?;
            Ok((settings, blake3::hash(&bytes).to_hex().to_string()))
        });
        match examined {
            Ok((settings, content)) => self.workers.push(Group {
                name,
                path: Some(path.to_owned()),
                content: Some(content),
                settings,
                instances: instances
                    .iter()
                    .map(|instance| plugin(instance, catalogue))
                    .collect(),
            }),
            Err(error) => self.faulty.push(Faulty {
                checks: instances
                    .iter()
                    .map(|instance| broken(instance, &error))
                    .collect(),
                name,
                path: path.to_owned(),
                error,
            }),
        }
    }
}

/// `@stock`
#[must_use]
pub fn stock_worker() -> ScriptName {
    ScriptName::of_plugin(STOCK).expect("letters")
}

/// The worker of a plugin's file.
///
/// # Errors
/// If no worker can have that name.
pub fn worker_of(stem: &str) -> Result<ScriptName, String> {
    if stem == STOCK {
        return Err("the plugins that moonkeep brings have the worker \"@stock\"".to_owned());
    }
    ScriptName::of_plugin(stem)
}

fn told(fault: &Fault) -> (String, String) {
    (fault.name.clone(), fault.message.clone())
}

fn unclaimed(catalogue: &Catalogue) -> Vec<(String, String)> {
    let stems = catalogue.stems();
    let nobodys = |section: &Section| {
        let why = no_plugin(&section.name, &section.name, &stems);
        (section.name.clone(), why)
    };
    catalogue.loose.iter().map(nobodys).collect()
}

/// With every section that names no plugin: it may be named after one of the checks.
fn plugin(instance: &Instance, catalogue: &Catalogue) -> PluginInstance {
    let sections = instance.sections.iter().chain(&catalogue.loose);
    PluginInstance {
        name: instance.name.clone(),
        path: match &instance.source {
            Source::File(path) => Some(path.clone()),
            Source::Stock { .. } => None,
        },
        stem: instance.source.stem().to_owned(),
        shown: instance.shown.clone(),
        renames: instance.renames,
        sections: sections.map(Section::told).collect(),
    }
}

fn broken(instance: &Instance, error: &str) -> CheckSpec {
    let names = SpecNames {
        check: &instance.name,
        instance: &instance.name,
        file: &instance.shown,
        on_change: false,
    };
    let kind = CheckKind::Broken {
        message: error.to_owned(),
        traceback: None,
    };
    CheckOptions::default().spec(names, kind, &CheckDefaults::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::catalogue::catalogue;
    use crate::options::{Config, SandboxMode};
    use crate::paths::Home;

    fn of(files: &[(&str, &str)], config: &str) -> Groups {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
        for (file, text) in files {
            std::fs::write(folder.path().join("plugins").join(file), text).expect("a file");
        }
        let home = Home::at(folder.path()).expect("a home");
        let catalogue =
            catalogue(&home, &Config::parse(config).expect("good TOML")).expect("readable");
        groups(&catalogue, |path| {
            std::fs::read(path).map_err(|error| error.to_string())
        })
    }

    type Shown<'a> = (String, Vec<(&'a str, Option<&'a str>)>);

    fn shown(groups: &Groups) -> Vec<Shown<'_>> {
        groups.workers.iter().map(shown_one).collect()
    }

    fn shown_one(group: &Group) -> Shown<'_> {
        let instances = group.instances.iter().map(|instance| {
            let path = instance.path.as_ref();
            let file = path.and_then(|path| path.file_name()?.to_str());
            (instance.name.as_str(), file)
        });
        (group.name.as_str().to_owned(), instances.collect())
    }

    #[test]
    fn each_file_has_its_worker_and_what_is_brought_has_one() {
        let text = stock::find("disk").expect("stock").read().expect("text");
        let text = String::from_utf8(text).expect("UTF-8");
        let found = of(
            &[
                ("disk.lua", &text),
                ("load.lua", "-- own"),
                ("web.lua", "-- own"),
            ],
            "[check.two]\nplugin = \"web\"\n[check.root]\nplugin = \"disk\"\n[check.ping]\nplugin = \"tcp\"\n[check.own]\n",
        );
        assert_eq!(
            shown(&found),
            [
                ("@load".to_owned(), vec![("load", Some("load.lua"))]),
                (
                    "@stock".to_owned(),
                    vec![("disk", None), ("ping", None), ("root", None)]
                ),
                (
                    "@web".to_owned(),
                    vec![("two", Some("web.lua")), ("web", Some("web.lua"))]
                ),
            ]
        );
        assert_eq!(found.unclaimed.len(), 1, "{:?}", found.unclaimed);
        let web = &found.workers[2];
        let hash = blake3::hash(b"-- own").to_hex().to_string();
        assert_eq!(web.content, Some(hash));
        let names = |instance: &PluginInstance| -> Vec<String> {
            instance
                .sections
                .iter()
                .map(|(name, _)| name.clone())
                .collect()
        };
        assert_eq!(names(&web.instances[0]), ["two", "own"]);
        assert_eq!(names(&web.instances[1]), ["own"]);
    }

    #[test]
    fn the_header_of_a_file_sets_its_worker_and_a_wrong_one_breaks_its_checks() {
        let found = of(
            &[
                (
                    "a.lua",
                    "-- /// moonkeep\n-- allow.net = [\"*:80\"]\n-- ///\n",
                ),
                ("b.lua", "-- /// moonkeep\n-- queue = 1\n-- ///\n"),
                ("c.lua", ""),
            ],
            "[check.more]\nplugin = \"b\"\n",
        );
        assert_eq!(found.workers[0].settings.allow.net, ["*:80"]);
        assert_eq!(found.workers[0].settings.sandbox, Some(SandboxMode::On));
        assert_eq!(found.workers[1].settings.sandbox, Some(SandboxMode::Off));
        let [faulty] = &found.faulty[..] else {
            panic!("{:?}", found.faulty);
        };
        assert!(
            faulty.error.starts_with("plugins/b.lua:2: the key"),
            "{faulty:?}"
        );
        let names: Vec<&str> = faulty.checks.iter().map(|check| &*check.name).collect();
        assert_eq!(names, ["b", "more"]);
    }

    #[test]
    fn a_file_whose_name_no_worker_can_have_is_a_fault() {
        let found = of(&[("stock.lua", "-- own"), ("a b.lua", "")], "");
        assert_eq!(found.workers, []);
        assert_eq!(found.faults.len(), 2);
        for (_, why) in &found.faults {
            assert!(why.ends_with("rename the file"), "{why}");
        }
    }
}
