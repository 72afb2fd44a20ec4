//! A peer: Redis with a Lua function, one hop, no isolation between functions.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::harness::{installed, wait_until};
use super::load::Peer;

/// A running server; ended when dropped.
pub(crate) struct Redis {
    process: Child,
    socket: PathBuf,
}

const LIBRARY: &str =
    "#!lua name=echo\nredis.register_function('echo', function(keys, args) return args[1] end)";

impl Redis {
    /// `None` if it is not installed.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        if !installed("redis-server", "redis") {
            return None;
        }
        let socket = folder.join("redis.sock");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        wait_until("redis serves", || UnixStream::connect(&socket).is_ok());
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream
            .write_all(&words(&["FUNCTION", "LOAD", LIBRARY]))
            .ok()?;
        let mut answer = [0; 4];
        std::io::Read::read_exact(&mut stream, &mut answer).ok()?;
        Some(Redis { process, socket })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn words(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).expect("memory");
    }
    out
}

impl Peer for Redis {
    fn socket(&self) -> &Path {
        &self.socket
    }
    fn ask(&self, _client: usize, number: u64, bytes: usize, out: &mut Vec<u8>) {
        out.extend(words(&["FCALL", "echo", "0", &format!("{number:0bytes$}")]));
    }
    fn lines_of_an_answer(&self) -> usize {
        2
    }
}
