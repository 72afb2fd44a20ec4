//! The load: any number of clients in one thread, each with a fixed number of requests in flight.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// How many ask, how much at once, how large.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
}

/// Somebody to load: how a request is written, how many line ends an answer has.
pub(crate) trait Peer {
    fn socket(&self) -> &Path;
    /// Appends one request; `number` is different each time, and so is what is asked.
    fn ask(&self, client: usize, number: u64, bytes: usize, out: &mut Vec<u8>);
    fn lines_of_an_answer(&self) -> usize {
        1
    }
    /// What a client says first, and reads one line for.
    fn greet(&self, _client: usize) -> Option<String> {
        None
    }
}

struct Client {
    stream: UnixStream,
    waiting: Vec<u8>,
    lines: usize,
}

fn connect(peer: &dyn Peer, count: usize) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut stream = UnixStream::connect(peer.socket()).expect("the peer serves");
            if let Some(line) = peer.greet(number) {
                stream.write_all(line.as_bytes()).expect("the peer reads");
                stream.read_exact(&mut [0]).expect("the peer answers");
            }
            Client {
                stream,
                waiting: Vec::new(),
                lines: 0,
            }
        })
        .collect()
}

/// Answered requests a second over `time`, after a tenth of it to get warm.
pub(crate) fn throughput(peer: &dyn Peer, shape: Shape, time: Duration) -> f64 {
    let mut clients = connect(peer, shape.clients);
    let mut number = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        client.stream.set_nonblocking(true).expect("a socket");
        for _ in 0..shape.in_flight {
            number += 1;
            peer.ask(index, number, shape.bytes, &mut client.waiting);
        }
        client.flush();
    }
    let mut buffer = vec![0; 256 * 1024];
    let (mut begun, mut answered, mut warm) = (Instant::now(), 0_u64, false);
    while begun.elapsed() < time {
        if !warm && begun.elapsed() > time / 10 {
            (begun, answered, warm) = (Instant::now(), 0, true);
        }
        for index in await_any(&clients) {
            let client = &mut clients[index];
            let got = client.read(&mut buffer, peer.lines_of_an_answer());
            for _ in 0..got {
                number += 1;
                peer.ask(index, number, shape.bytes, &mut client.waiting);
            }
            client.flush();
            answered += got as u64;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = answered as f64 / begun.elapsed().as_secs_f64();
    drain(peer, &mut clients, shape.clients * shape.in_flight);
    rate
}

/// Reads what is still in flight, so that the next turn begins with a peer at rest.
fn drain(peer: &dyn Peer, clients: &mut [Client], mut left: usize) {
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        for index in await_any(clients) {
            clients[index].flush();
            left -= clients[index].read(&mut buffer, peer.lines_of_an_answer());
        }
    }
}

/// Which clients can go on. One client alone just reads: its socket then waits by itself.
fn await_any(clients: &[Client]) -> Vec<usize> {
    let mut sets: Vec<PollFd<'_>> = clients
        .iter()
        .map(|client| {
            let write = if client.waiting.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::OUT
            };
            PollFd::new(&client.stream, PollFlags::IN | write)
        })
        .collect();
    poll(&mut sets, None).expect("open sockets");
    (0..clients.len())
        .filter(|index| !sets[*index].revents().is_empty())
        .collect()
}

impl Client {
    /// Whole answers that have arrived.
    fn read(&mut self, buffer: &mut [u8], lines_of_an_answer: usize) -> usize {
        match self.stream.read(buffer) {
            Ok(0) => panic!("the peer closed the connection"),
            Ok(count) => {
                self.lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
                let answers = self.lines / lines_of_an_answer;
                self.lines %= lines_of_an_answer;
                answers
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the peer failed: {error}"),
        }
    }

    fn flush(&mut self) {
        match self.stream.write(&self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the peer failed: {error}"),
        }
    }
}

/// Round trips one at a time, in microseconds.
pub(crate) fn round_trips(peer: &dyn Peer, bytes: usize, count: usize) -> Vec<f64> {
    let mut clients = connect(peer, 1);
    let stream = &mut clients[0].stream;
    let (mut request, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let warm = count / 10;
    let mut times = Vec::with_capacity(count);
    for number in 0..count + warm {
        request.clear();
        peer.ask(0, number as u64, bytes, &mut request);
        let begun = Instant::now();
        stream.write_all(&request).expect("the peer reads");
        let mut lines = 0;
        while lines < peer.lines_of_an_answer() {
            let got = stream.read(&mut buffer).expect("the peer answers");
            assert!(got > 0, "the peer closed the connection");
            lines += memchr::memchr_iter(b'\n', &buffer[..got]).count();
        }
        if number >= warm {
            times.push(super::rows::microseconds(begun.elapsed()));
        }
    }
    times
}
