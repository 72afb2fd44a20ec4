//! A server that answers as the test says, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// With this text as its body.
    Says(u16, String),
    /// With this header.
    Header(u16, String),
    /// 500 and a body without end.
    Flood,
    /// Reads and says nothing more, until the other side goes.
    Hang,
    /// Closes without an answer.
    Close,
    /// No HTTP.
    Garbage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// `POST /path HTTP/1.1`
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// One answer after the other; the last again and again. Its thread ends with the test's process.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answers, kept) = (answers.to_vec(), Arc::clone(&seen));
        thread::spawn(move || {
            for (count, stream) in listener.incoming().flatten().enumerate() {
                let answer = answers[count.min(answers.len() - 1)].clone();
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &answer, &kept));
            }
        });
        Server { port, seen }
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic elsewhere").clone()
    }

    #[track_caller]
    pub(super) fn only_request(&self) -> Request {
        let mut seen = self.requests();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

fn serve(stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let request = read(&mut reader)?;
    seen.lock().expect("no panic elsewhere").push(request);
    let mut stream = stream;
    let plain = |status: &u16, extra: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n{body}",
            body.len()
        )
    };
    match answer {
        Answer::Status(status) => stream.write_all(plain(status, "", "").as_bytes()).ok(),
        Answer::Says(status, body) => stream.write_all(plain(status, "", body).as_bytes()).ok(),
        Answer::Header(status, header) => {
            let extra = format!("{header}\r\n");
            stream.write_all(plain(status, &extra, "").as_bytes()).ok()
        }
        Answer::Flood => {
            stream.write_all(b"HTTP/1.1 500 X\r\n\r\n").ok()?;
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
            None
        }
        Answer::Hang => {
            // Until the other side closes.
            reader.read_to_end(&mut Vec::new()).ok().map(drop)
        }
        Answer::Close => None,
        Answer::Garbage => stream.write_all(b"220 smtp.example.org\r\n\r\n").ok(),
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: lines.remove(0),
        headers,
        body,
    })
}
