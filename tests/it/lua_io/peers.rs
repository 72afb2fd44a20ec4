//! What stands at the other end: servers of a few lines, each good, silent, broken or without end.
//!
//! Their threads end with the test's process; what they hold is the test's, never the worker's.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::harness::Home;

/// A stream of any kind.
pub(super) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// How a server treats who connects.
pub(super) type Manner = fn(&mut dyn Wire);

/// Says nothing until the other side has gone.
pub(super) fn silent(wire: &mut dyn Wire) {
    let mut piece = [0; 4096];
    while let Ok(1..) = wire.read(&mut piece) {}
}

pub(super) fn closing(_: &mut dyn Wire) {}

pub(super) fn garbage(wire: &mut dyn Wire) {
    let _ = wire.write_all(b"\xff\x00\xfe garbage \x01\x02\n\n\n");
    silent(wire);
}

pub(super) fn endless(wire: &mut dyn Wire) {
    let piece = vec![b'x'; 64 * 1024];
    while wire.write_all(&piece).is_ok() {}
}

/// Gives back each byte.
pub(super) fn echo(wire: &mut dyn Wire) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = wire.read(&mut piece) {
        if wire.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

/// Begins to read, never does: what is written to it has to wait.
pub(super) fn stuck(wire: &mut dyn Wire) {
    let mut one = [0; 1];
    let _ = wire.read(&mut one);
    std::thread::sleep(crate::harness::PATIENCE);
}

fn head(wire: &mut dyn Wire) -> Vec<u8> {
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read(&mut byte) {
            Ok(1..) => head.push(byte[0]),
            Ok(0) | Err(_) => break,
        }
    }
    head
}

/// Answers one request, says who asked for what, and closes.
pub(super) fn web(wire: &mut dyn Wire) {
    let head = head(wire);
    let head = String::from_utf8_lossy(&head);
    let method = head.split(' ').next().unwrap_or_default();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = match path {
        "/moved" => {
            "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                .to_owned()
        }
        _ => {
            let body = format!("{{\"method\":\"{method}\"}}");
            let length = body.len();
            let body = if method == "HEAD" { "" } else { &body };
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        }
    };
    let _ = wire.write_all(answer.as_bytes());
}

/// The head of an answer without an end.
pub(super) fn endless_web(wire: &mut dyn Wire) {
    head(wire);
    let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
    endless(wire);
}

/// Promises a hundred bytes and goes after five.
pub(super) fn broken_web(wire: &mut dyn Wire) {
    head(wire);
    let _ = wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello");
}

pub(super) fn on_tcp(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || manner(&mut stream));
        }
    });
    address
}

pub(super) fn on_unix(home: &Home, name: &str, manner: Manner) -> String {
    let path = home.path(name);
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || manner(&mut stream));
        }
    });
    path.display().to_string()
}

/// A socket whose queue is full: nobody takes anybody from it.
pub(super) fn full_unix(home: &Home, name: &str) -> String {
    let path = home.path(name);
    let listener = UnixListener::bind(&path).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a short queue");
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        );
        let socket = socket.expect("a socket");
        let address = rustix::net::SocketAddrUnix::new(&path).expect("a short path");
        if rustix::net::connect(&socket, &address).is_ok() {
            waiting.push(socket);
        }
    }
    // Both stay open as long as the test.
    std::mem::forget((listener, waiting));
    path.display().to_string()
}

/// Nobody listens there.
pub(super) fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// Answers each datagram with what `answer` makes of it; `None`: not at all.
pub(super) fn on_udp(answer: fn(&[u8]) -> Option<Vec<u8>>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..count]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

/// A name server whose every name has the address 192.0.2.1; `None` for what is no question.
pub(super) fn named(question: &[u8]) -> Option<Vec<u8>> {
    let end = question.get(12..)?.iter().position(|byte| *byte == 0)? + 12 + 5;
    let mut answer = question.get(..end)?.to_vec();
    // An answer, recursion available; one question, one record, no more.
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    Some(answer)
}

/// An answer to the question that makes no sense.
pub(super) fn nonsense(question: &[u8]) -> Option<Vec<u8>> {
    Some([question.get(..2)?, b"\x81\x80\xff\xff\xff\xff\xff\xff\xff"].concat())
}

/// No such name.
pub(super) fn nobody(question: &[u8]) -> Option<Vec<u8>> {
    let mut answer = named(question)?;
    answer[3] = 0x83;
    answer[7] = 0;
    answer.truncate(answer.len() - 16);
    Some(answer)
}

/// Says over UDP that its answer does not fit, and gives it over TCP, at the same port.
pub(super) fn named_by_tcp() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    let listener = TcpListener::bind(address).expect("the same port of TCP");
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if let Some(mut answer) = nobody(&buffer[..count]) {
                answer[2] |= 2;
                answer[3] = 0x80;
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer_by_tcp(stream);
        }
    });
    address.to_string()
}

fn answer_by_tcp(mut stream: TcpStream) -> Option<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).ok()?;
    let answer = named(&question)?;
    let length = u16::try_from(answer.len()).ok()?.to_be_bytes();
    stream
        .write_all(&[&length[..], &answer].concat())
        .ok()
        .map(drop)
}

/// A listener whose queue is full: the kernel drops who comes, and nobody hears of it.
pub(super) fn full_tcp() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    rustix::net::listen(&listener, 0).expect("a short queue");
    let address = listener.local_addr().expect("bound");
    let waiting: Vec<_> = (0..4)
        .map_while(|_| {
            TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100)).ok()
        })
        .collect();
    assert!(waiting.len() < 4, "the queue of {address} takes everybody");
    // Both stay open as long as the test.
    std::mem::forget((listener, waiting));
    address.to_string()
}

/// Agrees on TLS, then goes without a word.
pub(super) fn rude(wire: &mut dyn Wire) {
    let _ = wire.flush();
}

/// Where a file of `keys` lies.
pub(super) fn place(name: &str) -> String {
    format!("{}/tests/it/lua_io/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn key(name: &str) -> Vec<u8> {
    fs::read(place(name)).expect("a key of the tests")
}

/// A TLS server with one of the certificates in `keys`; `greeting` is said in the clear before.
pub(super) fn on_tls(certificate: &str, clear: fn(&mut dyn Wire), manner: Manner) -> String {
    let chain = CertificateDer::pem_slice_iter(&key(certificate))
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let own = PrivateKeyDer::from_pem_slice(&key("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, own)
        .expect("they fit");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                clear(&mut stream);
                let session = rustls::ServerConnection::new(config).expect("a session");
                manner(&mut rustls::StreamOwned::new(session, stream));
            });
        }
    });
    address
}

/// A mail server, until it changes to TLS.
pub(super) fn mail(wire: &mut dyn Wire) {
    let line = |wire: &mut dyn Wire, answer: &[u8]| {
        let (mut line, mut byte) = (Vec::new(), [0; 1]);
        while !line.ends_with(b"\n") {
            match wire.read(&mut byte) {
                Ok(1..) => line.push(byte[0]),
                Ok(0) | Err(_) => return,
            }
        }
        let _ = wire.write_all(answer);
    };
    let _ = wire.write_all(b"220 mail ready\r\n");
    line(wire, b"250-mail\r\n250 STARTTLS\r\n");
    line(wire, b"220 go ahead\r\n");
}
