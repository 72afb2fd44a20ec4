//! Small servers for checks to talk to. Each lives until the test's process ends.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Serves each connection with `talk`, in a thread of its own.
pub(super) fn tcp(talk: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let talk = talk.clone();
            std::thread::spawn(move || talk(stream));
        }
    });
    address
}

/// Takes connections and never says a word.
pub(super) fn silent() -> SocketAddr {
    tcp(|stream| {
        let mut lines = BufReader::new(stream);
        while lines
            .read_line(&mut String::new())
            .is_ok_and(|count| count > 0)
        {}
        std::thread::sleep(crate::harness::PATIENCE);
    })
}

/// Says the greeting, then answers each line that begins with a word by that word's answer.
pub(super) fn lines(
    greeting: &'static str,
    answers: &'static [(&'static str, &'static str)],
) -> SocketAddr {
    tcp(move |mut stream| {
        let mut heard = BufReader::new(stream.try_clone().expect("a socket"));
        let mut said = stream.write_all(greeting.as_bytes());
        let mut line = String::new();
        while said.is_ok() && heard.read_line(&mut line).is_ok_and(|count| count > 0) {
            let known = answers.iter().find(|(word, _)| line.starts_with(word));
            said = known.map_or(Ok(()), |(_, answer)| stream.write_all(answer.as_bytes()));
            line.clear();
        }
    })
}

/// Greets on a Unix socket, and says back what it hears.
pub(super) fn unix(path: &Path, greeting: &'static str) {
    let listener = UnixListener::bind(path).expect("a free path");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut heard = BufReader::new(stream.try_clone().expect("a socket"));
                let _ = stream.write_all(greeting.as_bytes());
                let mut line = String::new();
                while heard.read_line(&mut line).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(line.as_bytes());
                    line.clear();
                }
            });
        }
    });
}

/// Answers each datagram with what `answer` makes of it.
pub(super) fn udp(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut data = [0; 4096];
        while let Ok((count, peer)) = socket.recv_from(&mut data) {
            if let Some(answer) = answer(&data[..count]) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    address
}

/// A time server whose clock is `offset` seconds ahead of ours.
pub(super) fn ntp(offset: f64, leap: u8, stratum: u8) -> SocketAddr {
    udp(move |asked| {
        let mut answer = vec![0; 48];
        answer[0] = leap << 6 | 4 << 3 | 4;
        answer[1] = stratum;
        answer[12..16].copy_from_slice(b"RATE");
        answer[24..32].copy_from_slice(asked.get(40..48)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let seconds = now.as_secs_f64() + offset + 2_208_988_800.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds of this century, and a fraction"
        )]
        let stamp = ((seconds as u64) << 32) | ((seconds.fract() * 4_294_967_296.0) as u64);
        answer[32..40].copy_from_slice(&stamp.to_be_bytes());
        answer[40..48].copy_from_slice(&stamp.to_be_bytes());
        Some(answer)
    })
}

/// A name server that knows `good.test`: two addresses, a mail exchanger and a text.
pub(super) fn dns() -> SocketAddr {
    udp(|asked| {
        let question = asked.get(12..)?;
        let end = question.iter().position(|byte| *byte == 0)? + 5;
        let question = question.get(..end)?;
        let known = question.starts_with(b"\x04good\x04test\x00");
        let records: &[&[u8]] = match (known, question[end - 3]) {
            (true, 1) => &[&[192, 0, 2, 1], &[192, 0, 2, 2]],
            (true, 15) => &[b"\x00\x0a\x02mx\xc0\x0c"],
            (true, 16) => &[b"\x05v=abc"],
            _ => &[],
        };
        let rcode = if known { 0 } else { 3 };
        let count = u8::try_from(records.len()).ok()?;
        let mut answer = asked[..2].to_vec();
        answer.extend([0x85, 0x80 | rcode, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(question);
        for record in records {
            let length = u8::try_from(record.len()).ok()?;
            answer.extend([
                0xc0,
                0x0c,
                0,
                question[end - 3],
                0,
                1,
                0,
                0,
                0,
                60,
                0,
                length,
            ]);
            answer.extend(*record);
        }
        Some(answer)
    })
}
