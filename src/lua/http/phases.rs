//! Where the time of a request goes, noted by those who spend it: whatever runs inside [`Phases::follow`] finds its
//! request's notes in the task.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mlua::{Lua, Table};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_service::Service;

tokio::task_local! {
    static NOTES: Rc<Phases>;
}

/// The notes of one request.
pub(super) struct Phases {
    begin: Instant,
    resolve: Cell<Duration>,
    /// Looking up the name included.
    connect: Cell<Duration>,
    answered: Cell<Option<Instant>>,
    redirects: RefCell<Vec<String>>,
}

impl Phases {
    pub(super) fn begin() -> Self {
        Phases {
            begin: Instant::now(),
            resolve: Cell::default(),
            connect: Cell::default(),
            answered: Cell::default(),
            redirects: RefCell::default(),
        }
    }

    pub(super) async fn follow<T>(self: &Rc<Self>, work: impl Future<Output = T>) -> T {
        NOTES.scope(Rc::clone(self), work).await
    }

    /// The headers are there.
    pub(super) fn answered(&self) {
        self.answered.set(Some(Instant::now()));
    }

    /// What had not come when the time was up.
    pub(super) fn place(&self) -> &'static str {
        if self.answered.get().is_some() {
            "the answer began, but had not ended"
        } else if self.connect.get().is_zero() {
            "no answer"
        } else {
            "connected, but no answer"
        }
    }

    pub(super) fn tell(&self, lua: &Lua, answer: &Table) -> mlua::Result<()> {
        let all = self.begin.elapsed();
        let head = self
            .answered
            .get()
            .map_or(all, |at| at.saturating_duration_since(self.begin));
        let (resolve, connect) = (self.resolve.get(), self.connect.get());
        let timing = lua.create_table()?;
        timing.raw_set("resolve", resolve.as_secs_f64())?;
        timing.raw_set("connect", connect.saturating_sub(resolve).as_secs_f64())?;
        timing.raw_set("wait", head.saturating_sub(connect).as_secs_f64())?;
        timing.raw_set("transfer", all.saturating_sub(head).as_secs_f64())?;
        answer.raw_set("timing", timing)?;
        answer.raw_set("seconds", all.as_secs_f64())?;
        answer.raw_set("redirects", self.redirects.take())
    }
}

/// Of a connection that is made beside its request, nobody takes notes.
fn note(write: impl FnOnce(&Phases)) {
    let _ = NOTES.try_with(|phases| write(phases));
}

pub(super) fn redirected(to: &Url) {
    note(|phases| phases.redirects.borrow_mut().push(to.to_string()));
}

/// Looks up names as the system does, on a helper thread.
pub(super) struct LookUp;

impl Resolve for LookUp {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let begin = Instant::now();
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            note(|phases| phases.resolve.set(phases.resolve.get() + begin.elapsed()));
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// A connector that notes its time.
#[derive(Clone)]
pub(super) struct Timed<S>(pub(super) S);

impl<S, Request> Service<Request> for Timed<S>
where
    S: Service<Request>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let begin = Instant::now();
        let connecting = self.0.call(request);
        Box::pin(async move {
            let connection = connecting.await;
            if connection.is_ok() {
                note(|phases| phases.connect.set(phases.connect.get() + begin.elapsed()));
            }
            connection
        })
    }
}
