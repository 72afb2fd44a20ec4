//! The peers of the HTTP listener: a bounded number, each with one request and one time limit.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::desk::Desk;
use crate::limits;
use crate::options::http::Http;
use crate::serve::{self, Reply};

/// All of them. Dropped, they are cut off.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// In the order of their coming.
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    task: AbortHandle,
    born: Instant,
    stage: Rc<Cell<Stage>>,
}

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not said all of its head.
    Silent,
    Asked,
}

impl Connections {
    pub(super) fn has_room(&self) -> bool {
        self.peers.len() < limits::HTTP_CONNECTIONS
    }

    pub(super) fn admit(&mut self, stream: TcpStream, desk: &Rc<Desk>, http: &Rc<Http>) {
        let stage = Rc::new(Cell::new(Stage::Silent));
        let task = serve(stream, Rc::clone(desk), Rc::clone(http), Rc::clone(&stage));
        let task = self.tasks.spawn_local(task);
        self.peers.push(Peer {
            task,
            born: Instant::now(),
            stage,
        });
    }

    /// Waits until one is over; for ever if there is none. Cancel safe.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.sweep();
    }

    /// When a silent peer will have had its time, if its place is needed.
    pub(super) fn next_silent(&self) -> Option<Instant> {
        let silent = || {
            self.peers
                .iter()
                .find(|peer| peer.stage.get() == Stage::Silent)
        };
        if self.has_room() {
            None
        } else {
            Some(silent()?.born + limits::HTTP_SILENCE)
        }
    }

    /// Takes the place of the peer that has been silent for the longest time, if it has had its time.
    pub(super) fn make_room(&mut self) {
        if self.next_silent().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let silent = |peer: &Peer| peer.stage.get() == Stage::Silent;
        if let Some(at) = self.peers.iter().position(silent) {
            self.peers.remove(at).task.abort();
        }
    }

    fn sweep(&mut self) {
        self.peers.retain(|peer| !peer.task.is_finished());
    }
}

/// One request of one peer, within [`limits::HTTP_TIME`].
async fn serve(stream: TcpStream, desk: Rc<Desk>, http: Rc<Http>, stage: Rc<Cell<Stage>>) {
    let service = service_fn(move |request| {
        stage.set(Stage::Asked);
        answer(request, Rc::clone(&desk), Rc::clone(&http))
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // Whether it was too slow or went away, nobody is left to be told.
    let _over = timeout(limits::HTTP_TIME, connection).await;
}

async fn answer(
    request: Request<Incoming>,
    desk: Rc<Desk>,
    http: Rc<Http>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = match asked(&request, &http) {
        Ok(asked) => reply(asked, &desk).await,
        Err(refused) => refused,
    };
    Ok(response(reply))
}

fn asked(request: &Request<Incoming>, http: &Http) -> Result<serve::Asked, Reply> {
    let named = request.headers().get_all(HOST).into_iter();
    // What is no text names no host of ours. HTTP/1.0, which needs no name, is not spoken by browsers.
    let mut named = named.map(|host| host.to_str().unwrap_or_default());
    let uri = request.uri();
    let ours = |host: &str| http.takes_host(host);
    if !named.all(ours) || !uri.authority().is_none_or(|host| ours(host.as_str())) {
        return Err(Reply::foreign_host());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    serve::route(request.method().as_str(), target)
}

/// Renders what is large on a thread for such work: the core's has others to serve.
async fn reply(asked: serve::Asked, desk: &Desk) -> Reply {
    let Some(snapshot) = desk.snapshot().await else {
        return asked.reply(None);
    };
    if asked.is_cheap(&snapshot) {
        return asked.reply(Some(&snapshot));
    }
    let rendering = {
        let asked = asked.clone();
        spawn_blocking(move || asked.reply(Some(&snapshot)))
    };
    rendering.await.unwrap_or_else(|_| asked.reply(None))
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let own = [
        ("content-type", reply.content_type),
        ("cache-control", reply.cache_control),
    ];
    let headers = own
        .into_iter()
        .chain(reply.extra)
        .chain(serve::headers_of_all());
    let builder = Response::builder().status(reply.status);
    let builder = headers.fold(builder, |builder, (name, value)| {
        builder.header(name, value)
    });
    let body = Full::new(Bytes::from_owner(Text(reply.body)));
    builder
        .body(body)
        .expect("statuses and headers are constants that HTTP allows")
}

/// A rendered text as bytes, shared with all who asked for it.
struct Text(std::sync::Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
