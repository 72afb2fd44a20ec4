//! `c.state` of all checks, as it passes from one generation of a plugin worker to the next: by instance, then by the
//! check's own name. Each instance that was loaded is named there, also if nothing of it is kept.

use std::collections::BTreeMap;

use mlua::{Lua, Table, Value};
use serde_json::value::RawValue;

use super::suite::{Suite, Work};
use crate::limits;
use crate::lua::json;
use crate::proto::messages::Json;

/// By instance and check.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<String, BTreeMap<String, Box<RawValue>>>);

impl Memory {
    /// What the generation before has left. What makes no sense is as good as nothing.
    pub(super) fn heard(handover: Option<&Json>) -> Self {
        let read = handover.and_then(|json| serde_json::from_str(json.as_str()).ok());
        Memory(read.unwrap_or_default())
    }

    /// Whether the generation before had loaded this instance.
    pub(super) fn knows(&self, instance: &str) -> bool {
        self.0.contains_key(instance)
    }

    /// Gives the checks their tables back.
    pub(super) fn restore(&self, suite: &mut Suite) {
        for entry in &mut suite.entries {
            let Work::Run(runnable) = &mut entry.work else {
                continue;
            };
            let kept = self.0.get(&entry.labels.instance);
            let Some(kept) = kept.and_then(|checks| checks.get(&runnable.check.name)) else {
                continue;
            };
            let decoded = json::decode(runnable.state.lua(), kept.get().as_bytes());
            if let Ok(Value::Table(table)) = decoded {
                runnable.check.memory = table;
            }
        }
    }

    /// Takes all tables together. What cannot be kept is left out, each with a sentence.
    pub(super) fn of(suite: &Suite) -> (Json, Vec<String>) {
        let mut memory = Memory::default();
        let mut complaints = Vec::new();
        let mut bytes = 0;
        for entry in &suite.entries {
            let Work::Run(runnable) = &entry.work else {
                if matches!(entry.work, Work::Hear) {
                    memory.0.entry(entry.labels.instance.clone()).or_default();
                }
                continue;
            };
            let checks = memory.0.entry(entry.labels.instance.clone()).or_default();
            let mut complain = |why: String| complaints.push(format!("{}: {why}", entry.name));
            let lua = runnable.state.lua();
            let Some(kept) = table(lua, &runnable.check.memory, &mut complain) else {
                continue;
            };
            bytes += entry.labels.instance.len() + runnable.check.name.len() + kept.get().len() + 8;
            if bytes > limits::HANDOVER_BYTES {
                complain(format!(
                    "its c.state is not kept over the reload: all of the worker together have more than {} bytes",
                    limits::HANDOVER_BYTES
                ));
                bytes -= kept.get().len();
            } else {
                checks.insert(runnable.check.name.clone(), kept);
            }
        }
        (Json::of(&memory.0), complaints)
    }
}

/// One table; if it cannot be kept whole, without the keys that stand in the way. `None`: there is nothing to keep.
fn table(lua: &Lua, table: &Table, complain: &mut impl FnMut(String)) -> Option<Box<RawValue>> {
    if table.is_empty() {
        return None;
    }
    if let Ok(whole) = encoded(lua, &Value::Table(table.clone())) {
        return Some(whole);
    }
    let mut kept = BTreeMap::new();
    for (key, value) in table.pairs::<Value, Value>().flatten() {
        let Some(name) = key.as_string().map(mlua::LuaString::to_string_lossy) else {
            let shown = key.to_string().unwrap_or_default();
            complain(format!(
                "c.state[{shown}] is not kept over the reload: beside other keys only texts can be keys in JSON"
            ));
            continue;
        };
        match encoded(lua, &value) {
            Ok(value) => {
                kept.insert(name, value);
            }
            Err(why) => complain(format!("c.state.{name} is not kept over the reload: {why}")),
        }
    }
    let text = serde_json::to_string(&kept).ok()?;
    RawValue::from_string(text).ok()
}

fn encoded(lua: &Lua, value: &Value) -> Result<Box<RawValue>, String> {
    let json = json::to_json(lua, "it", value).map_err(|fault| fault.to_string())?;
    RawValue::from_string(json.as_str().to_owned()).map_err(|error| error.to_string())
}
