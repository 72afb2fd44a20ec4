//! The floor: a plain echo over the same two hops, as fast as blocking threads can be.
//!
//! client -> Unix socket -> thread -> pipe -> child process -> pipe -> thread -> Unix socket -> client.
//! Nothing is parsed with one client. With more, each line begins with two digits that name its client, and
//! the way back looks at those only. Everything is read and written many lines at a time.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// argv of the daemon's part.
pub(crate) const DAEMON: &str = "floor-daemon";
/// argv of the child's part.
pub(crate) const CHILD: &str = "floor-child";

const READ: usize = 64 * 1024;

/// A running floor; ended when dropped.
pub(crate) struct Floor {
    process: Child,
}

impl Floor {
    pub(crate) fn start(socket: &Path) -> Self {
        let process = Command::new(std::env::current_exe().expect("this program"))
            .arg(DAEMON)
            .arg(socket)
            .spawn()
            .expect("this program again");
        super::harness::wait_until("the floor serves", || UnixStream::connect(socket).is_ok());
        Floor { process }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The child: what comes in goes out.
pub(crate) fn child() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut buffer = vec![0; READ];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        if output.write_all(&buffer[..count]).is_err() || output.flush().is_err() {
            return;
        }
    }
}

type Clients = Arc<Mutex<Vec<UnixStream>>>;

/// The daemon: one thread for each client, one for the way back. Lives until it is killed.
pub(crate) fn daemon(socket: &str) {
    let listener = UnixListener::bind(socket).expect("a fresh socket");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg(CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let to_child = Arc::new(Mutex::new(child.stdin.take().expect("piped")));
    let clients: Clients = Arc::default();
    let back = child.stdout.take().expect("piped");
    let known = Arc::clone(&clients);
    thread::spawn(move || way_back(back, &known));
    for stream in listener.incoming().flatten() {
        let reader = stream.try_clone().expect("a second descriptor");
        let to_child = Arc::clone(&to_child);
        let clients = Arc::clone(&clients);
        thread::spawn(move || way_there(reader, stream, &clients, &to_child));
    }
    child.wait().ok();
}

/// A client's first line is its number; with number 0 all earlier clients are forgotten.
fn way_there(
    mut reader: UnixStream,
    stream: UnixStream,
    clients: &Clients,
    to_child: &Mutex<impl Write>,
) {
    let mut first = [0; 3];
    if reader.read_exact(&mut first).is_err() {
        return;
    }
    {
        let mut clients = clients.lock().expect("no thread panics");
        if &first[..2] == b"00" {
            clients.clear();
        }
        clients.push(stream);
    }
    (&reader).write_all(b"\n").expect("the client reads");
    let mut buffer = vec![0; READ];
    // A line may be cut by the end of the buffer: what follows its last newline waits for the next read.
    let mut kept = 0;
    while let Ok(count @ 1..) = reader.read(&mut buffer[kept..]) {
        let filled = kept + count;
        let whole = last_line_end(&buffer[..filled]);
        let mut child = to_child.lock().expect("no thread panics");
        if child.write_all(&buffer[..whole]).is_err() || child.flush().is_err() {
            return;
        }
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
}

fn last_line_end(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

fn way_back(mut back: impl Read, clients: &Clients) {
    let mut buffer = vec![0; READ];
    let mut kept = 0;
    let mut batches: Vec<Vec<u8>> = Vec::new();
    while let Ok(count @ 1..) = back.read(&mut buffer[kept..]) {
        let filled = kept + count;
        let whole = last_line_end(&buffer[..filled]);
        let clients = clients.lock().expect("no thread panics");
        if let [only] = clients.as_slice() {
            { only }.write_all(&buffer[..whole]).ok();
        } else {
            batches.resize(clients.len(), Vec::new());
            for line in buffer[..whole].split_inclusive(|byte| *byte == b'\n') {
                let client = usize::from(line[0] - b'0') * 10 + usize::from(line[1] - b'0');
                batches[client].extend_from_slice(line);
            }
            for (mut client, batch) in clients.iter().zip(&mut batches) {
                if !batch.is_empty() {
                    client.write_all(batch).ok();
                    batch.clear();
                }
            }
        }
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
}
