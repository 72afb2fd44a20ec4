//! `moonkeep.http`: requests as a client.
//!
//! The TLS machinery is set up at the first request of the process, not before: most processes send none.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};

use super::arguments::Named;
use super::errors::ApiError;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
use super::{Function, Module, Param, json};
use crate::limits;
use crate::nearest::nearest;

mod client;
mod phases;

use client::{Kind, client};
use phases::Phases;

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
---@field json? any sent as the body, with its content type; instead of `body`
---@field timeout? number|string whole time, body included; default 10 s
---@field max_bytes? integer a larger body is an error; default and most 8 MiB
---@field follow? boolean follow up to 10 redirects; default true
---@field insecure? boolean accept any certificate; default false
---@field ca? string path of a PEM file whose certificates are trusted as well
---@field proxy? string `http://host:port`; those of the environment are never used

---@class moonkeep.http.Response
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined by a comma
---@field body string
---@field seconds number from the request to the end of the body
---@field url string the address that answered, after redirects
---@field redirects string[] the addresses that were gone to on the way, in order
---@field timing moonkeep.http.Timing where the time went
---@field json fun(self): any the body, read as JSON

---@class moonkeep.http.Timing seconds; over all redirects
---@field resolve number looking up the name; 0 for an address and for a connection that was kept
---@field connect number TCP and TLS, without looking up the name; 0 for a connection that was kept
---@field wait number until the answer's headers were there, less the above
---@field transfer number the body
";

const KNOWN: &[&str] = &[
    "headers",
    "body",
    "json",
    "timeout",
    "max_bytes",
    "follow",
    "insecure",
    "ca",
    "proxy",
];

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
    let most = most(what, &lua, &options)?;
    let address = address(what, &url)?;
    let grants = Grants::of_state(&lua);
    check(&grants, &address)?;
    let kind = Kind::new(what, &lua, &options, &grants)?;
    let body = body(what, &lua, &options)?;
    let headers = options.value::<Table>(&lua, "headers")?;
    let phases = Rc::new(Phases::begin());
    let whole = async {
        let client = client(kind, &grants).await?;
        let mut request = client.request(method, address);
        if body.is_json {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for pair in headers.iter().flat_map(Table::pairs::<String, String>) {
            let (name, value) = pair?;
            request = request.header(name, value);
        }
        if let Some(bytes) = body.bytes {
            request = request.body(bytes);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unanswered(&url, &error))?;
        phases.answered();
        receive(&url, response, most).await
    };
    match tokio::time::timeout(limit, phases.follow(whole)).await {
        Ok(received) => received?.into_table(&lua, &phases),
        Err(_) => Err(failure(format!(
            "{url}: {} within {}",
            phases.place(),
            shown(limit)
        ))),
    }
}

fn address(what: &str, url: &str) -> mlua::Result<reqwest::Url> {
    reqwest::Url::parse(url)
        .ok()
        .filter(|parsed| ["http", "https"].contains(&parsed.scheme()) && parsed.has_host())
        .ok_or_else(|| {
            misuse(format!(
                "{what}: `{url}` is no address; write it whole, for example \"http://localhost:8080/health\""
            ))
        })
}

fn most(what: &str, lua: &Lua, options: &Named) -> mlua::Result<usize> {
    let most = options.value::<usize>(lua, "max_bytes")?;
    let most = most.unwrap_or(limits::HOST_BODY_BYTES);
    if most > limits::HOST_BODY_BYTES {
        return Err(misuse(format!(
            "{what}: `max_bytes` is {} at most",
            limits::HOST_BODY_BYTES
        )));
    }
    Ok(most)
}

/// What is sent.
struct Body {
    bytes: Option<Vec<u8>>,
    is_json: bool,
}

fn body(what: &str, lua: &Lua, options: &Named) -> mlua::Result<Body> {
    let text = options.value::<LuaString>(lua, "body")?;
    let value = options.value::<Value>(lua, "json")?;
    match (text, value) {
        (Some(_), Some(_)) => Err(misuse(format!("{what}: give `body` or `json`, not both"))),
        (text, None) => Ok(Body {
            bytes: text.map(|text| text.as_bytes().to_vec()),
            is_json: false,
        }),
        (None, Some(value)) => Ok(Body {
            bytes: Some(
                json::encode(lua, "json", &value)
                    .map_err(|fault| misuse(format!("{what}: {fault}")))?,
            ),
            is_json: true,
        }),
    }
}

pub(super) fn check(grants: &Grants, address: &reqwest::Url) -> Result<(), ApiError> {
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

async fn receive(asked: &str, mut response: Response, most: usize) -> mlua::Result<Received> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let status = response.status().as_u16();
    let url = response.url().to_string();
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| unanswered(asked, &error);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if chunk.len() > most - body.len() {
            return Err(failure(format!(
                "{asked}: the answer has more than {most} bytes; allow more with `max_bytes` ({} at most), or fetch a part",
                limits::HOST_BODY_BYTES
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received {
        status,
        url,
        headers,
        body,
    })
}

impl Received {
    fn into_table(self, lua: &Lua, phases: &Phases) -> mlua::Result<Table> {
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
        phases.tell(lua, &table)?;
        table.set_metatable(Some(methods(lua)?))?;
        Ok(table)
    }
}

/// What answers can do, once for each state.
fn methods(lua: &Lua) -> mlua::Result<Table> {
    const KEY: &str = "moonkeep.http.response";
    if let Some(known) = lua.named_registry_value::<Option<Table>>(KEY)? {
        return Ok(known);
    }
    let read = lua.create_function(|lua, answer: Table| {
        let body: LuaString = answer.get("body")?;
        json::decode(lua, &body.as_bytes()).map_err(|fault| {
            let url: String = answer.get("url").unwrap_or_default();
            failure(format!("{url}: the body is no JSON: {fault}"))
        })
    })?;
    let methods = lua.create_table_from([("json", read)])?;
    let meta = lua.create_table_from([("__index", methods)])?;
    lua.set_named_registry_value(KEY, &meta)?;
    Ok(meta)
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
