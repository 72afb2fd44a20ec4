//! What the worker program itself tells the daemon: written by serde where it is rare and has structure.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{Field, Fields};
use super::{answers, write};
use crate::proto::messages::{Delivery, Handler, Json, LoadedFile, Notice, Refusal};

/// A handler on the wire: its time limit is in seconds.
#[derive(Serialize, Deserialize)]
struct HandlerOnTheWire {
    name: Box<str>,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
}

fn write_handlers(object: &mut write::Object<'_>, handlers: &[Handler]) {
    let wire: Vec<HandlerOnTheWire> = handlers
        .iter()
        .map(|handler| HandlerOnTheWire {
            name: handler.name.clone(),
            delivery: handler.delivery,
            timeout: handler.timeout.map(|time| time.as_secs_f64()),
        })
        .collect();
    object.raw("handlers", Json::of(&wire).as_str());
}

fn read_handlers(fields: &Fields<'_>) -> Result<Option<Vec<Handler>>, Refusal> {
    let wire: Option<Vec<HandlerOnTheWire>> = fields.parsed(Field::Handlers)?;
    Ok(wire.map(|list| {
        list.into_iter()
            .map(|handler| Handler {
                name: handler.name,
                delivery: handler.delivery,
                timeout: handler
                    .timeout
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            })
            .collect()
    }))
}

/// Appends a notice of the worker program.
pub fn encode_notice(notice: &Notice, out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    match notice {
        Notice::Ready {
            handlers,
            handover,
            memory_bytes,
        } => {
            object.raw_string("command", "ready");
            if let Some(handlers) = handlers {
                write_handlers(&mut object, handlers);
            }
            object
                .bool("handover", *handover)
                .integer("memory_bytes", *memory_bytes);
        }
        Notice::Handlers { handlers, handover } => {
            object.raw_string("command", "handlers");
            write_handlers(&mut object, handlers);
            object.bool("handover", *handover);
        }
        Notice::Loaded { files } => {
            object
                .raw_string("command", "loaded")
                .raw("files", Json::of(&readable_files(files)).as_str());
        }
        Notice::Pong { beat, memory_bytes } => {
            object
                .raw_string("command", "pong")
                .integer("beat", *beat)
                .integer("memory_bytes", *memory_bytes);
        }
        Notice::Handover { state } => {
            object
                .raw_string("command", "handover")
                .maybe_raw("state", state.as_ref().map(Json::as_str));
        }
        Notice::Listen { patterns } => {
            object
                .raw_string("command", "listen")
                .raw("patterns", Json::of(patterns).as_str());
        }
        Notice::Declared { checks } => {
            object
                .raw_string("command", "declared")
                .raw("checks", Json::of(checks).as_str());
        }
        Notice::Confined { sandbox } => {
            object
                .raw_string("command", "confined")
                .raw("sandbox", Json::of(sandbox).as_str());
        }
        Notice::Failed { refusal } => {
            object.raw_string("command", "failed");
            answers::write_refusal(object.key("error"), refusal);
        }
        Notice::Outdated => {
            object.raw_string("command", "outdated");
        }
        Notice::Unrecorded => {
            object.raw_string("command", "unrecorded");
        }
    }
    object.end_line();
}

fn readable_files(files: &[LoadedFile]) -> Vec<LoadedFile> {
    let readable = |file: &LoadedFile| LoadedFile {
        path: PathBuf::from(file.path.to_string_lossy().into_owned()),
        hash: file.hash.clone(),
    };
    files.iter().map(readable).collect()
}

pub(super) fn read_notice(fields: &Fields<'_>) -> Result<Option<Notice>, Refusal> {
    let Some(command) = fields.string(Field::Command)? else {
        return Ok(None);
    };
    let flag = |field| Ok::<bool, Refusal>(fields.parsed(field)?.unwrap_or(false));
    let number = |field| Ok::<u64, Refusal>(fields.whole(field)?.unwrap_or(0));
    Ok(Some(match command.as_ref() {
        "ready" => Notice::Ready {
            handlers: read_handlers(fields)?,
            handover: flag(Field::Handover)?,
            memory_bytes: number(Field::MemoryBytes)?,
        },
        "handlers" => Notice::Handlers {
            handlers: read_handlers(fields)?.unwrap_or_default(),
            handover: flag(Field::Handover)?,
        },
        "loaded" => Notice::Loaded {
            files: fields.parsed(Field::Files)?.unwrap_or_default(),
        },
        "pong" => Notice::Pong {
            beat: number(Field::Beat)?,
            memory_bytes: number(Field::MemoryBytes)?,
        },
        "handover" => Notice::Handover {
            state: fields.json(Field::State),
        },
        "listen" => Notice::Listen {
            patterns: fields.parsed(Field::Patterns)?.unwrap_or_default(),
        },
        "declared" => Notice::Declared {
            checks: fields.parsed(Field::Checks)?.unwrap_or_default(),
        },
        "confined" => match fields.parsed(Field::Sandbox)? {
            Some(sandbox) => Notice::Confined { sandbox },
            None => return Ok(None),
        },
        "failed" => Notice::Failed {
            refusal: answers::read_refusal(fields)?,
        },
        "outdated" => Notice::Outdated,
        "unrecorded" => Notice::Unrecorded,
        _ => return Ok(None),
    }))
}
