//! A connection as Lua code holds it, whatever carries its bytes: TCP, a Unix socket, TLS.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use mlua::{
    Function, Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods, UserDataRef, Value,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::address::plain;
use super::failure::{failure, shown};
use super::modules::misuse;
use super::objects;
use crate::limits;

/// What carries the bytes.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Carrier for T {}

struct Open {
    stream: Box<dyn Carrier>,
    /// Bytes read beyond the last line.
    buffer: Vec<u8>,
}

/// The socket is taken out of `state` while a read or write waits: no borrow is held across an await, and a
/// cancelled call closes the connection, whose place in the stream nobody knows any more.
pub(super) struct Connection {
    facts: Facts,
    state: Rc<RefCell<Option<Open>>>,
}

/// What is known of a connection from its beginning.
pub(super) struct Facts {
    pub(super) seconds: f64,
    /// The address that answered.
    pub(super) peer: String,
    /// As the script wrote it.
    pub(super) address: String,
    /// For each read and write.
    pub(super) limit: Duration,
    /// `connection.tls`
    pub(super) tls: Option<Table>,
}

impl Connection {
    pub(super) fn new(facts: Facts, stream: impl Carrier + 'static) -> Self {
        let open = Open {
            stream: Box::new(stream),
            buffer: Vec::new(),
        };
        Connection {
            facts,
            state: Rc::new(RefCell::new(Some(open))),
        }
    }

    fn take(&self) -> mlua::Result<Open> {
        self.state.borrow_mut().take().ok_or_else(|| {
            failure(format!(
                "the connection to {} is closed or in use",
                self.facts.address
            ))
        })
    }

    fn close(&self) {
        self.state.borrow_mut().take();
    }

    async fn limited<T>(
        &self,
        verb: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> mlua::Result<T> {
        match tokio::time::timeout(self.facts.limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failure(format!(
                "cannot {verb} {}: {}",
                self.facts.address,
                plain(&error)
            ))),
            Err(_) => Err(failure(format!(
                "cannot {verb} {}: nothing within {}",
                self.facts.address,
                shown(self.facts.limit)
            ))),
        }
    }

    async fn read(&self, lua: &Lua, format: Value) -> mlua::Result<Option<LuaString>> {
        let wanted = Wanted::of(&format)?;
        let mut open = self.take()?;
        let found = self.limited("read from", wanted.read(&mut open)).await?;
        *self.state.borrow_mut() = Some(open);
        found.map(|bytes| lua.create_string(bytes)).transpose()
    }

    async fn write(&self, data: &[u8]) -> mlua::Result<()> {
        let mut open = self.take()?;
        let work = async {
            open.stream.write_all(data).await?;
            open.stream.flush().await
        };
        self.limited("write to", work).await?;
        *self.state.borrow_mut() = Some(open);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Line,
    All,
    Most(usize),
}

impl Wanted {
    fn of(format: &Value) -> mlua::Result<Self> {
        let wrong =
            || misuse("connection:read takes \"l\" (a line), \"a\" (all) or a number of bytes");
        match format {
            Value::Nil => Ok(Wanted::Line),
            Value::Integer(count) => {
                let count = usize::try_from(*count).map_err(|_| wrong())?;
                Ok(Wanted::Most(count.clamp(1, limits::HOST_BODY_BYTES)))
            }
            Value::String(text) => match text.to_string_lossy().trim_start_matches('*') {
                "l" => Ok(Wanted::Line),
                "a" => Ok(Wanted::All),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }

    async fn read(self, open: &mut Open) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(found) = self.cut(&mut open.buffer) {
                return Ok(Some(found));
            }
            if open.buffer.len() > limits::HOST_BODY_BYTES {
                return Err(io::Error::other(format!(
                    "more than {} bytes came",
                    limits::HOST_BODY_BYTES
                )));
            }
            if open.stream.read_buf(&mut open.buffer).await? == 0 {
                let rest = std::mem::take(&mut open.buffer);
                let nothing = rest.is_empty() && !matches!(self, Wanted::All);
                return Ok((!nothing).then_some(rest));
            }
        }
    }

    /// What can be given from the bytes that are here.
    fn cut(self, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Wanted::Line => {
                let end = memchr::memchr(b'\n', buffer)?;
                let mut line: Vec<u8> = buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Some(line)
            }
            Wanted::Most(count) if !buffer.is_empty() => {
                Some(buffer.drain(..count.min(buffer.len())).collect())
            }
            Wanted::Most(_) | Wanted::All => None,
        }
    }
}

impl UserData for Connection {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("seconds", |_, this| Ok(this.facts.seconds));
        fields.add_field_method_get("peer", |_, this| Ok(this.facts.peer.clone()));
        fields.add_field_method_get("tls", |_, this| Ok(this.facts.tls.clone()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__index", |lua, _, key: Value| {
            objects::method(lua, "connection", &key, functions)
        });
        methods.add_meta_method("__close", |_, this, _: Value| {
            this.close();
            Ok(())
        });
    }
}

fn functions(lua: &Lua) -> mlua::Result<Vec<(&'static str, Function)>> {
    type This = UserDataRef<Connection>;
    let read =
        |lua: Lua, (this, format): (This, Value)| async move { this.read(&lua, format).await };
    let write =
        |_: Lua, (this, data): (This, LuaString)| async move { this.write(&data.as_bytes()).await };
    let close = |_: &Lua, this: This| {
        this.close();
        Ok(())
    };
    Ok(vec![
        ("read", lua.create_async_function(read)?),
        ("write", lua.create_async_function(write)?),
        ("close", lua.create_function(close)?),
    ])
}
