//! Lines for `io.read`: answers to the script's own lines, and events that it asked for as text.

use std::cell::{Cell, RefCell};

use memchr::memchr;
use tokio::sync::Notify;

/// Unread bytes at which a script's writing waits: who does not read its answers may not ask on.
const UNREAD_BYTES: usize = 1024 * 1024;

/// What has come and has not been read.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: RefCell<Vec<u8>>,
    /// Where the unread part begins.
    start: Cell<usize>,
    ended: Cell<bool>,
    arrived: Notify,
    taken: Notify,
    wanted: Notify,
}

impl Inbox {
    /// Somebody reads, or will in a moment.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits for the first reader.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Appends a line, given without its newline.
    pub fn push_line(&self, line: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.arrived.notify_waiters();
    }

    /// Appends bytes as they come (a terminal's).
    pub fn push(&self, more: &[u8]) {
        self.bytes.borrow_mut().extend_from_slice(more);
        self.arrived.notify_waiters();
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.ended.set(true);
        self.arrived.notify_waiters();
    }

    fn unread(&self) -> usize {
        self.bytes.borrow().len() - self.start.get()
    }

    /// Waits while too much is unread and more may come. Cancel safe.
    pub async fn room(&self) {
        while self.unread() > UNREAD_BYTES && !self.ended.get() {
            self.taken.notified().await;
        }
    }

    /// A line without its newline; `None` at the end. Cancel safe: nothing is taken before it is there.
    pub async fn line(&self) -> Option<Vec<u8>> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(line) = self.take_line() {
                return Some(line);
            }
            if self.ended.get() {
                let rest = self.unread();
                return (rest > 0).then(|| self.take(rest));
            }
            arrived.await;
        }
    }

    /// Up to `count` bytes, at least one; `None` at the end. Cancel safe.
    pub async fn some(&self, count: usize) -> Option<Vec<u8>> {
        loop {
            let arrived = self.arrived.notified();
            let unread = self.unread();
            if unread >= count || (self.ended.get() && unread > 0) {
                return Some(self.take(unread.min(count)));
            }
            if self.ended.get() {
                return None;
            }
            arrived.await;
        }
    }

    /// Everything up to the end. Cancel safe.
    pub async fn all(&self) -> Vec<u8> {
        loop {
            let arrived = self.arrived.notified();
            if self.ended.get() {
                return self.take(self.unread());
            }
            arrived.await;
        }
    }

    fn take_line(&self) -> Option<Vec<u8>> {
        let length = memchr(b'\n', &self.bytes.borrow()[self.start.get()..])?;
        let mut line = self.take(length + 1);
        line.pop();
        Some(line)
    }

    fn take(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.bytes.borrow_mut();
        let start = self.start.get();
        let taken = bytes[start..start + count].to_vec();
        if start + count == bytes.len() {
            bytes.clear();
            bytes.shrink_to(4096);
            self.start.set(0);
        } else {
            self.start.set(start + count);
            self.forget(&mut bytes);
        }
        self.taken.notify_waiters();
        taken
    }

    /// Gives the read part's memory back now and then.
    fn forget(&self, bytes: &mut Vec<u8>) {
        if self.start.get() > 64 * 1024 {
            bytes.drain(..self.start.get());
            self.start.set(0);
        }
    }
}
