//! `[http]`: where the state of the checks is served, and under which names.

use core::net::{IpAddr, SocketAddr};

use toml::Value;

use super::document::{Entry, Fault};
use super::{keys, value};
use crate::limits;

/// `[http]`. Without it nothing listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Host names that a request may name, in lower case, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

impl Http {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// Whether a request may name this host (the `Host` header, with or without a port).
    ///
    /// A web page elsewhere can make a browser ask us under a name of its own (DNS rebinding), but never under an
    /// address or under a name that it does not own.
    #[must_use]
    pub fn takes_host(&self, header: &str) -> bool {
        let name = without_port(header).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        is_address(name) || name == "localhost" || self.hosts.iter().any(|host| host == name)
    }
}

/// What `[http]` is for, and its keys.
pub(super) const DOC: &str = "\
`[http]`: serves the state of the checks over HTTP, for people, Prometheus and Kubernetes. Nothing listens without it. \
`listen` is an address and a port (port 0: any; `moonkeep status` shows which). `hosts` names the host names under which it \
is asked, if a proxy or a DNS name leads to it: requests under other names are refused, except for addresses and `localhost`. \
It has no password: whoever reaches the address reads what the checks say.";

const KEYS: [&str; 2] = ["listen", "hosts"];

/// Reads the section that begins at `line`.
pub(super) fn read(line: usize, section: &Value, entries: &[Entry]) -> Result<Http, Fault> {
    if !section.is_table() {
        let text =
            "\"http\" must be a section; write [http] and listen = \"127.0.0.1:9620\" below it";
        return Err(Fault::new(line, text));
    }
    let (mut listen, mut hosts) = (None, Vec::new());
    for entry in entries {
        let fault = |why: String| Fault::new(entry.line, format!("http.{}: {why}", entry.key));
        match entry.key.as_str() {
            "listen" => listen = Some(address(&entry.value).map_err(fault)?),
            "hosts" => hosts = names(&entry.value).map_err(fault)?,
            other => {
                let text = keys::unknown(other, KEYS.into_iter());
                return Err(Fault::new(entry.line, format!("[http]: {text}")));
            }
        }
    }
    let listen = listen.ok_or_else(|| {
        let text =
            "[http] has no \"listen\"; write below it for example: listen = \"127.0.0.1:9620\"";
        Fault::new(line, text)
    })?;
    Ok(Http { listen, hosts })
}

fn address(found: &Value) -> Result<SocketAddr, String> {
    let wanted = "an IP address and a port, such as \"127.0.0.1:9620\" or \"[::1]:9620\"";
    let text = found
        .as_str()
        .ok_or_else(|| value::expected(wanted, found))?;
    let numbers = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numbers.parse().map_err(|_| value::expected(wanted, found))
}

fn names(found: &Value) -> Result<Vec<String>, String> {
    let names = value::texts(found, limits::SETTING_ENTRIES, host)?;
    Ok(names.iter().map(|name| name.to_ascii_lowercase()).collect())
}

fn host(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no host name; write it without a scheme and a port, such as \"status.example.org\""
    ))
}

/// `name` of `name:80`; `[::1]` of `[::1]:80`.
fn without_port(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A bare `::1` is no valid header, and an address all the same.
            if name.contains(':') && !name.ends_with(']') {
                return header;
            }
            name
        }
        Some(_) | None => header,
    }
}

fn is_address(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Config;

    fn http(text: &str) -> Result<Http, String> {
        let config = Config::parse(text).map_err(|fault| fault.to_string())?;
        config.http.ok_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn a_section_is_read_and_without_it_nothing_listens() {
        let full = "[http]\nlisten = \"0.0.0.0:80\"\nhosts = [\"Status.Example.ORG\"]\n";
        let full = http(full).expect("valid");
        assert_eq!(full.listen, SocketAddr::from(([0, 0, 0, 0], 80)));
        assert_eq!(full.hosts, ["status.example.org"]);
        assert!(!full.is_local());
        for local in [
            "127.0.0.1:9620",
            "localhost:9620",
            "[::1]:9620",
            "127.9.9.9:1",
        ] {
            let local = http(&format!("[http]\nlisten = {local:?}\n")).expect(local);
            assert!(local.is_local());
        }
        assert_eq!(http(""), Err("nothing".to_owned()));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_a_remedy() {
        for (text, expected) in [
            (
                "http = 1",
                "line 1: \"http\" must be a section; write [http] and listen = \"127.0.0.1:9620\" below it",
            ),
            (
                "\n[http]\n",
                "line 2: [http] has no \"listen\"; write below it for example: listen = \"127.0.0.1:9620\"",
            ),
            (
                "[http]\nlisten = 9620",
                "line 2: http.listen: expected an IP address and a port, such as \"127.0.0.1:9620\" or \"[::1]:9620\", found 9620",
            ),
            (
                "[http]\nlisten = \"example.org:80\"",
                "line 2: http.listen: expected an IP address and a port, such as \"127.0.0.1:9620\" or \"[::1]:9620\", found \"example.org:80\"",
            ),
            (
                "[http]\nlisten = \"127.0.0.1:1\"\nhost = []",
                "line 3: [http]: unknown key \"host\"; did you mean \"hosts\"?",
            ),
            (
                "[http]\nlisten = \"127.0.0.1:1\"\nhosts = [\"https://a.b\"]",
                "line 3: http.hosts: \"https://a.b\" is no host name; write it without a scheme and a port, such as \"status.example.org\"",
            ),
        ] {
            assert_eq!(http(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_name_that_nobody_configured_is_no_host_of_ours() {
        let hosts = vec!["status.example.org".to_owned()];
        let ours = Http {
            listen: SocketAddr::from(([127, 0, 0, 1], 9620)),
            hosts,
        };
        for good in [
            "127.0.0.1",
            "127.0.0.1:9620",
            "10.1.2.3:80",
            "[::1]:9620",
            "[::1]",
            "::1",
            "localhost",
            "LOCALHOST:1",
            "localhost.:80",
            "status.example.org",
            "Status.Example.org:443",
        ] {
            assert!(ours.takes_host(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "evil.example",
            "evil.example:9620",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xstatus.example.org",
            "status.example.org.evil.example",
            "127.0.0.1:80:evil",
            "[evil]:80",
            "127.0.0.1@evil.example",
        ] {
            assert!(!ours.takes_host(bad), "{bad}");
        }
    }
}
