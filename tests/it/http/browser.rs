//! The status page in headless Chromium, driven by chromedriver: at the width of a phone and of a desk, light and
//! dark. Where they are not installed the test says so and is skipped.
//!
//! With `MOONKEEP_SCREENSHOTS=FOLDER` it leaves a picture of each page there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use moonkeep::monitor::view::{ChecksView, Facts};
use moonkeep::serve::{Snapshot, headers_of_all, route};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, connect, made};
use crate::harness::end_processes_of;

/// Serves made-up views as the daemon serves its own, headers and all: `/NAME` is the page of a view.
fn serve(views: Vec<(&'static str, ChecksView, Facts)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let views: Vec<_> = views
        .into_iter()
        .map(|(name, view, facts)| (name, Snapshot::new(view, facts)))
        .collect();
    let views = Arc::new(views);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let views = Arc::clone(&views);
            std::thread::spawn(move || answer(stream, &views));
        }
    });
    address
}

fn answer(mut stream: TcpStream, views: &[(&str, Snapshot)]) {
    let mut head = String::new();
    let mut reader = BufReader::new(&stream);
    while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
    let name = head.split([' ', '/']).nth(2).unwrap_or_default();
    let Some((_, snapshot)) = views.iter().find(|(known, _)| *known == name) else {
        return;
    };
    let reply = route("GET", "/")
        .expect("it is served")
        .reply(Some(snapshot));
    let headers: String = headers_of_all()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .concat();
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{}",
        reply.content_type,
        reply.body.len(),
        reply.body
    );
    // A browser that goes away needs no answer.
    let _gone = stream.write_all(text.as_bytes());
}

/// A browser that is driven.
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: TempDir,
}

/// Starts chromedriver and waits until it says its port. One that finds its port taken, by a test beside this one,
/// leaves at once: then another is started.
fn start_driver(profile: &Path) -> std::io::Result<(Child, u16)> {
    for _ in 0..10 {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .env("TMPDIR", profile)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, behind) = line.split_once("successfully on port ")?;
            behind.trim_end_matches('.').parse().ok()
        });
        if let Some(port) = port {
            // Read to its end, so that the driver never waits for us.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((driver, port));
        }
        driver.wait()?;
    }
    panic!("chromedriver never said its port");
}

impl Browser {
    /// `None`, with a message: it is not installed.
    fn start() -> Option<Self> {
        let profile = TempDir::with_prefix("mkchrome").expect("a folder");
        let has_browser = Command::new("chromium").arg("--version").output().is_ok();
        let (Ok(started), true) = (start_driver(profile.path()), has_browser) else {
            eprintln!(
                "skipped: chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)"
            );
            return None;
        };
        let (driver, port) = started;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let folder = format!(
            "--user-data-dir={}",
            profile.path().join("profile").display()
        );
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", folder] });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let mut browser = Browser {
            driver,
            address,
            session: String::new(),
            profile,
        };
        let session = browser.send("POST", "/session", &wanted);
        session["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        Some(browser)
    }

    /// One WebDriver command; its value.
    #[track_caller]
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = connect(self.address);
        stream
            .write_all((head + &body).as_bytes())
            .expect("the driver reads");
        let answer = answer_of(stream);
        let value: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(answer.status, 200, "{path}: {value}");
        value["value"].clone()
    }

    #[track_caller]
    fn ask(&self, command: &str, body: &Value) -> Value {
        self.send(
            "POST",
            &format!("/session/{}/{command}", self.session),
            body,
        )
    }

    #[track_caller]
    fn tune(&self, command: &str, params: &Value) {
        self.ask(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        );
    }

    /// Shows a page on a screen of this width.
    #[track_caller]
    fn show(&self, url: &str, width: u32, scheme: &str) {
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.tune("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tune("Emulation.setEmulatedMedia", &scheme);
        self.ask("url", &json!({ "url": url }));
    }

    #[track_caller]
    fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What it has complained of: refused styles, errors of scripts.
    #[track_caller]
    fn complaints(&self) -> Vec<Value> {
        let log = self.ask("se/log", &json!({ "type": "browser" }));
        log.as_array().expect("a list").clone()
    }

    /// A picture of the whole page, if somebody wants one.
    fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("MOONKEEP_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let height = self
            .run("return document.documentElement.scrollHeight")
            .as_u64()
            .unwrap_or(900);
        let width = self.run("return innerWidth");
        let screen = json!({ "width": width, "height": height.clamp(300, 4_000), "deviceScaleFactor": 1, "mobile": false });
        self.tune("Emulation.setDeviceMetricsOverride", &screen);
        let picture = self.send(
            "GET",
            &format!("/session/{}/screenshot", self.session),
            &Value::Null,
        );
        let bytes = decoded(picture.as_str().expect("base64"));
        std::fs::write(folder.join(name), bytes)
            .expect("the folder of MOONKEEP_SCREENSHOTS is there");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.send(
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
        // The profile is written until the browser has left.
        let left = end_processes_of(self.profile.path());
        assert!(
            left.is_empty() || std::thread::panicking(),
            "the browser has not left: {left:?}"
        );
    }
}

/// The driver keeps its connections open: its answers end where they say.
#[track_caller]
fn answer_of(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let count = reader.read_line(&mut head).expect("the driver answers");
        assert!(count > 0, "the driver has ended");
    }
    let mut answer = Answer::parse(head.as_bytes());
    let length = answer
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).expect("the driver answers");
    answer.body = String::from_utf8(body).expect("UTF-8");
    answer
}

/// base64, as WebDriver sends pictures.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(value)
        .collect();
    let bytes = digits.chunks(4).flat_map(|group| {
        let word = group
            .iter()
            .fold(0_u32, |word, digit| word << 6 | u32::from(*digit))
            << (6 * (4 - group.len()));
        word.to_be_bytes().into_iter().skip(1).take(group.len() - 1)
    });
    bytes.collect()
}

/// What is wrong with the page that is shown.
const LOOK: &str = r"
  const wrong = [], wide = innerWidth;
  if (document.documentElement.scrollWidth > wide) wrong.push('it scrolls sideways: ' + document.documentElement.scrollWidth);
  const rgb = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = colour => { const [r, g, b] = colour.map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const under = el => { for (; el; el = el.parentElement) { const c = getComputedStyle(el).backgroundColor; if (!/, 0\)$/.test(c) && c !== 'transparent') return rgb(c); } return [255, 255, 255]; };
  // Of a thousand checks the first hundred stand for the others: a look at what is out of sight costs a layout each.
  for (const el of [...document.querySelectorAll('h1,h2,h2 span,h3,p,dt,dd,.state,.notes li,summary,a,.counts li,.alerts li')].slice(0, 1200)) {
    const box = el.getBoundingClientRect();
    if (box.right > wide + 1 && !el.closest('.wide')) wrong.push('beyond the edge: ' + el.className + ' ' + el.textContent.slice(0, 40));
    const [a, b] = [light(rgb(getComputedStyle(el).color)), light(under(el))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) wrong.push('faint: ' + el.tagName + ' ' + el.textContent.slice(0, 40));
  }
  for (const svg of document.querySelectorAll('svg.bars')) if (!svg.querySelector('title').textContent.startsWith('Last 24 hours')) wrong.push('bars without words');
  for (const name of ['header', 'main', 'footer', 'h1']) if (document.querySelectorAll(name).length !== 1) wrong.push('not one ' + name);
  if (document.querySelectorAll('script,img,iframe,[onclick],[onerror],[style]').length) wrong.push('an intruder');
  if (getComputedStyle(document.querySelector('main')).maxWidth === 'none') wrong.push('the style was refused');
  return [...new Set(wrong)];
";

// The browser's own words for what it was sent: no fault of ours is hidden by our own idea of HTML.
#[test]
fn the_page_holds_in_a_real_browser_on_a_phone_and_a_desk_light_and_dark() {
    let (hostile, hostile_facts) = made::hostile();
    let one = made::view(vec![made::check(
        "dns",
        Some(moonkeep::monitor::state::State::Ok),
        "all is well",
    )]);
    let address = serve(vec![
        ("none", made::view(Vec::new()), made::facts()),
        ("one", one, made::facts()),
        ("ten", made::ten(), made::facts()),
        ("hostile", hostile, hostile_facts),
        ("many", made::many(1_000), made::facts()),
    ]);
    let Some(browser) = Browser::start() else {
        return;
    };
    let screens = [
        (390, "light"),
        (1280, "dark"),
        (390, "dark"),
        (1280, "light"),
    ];
    for (name, screens) in [
        ("none", &screens[..]),
        ("one", &screens),
        ("ten", &screens),
        ("hostile", &screens),
        ("many", &screens[..2]),
    ] {
        for (width, scheme) in screens.iter().copied() {
            browser.show(&format!("http://{address}/{name}"), width, scheme);
            browser.run("for (const one of [...document.querySelectorAll('details')].slice(0, 20)) one.open = true");
            assert_eq!(
                browser.run(LOOK),
                json!([]),
                "{name} at {width} px, {scheme}"
            );
            let dark = browser.run("return getComputedStyle(document.body).backgroundColor")
                == "rgb(16, 20, 25)";
            assert_eq!(dark, scheme == "dark", "{name}");
            assert_eq!(
                browser.complaints(),
                Vec::<Value>::new(),
                "{name} at {width} px, {scheme}"
            );
            browser.run("for (const one of [...document.querySelectorAll('details')].slice(1)) one.open = false");
            browser.picture(&format!("{name}-{width}-{scheme}.png"));
        }
    }
    let title = browser.run("return document.title");
    assert!(
        title
            .as_str()
            .is_some_and(|title| title.contains("critical")),
        "{title}"
    );
}
