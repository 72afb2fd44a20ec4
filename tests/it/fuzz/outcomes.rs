//! Outcome records: any bytes are read, what was printed is read back, a torn end is as if it had not begun.

use moonkeep::proto::outcome::{self, Header, Outcomes};
use uuid::Uuid;

use super::random::Random;
use super::{campaign, inputs, shown, values};

/// Few ids, so that they meet again.
fn id(random: &mut Random) -> Uuid {
    Uuid::from_u128(0x0199_f6c2_5e6f_7c3a_9d2b_1f4e_5a6b_7c00 + random.below(6) as u128)
}

/// A record as a worker writes it, and what it says.
fn record(random: &mut Random) -> (Vec<u8>, Header, Outcomes) {
    let header = Header {
        pid: random.next() as u32,
        started: random.next(),
        boot: Uuid::from_u64_pair(random.next(), random.next()),
    };
    let (mut bytes, mut said) = (
        Vec::new(),
        Outcomes {
            complete: true,
            ..Outcomes::default()
        },
    );
    outcome::print_header(header, &mut bytes);
    for _ in 0..random.below(6) {
        let id = id(random);
        let body = values::body(random, true);
        if body.is_end() {
            outcome::print_ended(id, &body, &mut bytes);
            said.ended.entry(id).or_insert(body);
        } else {
            outcome::print_begun(id, &mut bytes);
            said.began.insert(id);
        }
    }
    if random.once_in(2) {
        outcome::print_closed(&mut bytes);
    }
    (bytes, header, said)
}

// FI-5
#[test]
fn fuzz_outcome_records() {
    campaign("outcome records", 8_000, |random| {
        let (mut bytes, header, said) = record(random);
        assert_eq!(
            outcome::parse(&bytes),
            (Some(header), said),
            "{}",
            shown(&bytes)
        );
        // Cut anywhere: the whole lines before the cut, and nothing else.
        let cut = random.below(bytes.len() + 1);
        let whole = bytes[..cut]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        assert_eq!(
            outcome::parse(&bytes[..cut]),
            outcome::parse(&bytes[..whole]),
            "cut at {cut}: {}",
            shown(&bytes)
        );
        inputs::mutate(random, &mut bytes);
        let (_, read) = outcome::parse(&bytes);
        let lines = bytes.split(|byte| *byte == b'\n').count();
        assert!(read.began.len() + read.ended.len() <= lines);
        assert!(read.ended.values().all(|body| body.is_end()));
    });
}
