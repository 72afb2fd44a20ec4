//! Questions and answers as bytes, and answers as Lua tables. Waits for nothing.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds and codes of DNS are another crate's list, and grow"
)]

use std::io;
use std::net::IpAddr;

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mlua::{Lua, Table};

use crate::limits;
use crate::lua::modules::misuse;
use crate::nearest::nearest;

const KINDS: [(&str, RecordType); 10] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("CAA", RecordType::CAA),
    ("CNAME", RecordType::CNAME),
    ("MX", RecordType::MX),
    ("NS", RecordType::NS),
    ("PTR", RecordType::PTR),
    ("SOA", RecordType::SOA),
    ("SRV", RecordType::SRV),
    ("TXT", RecordType::TXT),
];

/// A name and a kind that can be asked for.
pub(super) struct Question {
    name: Name,
    kind: RecordType,
}

impl Question {
    /// # Errors
    /// If the name is none, or the kind is not known.
    pub(super) fn new(name: &str, kind: &str) -> mlua::Result<Self> {
        let upper = kind.to_ascii_uppercase();
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == upper) else {
            let known = KINDS.map(|(name, _)| name);
            let hint = nearest(&upper, known)
                .map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(misuse(format!(
                "dns.resolve: `{kind}` is no kind of record{hint}; it knows {}",
                known.join(", ")
            )));
        };
        let address = (*kind == RecordType::PTR)
            .then(|| name.parse::<IpAddr>().ok())
            .flatten();
        let name = match address {
            Some(address) => Name::from(address),
            None => named(name)?,
        };
        Ok(Question { name, kind: *kind })
    }

    /// With a new id.
    pub(super) fn write(&self) -> io::Result<(u16, Vec<u8>)> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind));
        let mut edns = Edns::new();
        edns.set_max_payload(limits::DNS_PAYLOAD_BYTES);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(io::Error::other)?;
        Ok((message.metadata.id, bytes))
    }

    /// `None`: an answer to something else.
    ///
    /// # Errors
    /// If it is an answer to this, but makes no sense.
    pub(super) fn read(&self, id: u16, bytes: &[u8]) -> io::Result<Option<Answer>> {
        let told = bytes.first_chunk().map(|first| u16::from_be_bytes(*first));
        if told != Some(id) {
            return Ok(None);
        }
        let message = Message::from_vec(bytes)
            .map_err(|error| io::Error::other(format!("its answer makes no sense: {error}")))?;
        let ours = message.queries.iter().all(|query| {
            query.query_type() == self.kind && query.name().eq_ignore_root(&self.name)
        });
        let answers = message.metadata.message_type == MessageType::Response;
        Ok((ours && answers).then_some(Answer {
            message,
            kind: self.kind,
        }))
    }
}

fn named(name: &str) -> mlua::Result<Name> {
    let parsed = Name::from_utf8(name)
        .ok()
        .filter(|_| !name.is_empty() && name.parse::<IpAddr>().is_err());
    let mut parsed = parsed.ok_or_else(|| {
        misuse(format!(
            "dns.resolve: `{name}` is no name; write for example \"example.org\" (an address is for \"PTR\" only)"
        ))
    })?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    message: Message,
    kind: RecordType,
}

impl Answer {
    /// It did not fit into a datagram.
    pub(super) fn is_cut(&self) -> bool {
        self.message.metadata.truncation
    }

    pub(super) fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        let (records, values) = (lua.create_table()?, lua.create_table()?);
        for record in &self.message.answers {
            let entry = record_table(lua, record)?;
            if record.record_type() == self.kind {
                values.raw_push(entry.raw_get::<String>("value")?)?;
            }
            records.raw_push(entry)?;
        }
        let facts = &self.message.metadata;
        table.raw_set("rcode", code(facts.response_code))?;
        table.raw_set("records", records)?;
        table.raw_set("values", values)?;
        table.raw_set("authoritative", facts.authoritative)?;
        table.raw_set("authenticated", facts.authentic_data)?;
        Ok(table)
    }
}

fn record_table(lua: &Lua, record: &Record) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("name", bare(&record.name))?;
    table.raw_set("kind", record.record_type().to_string())?;
    table.raw_set("ttl", record.ttl)?;
    let value = match &record.data {
        RData::MX(mx) => {
            table.raw_set("priority", mx.preference)?;
            table.raw_set("target", bare(&mx.exchange))?;
            format!("{} {}", mx.preference, bare(&mx.exchange))
        }
        RData::SRV(srv) => {
            table.raw_set("priority", srv.priority)?;
            table.raw_set("weight", srv.weight)?;
            table.raw_set("port", srv.port)?;
            table.raw_set("target", bare(&srv.target))?;
            format!(
                "{} {} {} {}",
                srv.priority,
                srv.weight,
                srv.port,
                bare(&srv.target)
            )
        }
        RData::SOA(soa) => {
            table.raw_set("primary", bare(&soa.mname))?;
            table.raw_set("serial", soa.serial)?;
            format!(
                "{} {} {} {} {} {} {}",
                bare(&soa.mname),
                bare(&soa.rname),
                soa.serial,
                soa.refresh,
                soa.retry,
                soa.expire,
                soa.minimum
            )
        }
        RData::CAA(caa) => {
            table.raw_set("tag", caa.tag.as_str())?;
            format!(
                "{} {} \"{}\"",
                if caa.issuer_critical { 128 } else { 0 },
                caa.tag,
                String::from_utf8_lossy(&caa.value)
            )
        }
        RData::TXT(text) => String::from_utf8_lossy(&text.txt_data.concat()).into_owned(),
        RData::CNAME(name) => target(&table, &name.0)?,
        RData::NS(name) => target(&table, &name.0)?,
        RData::PTR(name) => target(&table, &name.0)?,
        other => other.to_string(),
    };
    table.raw_set("value", value)?;
    Ok(table)
}

fn target(table: &Table, name: &Name) -> mlua::Result<String> {
    let name = bare(name);
    table.raw_set("target", name.as_str())?;
    Ok(name)
}

/// Without the dot at the end; the root is a dot.
fn bare(name: &Name) -> String {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        Some(_) | None => text,
    }
}

/// As `dig` names it.
fn code(code: ResponseCode) -> String {
    let known = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        ResponseCode::BADVERS => "BADVERS",
        other => return format!("RCODE{}", u16::from(other)),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata;

    use super::*;

    /// An answer to the question, as bytes.
    fn answered(question: &Question, id: u16, data: RData) -> Vec<u8> {
        let mut message = Message::response(id, hickory_resolver::proto::op::OpCode::Query);
        message.add_query(Query::query(question.name.clone(), question.kind));
        message.add_answer(Record::from_rdata(question.name.clone(), 60, data));
        message.to_vec().expect("small")
    }

    #[test]
    fn an_answer_is_read_and_others_are_passed_over() {
        let question = Question::new("a.example", "mx").expect("good");
        let (id, _) = question.write().expect("small");
        let mx = || RData::MX(rdata::MX::new(10, named("mx.example").expect("good")));
        let answer = question
            .read(id, &answered(&question, id, mx()))
            .expect("good")
            .expect("ours");
        let lua = Lua::new();
        let table = answer.into_table(&lua).expect("memory");
        let values: Vec<String> = table.get("values").expect("a list");
        assert_eq!(values, ["10 mx.example"]);
        let other = Question::new("b.example", "mx").expect("good");
        for foreign in [
            answered(&question, id.wrapping_add(1), mx()),
            answered(&other, id, mx()),
            Vec::new(),
        ] {
            assert!(matches!(question.read(id, &foreign), Ok(None)));
        }
        let garbage = [&id.to_be_bytes()[..], b"\xff\xff\xff\xff"].concat();
        assert!(question.read(id, &garbage).is_err());
    }

    #[test]
    fn addresses_are_turned_round_for_ptr_only() {
        let question = Question::new("192.0.2.1", "PTR").expect("good");
        assert_eq!(bare(&question.name), "1.2.0.192.in-addr.arpa");
        for (name, kind) in [("192.0.2.1", "A"), ("", "A"), ("a..b", "A"), ("a", "AX")] {
            assert!(Question::new(name, kind).is_err(), "{name} {kind}");
        }
    }
}
