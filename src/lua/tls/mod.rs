//! `moonkeep.tls`: TLS connections as a client, and the facts of a server's certificates.
//!
//! The handshake accepts any certificate and checks that its owner is there; whether it is to be trusted is asked
//! right after, before a byte of anybody's goes over it. So a check can look at one that nobody should trust.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::{plain, split_or};
use super::arguments::Named;
use super::failure::failure;
use super::grants::{Grants, Need};
use super::modules::misuse;
use super::stream::{Connection, Facts};
use super::tcp::{cannot_connect, no_answer, open, peer_of};
use super::{Function, Module, Param};
use crate::limits;
use crate::nearest::nearest;

mod certificate;
mod starttls;
mod trust;

use certificate::{Certificate, Leaf};
use starttls::Prelude;

/// `moonkeep.tls`
pub const MODULE: Module = Module {
    name: "moonkeep.tls",
    summary: "TLS connections as a client, and the facts of a server's certificates.",
    types: TYPES,
    functions: &[
        Function {
            name: "connect",
            params: &[
                ADDRESS,
                Param {
                    name: "options?",
                    kind: "moonkeep.tls.Options",
                    doc: "see the type; `timeout` is also that of each read and write",
                },
            ],
            returns: &["moonkeep.tls.Connection"],
            doc: "Connects to `address` and agrees on TLS. Raises an error if the server cannot be reached, or if its \
                  certificate cannot be trusted (unless `insecure`); it says why.",
            yields: true,
            make: |lua, _| lua.create_async_function(connect).map(Value::Function),
        },
        Function {
            name: "certificate",
            params: &[
                ADDRESS,
                Param {
                    name: "options?",
                    kind: "moonkeep.tls.Options",
                    doc: "see the type",
                },
            ],
            returns: &["moonkeep.tls.Certificate"],
            doc: "The certificate that the server shows, and those above it. An expired, self-signed or misnamed one is no \
                  error: `verified` and `why` say whether it would be trusted. An error is raised only if there is none.",
            yields: true,
            make: |lua, _| lua.create_async_function(certificate).map(Value::Function),
        },
    ],
};

const ADDRESS: Param = Param {
    name: "address",
    kind: "string",
    doc: "`\"host:port\"`; the port may be left out: 443",
};

const TYPES: &str = r"---@class moonkeep.tls.Options
---@field timeout? number|string whole time until TLS stands; default 10 s
---@field server_name? string the name to ask for and to verify; default: the host of the address
---@field starttls? 'smtp'|'imap'|'pop3'|'ftp'|'postgres' speak this protocol in the clear first, until it changes to TLS
---@field ca? string path of a PEM file whose certificates are trusted as well
---@field insecure? boolean `connect` only: accept any certificate
---@field alpn? string[] protocols to offer, `{ 'h2', 'http/1.1' }`

---@class moonkeep.tls.Facts
---@field subject string `CN=example.org, O=...`
---@field issuer string
---@field names string[] host names and addresses that it is for
---@field not_before integer seconds since 1970
---@field not_after integer seconds since 1970
---@field days_left number until `not_after`; below 0 once it has expired
---@field serial string hexadecimal
---@field sha256 string fingerprint, hexadecimal
---@field self_signed boolean subject and issuer are the same

---@class moonkeep.tls.Certificate: moonkeep.tls.Facts
---@field chain moonkeep.tls.Facts[] all that the server sent, its own first
---@field verified boolean whether it would be trusted for `server_name`
---@field why? string why not
---@field version string `TLSv1.3`
---@field cipher string
---@field alpn? string the protocol that was agreed on
---@field peer string the address that answered
---@field seconds number from the beginning until TLS stood

---@class moonkeep.tls.Connection: moonkeep.tcp.Connection
---@field tls moonkeep.tls.Certificate
";

const KNOWN: [&str; 6] = [
    "timeout",
    "server_name",
    "starttls",
    "ca",
    "insecure",
    "alpn",
];

/// Where HTTPS listens.
const PORT: u16 = 443;

/// What one call wants, checked.
struct Wanted {
    address: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
    prelude: Option<Prelude>,
    extra: Vec<CertificateDer<'static>>,
    alpn: Vec<Vec<u8>>,
    insecure: bool,
    limit: Duration,
}

/// TLS stands; whether the other side is to be trusted has been asked.
struct Standing {
    stream: TlsStream<TcpStream>,
    certificate: Certificate,
}

async fn connect(
    lua: Lua,
    (address, options): (String, Option<Table>),
) -> mlua::Result<Connection> {
    let begin = Instant::now();
    let wanted = Wanted::new(&lua, "tls.connect", address, options, &KNOWN).await?;
    let standing = wanted.in_time().await?;
    if let (Some(why), false) = (&standing.certificate.why, wanted.insecure) {
        let more =
            "; if that is meant to be, name its authority with `ca`, or give `insecure = true`";
        return Err(cannot_connect(
            &wanted.address,
            format!("its certificate cannot be trusted: {why}{more}"),
        ));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let facts = Facts {
        seconds,
        peer: standing.certificate.peer.clone(),
        address: wanted.address,
        limit: wanted.limit,
        tls: Some(standing.certificate.into_table(&lua, seconds)?),
    };
    Ok(Connection::new(facts, standing.stream))
}

async fn certificate(lua: Lua, (address, options): (String, Option<Table>)) -> mlua::Result<Table> {
    let begin = Instant::now();
    let known: Vec<&str> = KNOWN
        .into_iter()
        .filter(|name| *name != "insecure")
        .collect();
    let wanted = Wanted::new(&lua, "tls.certificate", address, options, &known).await?;
    let standing = wanted.in_time().await?;
    let seconds = begin.elapsed().as_secs_f64();
    standing.certificate.into_table(&lua, seconds)
}

impl Wanted {
    async fn new(
        lua: &Lua,
        what: &'static str,
        address: String,
        options: Option<Table>,
        known: &[&str],
    ) -> mlua::Result<Self> {
        let options = Named::new(what, options, known)?;
        let (host, port) = split_or(what, &address, PORT)?;
        let (host, grants) = (host.to_owned(), Grants::of_state(lua));
        grants.check_host(&host, port)?;
        let name = options
            .value::<String>(lua, "server_name")?
            .unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name.clone())
            .map_err(|_| misuse(format!("{what}: `{name}` is no name of a server")))?;
        let prelude = options.value::<String>(lua, "starttls")?;
        let prelude = prelude.map(|text| prelude_of(what, &text)).transpose()?;
        let alpn = options.value::<Vec<String>>(lua, "alpn")?;
        let extra = match options.value::<String>(lua, "ca")? {
            None => Vec::new(),
            Some(path) => authorities(&grants, path).await?,
        };
        Ok(Wanted {
            address,
            host,
            port,
            name,
            prelude,
            extra,
            alpn: alpn
                .unwrap_or_default()
                .into_iter()
                .map(String::into_bytes)
                .collect(),
            insecure: options.value(lua, "insecure")?.unwrap_or(false),
            limit: options
                .time("timeout")?
                .unwrap_or(limits::HOST_CALL_TIMEOUT),
        })
    }

    async fn in_time(&self) -> mlua::Result<Standing> {
        match tokio::time::timeout(self.limit, self.stand()).await {
            Ok(standing) => standing,
            Err(_) => Err(no_answer(&self.address, self.limit)),
        }
    }

    /// Cancel safe: what was begun is closed.
    async fn stand(&self) -> mlua::Result<Standing> {
        let cannot = |error: io::Error| cannot_connect(&self.address, plain(&error));
        let mut stream = open(&self.host, self.port).await.map_err(cannot)?;
        if let Some(prelude) = self.prelude {
            prelude.speak(&mut stream).await.map_err(|error| {
                cannot_connect(
                    &self.address,
                    format!("{} failed: {}", prelude.name(), plain(&error)),
                )
            })?;
        }
        let peer = peer_of(&stream);
        let config = trust::any_certificate(self.alpn.clone())
            .map_err(|error| misuse(format!("tls cannot be set up: {error}")))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| cannot_connect(&self.address, self.no_handshake(&error)))?;
        let certificate = self.look_at(&stream, peer).await?;
        Ok(Standing {
            stream,
            certificate,
        })
    }

    async fn look_at(
        &self,
        stream: &TlsStream<TcpStream>,
        peer: String,
    ) -> mlua::Result<Certificate> {
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().unwrap_or_default();
        let leaves: Result<Vec<Leaf>, String> = chain.iter().map(Leaf::read).collect();
        let leaves = leaves
            .map_err(|why| cannot_connect(&self.address, format!("its certificate {why}")))?;
        let why = trust::doubt(chain, &self.name, self.extra.clone())
            .await
            .map(|doubt| match leaves.first() {
                Some(leaf) => doubt.told(leaf, &self.name.to_str()),
                None => "it sent none".to_owned(),
            });
        Ok(Certificate {
            leaves,
            why,
            version: session.protocol_version(),
            cipher: session.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            peer,
        })
    }

    /// Why there was no handshake, and what else it may be.
    fn no_handshake(&self, error: &io::Error) -> String {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidMessage(_)) => {
                let hint = match self.prelude {
                    None => "; if it begins in the clear, name its protocol with `starttls`",
                    Some(_) => "",
                };
                format!("what it says is no TLS{hint}")
            }
            Some(other) => format!("no TLS could be agreed on: {other}"),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it closed the connection before TLS stood; does it speak TLS at this port?"
                    .to_owned()
            }
            None => plain(error),
        }
    }
}

fn prelude_of(what: &str, text: &str) -> mlua::Result<Prelude> {
    Prelude::ALL
        .into_iter()
        .find(|known| known.name() == text)
        .ok_or_else(|| {
            let names = Prelude::ALL.map(Prelude::name);
            let hint = nearest(text, names)
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            misuse(format!(
                "{what}: `starttls` cannot be `{text}`{hint}; it is one of {}",
                names.join(", ")
            ))
        })
}

/// The certificates of a PEM file.
async fn authorities(grants: &Grants, path: String) -> mlua::Result<Vec<CertificateDer<'static>>> {
    let place = std::path::PathBuf::from(&path);
    grants.check(Need::Read, &place)?;
    let file = place.clone();
    let read = tokio::task::spawn_blocking(move || super::fs::read_whole(&file)).await;
    let text = read.map_err(mlua::Error::external)?.map_err(|error| {
        let refused = grants.explain(Need::Read, &place, &error);
        refused.map_or_else(
            || failure(format!("cannot read {path}: {}", plain(&error))),
            mlua::Error::from,
        )
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(failure(format!(
            "{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ))),
    }
}
