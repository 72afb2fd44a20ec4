//! Heartbeats: all Lua workers are pinged together, so that an idle daemon wakes once per interval.

use super::Engine;
use super::alphabet::ScriptKind;
use super::generation::Stage;
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
        let mut ping: Vec<(WorkerId, u64)> = Vec::new();
        let mut dead: Vec<WorkerId> = Vec::new();
        for worker in self
            .scripts
            .values_mut()
            .flat_map(|script| script.workers.iter_mut())
        {
            let lives = matches!(worker.stage, Stage::Serving | Stage::Draining);
            if !lives || worker.spec.kind != ScriptKind::Lua {
                continue;
            }
            if worker.beats_missed >= limits::HEARTBEATS_MISSED && !overslept {
                dead.push(worker.id.clone());
                continue;
            }
            worker.beat += 1;
            if !overslept {
                worker.beats_missed += 1;
            }
            ping.push((worker.id.clone(), worker.beat));
        }
        let any = !ping.is_empty();
        for (id, beat) in ping {
            self.tell_worker(&id, ToWorker::Ping { beat });
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
        if let Some(worker) = self.worker_mut(id)
            && beat <= worker.beat
        {
            worker.beats_missed = 0;
            worker.memory_bytes = memory_bytes;
        }
    }
}
