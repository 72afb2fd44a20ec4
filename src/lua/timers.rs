//! Timers and tasks of a script: `every`, `cron`, `after`, `sleep`, `spawn`.
//!
//! They belong to the script: a timer whose Lua value nobody keeps goes on. With nothing due, nothing wakes.

use std::cell::RefCell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use croner::Cron;
use jiff::Zoned;
use mlua::{Function, Lua, MultiValue, UserData, UserDataMethods, Value, Variadic};
use tokio::sync::{Notify, watch};

use super::errors::{ApiError, Failure};
use super::host::Host;
use super::modules::misuse;
use super::{Context, arguments, log};

/// Shortest interval of `every`.
const SHORTEST: Duration = Duration::from_millis(1);
/// The calendar is looked at again after so long, so that a changed clock does not matter for long.
const CRON_LOOK: Duration = Duration::from_secs(3600);

type Ended = Option<Result<MultiValue, Failure>>;

/// A handle: the work itself is the host's.
struct Task {
    stop: Rc<Notify>,
    ended: watch::Receiver<bool>,
    result: Rc<RefCell<Ended>>,
}

impl UserData for Task {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("cancel", |_, task, ()| {
            task.stop.notify_one();
            Ok(())
        });
        methods.add_async_method("wait", |_, task, time: Value| {
            let (mut ended, result) = (task.ended.clone(), Rc::clone(&task.result));
            async move {
                let over = ended.wait_for(|over| *over);
                if time.is_nil() {
                    let _ = over.await;
                } else {
                    let time = time_of("task:wait", &time)?;
                    if tokio::time::timeout(time, over).await.is_err() {
                        return Err(ApiError::new(
                            "timeout",
                            "task:wait: the task is still running; wait longer, or cancel it",
                        )
                        .into());
                    }
                }
                match &*result.borrow() {
                    Some(Ok(values)) => Ok(values.clone()),
                    Some(Err(failure)) => Err(mlua::Error::runtime(failure)),
                    None => {
                        Err(ApiError::new("cancelled", "task:wait: the task was cancelled").into())
                    }
                }
            }
        });
    }
}

/// Starts `work` as a task of the script's.
fn start<F>(host: &Rc<Host>, work: F) -> Task
where
    F: Future<Output = Result<MultiValue, Failure>> + 'static,
{
    let (over, ended) = watch::channel(false);
    let task = Task {
        stop: Rc::default(),
        ended,
        result: Rc::default(),
    };
    let (stop, result) = (Rc::clone(&task.stop), Rc::clone(&task.result));
    host.start(async move {
        // Either arm may be dropped: `stopped` keeps no state, and dropping the work is what cancelling means.
        tokio::select! {
            end = work => *result.borrow_mut() = Some(end),
            () = stop.notified() => {}
        }
        let watched = over.receiver_count() > 1;
        if let (Some(Err(failure)), false) = (&*result.borrow(), watched) {
            log::failure("a task", failure);
        }
        let _ = over.send(true);
    });
    task
}

async fn call(host: &Host, function: &Function, args: MultiValue) -> Result<MultiValue, Failure> {
    match host.run(function, args, None) {
        Some(run) => run.await,
        None => Ok(MultiValue::new()),
    }
}

/// `moonkeep.spawn(f, ...)`.
pub(super) fn spawn(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (function, args): (Function, Variadic<Value>)| {
        let host = Host::of(lua)?;
        let inner = Rc::clone(&host);
        let args: MultiValue = args.into_iter().collect();
        Ok(start(
            &host,
            async move { call(&inner, &function, args).await },
        ))
    };
    lua.create_function(function).map(Value::Function)
}

/// `moonkeep.after(delay, f)`.
pub(super) fn after(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (delay, function): (Value, Function)| {
        let delay = time_of("moonkeep.after", &delay)?;
        let host = Host::of(lua)?;
        let inner = Rc::clone(&host);
        Ok(start(&host, async move {
            tokio::time::sleep(delay).await;
            call(&inner, &function, MultiValue::new()).await
        }))
    };
    lua.create_function(function).map(Value::Function)
}

/// `moonkeep.every(interval, f)`.
pub(super) fn every(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (interval, function): (Value, Function)| {
        let interval = time_of("moonkeep.every", &interval)?;
        if interval < SHORTEST {
            return Err(misuse(
                "moonkeep.every: the interval is at least \"1ms\"; for work without pause, loop in moonkeep.spawn",
            ));
        }
        let host = Host::of(lua)?;
        let inner = Rc::clone(&host);
        Ok(start(&host, async move {
            let mut due = Instant::now() + interval;
            loop {
                tokio::time::sleep_until(due.into()).await;
                report(
                    "moonkeep.every",
                    call(&inner, &function, MultiValue::new()).await,
                );
                due = next_beat(due, interval, Instant::now());
            }
        }))
    };
    lua.create_function(function).map(Value::Function)
}

/// The next beat after `now` of those that were planned: missed ones are skipped.
fn next_beat(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now {
        return next;
    }
    let missed = now.duration_since(due).as_nanos() / interval.as_nanos().max(1);
    let ahead =
        interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1));
    due + ahead
}

/// `moonkeep.cron(schedule, f)`.
pub(super) fn cron(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (schedule, function): (String, Function)| {
        let plan = Cron::from_str(&schedule).map_err(|error| {
            misuse(format!(
                "moonkeep.cron: {schedule:?} is no schedule: {error}; write minute hour day month weekday: \"*/5 * * * *\""
            ))
        })?;
        let host = Host::of(lua)?;
        let inner = Rc::clone(&host);
        Ok(start(&host, async move {
            loop {
                let Ok(next) = plan.find_next_occurrence(&Zoned::now(), false) else {
                    log::line(
                        "error",
                        &format!("moonkeep.cron: {schedule:?} has no further time"),
                    );
                    return Ok(MultiValue::new());
                };
                sleep_to(&next).await;
                report(
                    "moonkeep.cron",
                    call(&inner, &function, MultiValue::new()).await,
                );
            }
        }))
    };
    lua.create_function(function).map(Value::Function)
}

async fn sleep_to(moment: &Zoned) {
    loop {
        let left = Zoned::now().duration_until(moment);
        let Ok(left) = Duration::try_from(left) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CRON_LOOK)).await;
    }
}

/// `moonkeep.sleep(time)`.
pub(super) fn sleep(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_async_function(|_, time: Value| async move {
        tokio::time::sleep(time_of("moonkeep.sleep", &time)?).await;
        Ok(())
    })?;
    Ok(Value::Function(function))
}

fn time_of(function: &str, value: &Value) -> mlua::Result<Duration> {
    arguments::duration(value).map_err(|why| misuse(format!("{function}: the time {why}")))
}

fn report(what: &str, end: Result<MultiValue, Failure>) {
    if let Err(failure) = end {
        log::failure(what, &failure);
    }
}

/// `moonkeep.tasks()`.
pub(super) fn tasks(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    lua.create_function(|lua, ()| {
        let of_runtime = tokio::runtime::Handle::try_current()
            .map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        Ok(Host::of(lua)?.tasks() + of_runtime)
    })
    .map(Value::Function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_beats_are_skipped_and_the_rhythm_stays() {
        let start = Instant::now();
        let beat = Duration::from_secs(10);
        let after = |seconds| next_beat(start, beat, start + Duration::from_secs(seconds)) - start;
        assert_eq!(after(1), beat);
        assert_eq!(after(10), beat * 2);
        assert_eq!(after(25), beat * 3);
    }
}
