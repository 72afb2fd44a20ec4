//! Heartbeats: all workers are pinged together, so that an idle daemon wakes once per interval.
//!
//! A ping also tells what of a worker's outcome record is no longer needed. Only a Lua worker is killed for its
//! silence: an executable's is answered by the program that holds its pipes, which says nothing of the script.

use super::Engine;
use super::alphabet::ScriptKind;
use super::generation::Stage;
use super::records::Mark;
use super::timers::Timer;
use crate::limits;
use crate::proto::ids::WorkerId;
use crate::proto::messages::ToWorker;

impl Engine {
    pub(super) fn start_heartbeat(&mut self) {
        if !self.beating {
            self.beating = true;
            let at = self.now.after(limits::HEARTBEAT_EVERY);
            self.timers.arm(Timer::Heartbeat, at);
        }
    }

    /// Pings everybody; whoever has missed too many is killed.
    pub(super) fn heartbeat(&mut self) {
        self.beating = false;
        // After a suspension nobody had a chance to answer.
        let overslept = self.late >= limits::OVERSLEPT;
        let mut ping: Vec<(WorkerId, ToWorker)> = Vec::new();
        let mut dead: Vec<WorkerId> = Vec::new();
        for worker in self
            .scripts
            .values_mut()
            .flat_map(|script| script.workers.iter_mut())
        {
            let lives = matches!(worker.stage, Stage::Serving | Stage::Draining);
            if !lives {
                continue;
            }
            let counts = worker.spec.kind == ScriptKind::Lua && !overslept;
            if worker.beats_missed >= limits::HEARTBEATS_MISSED && !overslept {
                dead.push(worker.id.clone());
                continue;
            }
            worker.beat += 1;
            worker.beats_missed += u32::from(counts);
            let journaled = |(_, mark): &(u64, Mark)| self.journal.is_written(*mark);
            let settled = worker.answered.filter(journaled).map(|(beat, _)| beat);
            let beat = worker.beat;
            ping.push((worker.id.clone(), ToWorker::Ping { beat, settled }));
        }
        let any = !ping.is_empty();
        for (id, message) in ping {
            self.tell_worker(&id, message);
        }
        for id in dead {
            let text = format!(
                "killed: it answered no heartbeat for {} s (a loop that no time limit stops?)",
                limits::HEARTBEAT_EVERY.as_secs() * u64::from(limits::HEARTBEATS_MISSED)
            );
            self.kill_worker(&id, text);
        }
        if any {
            self.start_heartbeat();
        }
    }

    pub(super) fn pong(&mut self, id: &WorkerId, beat: u64, memory_bytes: u64) {
        let last = self.journal.last();
        if let Some(worker) = self.worker_mut(id)
            && beat <= worker.beat
        {
            worker.beats_missed = 0;
            worker.answered = Some((beat, last));
            worker.memory_bytes = memory_bytes;
        }
    }
}
