//! `state/checks.db`: a row for each check and for each alert that is on its way. SQLite in WAL mode.
//!
//! A commit is a write into the kernel's memory: it survives the process. A power loss may cost the newest rows, never
//! the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::limits;
use crate::monitor::alphabet::{Delivery, DeliveryId, Keep, Kept};
use crate::proto::messages::Json;

use super::super::journal::files;

/// Of the tables.
const VERSION: i64 = 1;
const SCHEMA: &str = "CREATE TABLE checks (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID; \
    CREATE TABLE deliveries (id INTEGER PRIMARY KEY, record TEXT NOT NULL);";
/// For somebody's `sqlite3` that holds the lock.
const BUSY: Duration = Duration::from_millis(500);

/// Names a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Check(String),
    Delivery(DeliveryId),
}

/// What is to stand in the rows; `None`: nothing. Later changes replace earlier ones, so it is never larger than what
/// there is to keep.
pub(super) type Changes = BTreeMap<Row, Option<Json>>;

/// The row that a change concerns, and what is to stand there.
pub(super) fn change_of(keep: Keep) -> (Row, Option<Json>) {
    match keep {
        Keep::Check { name, record } => (Row::Check(name), Some(record)),
        Keep::Forget { name } => (Row::Check(name), None),
        Keep::Delivery(delivery) => (Row::Delivery(delivery.id), Some(Json::of(&*delivery))),
        Keep::Done { delivery } => (Row::Delivery(delivery), None),
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

/// Why there is no open file.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// What is in it is none of ours.
    Damaged(anyhow::Error),
    Refused(anyhow::Error),
}

impl Store {
    /// Opens the file, which is made if it is missing.
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub(super) fn open(path: &Path) -> Result<Self, OpenFault> {
        Store::attach(path).map_err(|error| {
            let code = error
                .downcast_ref::<rusqlite::Error>()
                .and_then(rusqlite::Error::sqlite_error_code);
            match code {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    OpenFault::Damaged(error)
                }
                Some(_) | None => OpenFault::Refused(error),
            }
        })
    }

    fn attach(path: &Path) -> anyhow::Result<Self> {
        files::check(path)?;
        // SQLite's own descriptor follows: the locks are the process's, so this one is not to outlive the look.
        drop(files::open_own(path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        // This one answers with a row.
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
        )?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION {
            bail!(
                "{} was written by a later moonkeep; use that one, or move the file away: what is known of the checks is then lost",
                path.display()
            );
        }
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
        }
        Ok(Store { connection })
    }

    /// Everything that is kept, and how many rows could not be read.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn load(&self) -> rusqlite::Result<(Kept, usize)> {
        let mut kept = Kept::default();
        let mut unread = 0;
        let mut rows = self
            .connection
            .prepare("SELECT name, record FROM checks ORDER BY name LIMIT ?1")?;
        let most = i64::try_from(limits::CHECKS).unwrap_or(i64::MAX);
        let found = rows.query_map([most], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        for row in found {
            let (name, record) = row?;
            match Json::parse(&record) {
                Ok(record) => kept.checks.push((name, record)),
                Err(_) => unread += 1,
            }
        }
        let mut rows = self
            .connection
            .prepare("SELECT record FROM deliveries ORDER BY id")?;
        for row in rows.query_map([], |row| row.get::<_, String>(0))? {
            match serde_json::from_str::<Delivery>(&row?) {
                Ok(delivery) => kept.deliveries.push(delivery),
                Err(_) => unread += 1,
            }
        }
        Ok((kept, unread))
    }

    /// Writes all of it or nothing.
    ///
    /// # Errors
    /// SQLite's: nothing is written then.
    pub(super) fn write(&mut self, changes: &Changes) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (row, record) in changes {
            write_row(&transaction, row, record.as_ref())?;
        }
        transaction.commit()
    }
}

fn write_row(connection: &Connection, row: &Row, record: Option<&Json>) -> rusqlite::Result<()> {
    let (table, key, name): (_, _, &dyn rusqlite::ToSql) = match row {
        Row::Check(name) => ("checks", "name", name),
        Row::Delivery(id) => ("deliveries", "id", &id.0.cast_signed()),
    };
    match record {
        Some(record) => connection
            .prepare_cached(&format!(
                "REPLACE INTO {table} ({key}, record) VALUES (?1, ?2)"
            ))?
            .execute(params![name, record.as_str()]),
        None => connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE {key} = ?1"))?
            .execute(params![name]),
    }
    .map(drop)
}

/// Moves a damaged file out of the way, whole.
///
/// # Errors
/// The system's.
pub(super) fn set_aside(path: &Path) -> anyhow::Result<PathBuf> {
    let now = jiff::Timestamp::now().as_millisecond();
    files::set_aside(path, now.unsigned_abs())
        .context("the file with the checks' states is damaged")
}
