//! A webhook: one request that its section describes.

use super::request::{Request, filled};
use super::words::Words;
use crate::monitor::alphabet::Undelivered;
use crate::options::alerts::is_json;
use crate::options::template::Escape;

/// Sends it. Cancel safe.
pub(super) async fn send(
    url: &str,
    method: &str,
    headers: &[(String, String)],
    body: Option<&str>,
    words: &Words<'_>,
) -> Result<(), Undelivered> {
    let request = Request::new(url, method, headers, words)?;
    let request = match body {
        _ if method == "GET" => request.send(None).await,
        None => {
            let request = request.content_type("application/json");
            request.send(Some(words.json().to_string())).await
        }
        Some(template) if is_json(template, headers) => {
            let request = request.content_type("application/json");
            let body = filled(template, Escape::Json, words)?;
            request.send(Some(body)).await
        }
        Some(template) => {
            let request = request.content_type("text/plain; charset=utf-8");
            let body = filled(template, Escape::Raw, words)?;
            request.send(Some(body)).await
        }
    };
    request.map(drop)
}
