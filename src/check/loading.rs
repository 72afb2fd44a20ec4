//! Loading plugin instances side by side, and finding the sections that are named after a check their plugin.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::task::JoinSet;

use super::catalogue::Instance;
use super::params::Written;
use super::plugin::{self, Ground, Plugin};
use super::section::Section;
use crate::lua::errors::Failure;

/// Where instances are loaded.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// In a process that looks at the whole home once: each on the ground of its own header.
    Home(&'a Path),
    /// In a plugin worker.
    Worker(&'a Ground),
}

/// What became of an instance.
#[derive(Debug)]
pub enum Loaded {
    Plugin(Box<Plugin>),
    /// Its code is broken.
    Failed(Failure),
    /// Its file cannot be read or trusted, or its header is wrong.
    Refused(String),
    /// Its file is not what it was to be: nothing of it ran.
    Outdated,
}

impl Loaded {
    fn declares(&self, name: &str) -> bool {
        match self {
            Loaded::Plugin(plugin) => {
                plugin.checks.iter().any(|check| check.name == name)
                    || plugin.heartbeats.iter().any(|beat| beat.name == name)
            }
            Loaded::Failed(_) | Loaded::Refused(_) | Loaded::Outdated => false,
        }
    }
}

/// Loads plugins side by side; the results are in the order of the instances. Cancel safe: dropping it ends them.
pub async fn load_all(
    place: Place<'_>,
    instances: &[Instance],
    sets: &BTreeMap<String, Written>,
) -> Vec<Loaded> {
    let mut tasks = JoinSet::new();
    for (at, instance) in instances.iter().enumerate() {
        let ground = match place {
            Place::Home(home) => Ground::of(home, &instance.source, &instance.shown),
            Place::Worker(ground) => Ok(ground.clone()),
        };
        let instance = instance.clone();
        let mut written = instance.written();
        written.extend(sets.clone());
        tasks.spawn_local(async move {
            let ground = match ground {
                Ok(ground) => ground,
                Err(why) => return (at, Loaded::Refused(why)),
            };
            let loaded = plugin::load(&ground, &instance.source, &instance.shown, written).await;
            let loaded = match loaded {
                Ok(Some(plugin)) => Loaded::Plugin(Box::new(plugin)),
                Ok(None) => Loaded::Outdated,
                Err(failure) => Loaded::Failed(failure),
            };
            (at, loaded)
        });
    }
    let mut loaded = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((at, plugin)) => {
                loaded.insert(at, plugin);
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    loaded.into_values().collect()
}

/// Where sections without a plugin have gone.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The instances that got some: they have to be loaded anew.
    pub by: Vec<usize>,
    pub nobodys: Vec<Section>,
}

/// A section without a plugin may be named after a check: its parameters are then those of that check's plugin. Of several
/// instances of it the one is meant whose checks go by their own names.
pub fn adopt(instances: &mut [Instance], loose: Vec<Section>, loaded: &[Loaded]) -> Adopted {
    let mut adopted = Adopted::default();
    for section in loose {
        let declaring = (0..loaded.len()).filter(|at| loaded[*at].declares(&section.name));
        match declaring.min_by_key(|at| instances[*at].renames) {
            Some(at) => {
                instances[at].sections.push(section);
                if !adopted.by.contains(&at) {
                    adopted.by.push(at);
                }
            }
            None => adopted.nobodys.push(section),
        }
    }
    adopted
}
