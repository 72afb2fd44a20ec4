//! Where readers get their view: the core is asked once for all who come within [`limits::HTTP_VIEW_AGE`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::daemon::inbox::Inbox;
use crate::engine::alphabet::{Input, ViewAsk};
use crate::limits;
use crate::monitor::view::{ChecksView, Facts};
use crate::serve::Snapshot;

/// See the module. Who waits is bounded by the connections.
#[derive(Debug)]
pub(crate) struct Desk {
    inbox: Rc<Inbox>,
    books: RefCell<Books>,
}

#[derive(Debug, Default)]
struct Books {
    newest: Option<(Instant, Arc<Snapshot>)>,
    /// The core has been asked, and has not answered.
    asked: Option<ViewAsk>,
    next: u64,
    waiting: Vec<oneshot::Sender<Arc<Snapshot>>>,
}

impl Desk {
    pub(in crate::daemon) fn new(inbox: &Rc<Inbox>) -> Rc<Self> {
        Rc::new(Desk {
            inbox: Rc::clone(inbox),
            books: RefCell::default(),
        })
    }

    /// A view that is new enough. `None`: the core did not answer within [`limits::HTTP_VIEW_WAIT`]. Cancel safe: who
    /// leaves misses the answer, and no other does.
    pub(super) async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let answer = {
            let mut books = self.books.borrow_mut();
            if let Some((at, snapshot)) = &books.newest
                && at.elapsed() < limits::HTTP_VIEW_AGE
            {
                return Some(Arc::clone(snapshot));
            }
            if books.asked.is_none() {
                let ask = ViewAsk(books.next);
                books.next += 1;
                books.asked = Some(ask);
                self.inbox.push(Input::Show { ask });
            }
            let (tell, answer) = oneshot::channel();
            books.waiting.push(tell);
            answer
        };
        timeout(limits::HTTP_VIEW_WAIT, answer).await.ok()?.ok()
    }

    /// The core has answered.
    pub(in crate::daemon) fn shown(&self, ask: ViewAsk, view: ChecksView, facts: Facts) {
        let mut books = self.books.borrow_mut();
        if books.asked != Some(ask) {
            return;
        }
        let snapshot = Arc::new(Snapshot::new(view, facts));
        for reader in books.waiting.drain(..) {
            // A reader that has left does not listen.
            let _left = reader.send(Arc::clone(&snapshot));
        }
        books.asked = None;
        books.newest = Some((Instant::now(), snapshot));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn asked(inbox: &Inbox) -> Vec<ViewAsk> {
        let mut batch = Vec::new();
        inbox.take(&mut batch);
        let asks = batch.into_iter().map(|input| {
            let Input::Show { ask } = input else {
                panic!("unexpected: {input:?}");
            };
            ask
        });
        asks.collect()
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_stampede_costs_one_view_and_the_next_readers_share_it_for_a_moment() {
        let inbox = Rc::new(Inbox::default());
        let desk = Desk::new(&inbox);
        let mut readers = JoinSet::new();
        for _ in 0..100 {
            let desk = Rc::clone(&desk);
            readers.spawn_local(async move { desk.snapshot().await.is_some() });
        }
        tokio::task::yield_now().await;
        let asks = asked(&inbox);
        assert_eq!(asks.len(), 1);
        desk.shown(asks[0], ChecksView::default(), Facts::default());
        assert!(readers.join_all().await.into_iter().all(|served| served));
        assert!(desk.snapshot().await.is_some());
        assert_eq!(asked(&inbox), []);
        tokio::time::advance(limits::HTTP_VIEW_AGE).await;
        let mut late = std::pin::pin!(desk.snapshot());
        assert!(timeout(limits::HTTP_VIEW_AGE, late.as_mut()).await.is_err());
        assert_eq!(asked(&inbox), [ViewAsk(1)]);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_core_that_is_silent_is_not_waited_for_without_end_and_is_asked_once() {
        let inbox = Rc::new(Inbox::default());
        let desk = Desk::new(&inbox);
        assert!(desk.snapshot().await.is_none());
        assert!(desk.snapshot().await.is_none());
        assert_eq!(asked(&inbox), [ViewAsk(0)]);
        // An answer to nobody's question changes nothing; the one that was asked for is believed however late.
        desk.shown(ViewAsk(7), ChecksView::default(), Facts::default());
        assert!(desk.books.borrow().newest.is_none());
        desk.shown(ViewAsk(0), ChecksView::default(), Facts::default());
        assert!(desk.snapshot().await.is_some());
    }
}
