//! Several connections to one daemon, for callers whose requests should not stand behind each other's
//! bytes, and one run for many who ask the same question at the same time.
//!
//! [`Ledger`] decides who may use which connection. A connection is made when its slot is first used
//! and kept. Dropping a future of this module at any point gives back what it held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::proto::codec;
use crate::proto::messages::{Body, Command, Encoding, Question};

use super::ledger::{Admission, Guest, Ledger, Slot};
use super::requests::Failure;
use super::wire::{Client, ConnectOptions, RequestOptions};

/// Callers that may wait for a slot; further ones are told [`Failure::Overrun`].
pub const WAITING_MOST: usize = 65_536;

/// A bounded number of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ConnectOptions,
    /// Held for a few lines, never across an await.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    wake: HashMap<Guest, oneshot::Sender<Slot>>,
    clients: Vec<Option<Arc<Client>>>,
    /// Shared questions that run, by their text.
    flights: HashMap<Vec<u8>, Flight>,
}

/// One run of a question, for all who wait for it.
#[derive(Debug)]
struct Flight {
    end: watch::Receiver<Option<Result<Body, Failure>>>,
    task: tokio::task::AbortHandle,
    passengers: usize,
    number: u64,
}

impl Pool {
    /// A pool of at most `most` connections, at least one.
    #[must_use]
    pub fn new(options: ConnectOptions, most: usize) -> Self {
        let most = most.max(1);
        Pool {
            shared: Arc::new(Shared {
                options,
                state: Mutex::new(State {
                    ledger: Ledger::new(most, WAITING_MOST),
                    wake: HashMap::new(),
                    clients: vec![None; most],
                    flights: HashMap::new(),
                }),
            }),
        }
    }

    /// Waits for a connection of one's own. Cancel safe: a dropped wait gives its place back.
    ///
    /// # Errors
    /// [`Failure::Overrun`] if [`WAITING_MOST`] wait already.
    pub async fn take(&self) -> Result<Lease, Failure> {
        let mut seat = Seat {
            shared: self.shared.clone(),
            guest: None,
        };
        let (sender, granted) = oneshot::channel();
        let admission = {
            let mut state = self.shared.lock();
            let admission = state.ledger.enter();
            if let Admission::Waiting(guest) = admission {
                state.wake.insert(guest, sender);
            }
            admission
        };
        let slot = match admission {
            Admission::Granted(guest, slot) => {
                seat.guest = Some(guest);
                slot
            }
            Admission::Waiting(guest) => {
                seat.guest = Some(guest);
                granted.await.map_err(|_| Failure::Closed)?
            }
            Admission::Full => return Err(Failure::Overrun),
        };
        let client = self.shared.client(slot);
        Ok(Lease {
            client,
            _seat: seat,
        })
    }

    /// Asks over a connection of its own and waits for the end.
    ///
    /// # Errors
    /// As [`Client::call`] and [`Pool::take`].
    pub async fn call(&self, command: Command, options: RequestOptions) -> Result<Body, Failure> {
        let lease = self.take().await?;
        lease.client().call(command, options).await
    }

    /// As [`Pool::call`], but those who ask the same at the same time share one run. For questions
    /// without an effect only. The run is cancelled when the last of them has gone away.
    ///
    /// # Errors
    /// As [`Pool::call`], the same for all.
    pub async fn shared_call(
        &self,
        command: Command,
        options: RequestOptions,
    ) -> Result<Body, Failure> {
        let mut passenger = self.board(command, options);
        let end = passenger.end.wait_for(Option::is_some).await;
        match end.as_deref() {
            Ok(Some(end)) => end.clone(),
            Ok(None) | Err(_) => Err(Failure::Closed),
        }
    }

    fn board(&self, command: Command, options: RequestOptions) -> Passenger {
        let mut key = Vec::new();
        let question = Question {
            encoding: Encoding::Json,
            id: None,
            command,
        };
        codec::encode_question(&question, &mut key);
        let mut state = self.shared.lock();
        let landed = |flight: &Flight| flight.end.borrow().is_some();
        let flight = match state.flights.remove(&key) {
            Some(mut flight) if !landed(&flight) => {
                flight.passengers += 1;
                flight
            }
            Some(_) | None => self.start(question.command, options),
        };
        let passenger = Passenger {
            shared: self.shared.clone(),
            end: flight.end.clone(),
            number: flight.number,
            key: key.clone(),
        };
        state.flights.insert(key, flight);
        passenger
    }

    fn start(&self, command: Command, options: RequestOptions) -> Flight {
        let (sender, end) = watch::channel(None);
        let pool = self.clone();
        let mut tasks = tokio::task::JoinSet::new();
        // Its passengers own it: the last one to leave aborts it.
        let task = tasks.spawn(async move {
            let end = pool.call(command, options).await;
            sender.send_replace(Some(end));
        });
        tasks.detach_all();
        static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Flight {
            end,
            task,
            passengers: 1,
            number: NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// Slots in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared.lock().ledger.in_use()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, slot: Slot) -> Arc<Client> {
        let mut state = self.lock();
        let client = &mut state.clients[slot.0];
        client
            .get_or_insert_with(|| Arc::new(Client::connect(self.options.another())))
            .clone()
    }

    /// The one way out of the ledger. A waiter that went away in the meantime leaves in its turn.
    fn leave(&self, guest: Guest) {
        let mut state = self.lock();
        state.wake.remove(&guest);
        let mut next = state.ledger.leave(guest);
        while let Some((waiter, slot)) = next {
            let woken = state.wake.remove(&waiter);
            if woken.is_some_and(|waiter| waiter.send(slot).is_ok()) {
                return;
            }
            next = state.ledger.leave(waiter);
        }
    }
}

/// A place in the ledger, given back when dropped.
#[derive(Debug)]
struct Seat {
    shared: Arc<Shared>,
    guest: Option<Guest>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(guest) = self.guest.take() {
            self.shared.leave(guest);
        }
    }
}

/// The right to use one connection, given back when dropped.
#[derive(Debug)]
pub struct Lease {
    client: Arc<Client>,
    _seat: Seat,
}

impl Lease {
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// One who waits for a shared run.
struct Passenger {
    shared: Arc<Shared>,
    end: watch::Receiver<Option<Result<Body, Failure>>>,
    key: Vec<u8>,
    number: u64,
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(flight) = state.flights.get_mut(&self.key) else {
            return;
        };
        if flight.number != self.number {
            return;
        }
        flight.passengers -= 1;
        if flight.passengers == 0 {
            flight.task.abort();
            state.flights.remove(&self.key);
        }
    }
}
