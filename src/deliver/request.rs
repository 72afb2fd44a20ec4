//! One HTTP request, and what its answer means for the alert.

use std::error::Error as _;
use std::net::IpAddr;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};

use super::refer::{self, Secrets};
use super::words::{Words, beginning};
use super::{failed, refused};
use crate::limits;
use crate::monitor::alphabet::Undelivered;
use crate::options::secret::shown;
use crate::options::template::{Escape, Template};

/// Bytes of an answer that stand in a sentence.
const ANSWER_TOLD: usize = 512;

/// A request that can be sent more than once. What it may not say stays in it.
pub(super) struct Request {
    client: Client,
    url: Url,
    method: Method,
    headers: HeaderMap,
    secrets: Secrets,
    /// The address for sentences.
    shown: String,
}

impl Request {
    /// # Errors
    /// What is wrong with the address or a header.
    pub(super) fn new(
        address: &str,
        method: &str,
        headers: &[(String, String)],
        words: &Words<'_>,
    ) -> Result<Self, Undelivered> {
        let home = &words.order.home;
        let mut secrets = Secrets::default();
        let written = refer::address(address, home).map_err(failed)?;
        secrets.add_address(&written);
        let filled = filled(&written, Escape::Url, words)?;
        secrets.add_address(&filled);
        let shown = shown(&filled);
        let url = Url::parse(&filled)
            .map_err(|error| refused(format!("{shown}: this is no address: {error}")))?;
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| refused(format!("{method:?} is no method of HTTP")))?;
        let headers = header_map(headers, words, &mut secrets)?;
        Ok(Request {
            client: client(&url)?,
            url,
            method,
            headers,
            secrets,
            shown,
        })
    }

    /// Where the address was, without a `/` at its end, and `path` behind it.
    pub(super) fn below(mut self, path: &str) -> Self {
        let base = self.url.path().trim_end_matches('/').to_owned();
        if !base.ends_with(path) {
            self.url.set_path(&format!("{base}{path}"));
        }
        self
    }

    /// Unless the header is set already.
    pub(super) fn content_type(mut self, kind: &'static str) -> Self {
        let kind = HeaderValue::from_static(kind);
        self.headers.entry(CONTENT_TYPE).or_insert(kind);
        self
    }

    /// Sends it. Cancel safe: dropping it closes the connection.
    ///
    /// # Errors
    /// A sentence, without secrets; refused for good if the answer says that it will not change.
    pub(super) async fn send(&self, body: Option<String>) -> Result<Accepted, Undelivered> {
        let mut request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone());
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut answer = request
            .send()
            .await
            .map_err(|error| failed(self.secrets.hide(&unanswered(&self.shown, &error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Accepted {
                date: date(&answer),
            });
        }
        let said = excerpt(&mut answer).await;
        let why = self.secrets.hide(&self.sentence(status, &answer, &said));
        Err(match is_passing(status) {
            true => failed(why),
            false => refused(why),
        })
    }

    fn sentence(&self, status: StatusCode, answer: &Response, said: &str) -> String {
        let shown_there = answer
            .headers()
            .get("location")
            .and_then(|there| there.to_str().ok())
            .map(shown);
        let advice = match (status.as_u16(), shown_there) {
            (300..=399, Some(there)) => format!("; it has moved to {there}: write that address"),
            (401 | 403, _) => "; are the token and the headers right?".to_owned(),
            (404 | 405 | 410, _) => "; is the address right, to its end?".to_owned(),
            (400 | 415 | 422, _) => "; does it want another body?".to_owned(),
            _other => String::new(),
        };
        format!("{} answers {status}{advice}{said}", self.shown)
    }
}

/// What is known of a server that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Its clock, to the second, in milliseconds since 1970.
    pub(super) date: Option<u64>,
}

/// Whether the same request may be answered otherwise later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

fn date(answer: &Response) -> Option<u64> {
    let text = answer.headers().get(DATE)?.to_str().ok()?;
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    u64::try_from(moment.as_millisecond()).ok()
}

/// The beginning of what a server says about its refusal, in one line. It may go on for ever: the rest is not read.
async fn excerpt(answer: &mut Response) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= limits::DELIVERY_OUTPUT_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let told = beginning(&line, ANSWER_TOLD);
    match (told, told.len() < line.len()) {
        ("", _) => String::new(),
        (line, false) => format!("; it says: {line}"),
        (line, true) => format!("; it says: {line}..."),
    }
}

pub(super) fn filled(text: &str, escape: Escape, words: &Words<'_>) -> Result<String, Undelivered> {
    let template = Template::parse(text).map_err(refused)?;
    Ok(template.fill(escape, |name| words.value(name)))
}

fn header_map(
    headers: &[(String, String)],
    words: &Words<'_>,
    secrets: &mut Secrets,
) -> Result<HeaderMap, Undelivered> {
    let mut map = HeaderMap::new();
    map.insert("idempotency-key", text_value("Idempotency-Key", &words.id)?);
    for (name, written) in headers {
        let (text, is_secret) = refer::header(written, &words.order.home)
            .map_err(|why| failed(format!("the header {name}: {why}")))?;
        let text = if is_secret {
            secrets.add(&text);
            text.split(' ').for_each(|part| secrets.add(part));
            text
        } else {
            if is_delicate(name) {
                secrets.add(&text);
            }
            filled(&text, Escape::Raw, words)?
        };
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refused(format!("{name:?} cannot name a header")))?;
        map.insert(key, text_value(name, &text)?);
    }
    Ok(map)
}

/// Headers that mostly carry a token, also where it was written out.
fn is_delicate(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "key", "token", "cookie", "secret"]
        .iter()
        .any(|word| name.contains(word))
}

/// One line, whatever a check has said.
fn text_value(name: &str, text: &str) -> Result<HeaderValue, Undelivered> {
    let line = text.replace(char::is_control, " ");
    HeaderValue::from_bytes(line.trim().as_bytes()).map_err(|_| {
        refused(format!(
            "what is filled into the header {name} does not fit there"
        ))
    })
}

/// The first cause says most: reqwest's own text names layers, not reasons.
fn unanswered(shown: &str, error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    if words.contains("certificate") {
        return format!(
            "{shown}: its certificate is not accepted: {words}; have it signed by an authority that this machine trusts, or add its authority to the machine's"
        );
    }
    let doing = if error.is_connect() {
        "cannot connect"
    } else {
        "no proper answer"
    };
    if error.source().is_none() {
        return format!("{shown}: {doing}");
    }
    format!("{shown}: {doing}: {}", words.to_lowercase())
}

/// Follows nothing: a redirected POST becomes a GET, and headers would go to who-knows-whom. Proxies of the
/// environment are used as elsewhere, but not for this machine.
fn client(url: &Url) -> Result<Client, Undelivered> {
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("moonkeep/", env!("CARGO_PKG_VERSION")));
    if is_here(url) {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|error| failed(format!("HTTP cannot be set up: {error}")))
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
