//! Bytes on their way to the daemon: whole lines only.

use std::cell::RefCell;

use tokio::sync::Notify;

use crate::limits;

/// Lines wait here until the process writes them, many at once.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: RefCell<Vec<u8>>,
    filled: Notify,
    drained: Notify,
}

impl Outbox {
    /// Appends whole lines. `write` gets the end of the buffer.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes.borrow_mut();
        let first = bytes.is_empty();
        write(&mut bytes);
        if first && !bytes.is_empty() {
            self.filled.notify_one();
        }
    }

    /// Puts a line before all that waits: the daemon is to know it before what follows.
    pub fn push_first(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let behind = std::mem::take(&mut *self.bytes.borrow_mut());
        self.push(|bytes| {
            write(bytes);
            bytes.extend_from_slice(&behind);
        });
    }

    /// Waits while more than [`limits::WORKER_OUTBOX_BYTES`] wait. For whatever a script can send without end.
    pub async fn room(&self) {
        while self.bytes.borrow().len() as u64 > limits::WORKER_OUTBOX_BYTES {
            self.drained.notified().await;
        }
    }

    /// Waits until there is something to write. Cancel safe.
    pub async fn filled(&self) {
        // A notice of bytes that have left already is passed over.
        while self.bytes.borrow().is_empty() {
            self.filled.notified().await;
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.borrow().len() as u64 > limits::WORKER_OUTBOX_BYTES
    }

    /// Exchanges what waits for an empty buffer.
    pub fn swap(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        std::mem::swap(&mut *self.bytes.borrow_mut(), buffer);
        self.drained.notify_waiters();
    }
}
