//! What some protocols say in the clear before they change to TLS.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limits;

/// A protocol that begins in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prelude {
    Smtp,
    Imap,
    Pop3,
    Ftp,
    Postgres,
}

impl Prelude {
    pub(super) const ALL: [Prelude; 5] = [
        Prelude::Smtp,
        Prelude::Imap,
        Prelude::Pop3,
        Prelude::Ftp,
        Prelude::Postgres,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Prelude::Smtp => "smtp",
            Prelude::Imap => "imap",
            Prelude::Pop3 => "pop3",
            Prelude::Ftp => "ftp",
            Prelude::Postgres => "postgres",
        }
    }

    /// Until the server is ready for TLS. Takes no byte beyond that: the next one is TLS.
    ///
    /// # Errors
    /// What the server said instead, or the system's.
    pub(super) async fn speak(self, stream: &mut TcpStream) -> io::Result<()> {
        match self {
            Prelude::Smtp => {
                reply(stream, "220").await?;
                let can = ask(stream, "EHLO moonkeep\r\n", "250").await?;
                if !can.to_ascii_uppercase().contains("STARTTLS") {
                    return Err(io::Error::other("the server does not offer STARTTLS"));
                }
                ask(stream, "STARTTLS\r\n", "220").await.map(drop)
            }
            Prelude::Imap => {
                reply(stream, "* OK").await?;
                stream.write_all(b"a1 STARTTLS\r\n").await?;
                loop {
                    let line = line(stream).await?;
                    if line.starts_with("a1 ") {
                        return expect(&line, "a1 OK");
                    }
                }
            }
            Prelude::Pop3 => {
                reply(stream, "+OK").await?;
                ask(stream, "STLS\r\n", "+OK").await.map(drop)
            }
            Prelude::Ftp => {
                reply(stream, "220").await?;
                ask(stream, "AUTH TLS\r\n", "234").await.map(drop)
            }
            Prelude::Postgres => {
                // A length of 8 and the number that means "TLS, please".
                stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
                match stream.read_u8().await? {
                    b'S' => Ok(()),
                    _ => Err(io::Error::other("the server does not offer TLS")),
                }
            }
        }
    }
}

async fn ask(stream: &mut TcpStream, question: &str, wanted: &str) -> io::Result<String> {
    stream.write_all(question.as_bytes()).await?;
    reply(stream, wanted).await
}

/// A reply of one or more lines: all but the last have a `-` behind their code.
async fn reply(stream: &mut TcpStream, wanted: &str) -> io::Result<String> {
    let mut whole = String::new();
    for _ in 0..limits::STARTTLS_LINES {
        let line = line(stream).await?;
        expect(&line, wanted)?;
        let more = line[wanted.len()..].starts_with('-');
        whole.push_str(&line);
        whole.push('\n');
        if !more {
            return Ok(whole);
        }
    }
    Err(io::Error::other("its reply has too many lines"))
}

fn expect(line: &str, wanted: &str) -> io::Result<()> {
    if line.starts_with(wanted) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the server said `{}`, not {wanted}",
        line.escape_default()
    )))
}

/// Byte by byte, so that nothing behind it is taken.
async fn line(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => bytes.push(byte),
        }
        if bytes.len() > limits::STARTTLS_LINE_BYTES {
            return Err(io::Error::other("its line is too long"));
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().to_owned())
}
