//! `/`: the status page. One file, no script, nothing from elsewhere; it loads itself again now and then.
//!
//! Everything that scripts, plugins and operators have said goes through [`Html`]; markup stands in this folder only.

mod bars;
mod check;
mod words;

use std::fmt::Write as _;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::Snapshot;
use super::escape::Html;
use crate::limits;
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, Facts};
use check::{Face, icon};

/// Seconds after which the page loads itself again: as often as checks run by default.
const REFRESH_SECONDS: u32 = 30;

const STYLE: &str = include_str!("style.css");
const ICONS: &str = include_str!("icons.svg");

/// The content security policy: our own style by its hash, the icon of the tab, and nothing else.
pub(super) fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = base64(&Sha256::digest(STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    out
}

/// The checks of the page, in its order.
struct Groups<'a> {
    /// Something is wrong, and nobody has said that it is known.
    trouble: Vec<&'a CheckView>,
    /// Something is wrong, and quiet.
    quiet: Vec<&'a CheckView>,
    pending: Vec<&'a CheckView>,
    fine: Vec<&'a CheckView>,
}

impl<'a> Groups<'a> {
    fn of(checks: &'a [CheckView]) -> Self {
        let mut groups = Groups {
            trouble: Vec::new(),
            quiet: Vec::new(),
            pending: Vec::new(),
            fine: Vec::new(),
        };
        for check in checks {
            let group = match (Face::of(check), check.quiet.is_some()) {
                (Face::Ok, _) => &mut groups.fine,
                (Face::Pending, _) => &mut groups.pending,
                (Face::Critical | Face::Unknown | Face::Warning, true) => &mut groups.quiet,
                (Face::Critical | Face::Unknown | Face::Warning, false) => &mut groups.trouble,
            };
            group.push(check);
        }
        // Stable: by name within.
        groups.trouble.sort_by_key(|check| Face::of(check));
        groups.quiet.sort_by_key(|check| Face::of(check));
        // What may be about to fail stands above what is well.
        groups
            .fine
            .sort_by_key(|check| check.last == check.confirmed);
        groups
    }

    fn count(&self, face: Face) -> usize {
        self.trouble
            .iter()
            .filter(|check| Face::of(check) == face)
            .count()
    }
}

/// What the page says of the whole.
struct Overall {
    face: Face,
    sentence: String,
}

impl Overall {
    fn of(state: State, groups: &Groups) -> Self {
        let face = Face::of_state(state);
        let number = groups.count(face);
        let is_are = if number == 1 { "is" } else { "are" };
        let sentence = match face {
            Face::Ok if !groups.fine.is_empty() || !groups.quiet.is_empty() => {
                return Overall {
                    face,
                    sentence: "Everything is ok".to_owned(),
                };
            }
            Face::Ok | Face::Pending => {
                let sentence = match groups.pending.is_empty() {
                    true => "There are no checks yet",
                    false => "Waiting for the first results",
                };
                return Overall {
                    face: Face::Pending,
                    sentence: sentence.to_owned(),
                };
            }
            Face::Critical => format!("{} {is_are} critical", words::count(number, "check")),
            Face::Warning => format!(
                "{} {} of trouble",
                words::count(number, "check"),
                if number == 1 { "warns" } else { "warn" }
            ),
            Face::Unknown => format!("{} cannot be made", words::count(number, "check")),
        };
        Overall { face, sentence }
    }
}

/// The whole document.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let (view, facts) = (&snapshot.view, &snapshot.facts);
    let groups = Groups::of(&view.checks);
    let overall = Overall::of(view.state, &groups);
    let mut out = String::with_capacity(16 * 1024 + view.checks.len() * 2 * 1024);
    head(&mut out, &overall, facts);
    header(&mut out, facts, view.at_unix_ms);
    out.push_str("<main>");
    hero(&mut out, &overall, &groups);
    warnings(&mut out, &facts.warnings);
    if view.checks.is_empty() {
        out.push_str(EMPTY);
    }
    let now = view.at_unix_ms;
    section(&mut out, "trouble", "Needs attention", &groups.trouble, now);
    section(&mut out, "quiet", "Quiet", &groups.quiet, now);
    section(&mut out, "pending", "Not known yet", &groups.pending, now);
    section(&mut out, "fine", "Ok", &groups.fine, now);
    out.push_str("</main>");
    footer(&mut out, facts);
    out
}

const EMPTY: &str = "<div class=empty><p>A check is a few lines in <code>moonkeep.toml</code>, or a Lua file in <code>plugins/</code>:</p>\
    <pre>[check.web]\nplugin = \"http\"\nurl = \"http://127.0.0.1:8080/\"</pre></div>";

fn line(text: &str) -> Html<'_> {
    Html::line(text, limits::PAGE_TEXT_BYTES)
}

/// The last part of the home's path: enough to tell one home from another.
fn home_name(facts: &Facts) -> &str {
    let name = facts.home.trim_end_matches('/').rsplit('/').next();
    name.filter(|name| !name.is_empty()).unwrap_or("moonkeep")
}

fn head(out: &mut String, overall: &Overall, facts: &Facts) {
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=refresh content={REFRESH_SECONDS}><meta name=color-scheme content=\"light dark\"><meta name=robots content=noindex>\
         <title>{} \u{b7} {}</title><link rel=icon href=\"{}\"><style>{STYLE}</style></head><body>{ICONS}",
        overall.sentence,
        line(home_name(facts)),
        favicon(overall.face),
    );
}

/// The state as a picture of its own colour and shape.
fn favicon(face: Face) -> String {
    let (colour, shape, sign) = match face {
        Face::Ok => ("1c7a4d", "M16 1a15 15 0 1 0 .1 0z", "M9 16.5l5 5 9-10"),
        Face::Warning => ("c98500", "M16 2 31 30H1z", "M16 12v8M16 25v.1"),
        Face::Critical => (
            "cf3a31",
            "M10 1h12l9 9v12l-9 9H10l-9-9V10z",
            "M10.500 10.500l11 11M21.500 10.500l-11 11",
        ),
        Face::Unknown => (
            "7d62c4",
            "M16 0 32 16 16 32 0 16z",
            "M12 13c0-6 8-5 8 0 0 3-4 3-4 6M16 23.500v.1",
        ),
        Face::Pending => ("6b7580", "M16 1a15 15 0 1 0 .1 0z", "M16 9v7l5 4"),
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath fill='%23{colour}' d='{shape}'/%3E\
         %3Cpath fill='none' stroke='%23fff' stroke-width='3.500' stroke-linecap='round' d='{sign}'/%3E%3C/svg%3E"
    )
}

fn header(out: &mut String, facts: &Facts, now_ms: u64) {
    let _ = write!(
        out,
        "<header><p class=home>{}<bdi>{}</bdi></p><p><time>{}</time><span class=far>, renewed every {REFRESH_SECONDS} s</span></p></header>",
        icon("quiet"),
        line(home_name(facts)),
        words::moment(now_ms),
    );
}

fn hero(out: &mut String, overall: &Overall, groups: &Groups) {
    let word = overall.face.word();
    let _ = write!(
        out,
        "<div class=\"overall {word}\" role=status>{}<div><h1>{}</h1><ul class=counts>",
        icon(word),
        overall.sentence
    );
    let mut count = |number: usize, face: &str, sign: &str, word: &str| {
        if number > 0 {
            let _ = write!(out, "<li class={face}>{}{number} {word}</li>", icon(sign));
        }
    };
    for face in [Face::Critical, Face::Unknown, Face::Warning] {
        count(groups.count(face), face.word(), face.word(), face.word());
    }
    count(
        groups.quiet.len(),
        "quiet",
        "quiet",
        "in trouble, but quiet",
    );
    count(groups.pending.len(), "pending", "pending", "not known yet");
    count(groups.fine.len(), "ok", "ok", "ok");
    out.push_str("</ul></div></div>");
}

fn warnings(out: &mut String, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    out.push_str("<ul class=alerts aria-label=\"Warnings of the daemon\">");
    for warning in warnings {
        let _ = write!(
            out,
            "<li>{}</li>",
            Html::line(warning, limits::PAGE_MESSAGE_BYTES)
        );
    }
    out.push_str("</ul>");
}

fn section(out: &mut String, id: &str, title: &str, checks: &[&CheckView], now_ms: u64) {
    if checks.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<section aria-labelledby={id}><h2 id={id}>{title} ({}) <span>last 24 hours, and uptime</span></h2><ul class=checks>",
        checks.len()
    );
    for check in checks {
        check::render(out, check, now_ms);
    }
    out.push_str("</ul></section>");
}

fn footer(out: &mut String, facts: &Facts) {
    let ready = facts
        .scripts
        .iter()
        .filter(|script| script.state == "ready")
        .count();
    let _ = writeln!(
        out,
        "<footer><p>moonkeep {}, up for {}, {ready} of {} ready</p>\
         <p><a href=\"/checks.json\">checks.json</a> \u{b7} <a href=\"/metrics\">metrics</a> \u{b7} <a href=\"/health\">health</a> \
         \u{b7} <a href=\"/readyz?verbose\">readyz</a></p></footer></body></html>",
        line(&facts.version),
        words::span(facts.uptime_seconds as u64),
        words::count(facts.scripts.len(), "script"),
    );
}
