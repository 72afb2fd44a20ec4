//! What daemon and delivery say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::monitor::alphabet::Delivery;

/// Exit code: it has arrived.
pub const DELIVERED: u8 = 0;
/// Exit code: it would be refused again.
pub const REFUSED: u8 = 65;
/// Exit code: it may work later. Any other end, a signal's too, counts as this one.
pub const FAILED: u8 = 75;

/// One line of JSON on standard input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub delivery: Delivery,
    /// The home's folder.
    pub home: PathBuf,
    /// Where the daemon shows its checks over HTTP, if it does.
    pub page: Option<String>,
}
