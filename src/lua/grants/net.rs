//! Entries of `allow.net`: a host and a port, either of them any. Pure.

use std::net::IpAddr;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// In lower case, without brackets; `None`: any.
    host: Option<String>,
    /// `None`: any.
    pub port: Option<u16>,
}

impl HostPort {
    /// `host:port`, with `*` for any. `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = match port {
            "*" => None,
            port => Some(port.parse().ok()?),
        };
        Some(HostPort {
            host: (host != "*").then(|| host.to_ascii_lowercase()),
            port,
        })
    }

    /// Hosts are compared as they are written; only `localhost` is also its addresses, and an address is one
    /// however it is written.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        let Some(own) = &self.host else {
            return true;
        };
        let host = host.to_ascii_lowercase();
        match (own.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(own), Ok(host)) => own == host,
            (Err(_), Ok(host)) => own == "localhost" && host.is_loopback(),
            (_, Err(_)) => *own == host,
        }
    }

    /// Whether the host has to be looked up, or may have to be.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.host
            .as_ref()
            .is_none_or(|host| host.parse::<IpAddr>().is_err())
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The entry for every port of a host.
pub(super) fn any_port(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:*")
    } else {
        format!("{host}:*")
    }
}
