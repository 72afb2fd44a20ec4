//! A store in memory whose disk can lose, tear or refuse what was not synced.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::daemon::journal::store::{Barrier, Item, Store, Trouble};

/// What the double's disk holds, and what it is going to do wrong.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Batch by batch.
    pub(super) written: Vec<Vec<Item>>,
    /// So many records were written, whatever became of them.
    pub(super) records: usize,
    /// So many batches survive a power loss.
    pub(super) synced: usize,
    /// Answers to the next writes.
    pub(super) writes: VecDeque<Result<(), Trouble>>,
    /// Answers to the next syncs.
    pub(super) syncs: VecDeque<Result<(), Trouble>>,
    /// With the next failed sync, batches that were not synced keep only so many records altogether.
    pub(super) torn: Option<usize>,
    /// How often it was opened again, begun anew, checkpointed.
    pub(super) reopened: usize,
    pub(super) begun_anew: usize,
    pub(super) checkpoints: usize,
    pub(super) log_bytes: u64,
    pub(super) settled: bool,
}

impl Disk {
    /// The failed sync has thrown away what the kernel held.
    fn lose(&mut self) {
        if let Some(mut kept) = self.torn.take() {
            for batch in &mut self.written[self.synced..] {
                batch.truncate(kept);
                kept = kept.saturating_sub(batch.len());
            }
        }
    }
}

/// See the module. A second one on the same disk is what a process finds that opens it later.
#[derive(Clone, Debug, Default)]
pub(super) struct Double(pub(super) Arc<Mutex<Disk>>);

impl Double {
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics while it holds it")
    }
}

/// What was written when it was shut.
#[derive(Debug)]
pub(super) struct ShutDouble(Double, usize);

impl Store for Double {
    type Barrier = Double;
    type Shut = ShutDouble;

    fn write(&mut self, batch: &[Item]) -> Result<(), Trouble> {
        let mut disk = self.disk();
        disk.writes.pop_front().unwrap_or(Ok(()))?;
        disk.records += batch.len();
        disk.written.push(batch.to_vec());
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Trouble> {
        self.disk().settled = true;
        Ok(())
    }

    fn log_bytes(&self) -> u64 {
        self.disk().log_bytes
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let mut disk = self.disk();
        disk.synced = disk.written.len();
        disk.checkpoints += 1;
        disk.log_bytes = 0;
        Ok(())
    }

    fn await_lock(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn barrier(&self) -> Result<Double, Trouble> {
        Ok(self.clone())
    }

    fn close(self) {}

    fn shut(self) -> ShutDouble {
        let records = self.disk().records;
        ShutDouble(self, records)
    }

    fn open_again(shut: &ShutDouble) -> Result<Self, Trouble> {
        shut.0.disk().reopened += 1;
        let records: usize = shut.0.disk().written.iter().map(Vec::len).sum();
        if records < shut.1 {
            return Err(Trouble::Lost("its end is gone".to_owned()));
        }
        Ok(shut.0.clone())
    }

    fn start_over(shut: &ShutDouble) -> Result<Self, Trouble> {
        let mut disk = shut.0.disk();
        disk.begun_anew += 1;
        disk.written.clear();
        disk.records = 0;
        disk.synced = 0;
        drop(disk);
        Ok(shut.0.clone())
    }
}

impl Barrier for Double {
    fn sync(&mut self) -> Result<(), Trouble> {
        let mut disk = self.disk();
        if let Err(trouble) = disk.syncs.pop_front().unwrap_or(Ok(())) {
            disk.lose();
            return Err(trouble);
        }
        disk.synced = disk.written.len();
        Ok(())
    }
}
