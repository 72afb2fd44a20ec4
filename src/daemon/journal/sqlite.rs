//! The journal's file: SQLite in WAL mode. See the module above for why what it does is sound.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::barrier::Log;
use super::hold::Hold;
use super::store::{Item, Store, Trouble};
use super::table::{self, EndColumns, meta};
use super::{clock, files};
use crate::engine::records::{Entry, EntryId, Record, Recorded};
use crate::limits;
use crate::proto::ids::Generation;
use crate::proto::messages::Body;

/// Statements that are kept prepared: more than there are.
const STATEMENTS: usize = 24;
/// Bytes of a page in a new file. Each commit copies, sums and writes whole pages, and mostly changes one: larger
/// ones cost more of that, smaller ones are begun more often.
const PAGE_BYTES: u64 = 2_048;
/// What stands before each page in the log, in bytes.
const FRAME_HEADER: u64 = 24;
/// Memory for pages of the file, in KiB.
const CACHE_KIB: i64 = 2_048;

/// The open file.
#[derive(Debug)]
pub(in crate::daemon) struct Sqlite {
    /// Dropped before `file`: SQLite's locks belong to the process, and closing any descriptor of the file ends them.
    connection: Connection,
    /// Of one page in the log, with its header.
    frame_bytes: u64,
    hold: Hold,
    /// Opened without following anything, and held as long as SQLite has the file.
    file: Arc<File>,
    path: PathBuf,
}

/// What a file held when it was opened.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) low_water: Option<u64>,
    /// The boot in which it was opened last.
    pub(super) boot: Option<String>,
    /// The daemon before left in order.
    #[cfg(test)]
    pub(super) clean: bool,
}

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// Its contents are no sound journal.
    Damaged(anyhow::Error),
    /// Anything else: it may be sound.
    Refused(anyhow::Error),
}

impl OpenFault {
    fn of_any(error: anyhow::Error) -> Self {
        match error.downcast() {
            Ok(error) => OpenFault::of(error),
            Err(other) => OpenFault::Refused(other),
        }
    }

    fn of(error: rusqlite::Error) -> Self {
        let damaged = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
            Some(_) => false,
            // A table, a column or a value that is not as we write it.
            None => true,
        };
        let error = anyhow::Error::new(error).context("cannot read the journal");
        match damaged {
            true => OpenFault::Damaged(error),
            false => OpenFault::Refused(error),
        }
    }
}

impl Sqlite {
    /// Opens the journal at `path`, which is made if it is missing, and reads it. Waits for no sync.
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub(super) fn open(path: &Path) -> Result<(Self, Found), OpenFault> {
        let store = Sqlite::attach(path).map_err(OpenFault::of_any)?;
        let found = store.begin().map_err(OpenFault::of_any)?;
        Ok((store, found))
    }

    fn attach(path: &Path) -> anyhow::Result<Self> {
        files::check(path)?;
        let file = files::open_own(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // The log stays as it is when we leave: emptying it would wait for the disk.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(Duration::ZERO)?;
        // Before the mode of the log, which settles the size.
        connection.execute_batch(&format!("PRAGMA page_size = {PAGE_BYTES}"))?;
        // This one answers with a row.
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; \
             PRAGMA cache_size = -{CACHE_KIB}; PRAGMA trusted_schema = OFF;"
        ))?;
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(Sqlite {
            connection,
            frame_bytes: u64::try_from(page).unwrap_or(PAGE_BYTES) + FRAME_HEADER,
            hold: Hold::default(),
            file: Arc::new(file),
            path: path.to_owned(),
        })
    }

    /// Makes or reads the tables, and notes that the file is in use.
    fn begin(&self) -> anyhow::Result<Found> {
        let tables: i64 =
            self.connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let mut found = Found::default();
        if tables == 0 {
            self.connection
                .execute_batch(&format!("BEGIN; {} COMMIT;", table::SCHEMA))?;
            self.set_meta(meta::SCHEMA, table::VERSION)?;
        } else {
            found = self.read()?;
        }
        self.set_meta(meta::CLEAN, 0_i64)?;
        Ok(found)
    }

    fn read(&self) -> anyhow::Result<Found> {
        match self.get_meta::<i64>(meta::SCHEMA)? {
            Some(version) if version > table::VERSION => bail!(
                "{} was written by a later moonkeep (its version is {version}, ours {}); use that one, or move the file away: its requests are then never run again",
                self.path.display(),
                table::VERSION
            ),
            Some(_) => {}
            None => {
                return Err(rusqlite::Error::QueryReturnedNoRows)
                    .context("the journal does not say its version");
            }
        }
        let clean = self.get_meta::<i64>(meta::CLEAN)? == Some(1);
        if !clean {
            self.check()?;
        }
        let mut all = self.connection.prepare(table::ALL)?;
        let entries = all
            .query_map([], table::entry_of)?
            .collect::<Result<_, _>>()?;
        Ok(Found {
            entries,
            low_water: self
                .get_meta::<i64>(meta::LOW_WATER)?
                .map(i64::cast_unsigned),
            boot: self.get_meta(meta::BOOT)?,
            #[cfg(test)]
            clean,
        })
    }

    /// Looks whether the file is sound, for as long as a start may take.
    fn check(&self) -> anyhow::Result<()> {
        let interrupt = self.connection.get_interrupt_handle();
        let (done, watched) = channel::<()>();
        let watchman = std::thread::Builder::new()
            .name("journal-check".to_owned())
            .spawn(move || {
                if watched.recv_timeout(limits::JOURNAL_CHECK) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            })
            .context("cannot start a thread; see `ulimit -u`")?;
        let verdict = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        let _ended = watchman.join();
        match verdict {
            Ok(verdict) if verdict == "ok" => Ok(()),
            Ok(verdict) => Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some(verdict),
            )
            .into()),
            // Too large for the time: reading the rows will find what matters.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(table::SET_META)?
            .execute(params![name, value])
            .map(drop)
    }

    fn get_meta<T: rusqlite::types::FromSql>(&self, name: &str) -> rusqlite::Result<Option<T>> {
        self.connection
            .prepare_cached(table::GET_META)?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    /// Raises the low-water mark outside of a batch: a journal was set aside.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn raise_low_water(&self, unix_ms: u64) -> rusqlite::Result<()> {
        self.connection
            .execute(table::RAISE_LOW_WATER, [table::number(unix_ms)])
            .map(drop)
    }

    fn put(&self, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Accepted {
                entry,
                request,
                started,
            } => self.insert(*entry, request, *started),
            Record::Started {
                entry,
                generation,
                delivery,
            } => self.change(
                table::START,
                params![
                    table::number(entry.0),
                    table::number(generation.0),
                    table::delivery_word(*delivery)
                ],
            ),
            Record::Back { entry } => self.change(table::BACK, [table::number(entry.0)]),
            Record::Ended {
                entry,
                body,
                at_unix_ms,
            } => self.end(*entry, body, *at_unix_ms),
            Record::Freed { entry } => self.change(table::DELETE, [table::number(entry.0)]),
            Record::Pruned { entries, low_water } => {
                for entry in entries {
                    self.change(table::DELETE, [table::number(entry.0)])?;
                }
                self.change(table::RAISE_LOW_WATER, [table::number(*low_water)])
            }
        }
    }

    fn change(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(sql)?
            .execute(values)
            .map(drop)
    }

    fn insert(
        &self,
        entry: EntryId,
        request: &Recorded,
        started: Option<Generation>,
    ) -> rusqlite::Result<()> {
        let mut id = uuid::Uuid::encode_buffer();
        let mut client = uuid::Uuid::encode_buffer();
        let (handler, params) = table::work_columns(&request.work);
        self.change(
            table::INSERT,
            params![
                table::number(entry.0),
                &*request.id.as_hyphenated().encode_lower(&mut id),
                request.script.as_str(),
                handler,
                params,
                request
                    .client
                    .as_ref()
                    .map(|id| &*id.0.as_hyphenated().encode_lower(&mut client)),
                table::delivery_word(request.delivery),
                table::durability_word(request.durability),
                table::number(request.accepted_unix_ms),
                table::number(request.deadline_unix_ms),
                if started.is_some() {
                    "started"
                } else {
                    "accepted"
                },
                started.map(|generation| table::number(generation.0)),
                i64::from(started.is_some()),
            ],
        )
    }

    fn end(&self, entry: EntryId, body: &Body, at_unix_ms: u64) -> rusqlite::Result<()> {
        let Some(columns) = EndColumns::of(body) else {
            debug_assert!(false, "{body:?} ends nothing");
            return Ok(());
        };
        self.change(
            table::END,
            params![
                table::number(entry.0),
                table::number(at_unix_ms),
                columns.status,
                columns.form,
                columns.result
            ],
        )
    }

    fn in_one_transaction(&self, batch: &[Item]) -> rusqlite::Result<()> {
        self.change("BEGIN IMMEDIATE", [])?;
        let written = self
            .hold
            .begin(&self.connection)
            .and_then(|()| batch.iter().try_for_each(|item| self.put(&item.record)))
            .and_then(|()| self.change("COMMIT", []));
        if written.is_err() && !self.connection.is_autocommit() {
            // It has failed as a whole; a failure of this one leaves nothing either.
            let _undone = self.change("ROLLBACK", []);
        }
        written
    }

    /// Frames in the log, and how many of them are in the database file.
    fn frames(&self, sql: &str) -> rusqlite::Result<(u64, u64)> {
        self.hold.end(&self.connection)?;
        self.connection.prepare_cached(sql)?.query_row([], |row| {
            let (log, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((
                u64::try_from(log).unwrap_or(0),
                u64::try_from(copied).unwrap_or(0),
            ))
        })
    }

    /// Copies the log into the database file, both synced, then begins the log anew with a synced header.
    fn copy_and_begin_anew(&self) -> Result<(), Trouble> {
        self.hold
            .end(&self.connection)
            .and_then(|()| self.connection.execute_batch("PRAGMA synchronous = FULL"))
            .map_err(trouble)?;
        let done = self
            .frames("PRAGMA wal_checkpoint(PASSIVE)")
            .map_err(trouble)
            // Without this the core's next batch could begin the log anew without a sync.
            .and_then(|_frames| {
                // A row that stays the same would write nothing.
                self.change(table::COUNT_META, [meta::CHECKPOINTS])
                    .map_err(|error| Trouble::Failed(error.to_string()))
            });
        // Whatever came of it, the core's thread must never wait for a sync.
        self.connection
            .execute_batch("PRAGMA synchronous = OFF")
            .map_err(trouble)
            .and(done)
    }
}

impl Store for Sqlite {
    type Barrier = Log;
    type Shut = Shut;

    fn write(&mut self, batch: &[Item]) -> Result<(), Trouble> {
        self.in_one_transaction(batch).map_err(trouble)
    }

    fn log_bytes(&self) -> u64 {
        let frames = self.frames("PRAGMA wal_checkpoint(NOOP)");
        frames.map_or(0, |(log, _copied)| log * self.frame_bytes)
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        self.copy_and_begin_anew()
    }

    fn await_lock(&mut self) -> Result<(), Trouble> {
        self.connection
            .busy_timeout(limits::JOURNAL_LOCK_WAIT)
            .map_err(trouble)?;
        let taken = self
            .hold
            .end(&self.connection)
            .and_then(|()| self.change("BEGIN IMMEDIATE", []))
            .and_then(|()| self.change("ROLLBACK", []));
        self.connection
            .busy_timeout(Duration::ZERO)
            .and(taken)
            .map_err(trouble)
    }

    fn barrier(&self) -> Result<Log, Trouble> {
        let open = || -> anyhow::Result<Log> {
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            Ok(Log::new(
                files::open_own(&files::beside(&self.path, "-wal"))?,
                Arc::clone(&self.file),
                File::open(folder)?,
            ))
        };
        open().map_err(|error| Trouble::Failed(format!("{error:#}")))
    }

    fn settle(&mut self) -> Result<(), Trouble> {
        match clock::boot_id() {
            Some(boot) => self.set_meta(meta::BOOT, boot).map_err(trouble),
            None => Ok(()),
        }
    }

    fn close(self) {
        // The mark is a courtesy to the next start; without it that one looks more closely.
        let _unmarked = self.set_meta(meta::CLEAN, 1_i64);
    }

    fn shut(self) -> Shut {
        Shut {
            log_bytes: self.log_bytes(),
            path: self.path.clone(),
        }
    }

    fn open_again(shut: &Shut) -> Result<Self, Trouble> {
        let opened = Sqlite::attach(&shut.path).and_then(|store| {
            store.check()?;
            Ok(store)
        });
        match opened {
            // Opening has read the log and checked its sums: a shorter one has lost its end.
            Ok(store) if store.log_bytes() < shut.log_bytes => Err(Trouble::Lost(format!(
                "the end of the log of {} is gone",
                shut.path.display()
            ))),
            Ok(store) => Ok(store),
            Err(fault) => match OpenFault::of_any(fault) {
                OpenFault::Damaged(error) => Err(Trouble::Lost(format!("{error:#}"))),
                OpenFault::Refused(error) => Err(Trouble::Failed(format!("{error:#}"))),
            },
        }
    }

    fn start_over(shut: &Shut) -> Result<Self, Trouble> {
        let failed = |error: anyhow::Error| Trouble::Failed(format!("{error:#}"));
        let now = clock::unix_ms();
        files::set_aside(&shut.path, now).map_err(failed)?;
        let store = Sqlite::attach(&shut.path).map_err(failed)?;
        store.begin().map_err(failed)?;
        store.raise_low_water(now).map_err(trouble)?;
        Ok(store)
    }
}

/// Where a file was, and how much of its log SQLite had written.
#[derive(Debug)]
pub(in crate::daemon) struct Shut {
    path: PathBuf,
    log_bytes: u64,
}

fn trouble(error: rusqlite::Error) -> Trouble {
    // The index over the log has a file of its own, which has to grow too.
    let no_room_for_index = error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked(text),
        Some(_) | None if no_room_for_index => Trouble::Full(text),
        Some(_) | None => Trouble::Failed(text),
    }
}
