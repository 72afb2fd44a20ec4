//! The journal's tables: what stands in which column, and a row's way there and back. Opens nothing.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Row, ToSql};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::engine::records::{Entry, EntryId, EntryState, Recorded};
use crate::options::Durability;
use crate::proto::ids::{ClientId, Generation, ScriptName};
use crate::proto::messages::{Body, Delivery, ErrorCode, Json, Payload, Refusal, Work};

/// Version of what stands below. A file with a higher one is of a later moonkeep, and left alone.
pub(super) const VERSION: i64 = 1;

/// The tables. Whoever looks at them with `sqlite3 -readonly state/journal.db` reads these comments with `.schema`.
pub(super) const SCHEMA: &str = "
CREATE TABLE request (
  entry      INTEGER PRIMARY KEY, -- rises with each request that is accepted
  id         TEXT NOT NULL,       -- the client's UUIDv7: its idempotency key
  script     TEXT NOT NULL,
  handler    TEXT,                -- NULL: a piece of Lua to evaluate, in params
  params     TEXT,                -- JSON as it was sent; NULL stands for {}
  client     TEXT,                -- UUID, if the client named itself
  delivery   TEXT NOT NULL,       -- once, idempotent, query
  durability TEXT NOT NULL,       -- process: survives the daemon; power: survives a power loss
  accepted   INTEGER NOT NULL,    -- milliseconds since 1970
  deadline   INTEGER NOT NULL,    -- milliseconds since 1970
  state      TEXT NOT NULL,       -- accepted, started, ended
  generation INTEGER,             -- of the worker that it was given to last
  starts     INTEGER NOT NULL,    -- how often it was given to a worker
  ended      INTEGER,             -- milliseconds since 1970
  status     TEXT,                -- how it ended: ok, or the error's code
  form       TEXT,                -- of the result: json, lines, empty; error: an object with the error
  result     TEXT
) STRICT;
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value ANY                       -- low_water: ids of up to this time that are not in request never run
) STRICT, WITHOUT ROWID;
";

/// Names in the table `meta`.
pub(super) mod meta {
    /// See [`VERSION`](super::VERSION).
    pub(in crate::daemon::journal) const SCHEMA: &str = "schema";
    /// Milliseconds since 1970.
    pub(in crate::daemon::journal) const LOW_WATER: &str = "low_water";
    /// The kernel's id of the boot in which the file was last opened.
    pub(in crate::daemon::journal) const BOOT: &str = "boot";
    /// Counts the checkpoints.
    pub(in crate::daemon::journal) const CHECKPOINTS: &str = "checkpoints";
    /// 1 after a daemon has left in order, 0 while one has the file.
    pub(in crate::daemon::journal) const CLEAN: &str = "clean";
}

pub(super) const INSERT: &str = "INSERT INTO request (entry, id, script, handler, params, client, delivery, \
    durability, accepted, deadline, state, generation, starts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
pub(super) const START: &str = "UPDATE request SET state = 'started', generation = ?2, delivery = ?3, \
    starts = starts + 1 WHERE entry = ?1";
pub(super) const BACK: &str =
    "UPDATE request SET state = 'accepted', generation = NULL WHERE entry = ?1";
pub(super) const END: &str = "UPDATE request SET state = 'ended', ended = ?2, status = ?3, form = ?4, \
    result = ?5 WHERE entry = ?1";
pub(super) const DELETE: &str = "DELETE FROM request WHERE entry = ?1";
pub(super) const RAISE_LOW_WATER: &str = "INSERT INTO meta (name, value) VALUES ('low_water', ?1) \
    ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)";
pub(super) const SET_META: &str = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const COUNT_META: &str = "INSERT INTO meta (name, value) VALUES (?1, 1) \
    ON CONFLICT (name) DO UPDATE SET value = value + 1";
pub(super) const GET_META: &str = "SELECT value FROM meta WHERE name = ?1";
pub(super) const ALL: &str = "SELECT entry, id, script, handler, params, client, delivery, durability, accepted, \
    deadline, state, generation, starts, ended, status, form, result FROM request ORDER BY entry";

/// The words of an enum in a column.
pub(super) fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Query => "query",
        Delivery::Idempotent => "idempotent",
        Delivery::Once => "once",
    }
}

/// See [`delivery_word`].
pub(super) fn durability_word(durability: Durability) -> &'static str {
    match durability {
        Durability::Power => "power",
        Durability::Process => "process",
        Durability::Off => "off",
    }
}

/// A number of ours as SQLite holds it: the bits, so that every value comes back.
pub(super) fn number(value: u64) -> i64 {
    value.cast_signed()
}

/// What handler and params hold.
pub(super) fn work_columns(work: &Work) -> (Option<&str>, Option<&str>) {
    match work {
        Work::Call { handler, params } => (Some(handler), params.as_ref().map(Json::as_str)),
        Work::Eval { code } => (None, Some(code)),
    }
}

/// What status, form and result hold.
#[derive(Debug)]
pub(super) struct EndColumns<'b> {
    pub(super) status: &'static str,
    pub(super) form: &'static str,
    pub(super) result: Option<Text<'b>>,
}

/// Text that is borrowed where it can be.
#[derive(Debug)]
pub(super) enum Text<'b> {
    Lent(&'b str),
    Own(String),
}

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Text::Lent(text) => text.to_sql(),
            Text::Own(text) => text.to_sql(),
        }
    }
}

/// An error beyond its code, as the column `result` holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Fault<'a> {
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
}

impl<'b> EndColumns<'b> {
    /// `None` if the body ends nothing.
    pub(super) fn of(body: &'b Body) -> Option<Self> {
        match body {
            Body::Ok { result, .. } => Some(EndColumns::of_result(result)),
            Body::Error(refusal) => Some(EndColumns {
                status: refusal.code.as_str(),
                form: "error",
                result: Some(Text::Own(fault_text(refusal))),
            }),
            Body::Accepted | Body::Running | Body::Part(_) => None,
        }
    }

    fn of_result(result: &'b Payload) -> Self {
        let (form, result) = match result {
            Payload::Empty => ("empty", None),
            Payload::Json(json) => ("json", Some(json.as_str())),
            Payload::Lines(lines) => ("lines", Some(&**lines)),
        };
        EndColumns {
            status: "ok",
            form,
            result: result.map(Text::Lent),
        }
    }
}

fn fault_text(refusal: &Refusal) -> String {
    let fault = Fault {
        message: refusal.message.clone(),
        retry_after_ms: refusal
            .retry_after
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        data: refusal
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str(data.as_str()).ok()),
        traceback: refusal.traceback.clone(),
    };
    Json::of(&fault).as_str().to_owned()
}

/// A column holds what no journal writes.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of the journal holds {found:?}")]
struct Odd {
    column: &'static str,
    found: String,
}

fn odd(column: &'static str, found: impl fmt::Display) -> rusqlite::Error {
    let found = found.to_string().chars().take(64).collect();
    let odd = Odd { column, found };
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(odd))
}

/// A column with a number of ours. See [`number`].
struct Number(u64);

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(bits) => Ok(Number(bits.cast_unsigned())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => {
                Err(FromSqlError::InvalidType)
            }
        }
    }
}

fn get_number(row: &Row, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, Number>(column).map(|number| number.0)
}

fn get_text(row: &Row, column: &str) -> rusqlite::Result<String> {
    row.get(column)
}

/// Reads one row of [`ALL`].
///
/// # Errors
/// If it is none that a journal has written.
pub(super) fn entry_of(row: &Row) -> rusqlite::Result<Entry> {
    Ok(Entry {
        entry: EntryId(get_number(row, "entry")?),
        request: recorded_of(row)?,
        starts: row.get("starts")?,
        state: state_of(row)?,
    })
}

fn recorded_of(row: &Row) -> rusqlite::Result<Recorded> {
    let id = get_text(row, "id")?;
    let client: Option<String> = row.get("client")?;
    let client = client
        .map(|text| Uuid::try_parse(&text).map_err(|_| odd("client", text)))
        .transpose()?;
    Ok(Recorded {
        id: Uuid::try_parse(&id).map_err(|_| odd("id", id))?,
        script: ScriptName::parse(&get_text(row, "script")?).map_err(|why| odd("script", why))?,
        work: work_of(row)?,
        delivery: delivery_of(&get_text(row, "delivery")?)?,
        client: client.map(ClientId),
        durability: durability_of(&get_text(row, "durability")?)?,
        accepted_unix_ms: get_number(row, "accepted")?,
        deadline_unix_ms: get_number(row, "deadline")?,
    })
}

fn work_of(row: &Row) -> rusqlite::Result<Work> {
    let handler: Option<String> = row.get("handler")?;
    let params: Option<String> = row.get("params")?;
    let Some(handler) = handler else {
        return Ok(Work::Eval {
            code: params.unwrap_or_default(),
        });
    };
    let params = params.map(|text| json_of("params", &text)).transpose()?;
    Ok(Work::Call {
        handler: handler.into(),
        params,
    })
}

fn json_of(column: &'static str, text: &str) -> rusqlite::Result<Json> {
    Json::parse(text).map_err(|_| odd(column, text))
}

fn delivery_of(word: &str) -> rusqlite::Result<Delivery> {
    [Delivery::Query, Delivery::Idempotent, Delivery::Once]
        .into_iter()
        .find(|delivery| delivery_word(*delivery) == word)
        .ok_or_else(|| odd("delivery", word))
}

fn durability_of(word: &str) -> rusqlite::Result<Durability> {
    [Durability::Power, Durability::Process, Durability::Off]
        .into_iter()
        .find(|durability| durability_word(*durability) == word)
        .ok_or_else(|| odd("durability", word))
}

fn state_of(row: &Row) -> rusqlite::Result<EntryState> {
    match get_text(row, "state")?.as_str() {
        "accepted" => Ok(EntryState::Accepted),
        "started" => Ok(EntryState::Started(Generation(get_number(
            row,
            "generation",
        )?))),
        "ended" => Ok(EntryState::Ended {
            body: body_of(row)?,
            at_unix_ms: get_number(row, "ended")?,
        }),
        other => Err(odd("state", other)),
    }
}

fn body_of(row: &Row) -> rusqlite::Result<Body> {
    let result: Option<String> = row.get("result")?;
    let result = result.unwrap_or_default();
    let payload = match get_text(row, "form")?.as_str() {
        "empty" => Payload::Empty,
        "json" => Payload::Json(json_of("result", &result)?),
        "lines" => Payload::Lines(result.into()),
        "error" => return refusal_of(&get_text(row, "status")?, &result).map(Body::Error),
        other => return Err(odd("form", other)),
    };
    Ok(Body::Ok {
        result: payload,
        replayed: false,
    })
}

fn refusal_of(status: &str, result: &str) -> rusqlite::Result<Refusal> {
    let code = ErrorCode::ALL
        .into_iter()
        .find(|code| code.as_str() == status)
        .ok_or_else(|| odd("status", status))?;
    let fault: Fault = serde_json::from_str(result).map_err(|_| odd("result", result))?;
    Ok(Refusal {
        code,
        message: fault.message,
        retry_after: fault.retry_after_ms.map(std::time::Duration::from_millis),
        data: fault.data.map(Json::from_raw),
        traceback: fault.traceback,
    })
}
