//! Events: told to everybody who listens. Who does not read gets a counted gap, never silence.

use std::cell::OnceCell;

use super::Engine;
use super::alphabet::{Effect, Peer};
use super::asking::{Ask, What};
use crate::limits;
use crate::proto::ids::{ScriptName, WorkerId};
use crate::proto::messages::{Body, Json, Payload, ToWorker};

impl Engine {
    /// Something that happened to a script, as `moonkeep.script.WHAT`.
    pub(super) fn announce(&mut self, name: &ScriptName, what: &str) {
        if self.subscribers.is_empty() {
            return;
        }
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let data = Json::of(&serde_json::json!({
            "script": name.as_str(),
            "state": script.state(),
            "generation": script.generation.0,
            "last_error": script.last_error,
        }));
        self.emit(&format!("moonkeep.script.{what}"), Some(&data), None);
    }

    /// Tells an event to every subscription that fits, of sessions and of workers.
    pub(super) fn emit(&mut self, event: &str, data: Option<&Json>, from: Option<&ScriptName>) {
        let peers: Vec<Peer> = self.subscribers.iter().cloned().collect();
        // Written once, however many listen: else a large event in a crowd holds everybody up.
        let written = OnceCell::new();
        let part = || -> &Json { written.get_or_init(|| event_json(event, data, from)) };
        for peer in peers {
            for number in self.subscriptions(&peer, event) {
                let ask = Ask {
                    peer: peer.clone(),
                    number,
                };
                self.event_part(&ask, part);
            }
            if let Peer::Worker(id) = &peer {
                self.event_to_worker(id, event, data, from);
            }
        }
    }

    fn subscriptions(&self, peer: &Peer, event: &str) -> Vec<u64> {
        let Some(asker) = self.asker(peer) else {
            return Vec::new();
        };
        asker
            .whats()
            .filter_map(|(number, what)| match what {
                What::Events { pattern, .. } if fits(pattern, event) => Some(number),
                What::Events { .. }
                | What::Request(_)
                | What::Control(_)
                | What::Log(_)
                | What::Check(_) => None,
            })
            .collect()
    }

    fn event_part<'p>(&mut self, ask: &Ask, part: impl Fn() -> &'p Json) {
        let Some(asker) = self.asker_mut(&ask.peer) else {
            return;
        };
        let full = asker.waiting() >= limits::EVENT_OUTBOX_BYTES;
        let Some(What::Events { missed, .. }) = asker.what_mut(ask.number) else {
            return;
        };
        if full {
            *missed += 1;
            return;
        }
        let gap = std::mem::take(missed);
        if gap > 0 {
            self.tell(ask, Body::Part(gap_marker(gap)));
        }
        self.tell(ask, Body::Part(Payload::Json(part().clone())));
    }

    fn event_to_worker(
        &mut self,
        id: &WorkerId,
        event: &str,
        data: Option<&Json>,
        from: Option<&ScriptName>,
    ) {
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        if !worker.listens.iter().any(|pattern| fits(pattern, event)) {
            return;
        }
        if worker.asker.waiting() >= limits::EVENT_OUTBOX_BYTES {
            worker.events_missed += 1;
            return;
        }
        let missed = std::mem::take(&mut worker.events_missed);
        if missed > 0 {
            let data = Json::of(&serde_json::json!({ "missed": missed }));
            self.tell_worker(
                id,
                ToWorker::Event {
                    event: "moonkeep.gap".into(),
                    data: Some(data),
                    from: None,
                },
            );
        }
        self.tell_worker(
            id,
            ToWorker::Event {
                event: event.to_owned(),
                data: data.cloned(),
                from: from.cloned(),
            },
        );
    }

    /// A subscriber reads again: it is told at once how much it has missed.
    pub(super) fn report_gaps(&mut self, peer: &Peer) {
        if !self.subscribers.contains(peer) {
            return;
        }
        let Some(asker) = self.asker_mut(peer) else {
            return;
        };
        if asker.waiting() > limits::EVENT_OUTBOX_BYTES / 2 {
            return;
        }
        let behind: Vec<u64> = asker
            .whats()
            .filter_map(|(number, what)| match what {
                What::Events { missed, .. } if *missed > 0 => Some(number),
                What::Events { .. }
                | What::Request(_)
                | What::Control(_)
                | What::Log(_)
                | What::Check(_) => None,
            })
            .collect();
        for number in behind {
            let Some(What::Events { missed, .. }) = self
                .asker_mut(peer)
                .and_then(|asker| asker.what_mut(number))
            else {
                continue;
            };
            let gap = std::mem::take(missed);
            let ask = Ask {
                peer: peer.clone(),
                number,
            };
            self.tell(&ask, Body::Part(gap_marker(gap)));
        }
    }

    /// A worker listens for these patterns from now on.
    pub(super) fn listen(&mut self, id: &WorkerId, patterns: Vec<String>) {
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        worker.listens = patterns
            .into_iter()
            .take(limits::SUBSCRIPTIONS_PER_PEER)
            .collect();
        self.review_subscriber(&Peer::Worker(id.clone()));
    }

    /// Keeps the set of those who listen right.
    pub(super) fn review_subscriber(&mut self, peer: &Peer) {
        let asks = self.asker(peer).is_some_and(|asker| {
            asker
                .whats()
                .any(|(_, what)| matches!(what, What::Events { .. }))
        });
        let listens = match peer {
            Peer::Session(_) | Peer::Monitor => false,
            Peer::Worker(id) => self
                .worker(id)
                .is_some_and(|worker| !worker.listens.is_empty()),
        };
        if asks || listens {
            self.subscribers.insert(peer.clone());
        } else {
            self.subscribers.remove(peer);
        }
    }

    pub(super) fn count_subscriptions(&self, peer: &Peer) -> usize {
        self.asker(peer).map_or(0, |asker| {
            asker
                .whats()
                .filter(|(_, what)| matches!(what, What::Events { .. }))
                .count()
        })
    }

    /// `emit` of a session or a worker.
    pub(super) fn emitted(&mut self, peer: &Peer, event: &str, data: Option<&Json>) {
        let from = match peer {
            Peer::Session(_) | Peer::Monitor => None,
            Peer::Worker(id) => Some(id.script.clone()),
        };
        self.emit(event, data, from.as_ref());
    }

    /// Nothing of the kind is left for a peer whose connection stays.
    pub(super) fn end_subscription(&mut self, peer: &Peer) {
        self.review_subscriber(peer);
    }

    /// Sends an effect that is no message, in its turn.
    pub(super) fn want(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }
}

fn event_json(event: &str, data: Option<&Json>, from: Option<&ScriptName>) -> Json {
    let mut text = String::with_capacity(48 + event.len());
    text.push_str("{\"event\":");
    text.push_str(Json::of(event).as_str());
    if let Some(data) = data {
        text.push_str(",\"data\":");
        text.push_str(data.as_str());
    }
    if let Some(from) = from {
        text.push_str(",\"from\":");
        text.push_str(Json::of(from.as_str()).as_str());
    }
    text.push('}');
    Json::written(&text)
}

fn gap_marker(missed: u64) -> Payload {
    Payload::Json(Json::of(
        &serde_json::json!({ "event": "moonkeep.gap", "data": { "missed": missed } }),
    ))
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
        } else if pattern.get(at) == Some(&name[read]) {
            at += 1;
            read += 1;
        } else if let Some((back, from)) = star {
            at = back + 1;
            read = from + 1;
            star = Some((back, read));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
