//! The thread that writes all logs. It alone touches the files, so records never mix.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::record::{self, Lines};
use super::rotate::{Compressor, LogFile};
use super::{Item, level_word};
use crate::engine::alphabet::Level;
use crate::paths::Home;
use crate::proto::ids::{ScriptName, WorkerId};

/// Logs that are kept open.
const OPEN_FILES: usize = 64;

/// Writes until it is told to stop, or every sender is gone.
pub(super) fn run(home: Home, mut items: Receiver<Item>, echo: bool) {
    let mut writer = Writer {
        home,
        echo: echo && io::stderr().is_terminal(),
        files: HashMap::new(),
        begun: HashMap::new(),
        compressor: Compressor::default(),
        records: Vec::new(),
    };
    while let Some(first) = items.blocking_recv() {
        let mut goes_on = writer.write(first);
        while goes_on {
            match items.try_recv() {
                Ok(next) => goes_on = writer.write(next),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        writer.flush();
        if !goes_on {
            return;
        }
    }
}

struct Writer {
    home: Home,
    echo: bool,
    /// `None` names the daemon's own.
    files: HashMap<Option<ScriptName>, LogFile>,
    begun: HashMap<WorkerId, Lines>,
    compressor: Compressor,
    /// Records of one item, so that they go out in one piece; kept for its memory.
    records: Vec<u8>,
}

impl Writer {
    /// `false`: it was the last one.
    fn write(&mut self, item: Item) -> bool {
        self.records.clear();
        let log = match item {
            Item::Note { level, text } => {
                self.note(level, &text);
                None
            }
            Item::Chunk {
                worker,
                bytes,
                dropped,
            } => {
                self.chunk(&worker, &bytes, dropped);
                Some(worker.script)
            }
            Item::Ended { worker } => {
                let script = worker.script.clone();
                self.ended(&worker);
                Some(script)
            }
            Item::Stop => return false,
        };
        self.append(log);
        true
    }

    fn note(&mut self, level: Level, text: &str) {
        let time = now();
        // A text of several lines may hold a script's words: only its first line looks like a record.
        for (number, line) in text.lines().enumerate() {
            let more = if number == 0 { "" } else { "| " };
            let start = format!("{time} {} {more}", level_word(level));
            self.records.extend_from_slice(start.as_bytes());
            record::escape(line.as_bytes(), 0, &mut self.records);
            self.records.push(b'\n');
        }
        if self.echo && level > Level::Debug {
            // Nobody is left to tell if standard error is gone.
            let _unheard = io::stderr().write_all(&self.records);
        }
    }

    fn chunk(&mut self, worker: &WorkerId, bytes: &[u8], dropped: u64) {
        let start = format!("{} [{worker}] ", now());
        let records = &mut self.records;
        if dropped > 0 {
            let notice = format!("{start}[{dropped} lines dropped: the disk was too slow]\n");
            records.extend_from_slice(notice.as_bytes());
        }
        let lines = self.begun.entry(worker.clone()).or_default();
        lines.feed(bytes, |line, beyond| {
            add(records, start.as_bytes(), line, beyond);
        });
    }

    fn ended(&mut self, worker: &WorkerId) {
        let start = format!("{} [{worker}] ", now());
        let records = &mut self.records;
        if let Some(mut lines) = self.begun.remove(worker) {
            lines.finish(|line, beyond| add(records, start.as_bytes(), line, beyond));
        }
    }

    /// Appends the records to a log. A log that cannot be written loses them; the daemon goes on.
    fn append(&mut self, log: Option<ScriptName>) {
        if self.records.is_empty() {
            return;
        }
        if !self.files.contains_key(&log) {
            if self.files.len() >= OPEN_FILES {
                self.flush();
                self.files.clear();
            }
            let path: PathBuf = self.home.log(log.as_ref().map(ScriptName::as_str));
            match LogFile::open(&path) {
                Ok(file) => drop(self.files.insert(log.clone(), file)),
                Err(_) => return,
            }
        }
        if let Some(file) = self.files.get_mut(&log)
            && file.write(&self.records, &self.compressor).is_err()
        {
            // Opened anew with the next record: the folder may be back, the disk have room.
            self.files.remove(&log);
        }
    }

    fn flush(&mut self) {
        self.files.retain(|_, file| file.flush().is_ok());
    }
}

fn add(records: &mut Vec<u8>, start: &[u8], line: &[u8], beyond: usize) {
    records.extend_from_slice(start);
    record::escape(line, beyond, records);
    records.push(b'\n');
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
