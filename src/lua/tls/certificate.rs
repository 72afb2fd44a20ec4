//! What a certificate says, read from its bytes, and how Lua sees it. Decides nothing.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::{Lua, Table};
use rustls::{CipherSuite, ProtocolVersion};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits;

const DAY: f64 = 86_400.0;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Hexadecimal.
    pub(super) serial: String,
    pub(super) sha256: String,
    pub(super) self_signed: bool,
}

impl Leaf {
    /// # Errors
    /// What is wrong with the bytes; begins with a verb.
    pub(super) fn read(der: impl AsRef<[u8]>) -> Result<Self, String> {
        let der = der.as_ref();
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|error| format!("cannot be read: {error}"))?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter(),
            Ok(None) | Err(_) => [].iter(),
        };
        let validity = parsed.validity();
        let serial = hex(parsed.raw_serial());
        Ok(Leaf {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: names
                .filter_map(shown)
                .take(limits::CERTIFICATE_NAMES)
                .collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            serial: match serial.trim_start_matches("00") {
                "" => "00".to_owned(),
                rest => rest.to_owned(),
            },
            sha256: hex(&Sha256::digest(der)),
            self_signed: parsed.subject() == parsed.issuer(),
        })
    }

    /// The names that it is for, some of them, as part of a sentence.
    pub(super) fn shown_names(&self) -> String {
        const SOME: usize = 4;
        if self.names.is_empty() {
            return format!("no name at all ({})", self.subject);
        }
        let some: Vec<&str> = self.names.iter().take(SOME).map(String::as_str).collect();
        let more = if self.names.len() > SOME { ", ..." } else { "" };
        format!("{}{more}", some.join(", "))
    }

    fn into_table(self, lua: &Lua, now: f64) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of this era fit into 52 bits"
        )]
        let left = (self.not_after as f64 - now) / DAY;
        table.raw_set("subject", self.subject)?;
        table.raw_set("issuer", self.issuer)?;
        table.raw_set("names", self.names)?;
        table.raw_set("not_before", self.not_before)?;
        table.raw_set("not_after", self.not_after)?;
        table.raw_set("days_left", left)?;
        table.raw_set("serial", self.serial)?;
        table.raw_set("sha256", self.sha256)?;
        table.raw_set("self_signed", self.self_signed)?;
        Ok(table)
    }
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a server showed, and what became of it.
pub(super) struct Certificate {
    pub(super) leaves: Vec<Leaf>,
    /// Why it is not trusted.
    pub(super) why: Option<String>,
    pub(super) version: Option<ProtocolVersion>,
    pub(super) cipher: Option<CipherSuite>,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) peer: String,
}

impl Certificate {
    pub(super) fn into_table(self, lua: &Lua, seconds: f64) -> mlua::Result<Table> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0.0, |since| since.as_secs_f64());
        let table = match self.leaves.first() {
            Some(leaf) => leaf.clone().into_table(lua, now)?,
            None => lua.create_table()?,
        };
        let chain: mlua::Result<Vec<Table>> = self
            .leaves
            .into_iter()
            .map(|leaf| leaf.into_table(lua, now))
            .collect();
        table.raw_set("chain", lua.create_sequence_from(chain?)?)?;
        table.raw_set("verified", self.why.is_none())?;
        table.raw_set("why", self.why)?;
        table.raw_set("version", self.version.map(version))?;
        table.raw_set(
            "cipher",
            self.cipher.map(|cipher| {
                let name = format!("{cipher:?}");
                name.replacen("TLS13_", "TLS_", 1)
            }),
        )?;
        let alpn = self.alpn.map(|alpn| lua.create_string(alpn)).transpose()?;
        table.raw_set("alpn", alpn)?;
        table.raw_set("peer", self.peer)?;
        table.raw_set("seconds", seconds)?;
        Ok(table)
    }
}

/// `TLSv1.3`
fn version(version: ProtocolVersion) -> String {
    format!("{version:?}").replacen("TLSv1_", "TLSv1.", 1)
}
