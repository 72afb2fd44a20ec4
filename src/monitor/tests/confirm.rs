//! Rise and fall.

use crate::monitor::confirm::Confirm;
use crate::monitor::state::State;

/// `o w c u`: results; upper case: where the confirmed state becomes that.
fn check(rise: u32, fall: u32, results: &str) {
    let mut confirm = Confirm::default();
    for (index, letter) in results.chars().enumerate() {
        let state = match letter.to_ascii_lowercase() {
            'o' => State::Ok,
            'w' => State::Warning,
            'c' => State::Critical,
            _ => State::Unknown,
        };
        let before = confirm.confirmed();
        let change = confirm.hear(state, rise, fall);
        let place = format!("{results} at {index}, rise {rise}, fall {fall}");
        assert_eq!(change.is_some(), letter.is_ascii_uppercase(), "{place}");
        if let Some(change) = change {
            assert_eq!((change.from, change.to), (before, state), "{place}");
        }
        assert_eq!(confirm.last(), Some(state), "{place}");
        assert_eq!(
            confirm.seen() == 0,
            confirm.confirmed() == Some(state),
            "{place}"
        );
        assert_eq!(confirm.is_in_doubt(), confirm.seen() > 0, "{place}");
    }
}

#[test]
fn a_state_is_confirmed_when_it_was_seen_often_enough_in_a_row() {
    for (rise, fall, results) in [
        (2, 3, "Oooo"),
        (2, 3, "ccC"),
        (2, 3, "ccOccC"),
        (2, 3, "OccoccocccC".trim_end_matches("cC")),
        (2, 3, "OccC"),
        (2, 3, "OccCcc"),
        (2, 3, "OccCoO"),
        (2, 3, "OccCocoO"),
        (2, 3, "OccCocooocc".split_at(7).0),
        // Bad is bad: how bad, the last says.
        (2, 3, "OwcU"),
        (2, 3, "OcwW"),
        (2, 3, "OwwW"),
        // From bad to worse, and back.
        (2, 3, "OwwWccC"),
        (2, 3, "OwwWccwccC"),
        (2, 3, "OccCwwWoO"),
        (2, 3, "OccCwuW"),
        // Ok in between begins anew.
        (2, 3, "OwwWcoccC"),
        (1, 1, "OCOCWUO"),
        (0, 0, "OCO"),
        (3, 1, "OCooOC"),
        (1, 2, "OcCO"),
        (5, 1, "C"),
        (5, 2, "cO"),
    ] {
        check(rise, fall, results);
    }
}

#[test]
fn what_needs_no_second_look_is_confirmed_at_once() {
    let mut confirm = Confirm::default();
    let change = confirm.settle(State::Critical).unwrap();
    assert_eq!((change.from, change.to), (None, State::Critical));
    assert_eq!(confirm.settle(State::Critical), None);
    assert_eq!(confirm.hear(State::Ok, 2, 3), None);
    assert!(confirm.is_in_doubt());
    assert!(confirm.settle(State::Ok).is_some());
    assert!(confirm.is_well());
}

#[test]
fn kept_counts_go_on_and_those_that_make_no_sense_do_not_matter() {
    let mut confirm = Confirm::restored(Some(State::Critical), Some(State::Ok), 2);
    assert!(confirm.hear(State::Critical, 2, 3).is_some());
    for (last, confirmed, seen, expected) in [
        (None, None, 7, 0),
        (Some(State::Ok), Some(State::Ok), 7, 0),
        (None, Some(State::Ok), 7, 0),
        (Some(State::Critical), Some(State::Ok), 0, 1),
        (Some(State::Critical), None, u32::MAX, u32::MAX),
    ] {
        let mut confirm = Confirm::restored(last, confirmed, seen);
        assert_eq!(confirm.seen(), expected);
        confirm.hear(State::Critical, 2, 3);
        confirm.forget_doubt();
        assert!(!confirm.is_in_doubt());
    }
}
