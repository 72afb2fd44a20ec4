//! Plugins and their checks as the engine sees them: what is declared, withdrawn, asked by clients, shown.

use super::alphabet::{Level, Peer, Sections};
use super::asking::{Ask, Manner, What};
use super::commands::ok;
use super::scripts::Script;
use super::{Engine, refusals, view};
use crate::limits;
use crate::monitor::alphabet::{CheckAsk, Input, Told};
use crate::proto::ids::{ScriptName, WorkerId};
use crate::proto::messages::{
    Beat, Body, CheckKind, CheckSpec, ErrorCode, Payload, Quiet, Refusal,
};

impl Engine {
    /// A plugin worker says what checks it has. They count when it serves.
    pub(super) fn declared(&mut self, id: &WorkerId, checks: Vec<CheckSpec>) {
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        if !id.script.is_plugin() || worker.stage != super::generation::Stage::Starting {
            self.senseless("checks of somebody who may not declare any now");
            return;
        }
        let room = limits::CHECKS_PER_PLUGIN.saturating_sub(worker.checks.len());
        let more = checks.len().saturating_sub(room);
        worker.checks.extend(checks.into_iter().take(room));
        if more > 0 {
            self.note(Level::Error, || {
                format!(
                    "{id}: {more} checks are not taken: {} of one plugin are the limit; split it",
                    limits::CHECKS_PER_PLUGIN
                )
            });
        }
    }

    /// A generation of a plugin serves: its checks are in force, in the place of those before.
    pub(super) fn adopt_checks(&mut self, id: &WorkerId) {
        if !id.script.is_plugin() {
            return;
        }
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        let checks = std::mem::take(&mut worker.checks);
        let names = checks.iter().map(|check| check.name.clone()).collect();
        self.checking.declared.insert(id.script.clone(), names);
        self.tell_monitor(Input::Declared {
            plugin: id.script.clone(),
            checks,
        });
        self.configure_checks();
    }

    /// A plugin that has never served cannot be started: that is shown in the place of its checks. Once it has, its
    /// checks stay, and say at their next run what is wrong.
    pub(super) fn plugin_fails(&mut self, name: &ScriptName) {
        if !name.is_plugin() || self.checking.declared.contains_key(name) {
            return;
        }
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let checks = broken_checks(script);
        self.tell_monitor(Input::Declared {
            plugin: name.clone(),
            checks,
        });
        self.configure_checks();
    }

    pub(super) fn sections_changed(&mut self, sections: Sections) {
        self.checking.sections = sections;
        self.configure_checks();
    }

    /// Tells the monitor what is configured, if that is news. That nobody has a check which a section is about is
    /// known only when every plugin has said which it has.
    pub(super) fn configure_checks(&mut self) {
        let has_settled = |script: &Script| {
            !script.name.is_plugin() || script.settled.is_some() || !script.is_wanted()
        };
        let Sections {
            configured,
            unclaimed,
        } = &self.checking.sections;
        let mut configured = configured.clone();
        if self.loaded && self.scripts.values().all(has_settled) {
            let declared = &self.checking.declared;
            let is_nobodys = |(name, _): &&(String, String)| {
                !declared.values().any(|names| names.contains(name.as_str()))
            };
            configured
                .faults
                .extend(unclaimed.iter().filter(is_nobodys).cloned());
        }
        if self.checking.configured.as_ref() != Some(&configured) {
            self.checking.configured = Some(configured.clone());
            self.tell_monitor(Input::Configured(Box::new(configured)));
        }
    }

    /// A plugin is stopped or gone, and its checks with it.
    pub(super) fn withdraw_checks(&mut self, name: &ScriptName) {
        if name.is_plugin() {
            self.checking.declared.remove(name);
            self.tell_monitor(Input::Withdrawn {
                plugin: name.clone(),
            });
            self.configure_checks();
        }
    }

    /// `check [WORD ...]`: runs these now, and answers with a report.
    pub(super) fn check_command(&mut self, peer: &Peer, manner: Manner, words: Vec<String>) {
        self.ask_monitor(peer, manner, |ask| Input::Check { ask, words });
    }

    /// `heartbeat NAME [start|ok|fail|CODE]`.
    pub(super) fn heartbeat_command(
        &mut self,
        peer: &Peer,
        manner: Manner,
        check: String,
        beat: Beat,
        message: Option<String>,
    ) {
        self.ask_monitor(peer, manner, |ask| Input::Beat {
            ask,
            check,
            beat,
            message,
        });
    }

    /// `downtime NAME ...`.
    pub(super) fn downtime_command(
        &mut self,
        peer: &Peer,
        manner: Manner,
        check: String,
        quiet: Quiet,
        why: Option<String>,
    ) {
        self.ask_monitor(peer, manner, |ask| Input::Downtime {
            ask,
            check,
            quiet,
            why,
        });
    }

    /// `checks [WORD ...]`: how they are, without running any.
    pub(super) fn checks_command(&mut self, peer: &Peer, manner: Manner, words: &[String]) {
        let pieces = match self.checking.monitor.view(words) {
            Ok(found) => view::checks(&found, manner.encoding),
            Err(why) => {
                let body = Body::Error(self.no_such_check(why));
                return self.answer_at_once(peer, manner, body);
            }
        };
        let ask = CheckAsk(self.checking.next_ask);
        self.checking.next_ask += 1;
        if let Some(number) = self.open_question(peer, manner, What::Check(ask)) {
            let peer = peer.clone();
            self.tell_pieces(&Ask { peer, number }, pieces);
        }
    }

    /// The last one is the end.
    fn tell_pieces(&mut self, asker: &Ask, mut pieces: Vec<Payload>) {
        let end = pieces.pop().unwrap_or(Payload::Empty);
        for piece in pieces {
            self.tell(asker, Body::Part(piece));
        }
        self.tell(asker, ok(end));
    }

    /// What cannot be said of a check now. While plugins are still being started it may be possible soon.
    fn no_such_check(&self, why: String) -> Refusal {
        let mut plugins = self.scripts.values().filter(|one| one.name.is_plugin());
        let is_coming = !self.checking.monitor.is_ready()
            || plugins.any(|plugin| plugin.is_wanted() && plugin.settled.is_none());
        if !is_coming {
            return Refusal::new(ErrorCode::BadRequest, why);
        }
        let text = format!("{why} (plugins are still being started: try again in a moment)");
        Refusal {
            retry_after: Some(limits::HEARTBEAT_RETRY),
            ..Refusal::new(ErrorCode::NotReady, text)
        }
    }

    fn ask_monitor(&mut self, peer: &Peer, manner: Manner, input: impl FnOnce(CheckAsk) -> Input) {
        if self.life.is_leaving() {
            let body = Body::Error(refusals::shutting_down());
            self.answer_at_once(peer, manner, body);
            return;
        }
        let ask = CheckAsk(self.checking.next_ask);
        self.checking.next_ask += 1;
        let Some(number) = self.open_question(peer, manner, What::Check(ask)) else {
            return;
        };
        let peer = peer.clone();
        self.checking.asks.insert(ask, Ask { peer, number });
        self.tell_monitor(input(ask));
    }

    /// The monitor has answered a command.
    pub(super) fn check_told(&mut self, ask: CheckAsk, answer: Result<Told, String>) {
        let Some(asker) = self.checking.asks.remove(&ask) else {
            return;
        };
        let encoding = self.encoding_of(&asker);
        match answer {
            Ok(Told::Done(text)) => self.tell(&asker, ok(view::sentence(&text, encoding))),
            Ok(Told::Outcomes(outcomes)) => {
                self.tell_pieces(&asker, view::report(&outcomes, encoding));
            }
            Err(why) => {
                let refusal = self.no_such_check(why);
                self.tell(&asker, Body::Error(refusal));
            }
        }
    }

    /// Whoever asked is gone, or has cancelled.
    pub(super) fn forget_check(&mut self, ask: CheckAsk) {
        if self.checking.asks.remove(&ask).is_some() {
            self.tell_monitor(Input::Forgotten { ask });
        }
    }
}

/// A check for each instance of a plugin that does not start, or one for the plugin.
fn broken_checks(script: &Script) -> Vec<CheckSpec> {
    if script.fault.is_some() && !script.stand_ins.is_empty() {
        return script.stand_ins.clone();
    }
    let error = script.fault.as_deref().or(script.last_error.as_deref());
    let error = error.unwrap_or("its worker did not start");
    let message = refusals::one_line(error).to_owned();
    let traceback = (error.lines().count() > 1).then(|| error.to_owned());
    let broken = |name: &str, file: String| CheckSpec {
        name: name.into(),
        instance: name.into(),
        file,
        kind: CheckKind::Broken {
            message: message.clone(),
            traceback: traceback.clone(),
        },
        every: limits::CHECK_EVERY,
        retry_every: limits::CHECK_RETRY_EVERY,
        cron: None,
        jitter: 0.0,
        timeout: limits::CHECK_TIMEOUT,
        rise: 1,
        fall: 1,
        tags: Vec::new(),
        needs: Vec::new(),
        on_change: false,
    };
    let instances = script.spec.as_ref().map_or(&[][..], |spec| &spec.plugins);
    if instances.is_empty() {
        let stem = script.name.as_str().trim_start_matches('@');
        return vec![broken(stem, format!("plugins/{stem}.lua"))];
    }
    instances
        .iter()
        .map(|instance| broken(&instance.name, instance.shown.clone()))
        .collect()
}
