//! What the journal asks of the place where it keeps its records. Two keep it: [`Sqlite`](super::sqlite::Sqlite),
//! and a double for tests, which loses, tears or refuses what was not synced.

use crate::engine::records::{Mark, Record};
use crate::options::Durability;

/// A record with what the engine said of it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::daemon) struct Item {
    pub(in crate::daemon) mark: Mark,
    pub(in crate::daemon) level: Durability,
    pub(in crate::daemon) record: Record,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Trouble {
    /// No space. Nothing of the batch was written.
    Full(String),
    /// Somebody else, a person with `sqlite3` for one, is writing. Nothing of the batch was written.
    Locked(String),
    /// Anything else: what is in the files is uncertain.
    Failed(String),
    /// What was written is not there any more.
    Lost(String),
}

impl Trouble {
    pub(in crate::daemon) fn text(&self) -> &str {
        match self {
            Trouble::Full(text)
            | Trouble::Locked(text)
            | Trouble::Failed(text)
            | Trouble::Lost(text) => text,
        }
    }
}

/// Keeps records. What it has written survives the process; a [`Barrier`] makes it survive a power loss.
pub(in crate::daemon) trait Store: Sized + Send + 'static {
    type Barrier: Barrier;
    /// What is left of a store that was closed for good reason, to open it again by.
    type Shut: Send;

    /// Writes all of the batch or nothing. Never waits for the disk.
    ///
    /// # Errors
    /// Why nothing was written.
    fn write(&mut self, batch: &[Item]) -> Result<(), Trouble>;

    /// Notes in which boot of the machine this is.
    ///
    /// # Errors
    /// Why it is not noted.
    fn settle(&mut self) -> Result<(), Trouble>;

    /// How much has been written since the last [`Store::checkpoint`].
    fn log_bytes(&self) -> u64;

    /// Shortens what a start has to read. All that was written is synced then. Waits for the disk.
    ///
    /// # Errors
    /// Why it is as it was before; what was written stays written.
    fn checkpoint(&mut self) -> Result<(), Trouble>;

    /// Waits, not for long, until nobody else is writing.
    ///
    /// # Errors
    /// If somebody still is.
    fn await_lock(&mut self) -> Result<(), Trouble>;

    /// A handle by which another thread syncs what this one writes.
    ///
    /// # Errors
    /// Why there is none.
    fn barrier(&self) -> Result<Self::Barrier, Trouble>;

    /// Closes it in order, without waiting for the disk.
    fn close(self);

    /// Closes it after a fault, and forgets all that was not read from the files.
    fn shut(self) -> Self::Shut;

    /// Opens it again and looks whether all that was written is there.
    ///
    /// # Errors
    /// [`Trouble::Lost`] if not. Anything else: try again later.
    fn open_again(shut: &Self::Shut) -> Result<Self, Trouble>;

    /// Sets what is left aside and begins anew, with all ids of up to now refused for ever.
    ///
    /// # Errors
    /// Why not; try again later.
    fn start_over(shut: &Self::Shut) -> Result<Self, Trouble>;
}

/// See [`Store::barrier`].
pub(in crate::daemon) trait Barrier: Send + 'static {
    /// Returns when all that was written before the call survives a power loss. Must not be called again after
    /// an error: the kernel tells of a lost page once, and then counts it as clean.
    ///
    /// # Errors
    /// Why what was written may be lost.
    fn sync(&mut self) -> Result<(), Trouble>;
}
