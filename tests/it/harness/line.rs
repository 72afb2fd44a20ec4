//! A raw client of the line protocol: a plain blocking socket, each wait with a deadline.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::PATIENCE;

/// One connection to a daemon.
pub(crate) struct Line {
    reader: BufReader<UnixStream>,
    next: u64,
}

impl Line {
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub(crate) fn connect(socket: &Path) -> Self {
        Line::try_connect(socket)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()))
    }

    pub(crate) fn try_connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Line {
            reader: BufReader::new(stream),
            next: 0,
        })
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// Bytes as they are.
    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader
            .get_mut()
            .write_all(bytes)
            .expect("the daemon reads");
    }

    /// One line; the newline is added.
    #[track_caller]
    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// One line of JSON.
    #[track_caller]
    pub(crate) fn send_json(&mut self, message: &Value) {
        self.send(&message.to_string());
    }

    /// The next line without its newline; `None` at the end of the connection.
    ///
    /// # Panics
    /// If none comes within the deadline.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        match self.reader.read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => {
                assert_eq!(
                    bytes.pop(),
                    Some(b'\n'),
                    "the connection ended within a line"
                );
                Some(String::from_utf8(bytes).expect("the daemon writes UTF-8"))
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line came: {error}"),
        }
    }

    /// The next line.
    ///
    /// # Panics
    /// If the connection ends, or none comes within the deadline.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> String {
        self.next_line()
            .expect("a line, not the end of the connection")
    }

    #[track_caller]
    pub(crate) fn recv_json(&mut self) -> Value {
        let line = self.recv();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in line: {line}"))
    }

    /// Whether nothing arrives within `quiet`.
    pub(crate) fn is_silent_for(&mut self, quiet: Duration) -> bool {
        if !self.reader.buffer().is_empty() {
            return false;
        }
        self.stream()
            .set_read_timeout(Some(quiet))
            .expect("a time limit");
        let seen = self.reader.fill_buf().map(<[u8]>::len);
        self.stream()
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Everything that still comes, until the daemon closes the connection.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("the connection did not end: {error}"),
        }
    }

    /// Asks in text without an id; returns all lines of the answer, the closing `done` or `error` too.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(line);
        let mut lines = Vec::new();
        loop {
            let line = self.recv();
            let end = line == "done" || line == "error";
            lines.push(line);
            if end {
                return lines;
            }
        }
    }

    /// Asks in JSON with a fresh id; returns the lines of the answer, parts first, its end last.
    #[track_caller]
    pub(crate) fn ask_json(&mut self, mut question: Value) -> Vec<Value> {
        self.next += 1;
        let id = format!("h{}", self.next);
        question["request_id"] = json!(id);
        self.send_json(&question);
        let mut lines = Vec::new();
        loop {
            let line = self.recv_json();
            if line["request_id"] != id.as_str() {
                continue;
            }
            let end = line["status"] == "ok" || line["status"] == "error";
            lines.push(line);
            if end {
                return lines;
            }
        }
    }

    /// The end of the answer to a JSON question: `{"status":"ok","result":...}` or an error.
    #[track_caller]
    pub(crate) fn end_of(&mut self, question: Value) -> Value {
        self.ask_json(question).pop().expect("an answer has an end")
    }

    /// The result of a command that succeeds.
    #[track_caller]
    pub(crate) fn command(&mut self, command: &str) -> Value {
        let end = self.end_of(json!({ "command": command }));
        assert_eq!(end["status"], "ok", "{command}: {end}");
        end["result"].clone()
    }

    /// The end of the answer to a `call`.
    #[track_caller]
    pub(crate) fn try_call(&mut self, script: &str, handler: &str, params: Value) -> Value {
        self.end_of(json!({
            "command": "call", "script": script, "handler": handler, "params": params,
        }))
    }

    /// The result of a `call` that succeeds.
    #[track_caller]
    pub(crate) fn call(&mut self, script: &str, handler: &str, params: Value) -> Value {
        let end = self.try_call(script, handler, params);
        assert_eq!(end["status"], "ok", "{script} {handler}: {end}");
        end["result"].clone()
    }
}
