//! Identical queries in flight share one run. Nothing is cached: an ended run is forgotten.

use std::sync::Arc;

use super::hash::FastMap;
use super::requests::RequestKey;
use crate::proto::ids::ScriptName;
use crate::proto::messages::Json;

/// What makes two queries identical: the bytes of what they ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) script: ScriptName,
    pub(super) handler: Arc<str>,
    pub(super) params: Option<Json>,
}

#[derive(Debug, Default)]
pub(super) struct Flights(FastMap<FlightKey, RequestKey>);

impl Flights {
    pub(super) fn find(&self, flight: &FlightKey) -> Option<RequestKey> {
        self.0.get(flight).copied()
    }

    pub(super) fn begin(&mut self, flight: FlightKey, key: RequestKey) {
        self.0.insert(flight, key);
    }

    /// Nobody joins `key` from now on.
    pub(super) fn end(&mut self, flight: &FlightKey, key: RequestKey) {
        if self.0.get(flight) == Some(&key) {
            self.0.remove(flight);
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
