//! Promises that can be broken on purpose, one at a time, so that tests can show that they notice.
//!
//! Only a build of the tests, or one with the feature `weakenings`, can be weakened. In every other build
//! [`Weakened::has`] is `false`, and nothing is left of the places that ask.

/// A rule of the delivery protocol that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// A request goes to its worker before its start is written down.
    SendBeforeStarted,
    /// A start is taken for safe as soon as it is written, whatever its level.
    StartedUnsynced,
    /// `accepted` is said before the entry is safe.
    AcceptedUnsynced,
    /// An end is told before it is safe.
    DoneUnsynced,
    /// What was started runs again, whatever its delivery.
    StartedRunAgain,
    /// What was accepted and not started is forgotten by the next daemon.
    AcceptedNotResumed,
    /// Ids that are no longer known run again.
    NoLowWater,
    /// `cancelled` is answered although it was started.
    CancelledAfterStart,
    /// The next daemon does not wait for old workers, and an unknown outcome is not written down.
    NoWaitNoUnknown,
    /// A worker holds no lock on its script.
    NoLocks,
    /// A worker writes no outcome record.
    NoRecords,
}

impl Weakening {
    pub const ALL: [Weakening; 11] = [
        Weakening::SendBeforeStarted,
        Weakening::StartedUnsynced,
        Weakening::AcceptedUnsynced,
        Weakening::DoneUnsynced,
        Weakening::StartedRunAgain,
        Weakening::AcceptedNotResumed,
        Weakening::NoLowWater,
        Weakening::CancelledAfterStart,
        Weakening::NoWaitNoUnknown,
        Weakening::NoLocks,
        Weakening::NoRecords,
    ];

    /// What `MOONKEEP_WEAKEN` calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Weakening::SendBeforeStarted => "send-before-started",
            Weakening::StartedUnsynced => "started-unsynced",
            Weakening::AcceptedUnsynced => "accepted-unsynced",
            Weakening::DoneUnsynced => "done-unsynced",
            Weakening::StartedRunAgain => "started-run-again",
            Weakening::AcceptedNotResumed => "accepted-not-resumed",
            Weakening::NoLowWater => "no-low-water",
            Weakening::CancelledAfterStart => "cancelled-after-start",
            Weakening::NoWaitNoUnknown => "no-wait-no-unknown",
            Weakening::NoLocks => "no-locks",
            Weakening::NoRecords => "no-records",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// By what this process is weakened: by nothing, unless a test says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weakened {
    #[cfg(any(test, feature = "weakenings"))]
    by: Option<Weakening>,
}

impl Weakened {
    #[cfg(any(test, feature = "weakenings"))]
    #[must_use]
    pub fn by(weakening: Weakening) -> Self {
        Weakened {
            by: Some(weakening),
        }
    }

    #[cfg(any(test, feature = "weakenings"))]
    #[must_use]
    pub fn has(self, weakening: Weakening) -> bool {
        self.by == Some(weakening)
    }

    #[cfg(not(any(test, feature = "weakenings")))]
    #[must_use]
    pub fn has(self, _weakening: Weakening) -> bool {
        false
    }

    /// What the environment variable `MOONKEEP_WEAKEN` names; a build without the feature does not look.
    ///
    /// # Errors
    /// A sentence, if it names nothing that is known.
    pub fn from_environment() -> Result<Self, String> {
        #[cfg(any(test, feature = "weakenings"))]
        if let Some(text) = std::env::var_os("MOONKEEP_WEAKEN") {
            let text = text.to_string_lossy();
            let known = Weakening::ALL.map(Weakening::as_str).join(", ");
            return Weakening::parse(&text)
                .map(Weakened::by)
                .ok_or_else(|| format!("MOONKEEP_WEAKEN={text} is none of: {known}"));
        }
        Ok(Weakened::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weakening_has_a_name_of_its_own_and_is_alone() {
        for one in Weakening::ALL {
            assert_eq!(Weakening::parse(one.as_str()), Some(one));
            for other in Weakening::ALL {
                assert_eq!(Weakened::by(one).has(other), one == other);
            }
        }
        assert_eq!(Weakening::parse("no-such"), None);
    }
}
