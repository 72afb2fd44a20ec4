//! Addresses as Lua code writes them, looked up with a deadline by the caller; errors of the system in words.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::modules::misuse;

/// `host:port`, the host without brackets.
///
/// # Errors
/// If it is none; `what` names the function.
pub(super) fn split<'a>(what: &str, address: &'a str) -> mlua::Result<(&'a str, u16)> {
    let wrong = || {
        misuse(format!(
            "{what}: `{address}` is no address; write \"host:port\", for example \"localhost:22\" or \"[::1]:22\""
        ))
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok((host, port))
}

/// As [`split`], with a port for addresses that have none.
///
/// # Errors
/// If it is no address.
pub(super) fn split_or<'a>(
    what: &str,
    address: &'a str,
    port: u16,
) -> mlua::Result<(&'a str, u16)> {
    let bare = address.parse::<IpAddr>().is_ok() || !address.contains([':', '[']);
    if bare && !address.is_empty() {
        return Ok((address, port));
    }
    match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) if inner.parse::<IpAddr>().is_ok() => Ok((inner, port)),
        Some(_) | None => split(what, address),
    }
}

/// Names are looked up on another thread; addresses, and `localhost`, need no look-up. At least one.
///
/// Cancel safe: the thread ends its look-up alone, nobody takes the result.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(found)
}

/// An error of the system in words, without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    // The system adds its number, rustls the address of a manual.
    let words = text.split(" (os error").next().unwrap_or_default();
    let words = words.split(": https://").next().unwrap_or_default();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_nonsense_is_refused() {
        let split = |text| split("f", text);
        assert_eq!(split("a.b:22").expect("good"), ("a.b", 22));
        assert_eq!(split("[::1]:22").expect("good"), ("::1", 22));
        for bad in [
            "a", "a:", ":22", "::1:22", "a:0", "a:99999", "[::1:22", "a:b",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_may_be_left_out_where_there_is_a_usual_one() {
        for (text, wanted) in [
            ("a.b", ("a.b", 53)),
            ("::1", ("::1", 53)),
            ("[::1]", ("::1", 53)),
            ("[::1]:5", ("::1", 5)),
            ("1.2.3.4:5", ("1.2.3.4", 5)),
        ] {
            assert_eq!(split_or("f", text, 53).expect(text), wanted);
        }
        for bad in ["", "a:", "[a]", "a:b:c"] {
            assert!(split_or("f", bad, 53).is_err(), "{bad}");
        }
    }

    #[test]
    fn system_errors_lose_their_number() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&refused), "connection refused");
    }
}
