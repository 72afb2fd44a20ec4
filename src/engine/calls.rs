//! How a request is admitted: repeats join or get the stored answer, queries share, the rest queues.
//!
//! Whatever is refused here was never accepted: it did not run, and its id stays free.

use uuid::Uuid;

use super::alphabet::{Moment, Peer, ScriptKind};
use super::asking::{Ask, Manner, What};
use super::coalesce::FlightKey;
use super::delivery::Known;
use super::generation::Handlers;
use super::requests::{Request, RequestKey, State, Waiter};
use super::scripts::Phase;
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::options::Durability;
use crate::proto::ids::{ClientId, RequestId, ScriptName};
use crate::proto::messages::{Body, Delivery, ErrorCode, Refusal, Work};
use crate::weakenings::Weakening;

/// A request as it was asked, before anything is known of it.
pub(super) struct Asked {
    pub(super) peer: Peer,
    pub(super) manner: Manner,
    pub(super) script: ScriptName,
    pub(super) work: Work,
    pub(super) timeout: Option<std::time::Duration>,
}

impl Engine {
    /// Admits a request, joins it to one that is known, or refuses it.
    pub(super) fn call(&mut self, asked: Asked) {
        let manner = asked.manner.clone();
        let peer = asked.peer.clone();
        if let Err(refusal) = self.try_call(asked) {
            self.answer_at_once(&peer, manner, Body::Error(refusal));
        }
    }

    fn try_call(&mut self, asked: Asked) -> Result<(), Refusal> {
        if self.life.is_leaving() {
            return Err(refusals::shutting_down());
        }
        let identity = match &asked.work {
            Work::Call { .. } => asked.manner.id.as_ref().and_then(RequestId::key),
            Work::Eval { .. } => None,
        };
        let Some(id) = &asked.manner.id else {
            return self.admit(asked, None);
        };
        let known = match identity {
            Some(identity) => self.known(identity, &asked.script),
            None => self
                .running_under(&asked.peer, id)
                .map_or(Known::Nothing, Known::Live),
        };
        match known {
            Known::Nothing => self.admit(asked, identity),
            Known::Live(key) => self.join_known(key, asked, identity),
            Known::Ended => self.replay_stored(asked, identity),
            Known::Expired => Err(refusals::expired_id(id)),
            Known::BeforeBoot => Err(refusals::id_before_boot(id)),
        }
    }

    /// What is known of an id, by the rules of its script's durability.
    fn known(&self, id: Uuid, script: &ScriptName) -> Known {
        let power = || self.durability_of(script) == Durability::Power;
        match self.stored.look(id) {
            Known::Expired | Known::BeforeBoot if self.weakened.has(Weakening::NoLowWater) => {
                Known::Nothing
            }
            Known::BeforeBoot if power() => Known::Nothing,
            known @ (Known::Nothing
            | Known::Live(_)
            | Known::Ended
            | Known::Expired
            | Known::BeforeBoot) => known,
        }
    }

    pub(super) fn durability_of(&self, script: &ScriptName) -> Durability {
        self.scripts
            .get(script)
            .and_then(|script| script.spec.as_ref())
            .map_or(Durability::Process, |spec| spec.settings.durability)
    }

    /// The level at which the journal has to know a request, if it has to.
    pub(super) fn level_of(
        &self,
        script: &ScriptName,
        identity: Option<Uuid>,
        delivery: Delivery,
    ) -> Option<Durability> {
        if identity.is_none() || delivery == Delivery::Query {
            return None;
        }
        match self.durability_of(script) {
            Durability::Off => None,
            level @ (Durability::Power | Durability::Process) => Some(level),
        }
    }

    /// The request that this peer has in flight under an id.
    fn running_under(&self, peer: &Peer, id: &RequestId) -> Option<RequestKey> {
        match self.asker(peer)?.find(id)? {
            (_, What::Request(key)) => Some(*key),
            (_, What::Control(_) | What::Log(_) | What::Events { .. } | What::Check(_)) => None,
        }
    }

    /// The same id again while it runs: one more waiter, if it asks for the same.
    fn join_known(
        &mut self,
        key: RequestKey,
        asked: Asked,
        identity: Option<Uuid>,
    ) -> Result<(), Refusal> {
        let same = self
            .requests
            .get(key)
            .is_some_and(|request| request.script == asked.script && request.work == asked.work);
        if !same {
            return Err(conflict(&asked));
        }
        let limit = self.time_limit(&asked);
        self.add_waiter(key, asked.peer, asked.manner, limit, identity);
        Ok(())
    }

    fn replay_stored(&mut self, asked: Asked, identity: Option<Uuid>) -> Result<(), Refusal> {
        let stored = identity.and_then(|id| self.stored.replay(id, &asked.script, &asked.work));
        let Some(body) = stored else {
            return Err(conflict(&asked));
        };
        self.answer_at_once(&asked.peer, asked.manner, body);
        Ok(())
    }

    /// When a request's time is over: its asker's limit, else the script's.
    fn time_limit(&self, asked: &Asked) -> Moment {
        let own = self
            .scripts
            .get(&asked.script)
            .map_or(limits::REQUEST_TIMEOUT, |script| script.timeout());
        let limit = asked.timeout.unwrap_or(own);
        self.now.after(limit.min(limits::REQUEST_TIMEOUT_MOST))
    }

    fn admit(&mut self, asked: Asked, identity: Option<Uuid>) -> Result<(), Refusal> {
        let delivery = self.check(&asked)?;
        let deadline = self.time_limit(&asked);
        let flight = match (delivery, &asked.work) {
            (Some(Delivery::Query), Work::Call { handler, params }) => Some(FlightKey {
                script: asked.script.clone(),
                handler: handler.clone(),
                params: params.clone(),
            }),
            _ => None,
        };
        if let Some(key) = flight.as_ref().and_then(|flight| self.flights.find(flight)) {
            if let Some(identity) = identity {
                self.stored.begin(identity, key);
            }
            if let Some(request) = self.requests.get_mut(key) {
                request.identities.extend(identity);
            }
            self.add_waiter(key, asked.peer, asked.manner, deadline, identity);
            return Ok(());
        }
        let delivery = delivery.unwrap_or_default();
        let level = self.level_of(&asked.script, identity, delivery);
        if let (Some(_), Some(fault)) = (level, &self.journal.fault) {
            return Err(refusals::journal_busy(fault));
        }
        self.check_room(&asked, deadline)?;
        let begun = flight.clone();
        let request = self.request_of(&asked, identity, delivery, deadline, flight);
        let key = self.enqueue(asked, request, level);
        if let Some(flight) = begun {
            self.flights.begin(flight, key);
        }
        Ok(())
    }

    /// Whether the script can take it at all; its handler's delivery, if that is known by now.
    fn check(&self, asked: &Asked) -> Result<Option<Delivery>, Refusal> {
        let Some(script) = self.scripts.get(&asked.script) else {
            let names = self.scripts.keys().map(ScriptName::as_str);
            return Err(refusals::unknown_script(&asked.script, names));
        };
        if let Phase::Stopped | Phase::Failed { .. } = script.phase {
            return Err(script.not_ready());
        }
        if script.is_going_for_good() {
            return Err(script.not_ready());
        }
        let handler = match &asked.work {
            Work::Call { handler, .. } => handler,
            Work::Eval { .. } => {
                let lua = script
                    .spec
                    .as_ref()
                    .is_none_or(|spec| spec.kind == ScriptKind::Lua);
                if lua {
                    return Ok(Some(Delivery::Once));
                }
                return Err(Refusal::new(
                    ErrorCode::BadRequest,
                    format!(
                        "script {} is an executable: eval needs a Lua script; use call",
                        asked.script
                    ),
                ));
            }
        };
        let Some(worker) = script.serving() else {
            return Ok(None);
        };
        match &worker.handlers {
            Handlers::Any => Ok(Some(Delivery::Once)),
            Handlers::Known(known) => match known.get(&**handler) {
                Some(found) => Ok(Some(found.delivery)),
                None => Err(worker.unknown_handler(handler)),
            },
        }
    }

    /// Whether there is room in the queue, and a turn before the deadline.
    fn check_room(&self, asked: &Asked, deadline: Moment) -> Result<(), Refusal> {
        let Some(script) = self.scripts.get(&asked.script) else {
            return Ok(());
        };
        let waiting = script.queue.len();
        let bytes = script.queue.bytes();
        let starts_at_once = waiting == 0 && script.serving().is_some() && script.slots.has_free();
        let full = waiting >= script.queue_limit()
            || bytes.saturating_add(asked.work.bytes()) > limits::QUEUE_BYTES;
        if full && !starts_at_once {
            return Err(refusals::queue_full(&asked.script, waiting, bytes));
        }
        if let Some(bucket) = &script.bucket {
            let turn = bucket.ready_at(waiting + 1);
            if turn > deadline {
                return Err(refusals::rate_limited(&asked.script, turn.since(self.now)));
            }
        }
        Ok(())
    }

    fn request_of(
        &self,
        asked: &Asked,
        identity: Option<Uuid>,
        delivery: Delivery,
        deadline: Moment,
        flight: Option<FlightKey>,
    ) -> Request {
        Request {
            script: asked.script.clone(),
            work: asked.work.clone(),
            delivery,
            id: asked.manner.id.clone(),
            client: self.client_of(&asked.peer),
            identities: identity.into_iter().collect(),
            waiters: Vec::with_capacity(1),
            deadline,
            kept_until: None,
            starts: 0,
            flight,
            entry: None,
            state: State::Unplaced,
        }
    }

    fn enqueue(&mut self, asked: Asked, request: Request, level: Option<Durability>) -> RequestKey {
        let (identity, deadline) = (request.identity(), request.deadline);
        let key = self.requests.admit(request);
        if let Some(level) = level {
            self.will_be_journaled(key, level);
        }
        if let Some(identity) = identity {
            self.stored.begin(identity, key);
        }
        self.push_to_queue(key);
        self.add_waiter(key, asked.peer, asked.manner, deadline, identity);
        self.wake(&asked.script);
        key
    }

    /// The last place in its script's queue.
    pub(super) fn push_to_queue(&mut self, key: RequestKey) {
        if let Some(request) = self.requests.get_mut(key)
            && let Some(script) = self.scripts.get_mut(&request.script)
        {
            let position = script.queue.push_back(key, request.work.bytes());
            request.state = State::Queued(position);
        }
    }

    /// A query that others shared is none any more: it runs for its first asker, the others ask again.
    pub(super) fn part_from_sharers(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let mut waiters = std::mem::take(&mut request.waiters).into_iter();
        request.waiters.extend(waiters.next());
        let own = match request.waiters.first() {
            Some(first) => first.identity,
            None => request.identity(),
        };
        let identities = std::mem::replace(&mut request.identities, own.into_iter().collect());
        let (name, flight) = (request.script.clone(), request.flight.take());
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        for identity in identities.into_iter().filter(|other| Some(*other) != own) {
            self.stored.forget(identity);
        }
        if let Some(flight) = flight {
            self.flights.end(&flight, key);
        }
        let refusal = refusals::shared_no_more(&name);
        self.tell_all(waiters.collect(), Body::Error(refusal));
    }

    fn client_of(&self, peer: &Peer) -> Option<ClientId> {
        match peer {
            Peer::Session(id) => self.sessions.table.get(id).map(|session| session.client),
            Peer::Worker(_) | Peer::Monitor => None,
        }
    }

    /// Somebody (more) waits for a request.
    fn add_waiter(
        &mut self,
        key: RequestKey,
        peer: Peer,
        manner: Manner,
        deadline: Moment,
        identity: Option<Uuid>,
    ) {
        let Some(number) = self.open_question(&peer, manner, What::Request(key)) else {
            return;
        };
        let ask = Ask { peer, number };
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.waiters.push(Waiter {
            ask: ask.clone(),
            deadline,
            identity,
        });
        request.deadline = request.deadline.max(deadline);
        request.kept_until = None;
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        if let Some(word) = self.word_for(key) {
            self.progress(&ask, word);
        }
    }

    /// What one who joins now may be told of it: nothing, before its entry is safe.
    fn word_for(&self, key: RequestKey) -> Option<Body> {
        let request = self.requests.get(key)?;
        let safe = match &request.entry {
            None => true,
            Some(entry) => self.is_accepted(entry),
        };
        let word = match &request.state {
            State::Unplaced | State::Queued(_) | State::Starting(_) => Body::Accepted,
            State::Running(_) | State::Cancelling { .. } | State::Elsewhere | State::Ending(_) => {
                Body::Running
            }
        };
        safe.then_some(word)
    }

    /// `accepted` and `running`, for those who asked for them.
    pub(super) fn progress(&mut self, ask: &Ask, body: Body) {
        if self.wants_progress(ask) {
            self.tell(ask, body);
        }
    }

    pub(super) fn wants_progress(&self, ask: &Ask) -> bool {
        self.asker(&ask.peer).is_some_and(|asker| asker.progress)
    }
}

/// The id is another command's. Only those that have an id come here.
fn conflict(asked: &Asked) -> Refusal {
    match &asked.manner.id {
        Some(id) => refusals::id_conflict(id),
        None => refusals::cancelled(false),
    }
}
