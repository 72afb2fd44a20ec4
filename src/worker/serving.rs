//! Requests in a Lua worker: each becomes a coroutine, and ends its ticket exactly once.
//!
//! A handler is polled once where its request was read; only one that waits gets a task of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use mlua::{MultiValue, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::records::{self, Ending, Records};
use crate::limits;
use crate::lua::errors::Failure;
use crate::lua::host::Host;
use crate::lua::json;
use crate::lua::request::Request;
use crate::lua::state::{Run, State};
use crate::nearest::nearest;
use crate::proto::codec;
use crate::proto::ids::Ticket;
use crate::proto::messages::{Body, Dispatch, ErrorCode, Json, Payload, Refusal, Work};

/// What runs, each with the means to stop it.
#[derive(Debug)]
pub(super) struct Serving {
    records: Rc<Records>,
    running: RefCell<BTreeMap<Ticket, oneshot::Sender<()>>>,
    /// Where a result is written before its line; kept for its memory.
    scratch: RefCell<Vec<u8>>,
}

/// A request, by the names that its end needs.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: Ticket,
    /// Under which its end is recorded.
    key: Option<Uuid>,
}

impl Serving {
    pub(super) fn new(records: Rc<Records>) -> Self {
        Serving {
            records,
            running: RefCell::default(),
            scratch: RefCell::default(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.borrow().is_empty()
    }

    /// Starts a request.
    pub(super) fn request(self: &Rc<Self>, host: &Rc<Host>, state: &State, dispatch: Dispatch) {
        let asked = Asked {
            ticket: dispatch.ticket,
            key: records::key(&dispatch),
        };
        match prepare(host, state, dispatch) {
            Ok((run, what)) => self.begin(host, state, asked, run, what),
            Err(refusal) => self.end(host, asked, &Body::Error(refusal)),
        }
    }

    /// Ends a request that never began: there is nothing to record.
    pub(super) fn refuse(&self, host: &Host, dispatch: &Dispatch, refusal: Refusal) {
        let asked = Asked {
            ticket: dispatch.ticket,
            key: None,
        };
        self.end(host, asked, &Body::Error(refusal));
    }

    fn begin(
        self: &Rc<Self>,
        host: &Rc<Host>,
        state: &State,
        asked: Asked,
        mut run: Run,
        what: What,
    ) {
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = Pin::new(&mut run).poll(&mut nobody) {
            return self.finish(host, state, asked, &what, result);
        }
        let state = state.clone();
        self.follow(host, asked, run, move |serving, host, result| {
            serving.finish(host, &state, asked, &what, result);
        });
    }

    /// Starts work that is no handler of a script, and ends its ticket with what comes out.
    pub(super) fn work(
        self: &Rc<Self>,
        host: &Rc<Host>,
        dispatch: &Dispatch,
        work: impl Future<Output = Body> + 'static,
    ) {
        let asked = Asked {
            ticket: dispatch.ticket,
            key: records::key(dispatch),
        };
        self.follow(host, asked, work, move |serving, host, body| {
            serving.end(host, asked, &body);
        });
    }

    /// Lets work run to its end, or until it is stopped: dropping it is what stopping means.
    fn follow<T>(
        self: &Rc<Self>,
        host: &Rc<Host>,
        asked: Asked,
        work: impl Future<Output = T> + 'static,
        end: impl FnOnce(&Self, &Host, T) + 'static,
    ) {
        let (stop, stopped) = oneshot::channel();
        self.running.borrow_mut().insert(asked.ticket, stop);
        let (serving, outer) = (Rc::clone(self), Rc::clone(host));
        host.start(async move {
            let ended = until_stopped(work, stopped).await;
            serving.running.borrow_mut().remove(&asked.ticket);
            match ended {
                Some(ended) => end(&serving, &outer, ended),
                None => serving.end(&outer, asked, &Body::Error(stopped_on_request())),
            }
        });
    }

    /// Ends a ticket with what its function returned or raised.
    fn finish(
        &self,
        host: &Host,
        state: &State,
        asked: Asked,
        what: &What,
        result: Result<MultiValue, Failure>,
    ) {
        let written = match (what, result) {
            (_, Err(failure)) => Err(failure.refusal(&what.to_string())),
            (What::Eval, Ok(values)) => {
                let body = Body::Ok {
                    result: Payload::Json(shown(state, &values)),
                    replayed: false,
                };
                return self.end(host, asked, &body);
            }
            (What::Handler(_), Ok(values)) => self.write(state, what, &values),
        };
        match written {
            Err(refusal) => self.end(host, asked, &Body::Error(refusal)),
            Ok(bytes) => {
                self.send_end(host, asked, Ending::Result(&bytes));
                self.keep(bytes);
            }
        }
    }

    fn end(&self, host: &Host, asked: Asked, body: &Body) {
        self.send_end(host, asked, Ending::Body(body));
    }

    /// Records and sends the end of a request. A result that makes too long a line becomes an error.
    fn send_end(&self, host: &Host, asked: Asked, ending: Ending<'_>) {
        let fits = send(host, asked.ticket, ending);
        let too_large = (!fits).then(|| Body::Error(too_large()));
        let ending = too_large.as_ref().map_or(ending, Ending::Body);
        if !fits {
            send(host, asked.ticket, ending);
        }
        if let Some(key) = asked.key {
            self.records.end(key, ending);
        }
    }

    /// The result as JSON, in the scratch buffer: writing walks Lua's tables, and what runs then (a finalizer) may
    /// itself send lines.
    fn write(&self, state: &State, what: &What, values: &MultiValue) -> Result<Vec<u8>, Refusal> {
        let value = values.front().unwrap_or(&Value::Nil);
        let mut bytes = self.scratch.take();
        let written = json::encode_into(state.lua(), "result", value, &mut bytes);
        match written {
            Ok(()) => Ok(bytes),
            Err(fault) => Err(Refusal::new(
                ErrorCode::ScriptError,
                format!("{what} returned what JSON cannot say: {fault}"),
            )),
        }
    }

    fn keep(&self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= limits::READ_BYTES {
            scratch.clear();
            self.scratch.replace(scratch);
        }
    }

    /// Stops a request, if it still runs. Its end follows.
    pub(super) fn cancel(&self, ticket: Ticket) {
        if let Some(stop) = self.running.borrow_mut().remove(&ticket) {
            let _ = stop.send(());
        }
    }

    /// Ends everything that still runs: the worker leaves.
    pub(super) fn abandon(&self, host: &Host, why: &str) {
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for ticket in running.into_keys() {
            // Its record lacks its end already.
            let asked = Asked { ticket, key: None };
            let refusal = Refusal::new(ErrorCode::OutcomeUnknown, why);
            self.end(host, asked, &Body::Error(refusal));
        }
    }
}

async fn until_stopped<T>(
    work: impl Future<Output = T>,
    stopped: oneshot::Receiver<()>,
) -> Option<T> {
    tokio::select! {
        // Both arms may be dropped: stopping a run is what dropping it means.
        biased;
        ended = work => Some(ended),
        Ok(()) = stopped => None,
    }
}

/// What runs, for error texts.
#[derive(Debug)]
enum What {
    Handler(std::sync::Arc<str>),
    Eval,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            What::Handler(name) => write!(f, "handler {name}"),
            What::Eval => f.write_str("the code"),
        }
    }
}

fn prepare(host: &Host, state: &State, dispatch: Dispatch) -> Result<(Run, What), Refusal> {
    let now = Instant::now();
    match dispatch.work {
        Work::Eval { code } => {
            let chunk = compile(state, &code)?;
            Ok((
                state.run(&chunk, (), Some(now + dispatch.timeout)),
                What::Eval,
            ))
        }
        Work::Call { handler, params } => {
            let registered = host
                .registry
                .handlers
                .borrow()
                .get(&*handler)
                .map(Rc::clone);
            let Some(registered) = registered else {
                return Err(unknown(host, &handler));
            };
            let limit = registered
                .timeout
                .map_or(dispatch.timeout, |own| own.min(dispatch.timeout));
            let request = Request {
                params: parameters(state, params.as_ref())?,
                ticket: dispatch.ticket,
                deadline: now + limit,
                id: dispatch.id,
                client: dispatch.client,
            };
            Ok((
                state.serve(&registered.function, request, now + limit),
                What::Handler(handler),
            ))
        }
    }
}

fn parameters(state: &State, params: Option<&Json>) -> Result<Value, Refusal> {
    let text = params.map_or("{}", Json::as_str);
    json::decode(state.lua(), text.as_bytes()).map_err(|fault| {
        Refusal::new(
            ErrorCode::BadRequest,
            format!("the parameters are {}", fault.without_position()),
        )
    })
}

fn unknown(host: &Host, handler: &str) -> Refusal {
    let handlers = host.registry.handlers.borrow();
    let hint = match nearest(handler, handlers.keys().map(|name| &**name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if handlers.is_empty() => "it has none".to_owned(),
        None => {
            let names: Vec<&str> = handlers.keys().take(20).map(|name| &**name).collect();
            format!("it has {}", names.join(", "))
        }
    };
    Refusal::new(
        ErrorCode::UnknownHandler,
        format!("the script has no handler \"{handler}\"; {hint}"),
    )
}

/// An expression, or statements. `moonkeep` is at hand in both.
fn compile(state: &State, code: &str) -> Result<mlua::Function, Refusal> {
    const AT_HAND: &str = "local moonkeep = require \"moonkeep\"";
    let load = |text: String| state.load_text(text.as_bytes(), "=eval");
    let expression = load(format!("{AT_HAND} return {code}\n"));
    expression
        .or_else(|_| load(format!("{AT_HAND} {code}")))
        .map_err(|failure| failure.refusal("the code"))
}

/// What `eval` gives: one value as it is, several as an array; what JSON cannot say as text.
fn shown(state: &State, values: &MultiValue) -> Json {
    let lua = state.lua();
    let one = |value: &Value| {
        json::to_json(lua, "result", value).unwrap_or_else(|_| {
            Json::of(
                &value
                    .to_string()
                    .unwrap_or_else(|_| value.type_name().to_owned()),
            )
        })
    };
    match (values.front(), values.len()) {
        (None, _) => Json::of(&()),
        (Some(value), 1) => one(value),
        (Some(_), _) => {
            let all: Vec<String> = values
                .iter()
                .map(|value| one(value).as_str().to_owned())
                .collect();
            let text = format!("[{}]", all.join(","));
            Json::parse(&text).unwrap_or_else(|_| Json::of(&text))
        }
    }
}

/// Sends the end of a ticket; `false`: its line is too long, nothing was sent.
fn send(host: &Host, ticket: Ticket, ending: Ending<'_>) -> bool {
    let mut fits = true;
    host.outbox.push(|out| {
        let start = out.len();
        match ending {
            Ending::Body(body) => codec::encode_outcome(ticket, body, out),
            Ending::Result(result) => codec::encode_result(ticket, result, out),
        }
        fits = out.len() - start <= limits::LINE_BYTES;
        if !fits {
            out.truncate(start);
        }
    });
    fits
}

fn too_large() -> Refusal {
    Refusal::new(
        ErrorCode::TooLarge,
        format!(
            "the result makes a line of more than {} bytes; send it in parts, or write a file and return its path",
            limits::LINE_BYTES
        ),
    )
}

fn stopped_on_request() -> Refusal {
    Refusal::new(
        ErrorCode::Cancelled,
        "the request was cancelled while it ran; what it had done by then stays done",
    )
}
