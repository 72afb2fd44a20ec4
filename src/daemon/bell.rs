//! One task waits, others ring. For one thread, so that ringing and waiting cost next to nothing.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Remembers one ring that nobody waited for. One task waits at a time: of two, only the last is woken.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waiter) = self.waiter.take()
        {
            waiter.wake();
        }
    }

    /// Waits for a ring since the last one that was heard. Cancel safe: a ring that nobody waited for is
    /// remembered.
    pub(crate) async fn heard(&self) {
        poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            let waiter = match self.waiter.take() {
                Some(known) if known.will_wake(context.waker()) => known,
                Some(_) | None => context.waker().clone(),
            };
            self.waiter.replace(Some(waiter));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_ring_is_remembered_once_and_wakes_whoever_waits() {
        let bell = Rc::new(Bell::default());
        bell.ring();
        bell.ring();
        bell.heard().await;
        let mut waits = JoinSet::new();
        waits.spawn_local({
            let bell = Rc::clone(&bell);
            async move { bell.heard().await }
        });
        tokio::task::yield_now().await;
        assert!(
            waits.try_join_next().is_none(),
            "one ring was heard already"
        );
        bell.ring();
        waits
            .join_next()
            .await
            .expect("it waits")
            .expect("it was woken");
    }
}
