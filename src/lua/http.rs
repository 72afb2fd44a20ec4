//! `moonkeep.http`: requests as a client.
//!
//! The TLS machinery is set up at the first request of the process, not before: most processes send none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Lua, LuaString, Table, Value};
use reqwest::{Client, Method, Response, redirect};

use super::arguments::Named;
use super::errors::{ApiError, nearest};
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
use super::{Function, Module, Param};
use crate::limits;

/// `moonkeep.http`
pub const MODULE: Module = Module {
    name: "moonkeep.http",
    summary: "HTTP requests as a client.",
    types: TYPES,
    functions: &[
        Function {
            name: "get",
            params: &[URL, OPTIONS],
            returns: &["moonkeep.http.Response"],
            doc: "Fetches `url`. Any status is an answer; an error is raised only if there is none.",
            yields: true,
            make: |lua, _| with_method(lua, "http.get", Method::GET),
        },
        Function {
            name: "head",
            params: &[URL, OPTIONS],
            returns: &["moonkeep.http.Response"],
            doc: "Like `get`, without the body.",
            yields: true,
            make: |lua, _| with_method(lua, "http.head", Method::HEAD),
        },
        Function {
            name: "post",
            params: &[URL, OPTIONS],
            returns: &["moonkeep.http.Response"],
            doc: "Sends `options.body` to `url`.",
            yields: true,
            make: |lua, _| with_method(lua, "http.post", Method::POST),
        },
        Function {
            name: "request",
            params: &[
                Param {
                    name: "method",
                    kind: "string",
                    doc: "`\"PUT\"`, `\"DELETE\"`, ...",
                },
                URL,
                OPTIONS,
            ],
            returns: &["moonkeep.http.Response"],
            doc: "Sends a request with any method.",
            yields: true,
            make: |lua, _| any_method(lua),
        },
    ],
};

const URL: Param = Param {
    name: "url",
    kind: "string",
    doc: "`http://` or `https://`",
};
const OPTIONS: Param = Param {
    name: "options?",
    kind: "moonkeep.http.Options",
    doc: "see the type",
};

const TYPES: &str = r"---@class moonkeep.http.Options
---@field headers? table<string, string>
---@field body? string
---@field timeout? number|string whole time, body included; default 10 s
---@field follow? boolean follow up to 10 redirects; default true
---@field insecure? boolean accept any certificate; default false

---@class moonkeep.http.Response
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined by a comma
---@field body string at most 8 MiB
---@field seconds number from the request to the end of the body
---@field url string the address that answered, after redirects
";

const KNOWN: &[&str] = &["headers", "body", "timeout", "follow", "insecure"];

fn with_method(lua: &Lua, what: &'static str, method: Method) -> mlua::Result<Value> {
    lua.create_async_function(move |lua, (url, options): (String, Option<Table>)| {
        send(lua, what, method.clone(), url, options)
    })
    .map(Value::Function)
}

fn any_method(lua: &Lua) -> mlua::Result<Value> {
    lua.create_async_function(
        |lua, (method, url, options): (String, String, Option<Table>)| async move {
            let parsed = Method::from_bytes(method.as_bytes()).map_err(|_| {
                let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
                misuse(format!(
                    "http.request: `{method}` is no method{}",
                    nearest(&method.to_uppercase(), known)
                        .map_or_else(String::new, |near| format!("; did you mean {near}?"))
                ))
            })?;
            send(lua, "http.request", parsed, url, options).await
        },
    )
    .map(Value::Function)
}

async fn send(
    lua: Lua,
    what: &'static str,
    method: Method,
    url: String,
    options: Option<Table>,
) -> mlua::Result<Table> {
    let options = Named::new(what, options, KNOWN)?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    let kind = ClientKind {
        follow: options.value(&lua, "follow")?.unwrap_or(true),
        insecure: options.value(&lua, "insecure")?.unwrap_or(false),
    };
    let address = reqwest::Url::parse(&url)
        .ok()
        .filter(|parsed| ["http", "https"].contains(&parsed.scheme()) && parsed.has_host())
        .ok_or_else(|| {
            misuse(format!(
                "{what}: `{url}` is no address; write it whole, for example \"http://localhost:8080/health\""
            ))
        })?;
    let grants = Grants::of_state(&lua);
    check(&grants, &address)?;
    let mut request = client(kind, &grants)?.request(method, address);
    if let Some(headers) = options.value::<Table>(&lua, "headers")? {
        for pair in headers.pairs::<String, String>() {
            let (name, value) = pair?;
            request = request.header(name, value);
        }
    }
    if let Some(body) = options.value::<LuaString>(&lua, "body")? {
        request = request.body(body.as_bytes().to_vec());
    }
    let begin = Instant::now();
    let whole = async {
        let response = request.send().await?;
        receive(response).await
    };
    match tokio::time::timeout(limit, whole).await {
        Ok(Ok(received)) => received.into_table(&lua, begin.elapsed()),
        Ok(Err(error)) => Err(unanswered(&url, &error)),
        Err(_) => Err(failure(format!("{url}: no answer within {}", shown(limit)))),
    }
}

fn check(grants: &Grants, address: &reqwest::Url) -> Result<(), ApiError> {
    let host = address.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    grants.check_host(host, address.port_or_known_default().unwrap_or(0))
}

/// An answer with its body, before it becomes Lua.
struct Received {
    status: u16,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

async fn receive(mut response: Response) -> reqwest::Result<Received> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let status = response.status().as_u16();
    let url = response.url().to_string();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limits::HOST_BODY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == limits::HOST_BODY_BYTES {
            break;
        }
    }
    Ok(Received {
        status,
        url,
        headers,
        body,
    })
}

impl Received {
    fn into_table(self, lua: &Lua, took: Duration) -> mlua::Result<Table> {
        let headers = lua.create_table()?;
        for (name, value) in self.headers {
            let joined = match headers.raw_get::<Option<LuaString>>(name.as_str())? {
                Some(before) => [&before.as_bytes()[..], b", ", &value].concat(),
                None => value,
            };
            headers.raw_set(name, lua.create_string(joined)?)?;
        }
        let table = lua.create_table()?;
        table.raw_set("status", self.status)?;
        table.raw_set("url", self.url)?;
        table.raw_set("headers", headers)?;
        table.raw_set("body", lua.create_string(self.body)?)?;
        table.raw_set("seconds", took.as_secs_f64())?;
        Ok(table)
    }
}

/// The first cause says most: reqwest's own text names layers, not reasons.
fn unanswered(url: &str, error: &reqwest::Error) -> mlua::Error {
    if error.is_builder() {
        return misuse(format!("http: {error}"));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if let Some(refused) = cause.downcast_ref::<ApiError>() {
        return refused.clone().into();
    }
    let text = cause.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let doing = if error.is_connect() {
        "cannot connect"
    } else if error.is_redirect() {
        "too many redirects"
    } else {
        "no proper answer"
    };
    failure(format!("{url}: {doing}: {}", words.to_lowercase()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClientKind {
    follow: bool,
    insecure: bool,
}

/// How often an answer may lead elsewhere.
const REDIRECTS: usize = 10;

thread_local! {
    static CLIENTS: RefCell<HashMap<ClientKind, Client>> = RefCell::new(HashMap::new());
}

/// Follows where the script may go, and no further.
fn follow(grants: &Arc<Grants>) -> redirect::Policy {
    let grants = Arc::clone(grants);
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("more than 10 redirects");
        }
        match check(&grants, attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

/// One client of each kind for the thread, made at its first use: a thread serves one sandbox at most. Proxies of the environment are not used: a
/// check means the address that it names.
fn client(kind: ClientKind, grants: &Arc<Grants>) -> mlua::Result<Client> {
    if let Some(client) = CLIENTS.with_borrow(|clients| clients.get(&kind).cloned()) {
        return Ok(client);
    }
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let policy = if kind.follow {
        follow(grants)
    } else {
        redirect::Policy::none()
    };
    let client = Client::builder()
        .no_proxy()
        .redirect(policy)
        .tls_danger_accept_invalid_certs(kind.insecure)
        .user_agent(concat!("moonkeep/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| misuse(format!("http cannot be set up: {error}")))?;
    CLIENTS.with_borrow_mut(|clients| clients.insert(kind, client.clone()));
    Ok(client)
}
