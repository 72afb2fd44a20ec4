//! Standard input: the order, then nothing for as long as the daemon lives.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::stdin;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::order::Order;
use crate::limits;

const BY_HAND: &str = "`moonkeep deliver` is started by the daemon, not by hand; `moonkeep checks` shows what it watches";

/// The daemon's end is open as long as the daemon lives.
#[derive(Debug)]
pub(super) struct Lifeline(Receiver);

impl Lifeline {
    /// # Errors
    /// If standard input is no pipe.
    pub(super) fn claim() -> Result<Self, String> {
        fcntl_dupfd_cloexec(stdin(), 3)
            .map_err(std::io::Error::from)
            .and_then(Receiver::from_owned_fd)
            .map(Lifeline)
            .map_err(|error| format!("standard input is no pipe ({error}); {BY_HAND}"))
    }

    /// The first line. Not cancel safe: what was read of it is lost.
    pub(super) async fn order(&mut self) -> Result<Order, String> {
        let line = timeout(limits::DELIVERY_SLACK, self.line()).await;
        let line = line.map_err(|_| format!("no order came; {BY_HAND}"))??;
        serde_json::from_slice(&line)
            .map_err(|error| format!("this is no order: {error}; {BY_HAND}"))
    }

    async fn line(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() > limits::DELIVERY_BYTES {
                return Err("the order is too large".to_owned());
            }
            match self.0.read_buf(&mut line).await {
                Ok(0) => return Err(format!("standard input ended before the order; {BY_HAND}")),
                Ok(_) => {}
                Err(error) => return Err(format!("cannot read the order: {error}")),
            }
        }
        Ok(line)
    }

    /// Returns when the daemon is gone. Cancel safe: nothing else comes this way.
    pub(super) async fn cut(&mut self) {
        let mut nothing = [0; 64];
        while let Ok(1..) = self.0.read(&mut nothing).await {}
    }
}
