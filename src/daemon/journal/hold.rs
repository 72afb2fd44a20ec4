//! A read that stays open between commits. It costs a commit less; it decides nothing about what is written.
//!
//! SQLite takes its hold on the log when a transaction begins and lets it go at the end: six system calls, which is
//! much beside a small commit. While a read is open the hold stays, and a commit only takes the writer's lock. Other
//! readers are not hindered; a write of somebody else makes the next batch fail as locked, and [`Hold::end`] is what
//! that needs.

use std::cell::Cell;

use rusqlite::Connection;

/// Its first row is read and the rest is not, so that the read stays open.
const READ: &str = "SELECT name FROM meta";

/// Whether the read of one connection is open.
#[derive(Debug, Default)]
pub(super) struct Hold {
    is_open: Cell<bool>,
}

impl Hold {
    /// Opens the read. To be called inside a transaction, whose end it then outlives.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn begin(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_open.get() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(READ)?;
        let mut rows = statement.query([])?;
        rows.next()?;
        // Dropped, it would end the read. The statement is the connection's, which ends it with itself.
        std::mem::forget(rows);
        self.is_open.set(true);
        Ok(())
    }

    /// Ends it: nothing could be copied from the log, and no lock waited for, meanwhile.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn end(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.is_open.set(false);
        // To drop its rows ends the read.
        connection.prepare_cached(READ)?.query([]).map(drop)
    }
}
