//! What the engine is told of a store's trouble: what happened, and what to do about it.

use super::store::Trouble;
use crate::engine::records::{FaultKind, JournalFault};

pub(super) fn disk_full(cause: &str) -> JournalFault {
    JournalFault {
        kind: FaultKind::DiskFull,
        text: format!(
            "the disk with the journal is full ({cause}); free some space on it: requests are taken again within seconds"
        ),
    }
}

pub(super) fn fault_of(trouble: &Trouble) -> JournalFault {
    let text = match trouble {
        Trouble::Full(cause) => return disk_full(cause),
        Trouble::Locked(cause) => format!(
            "another program holds the journal's lock ({cause}); end it (`fuser state/journal.db` names it), and read the journal only with `sqlite3 -readonly`"
        ),
        Trouble::Failed(cause) => format!(
            "the journal cannot be written ({cause}); look at the disk (`dmesg` names its faults): the daemon tries again every few seconds"
        ),
        Trouble::Lost(cause) => format!(
            "the disk has lost a part of the journal ({cause}); it is set aside, and ids that were in it are refused as expired: look at the disk (`dmesg` names its faults)"
        ),
    };
    JournalFault {
        kind: FaultKind::Failed,
        text,
    }
}
