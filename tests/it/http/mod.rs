//! What is served over HTTP: the formats, the listener on real processes, the page in a real browser.

mod browser;
mod listener;
mod made;
mod rendered;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Home, PATIENCE, wait_for};

/// An answer, in parts.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    #[track_caller]
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_lowercase(), value.trim_start().to_owned())
        });
        Answer {
            status: status.expect("a status line"),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[track_caller]
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
}

/// All that comes until the other side closes.
#[track_caller]
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection did not end: {error}"),
    }
    bytes
}

/// Sends these bytes and hears the answer.
#[track_caller]
fn say(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    Answer::parse(&rest(&stream))
}

#[track_caller]
fn get(address: SocketAddr, target: &str) -> Answer {
    say(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

/// Where the daemon of a home listens, once it does.
#[track_caller]
fn address(home: &Home) -> SocketAddr {
    wait_for("it listens for HTTP", || {
        home.status()["http"].as_str()?.parse().ok()
    })
}
