//! The file of a store: SQLite, one table. Blocks; knows nothing of Lua.
//!
//! Each write is a transaction of its own unless one has begun, and is synced to the disk before it counts as done.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::work::Number;
use crate::limits;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The script asks for what is not to be had.
    Misuse(String),
    /// The disk, or another process.
    Disk(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Disk(match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => format!(
                "the store is full ({} bytes at most), or the disk is; delete keys or make room",
                limits::STORE_BYTES
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process holds the store; is a transaction of it still running?".to_owned()
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "the file is damaged; move it away, and the script begins with an empty one"
                    .to_owned()
            }
            _ => error.to_string(),
        })
    }
}

/// The open file. Dropped, it is closed, and what was not committed is gone.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Makes the file, and its folder, if they are missing.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        if let Some(folder) = path.parent() {
            let mut maker = std::fs::DirBuilder::new();
            let made = maker.recursive(true).mode(0o700).create(folder);
            made.map_err(|error| {
                Trouble::Disk(format!("the folder for it cannot be made: {error}"))
            })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(limits::STORE_WAIT)?;
        // This one answers with a row.
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let most = limits::STORE_BYTES / page.max(1);
        connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; \
             CREATE TABLE IF NOT EXISTS store (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        )?;
        Ok(Database { connection })
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT value FROM store WHERE key = ?1")?;
        let found = statement.query_row([key], |row| row.get::<_, String>(0));
        Ok(found.optional()?.map(String::into_bytes))
    }

    pub(super) fn set(&mut self, key: &str, value: &[u8]) -> Result<(), Trouble> {
        let text = std::str::from_utf8(value)
            .map_err(|error| Trouble::Misuse(format!("the value is no text: {error}")))?;
        let changed = self
            .connection
            .prepare_cached("UPDATE store SET value = ?2 WHERE key = ?1")?
            .execute(params![key, text])?;
        if changed > 0 {
            return Ok(());
        }
        let added = self
            .connection
            .prepare_cached(
                "INSERT INTO store (key, value) SELECT ?1, ?2 WHERE (SELECT COUNT(*) FROM store) < ?3 \
                 ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute(params![key, text, limits::STORE_KEYS])?;
        if added == 0 {
            return Err(Trouble::Misuse(format!(
                "it has {} keys, which is the most; delete some, or put several values under one key",
                limits::STORE_KEYS
            )));
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &str) -> Result<bool, Trouble> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM store WHERE key = ?1")?;
        Ok(statement.execute([key])? > 0)
    }

    pub(super) fn keys(&mut self, prefix: &str) -> Result<Vec<String>, Trouble> {
        let mut statement = self.connection.prepare_cached(
            "SELECT key FROM store WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
        )?;
        let keys = statement.query_map([prefix], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Reads and writes in one transaction, also if none has begun.
    pub(super) fn incr(&mut self, key: &str, by: Number) -> Result<Number, Trouble> {
        let alone = self.connection.is_autocommit();
        if alone {
            self.begin()?;
        }
        let sum = self.add(key, by);
        match (alone, &sum) {
            (true, Ok(_)) => self.commit()?,
            (true, Err(_)) => self.roll_back()?,
            (false, _) => {}
        }
        sum
    }

    fn add(&mut self, key: &str, by: Number) -> Result<Number, Trouble> {
        let before = match self.get(key)? {
            None => Number::Whole(0),
            Some(json) => parse(&json).ok_or_else(|| {
                Trouble::Misuse(format!(
                    "the value of `{key}` is no number: {}",
                    String::from_utf8_lossy(&json[..json.len().min(40)])
                ))
            })?,
        };
        let sum = before.plus(by).ok_or_else(|| {
            Trouble::Misuse(format!(
                "the sum under `{key}` would be larger than a number can be"
            ))
        })?;
        self.set(key, sum.text().as_bytes())?;
        Ok(sum)
    }

    /// Nobody else writes until it ends.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        let done = self.connection.execute_batch("COMMIT");
        if done.is_err() {
            // What could not be committed may not stay half open.
            self.roll_back()?;
        }
        Ok(done?)
    }

    /// SQLite may have done so by itself.
    pub(super) fn roll_back(&mut self) -> Result<(), Trouble> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }
}

fn parse(json: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(json).ok()?;
    let whole = text.parse().ok().map(Number::Whole);
    whole.or_else(|| text.parse().ok().map(Number::Real))
}

impl Number {
    fn plus(self, by: Number) -> Option<Number> {
        if let (Number::Whole(a), Number::Whole(b)) = (self, by) {
            return a.checked_add(b).map(Number::Whole);
        }
        let sum = self.real() + by.real();
        sum.is_finite().then_some(Number::Real(sum))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "as Lua adds an integer to a float"
    )]
    fn real(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        }
    }

    /// As JSON, a float recognisable as one.
    fn text(self) -> String {
        match self {
            Number::Whole(number) => number.to_string(),
            Number::Real(number) => format!("{number:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(&folder.path().join("in/store.db")).expect("opens");
        (folder, database)
    }

    #[test]
    fn values_are_kept_replaced_listed_and_forgotten() {
        let (folder, mut database) = fresh();
        database.set("b%", b"1").expect("set");
        database.set("b_2", b"2").expect("set");
        database.set("b%", b"3").expect("set");
        drop(database);
        let mut database = Database::open(&folder.path().join("in/store.db")).expect("opens");
        assert_eq!(database.get("b%").expect("read"), Some(b"3".to_vec()));
        assert_eq!(database.keys("b%").expect("read"), ["b%"]);
        assert_eq!(database.keys("").expect("read"), ["b%", "b_2"]);
        assert!(database.delete("b%").expect("gone"));
        assert!(!database.delete("b%").expect("gone"));
        assert_eq!(database.get("b%").expect("read"), None);
    }

    #[test]
    fn sums_stay_whole_while_they_can_and_nonsense_changes_nothing() {
        let (_folder, mut database) = fresh();
        let whole = |number| Number::Whole(number);
        assert_eq!(database.incr("n", whole(2)).expect("sum"), whole(2));
        assert_eq!(database.incr("n", whole(-5)).expect("sum"), whole(-3));
        assert_eq!(
            database.incr("n", Number::Real(0.5)).expect("sum"),
            Number::Real(-2.5)
        );
        database
            .set("most", i64::MAX.to_string().as_bytes())
            .expect("set");
        assert!(matches!(
            database.incr("most", whole(1)),
            Err(Trouble::Misuse(_))
        ));
        database.set("text", b"\"x\"").expect("set");
        assert!(matches!(
            database.incr("text", whole(1)),
            Err(Trouble::Misuse(_))
        ));
        assert!(database.connection.is_autocommit());
    }

    #[test]
    fn what_is_rolled_back_or_closed_in_between_never_was() {
        let (folder, mut database) = fresh();
        database.begin().expect("begins");
        database.set("a", b"1").expect("set");
        database.roll_back().expect("back");
        assert_eq!(database.get("a").expect("read"), None);
        database.begin().expect("begins");
        database.set("a", b"1").expect("set");
        drop(database);
        let mut database = Database::open(&folder.path().join("in/store.db")).expect("opens");
        assert_eq!(database.get("a").expect("read"), None);
    }

    #[test]
    fn it_has_a_limit_of_keys_and_replacing_is_no_new_one() {
        let (_folder, mut database) = fresh();
        database.begin().expect("begins");
        for number in 0..limits::STORE_KEYS {
            database
                .connection
                .prepare_cached("INSERT INTO store VALUES (?1, '1')")
                .expect("prepared")
                .execute([number.to_string()])
                .expect("room");
        }
        database.commit().expect("committed");
        assert!(matches!(database.set("new", b"1"), Err(Trouble::Misuse(_))));
        database.set("7", b"2").expect("replaced");
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_told_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        std::fs::write(
            &path,
            "this is no database at all, and long enough to be seen as none".repeat(40),
        )
        .expect("written");
        let before = std::fs::read(&path).expect("there");
        assert!(
            matches!(Database::open(&path), Err(Trouble::Disk(why)) if why.contains("damaged"))
        );
        assert_eq!(std::fs::read(&path).expect("there"), before);
    }
}
