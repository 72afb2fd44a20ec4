//! The sync of SQLite's log, beside SQLite's back. Writes nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::store::{Barrier, Trouble};

/// Syncs the log beside SQLite's back.
#[derive(Debug)]
pub(in crate::daemon) struct Log {
    log: File,
    file: Arc<File>,
    folder: File,
    /// The database file, which SQLite made without a sync, and the names of both files are not on the disk yet.
    first: bool,
}

impl Log {
    /// Of a database file that SQLite has open: closing the last descriptor of it before SQLite has closed its own
    /// would end SQLite's locks.
    pub(super) fn new(log: File, file: Arc<File>, folder: File) -> Self {
        Log {
            log,
            file,
            folder,
            first: true,
        }
    }
}

impl Barrier for Log {
    fn sync(&mut self) -> Result<(), Trouble> {
        let sync = || -> io::Result<()> {
            if self.first {
                self.file.sync_all()?;
                self.folder.sync_all()?;
            }
            self.log.sync_data()
        };
        match sync() {
            Ok(()) => {
                self.first = false;
                Ok(())
            }
            Err(error) => Err(Trouble::Failed(format!(
                "the system could not write the journal to the disk: {error}"
            ))),
        }
    }
}
