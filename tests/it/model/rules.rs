//! The protocol: what may happen next, and what it leads to. Written from its rules, not from the engine.

use super::action::{Action, Broken, Weakening};
use super::state::{
    Bounds, Daemon, Delivery, Disk, End, Entry, Held, Job, Level, Line, OutcomeFile, REQUESTS,
    Record, Worker, WorkerNumber, World,
};

/// The bounds and the rule that is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) bounds: Bounds,
    pub(super) without: Option<Weakening>,
}

impl Rules {
    fn lacks(&self, weakening: Weakening) -> bool {
        self.without == Some(weakening)
    }

    fn is_once(&self) -> bool {
        self.bounds.delivery == Delivery::Once
    }

    /// Whether no record of this kind waits for its safety.
    fn is_safe(&self, world: &World, unsynced: Weakening, kind: impl Fn(Record) -> bool) -> bool {
        let from = match self.bounds.level {
            Level::Process => world.disk.written,
            Level::Power if self.lacks(unsynced) => world.disk.written,
            Level::Power => 0,
        };
        !world.disk.tail[from..].iter().any(|record| kind(*record))
    }

    fn accepted_is_safe(&self, world: &World, request: usize) -> bool {
        let concerns = |record| match record {
            Record::Accepted(r) | Record::AcceptedAndStarted(r, _) => r == request,
            Record::Started(..)
            | Record::Back { .. }
            | Record::Ended(..)
            | Record::Pruned(_)
            | Record::Booted { .. } => false,
        };
        self.lacks(Weakening::AcceptedUnsynced)
            || self.is_safe(world, Weakening::AcceptedUnsynced, concerns)
    }

    fn start_is_safe(&self, world: &World, request: usize) -> bool {
        let concerns = |record| match record {
            Record::Started(r, _) | Record::AcceptedAndStarted(r, _) => r == request,
            Record::Accepted(_)
            | Record::Back { .. }
            | Record::Ended(..)
            | Record::Pruned(_)
            | Record::Booted { .. } => false,
        };
        self.lacks(Weakening::SendBeforeStarted)
            || self.is_safe(world, Weakening::StartedUnsynced, concerns)
    }

    fn end_is_safe(&self, world: &World, request: usize) -> bool {
        let concerns = |record| matches!(record, Record::Ended(r, _) if r == request);
        self.lacks(Weakening::DoneUnsynced)
            || self.is_safe(world, Weakening::DoneUnsynced, concerns)
    }

    /// Everything that can happen now.
    pub(super) fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        for request in 0..self.bounds.requests {
            self.client_actions(world, request, &mut actions);
        }
        match &world.daemon {
            None => actions.push(Action::StartDaemon),
            Some(daemon) => self.daemon_actions(world, daemon, &mut actions),
        }
        for worker in &world.workers {
            self.worker_actions(world, worker, &mut actions);
        }
        if world.left.power_losses > 0 {
            actions.extend((0..=world.disk.written).map(Action::LosePower));
        }
        actions
    }

    fn client_actions(&self, world: &World, request: usize, actions: &mut Vec<Action>) {
        let (asker, deed) = (&world.askers[request], &world.deeds[request]);
        let Some(daemon) = &world.daemon else { return };
        let held = daemon.held[request];
        let ended = !asker.heard.is_empty() || asker.expired;
        let curious = !ended || asker.repeats < self.bounds.again;
        let too_late = deed.over && held == Held::Nothing;
        if !asker.gone && !daemon.waiting[request] && curious && !too_late {
            actions.push(Action::Ask(request));
        }
        if world.left.leavings > 0 && asker.accepted && !asker.gone && !ended {
            actions.push(Action::ClientLeaves(request));
        }
        let live = !matches!(held, Held::Nothing | Held::Ended(_));
        if world.left.cancels > 0 && live && daemon.waiting[request] {
            actions.push(Action::Cancel(request));
        }
        if world.left.timeouts > 0 && live && !deed.over {
            actions.push(Action::TimeOver(request));
        }
    }

    fn daemon_actions(&self, world: &World, daemon: &Daemon, actions: &mut Vec<Action>) {
        for request in 0..self.bounds.requests {
            self.request_actions(world, daemon, request, actions);
        }
        let barred = world.has_orphans()
            && !self.lacks(Weakening::NoWaitNoUnknown)
            && !self.lacks(Weakening::NoLocks);
        if daemon.current.is_none() && !barred {
            actions.push(Action::Spawn);
        }
        if world.disk.written < world.disk.tail.len() {
            actions.push(Action::Write);
        }
        if self.bounds.level == Level::Power && world.disk.written > 0 {
            actions.push(Action::Sync);
        }
        for file in &world.disk.files {
            if world.worker(file.worker).is_none() && self.may_drop(world, file.worker) {
                actions.push(Action::DropFile(file.worker));
            }
        }
        if world.left.daemon_kills > 0 {
            actions.push(Action::KillDaemon);
        }
        if world.left.reloads > 0 && daemon.current.is_some() {
            actions.push(Action::Reload);
        }
    }

    fn request_actions(
        &self,
        world: &World,
        daemon: &Daemon,
        request: usize,
        actions: &mut Vec<Action>,
    ) {
        let waits = daemon.waiting[request];
        let unheard = waits && !world.askers[request].accepted;
        let held = daemon.held[request];
        let ended = matches!(held, Held::Ended(_));
        if unheard && held != Held::Nothing && !ended && self.accepted_is_safe(world, request) {
            actions.push(Action::TellAccepted(request));
        }
        let time = world.deeds[request].over;
        match held {
            Held::Nothing => {}
            Held::Queued { .. } => {
                if daemon.current.is_some() {
                    actions.push(Action::Dispatch(request));
                }
                if time {
                    actions.push(Action::SeeTime(request));
                }
            }
            Held::Claimed { worker, .. } => match world.worker(worker) {
                None => actions.push(Action::SeeDeath(request)),
                Some(_) => {
                    if self.start_is_safe(world, request) {
                        actions.push(Action::Send(request));
                    }
                    if time {
                        actions.push(Action::SeeTime(request));
                    }
                }
            },
            Held::Sent { worker, .. } => match world.worker(worker) {
                None => actions.push(Action::SeeDeath(request)),
                Some(alive) => {
                    if matches!(alive.jobs[request], Job::Answered(_)) {
                        actions.push(Action::ReadAnswer(request));
                    }
                    if time && !alive.stop[request] {
                        actions.push(Action::SeeTime(request));
                    }
                }
            },
            Held::Elsewhere { .. } => {
                if !world.has_orphans() {
                    actions.push(Action::Free(request));
                }
            }
            Held::Ended(_) => {
                let safe = self.end_is_safe(world, request);
                if waits && safe {
                    actions.push(Action::TellEnd(request));
                }
                if safe && world.left.prunings > 0 {
                    actions.push(Action::Prune(request));
                }
            }
        }
    }

    /// Everything that the record led to is as safe as it has to be.
    fn may_drop(&self, world: &World, worker: WorkerNumber) -> bool {
        if self.lacks(Weakening::RecordsDroppedEarly) {
            return !world.daemon.iter().any(|daemon| {
                daemon.held.iter().any(|held| matches!(held, Held::Claimed { worker: w, .. } | Held::Sent { worker: w, .. } | Held::Elsewhere { worker: w, .. } if *w == worker))
            });
        }
        let safe = match self.bounds.level {
            Level::Process => world.disk.written,
            Level::Power => 0,
        };
        let started =
            |entry: &Entry| matches!(entry, Entry::Started { worker: w, .. } if *w == worker);
        !(safe..=world.disk.tail.len())
            .any(|upto| world.disk.table(upto).entries.iter().any(started))
    }

    fn worker_actions(&self, world: &World, worker: &Worker, actions: &mut Vec<Action>) {
        let number = worker.number;
        for request in 0..self.bounds.requests {
            match worker.jobs[request] {
                Job::None | Job::Answered(_) => {}
                Job::Piped => actions.push(Action::Receive(number, request)),
                Job::Began => {
                    actions.push(Action::Act(number, request));
                    if worker.stop[request] {
                        actions.push(Action::Interrupt(number, request));
                    }
                }
                Job::Acted => actions.push(Action::Finish(number, request)),
                Job::Recorded(_) => actions.push(Action::Answer(number, request)),
            }
        }
        let current = world.daemon.as_ref().and_then(|daemon| daemon.current);
        let held = world.daemon.iter().any(|daemon| {
            daemon.held.iter().any(|held| {
                matches!(held, Held::Claimed { worker: w, .. } | Held::Sent { worker: w, .. } if *w == number)
            })
        });
        let drains = !worker.attached || (current != Some(number) && !held);
        if drains && worker.is_idle() {
            actions.push(Action::Leave(number));
        }
        if world.left.worker_kills > 0 {
            actions.push(Action::KillWorker(number));
        }
    }

    /// The world after it, and the promise that this breaks.
    pub(super) fn apply(&self, before: &World, action: Action) -> (World, Option<Broken>) {
        let mut world = before.clone();
        let kept = self.change(&mut world, action);
        self.forget_what_cannot_matter(&mut world);
        (world, kept.err())
    }

    fn change(&self, world: &mut World, action: Action) -> Result<(), Broken> {
        match action {
            Action::Ask(request) => self.ask(world, request),
            Action::TellAccepted(request) => world.askers[request].accepted = true,
            Action::TellEnd(request) => self.tell_end(world, request)?,
            Action::Write => world.disk.written += 1,
            Action::Sync => sync(world),
            Action::StartDaemon => self.start_daemon(world),
            Action::Spawn => spawn(world, !self.lacks(Weakening::NoRecords)),
            Action::Dispatch(request) => dispatch(world, request),
            Action::Send(request) => send(world, request),
            Action::ReadAnswer(request) => read_answer(world, request),
            Action::SeeDeath(request) | Action::Free(request) => self.decide(world, request),
            Action::SeeTime(request) => self.stop(world, request, End::TimedOut),
            Action::DropFile(worker) => world.disk.files.retain(|file| file.worker != worker),
            Action::Receive(worker, request) => self.receive(world, worker, request)?,
            Action::Act(worker, request) => self.act(world, worker, request)?,
            Action::Finish(worker, request) => record(world, worker, request, End::Done),
            Action::Interrupt(worker, request) => record(world, worker, request, End::Failed),
            Action::Answer(worker, request) => answer(world, worker, request),
            Action::Leave(worker) => remove_worker(world, worker),
            Action::KillDaemon => kill_daemon(world),
            Action::KillWorker(worker) => self.kill_worker(world, worker),
            Action::LosePower(kept) => self.lose_power(world, kept),
            Action::Reload => reload(world),
            Action::Cancel(request) => {
                world.left.cancels -= 1;
                self.stop(world, request, End::Cancelled);
            }
            Action::TimeOver(request) => {
                world.left.timeouts -= 1;
                world.deeds[request].over = true;
            }
            Action::Prune(request) => self.prune(world, request),
            Action::ClientLeaves(request) => {
                world.left.leavings -= 1;
                world.askers[request].gone = true;
                with_daemon(world, |daemon| daemon.waiting[request] = false);
            }
        }
        Ok(())
    }

    /// Makes worlds equal whose difference cannot show any more: without a power loss to come, what is
    /// written is as good as synced.
    fn forget_what_cannot_matter(&self, world: &mut World) {
        if world.left.power_losses == 0 && self.bounds.level == Level::Process {
            sync(world);
        }
    }

    fn ask(&self, world: &mut World, request: usize) {
        let Some(mut daemon) = world.daemon.take() else {
            return;
        };
        let asker = &mut world.askers[request];
        if !asker.heard.is_empty() || asker.expired {
            asker.repeats += 1;
        }
        asker.asked = true;
        if daemon.held[request] != Held::Nothing {
            daemon.waiting[request] = true;
        } else if daemon.low_water[request] && !self.lacks(Weakening::NoLowWater) {
            asker.expired = true;
        } else {
            daemon.waiting[request] = true;
            let (held, record) = match daemon.current {
                Some(worker) => (
                    Held::Claimed {
                        worker,
                        tried: false,
                    },
                    Record::AcceptedAndStarted(request, worker),
                ),
                None => (Held::Queued { tried: false }, Record::Accepted(request)),
            };
            daemon.held[request] = held;
            world.disk.tail.push(record);
        }
        world.daemon = Some(daemon);
    }

    fn tell_end(&self, world: &mut World, request: usize) -> Result<(), Broken> {
        let Some(Held::Ended(end)) = world.daemon.as_ref().map(|daemon| daemon.held[request])
        else {
            return Ok(());
        };
        with_daemon(world, |daemon| daemon.waiting[request] = false);
        let (asker, deed) = (&mut world.askers[request], &world.deeds[request]);
        let others = asker.heard.iter().any(|heard| *heard != end);
        if !asker.heard.contains(&end) {
            asker.heard.push(end);
            asker.heard.sort_unstable();
        }
        if others && !deed.forgettable {
            return Err(Broken::ContradictingAnswers);
        }
        if end == End::Unknown && !deed.excused {
            return Err(Broken::UnknownWithoutReason);
        }
        if end == End::Done && !deed.acted {
            return Err(Broken::DoneWithoutEffect);
        }
        if end.never_ran() && deed.begun > 0 {
            return Err(Broken::RefusedWithEffect);
        }
        Ok(())
    }

    fn start_daemon(&self, world: &mut World) {
        let table = world.disk.table(world.disk.written);
        let mut daemon = Daemon {
            low_water: table.low_water,
            ..Daemon::default()
        };
        let booted = Record::Booted {
            low_water: self.bounds.level < Level::Power,
        };
        if table.rebooted && self.lacks(Weakening::BootedTooEarly) {
            world.disk.tail.push(booted);
            world.disk.written = world.disk.tail.len();
        }
        for request in 0..REQUESTS {
            daemon.held[request] = match table.entries[request] {
                Entry::None => Held::Nothing,
                Entry::Accepted { .. } if self.lacks(Weakening::AcceptedNotResumed) => {
                    Held::Nothing
                }
                Entry::Accepted { tried } => Held::Queued { tried },
                Entry::Started { worker, tried } => Held::Elsewhere { worker, tried },
                Entry::Ended(end) => Held::Ended(end),
            };
        }
        world.daemon = Some(daemon);
        if table.rebooted {
            self.recover_from_power_loss(world);
            if !self.lacks(Weakening::BootedTooEarly) {
                world.disk.tail.push(booted);
            }
        } else if !world.has_orphans()
            || self.lacks(Weakening::NoWaitNoUnknown)
            || self.lacks(Weakening::NoLocks)
        {
            for request in 0..REQUESTS {
                self.decide(world, request);
            }
        }
    }

    /// No process of the time before lives, and no outcome record of it is believed.
    fn recover_from_power_loss(&self, world: &mut World) {
        let below = self.bounds.level < Level::Power;
        if below {
            with_daemon(world, |daemon| daemon.low_water = [true; REQUESTS]);
        }
        for request in 0..REQUESTS {
            let Some(daemon) = &world.daemon else { return };
            match daemon.held[request] {
                Held::Elsewhere { .. } if self.is_once() => self.end(world, request, End::Unknown),
                Held::Elsewhere { .. } => give_back(world, request, true),
                // Its start may have been lost with the power.
                Held::Queued { .. }
                    if below && self.is_once() && !self.lacks(Weakening::ResumedAfterReboot) =>
                {
                    self.end(world, request, End::Unknown);
                }
                Held::Queued { .. } if below => give_back(world, request, true),
                Held::Queued { .. }
                | Held::Nothing
                | Held::Claimed { .. }
                | Held::Sent { .. }
                | Held::Ended(_) => {}
            }
        }
    }

    /// Its worker is gone: what it left decides.
    fn decide(&self, world: &mut World, request: usize) {
        let Some(daemon) = &world.daemon else { return };
        let (worker, tried, sent) = match daemon.held[request] {
            Held::Claimed { worker, tried } => (worker, tried, false),
            Held::Sent { worker, tried } | Held::Elsewhere { worker, tried } => {
                (worker, tried, true)
            }
            Held::Nothing | Held::Queued { .. } | Held::Ended(_) => return,
        };
        let line = world.disk.file(worker).map(|file| file.lines[request]);
        if !sent {
            return give_back(world, request, tried);
        }
        match line {
            Some(Line::Ended(end)) => self.end(world, request, end),
            Some(Line::None) => give_back(world, request, tried),
            Some(Line::Began) | None => {
                if self.is_once() && !self.lacks(Weakening::StartedRunAgain) {
                    self.end(world, request, End::Unknown);
                } else {
                    give_back(world, request, true);
                }
            }
        }
    }

    /// The end of a request, and its record.
    fn end(&self, world: &mut World, request: usize, end: End) {
        with_daemon(world, |daemon| daemon.held[request] = Held::Ended(end));
        if end == End::Unknown && self.lacks(Weakening::NoWaitNoUnknown) {
            return;
        }
        world.disk.tail.push(Record::Ended(request, end));
    }

    /// Cancelled, or its time is over.
    fn stop(&self, world: &mut World, request: usize, end: End) {
        let Some(daemon) = &world.daemon else { return };
        match daemon.held[request] {
            Held::Queued { tried } | Held::Claimed { tried, .. } => {
                let end = match tried && !self.lacks(Weakening::CancelledBetweenStarts) {
                    true => End::Failed,
                    false => end,
                };
                self.end(world, request, end);
            }
            Held::Sent { .. }
                if end == End::Cancelled && self.lacks(Weakening::CancelledAfterStart) =>
            {
                self.end(world, request, end);
            }
            Held::Sent { worker, .. } => {
                if let Some(worker) = world.worker_mut(worker) {
                    worker.stop[request] = true;
                }
            }
            Held::Elsewhere { .. } | Held::Nothing | Held::Ended(_) => {}
        }
    }

    fn receive(
        &self,
        world: &mut World,
        worker: WorkerNumber,
        request: usize,
    ) -> Result<(), Broken> {
        set_job(world, worker, request, Job::Began);
        if let Some(file) = world.disk.file_mut(worker) {
            file.lines[request] = Line::Began;
        }
        let deed = &mut world.deeds[request];
        deed.begun = (deed.begun + 1).min(2);
        if deed.begun > 1 && self.is_once() {
            return Err(Broken::OnceBegunTwice);
        }
        if world.askers[request].expired {
            return Err(Broken::RunAfterExpired);
        }
        self.check_not_refused(world, request)
    }

    fn act(&self, world: &mut World, worker: WorkerNumber, request: usize) -> Result<(), Broken> {
        set_job(world, worker, request, Job::Acted);
        world.deeds[request].acted = true;
        self.check_not_refused(world, request)
    }

    fn check_not_refused(&self, world: &World, request: usize) -> Result<(), Broken> {
        let refused = world.askers[request]
            .heard
            .iter()
            .any(|end| end.never_ran());
        let forgiven = world.deeds[request].forgettable && !self.is_once();
        if refused && !forgiven {
            return Err(Broken::RefusedWithEffect);
        }
        Ok(())
    }

    fn kill_worker(&self, world: &mut World, number: WorkerNumber) {
        world.left.worker_kills -= 1;
        if let Some(worker) = world.worker(number) {
            let jobs = worker.jobs;
            for (request, job) in jobs.into_iter().enumerate() {
                if matches!(job, Job::Began | Job::Acted) {
                    world.deeds[request].excused = true;
                }
            }
        }
        remove_worker(world, number);
    }

    fn lose_power(&self, world: &mut World, kept: usize) {
        world.left.power_losses -= 1;
        let mut table = world.disk.table(kept);
        table.rebooted = true;
        for request in 0..REQUESTS {
            let deed = &mut world.deeds[request];
            let below = self.bounds.level < Level::Power;
            deed.excused |= below || matches!(table.entries[request], Entry::Started { .. });
            deed.forgettable |= below;
        }
        world.disk = Disk {
            synced: table,
            ..Disk::default()
        };
        world.daemon = None;
        world.workers.clear();
    }

    fn prune(&self, world: &mut World, request: usize) {
        world.left.prunings -= 1;
        world.deeds[request].pruned = true;
        with_daemon(world, |daemon| {
            daemon.held[request] = Held::Nothing;
            daemon.waiting[request] = false;
            for lower in 0..=request {
                daemon.low_water[lower] = true;
            }
        });
        world.disk.tail.push(Record::Pruned(request));
    }

    /// Nothing more happens by itself: has everybody who was told `accepted`, or who still asks, an end?
    pub(super) fn check_rest(&self, world: &World) -> Result<(), Broken> {
        for request in 0..self.bounds.requests {
            let asker = &world.askers[request];
            let held = world.daemon.as_ref().map(|daemon| daemon.held[request]);
            let ended = matches!(held, Some(Held::Ended(_)))
                || !asker.heard.is_empty()
                || asker.expired
                || world.deeds[request].pruned;
            let must = (asker.accepted && !world.deeds[request].forgettable)
                || (asker.asked && !asker.gone && !world.deeds[request].over);
            if must && !ended {
                return Err(Broken::AcknowledgedAndNeverEnded);
            }
        }
        Ok(())
    }
}

fn with_daemon(world: &mut World, change: impl FnOnce(&mut Daemon)) {
    if let Some(daemon) = &mut world.daemon {
        change(daemon);
    }
}

fn sync(world: &mut World) {
    let written = world.disk.written;
    world.disk.synced = world.disk.table(written);
    world.disk.tail.drain(..written);
    world.disk.written = 0;
}

fn spawn(world: &mut World, records: bool) {
    let number = world.next_worker;
    world.next_worker += 1;
    world.workers.push(Worker {
        number,
        attached: true,
        jobs: Default::default(),
        stop: Default::default(),
    });
    if records {
        world.disk.files.push(OutcomeFile {
            worker: number,
            lines: Default::default(),
        });
    }
    with_daemon(world, |daemon| daemon.current = Some(number));
}

fn dispatch(world: &mut World, request: usize) {
    let Some(daemon) = &mut world.daemon else {
        return;
    };
    if let (Held::Queued { tried }, Some(worker)) = (daemon.held[request], daemon.current) {
        daemon.held[request] = Held::Claimed { worker, tried };
        world.disk.tail.push(Record::Started(request, worker));
    }
}

fn send(world: &mut World, request: usize) {
    let Some(daemon) = &mut world.daemon else {
        return;
    };
    if let Held::Claimed { worker, tried } = daemon.held[request] {
        daemon.held[request] = Held::Sent { worker, tried };
        set_job(world, worker, request, Job::Piped);
    }
}

fn read_answer(world: &mut World, request: usize) {
    let Some(Held::Sent { worker, .. }) = world.daemon.as_ref().map(|daemon| daemon.held[request])
    else {
        return;
    };
    let job = world.worker(worker).map(|worker| worker.jobs[request]);
    if let Some(Job::Answered(end)) = job {
        set_job(world, worker, request, Job::None);
        with_daemon(world, |daemon| daemon.held[request] = Held::Ended(end));
        world.disk.tail.push(Record::Ended(request, end));
    }
}

/// It is provably not running and may start (again).
fn give_back(world: &mut World, request: usize, tried: bool) {
    with_daemon(world, |daemon| {
        daemon.held[request] = Held::Queued { tried }
    });
    world.disk.tail.push(Record::Back { request, tried });
}

fn set_job(world: &mut World, worker: WorkerNumber, request: usize, job: Job) {
    if let Some(worker) = world.worker_mut(worker) {
        worker.jobs[request] = job;
    }
}

fn record(world: &mut World, worker: WorkerNumber, request: usize, end: End) {
    set_job(world, worker, request, Job::Recorded(end));
    if let Some(file) = world.disk.file_mut(worker) {
        file.lines[request] = Line::Ended(end);
    }
}

fn answer(world: &mut World, number: WorkerNumber, request: usize) {
    let Some(worker) = world.worker_mut(number) else {
        return;
    };
    if let Job::Recorded(end) = worker.jobs[request] {
        worker.jobs[request] = match worker.attached {
            true => Job::Answered(end),
            // Nobody holds the other end.
            false => Job::None,
        };
    }
}

fn remove_worker(world: &mut World, number: WorkerNumber) {
    world.workers.retain(|worker| worker.number != number);
    with_daemon(world, |daemon| {
        if daemon.current == Some(number) {
            daemon.current = None;
        }
    });
}

fn kill_daemon(world: &mut World) {
    world.left.daemon_kills -= 1;
    world.daemon = None;
    world.disk.tail.truncate(world.disk.written);
    for worker in &mut world.workers {
        worker.attached = false;
        for job in &mut worker.jobs {
            if matches!(job, Job::Answered(_)) {
                *job = Job::None;
            }
        }
    }
}

fn reload(world: &mut World) {
    world.left.reloads -= 1;
    with_daemon(world, |daemon| daemon.current = None);
}
