//! The kind tls against `openssl s_server`: a good certificate, and each way in which one can be bad.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::fakes::tcp;
use super::programs::{Service, free};
use super::{expect, measure};
use crate::harness::{Home, installed};

/// A folder with an authority, and certificates signed by it.
pub(super) struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub(super) fn new(home: &Home) -> Self {
        let authority = Authority {
            folder: home.path("tls"),
        };
        std::fs::create_dir_all(&authority.folder).expect("a folder");
        authority.openssl(&format!(
            "req -x509 {NEW} -keyout ca.key -out ca.pem -days 3650 -subj /CN=Test-Authority"
        ));
        authority
    }

    pub(super) fn ca(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .output()
            .expect("openssl starts");
        assert!(
            done.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Makes a certificate for `host` that ends in so many days, and serves it.
    pub(super) fn serve(&self, name: &str, host: &str, days: i32) -> Service {
        let names = format!("subjectAltName=DNS:{host},IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
        std::fs::write(self.folder.join(format!("{name}.ext")), names).expect("a file");
        self.openssl(&format!(
            "req {NEW} -keyout {name}.key -out {name}.csr -subj /CN={host}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days {days} -extfile {name}.ext"
        ));
        self.start(name)
    }

    fn self_signed(&self, name: &str) -> Service {
        self.openssl(&format!(
            "req -x509 {NEW} -keyout {name}.key -out {name}.pem -days 90 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ));
        self.start(name)
    }

    fn start(&self, name: &str) -> Service {
        let address = free();
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-www",
            "-quiet",
            "-accept",
            &address.to_string(),
        ]);
        command
            .args(["-cert", &certificate, "-key", &key])
            .current_dir(&self.folder);
        Service::start(&mut command, address)
    }
}

const NEW: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A mail server that changes to TLS on demand: what it says then is what `behind` says.
fn starttls(behind: SocketAddr) -> SocketAddr {
    tcp(move |mut stream| {
        let mut heard = BufReader::new(stream.try_clone().expect("a socket"));
        let _ = stream.write_all(b"220 mail.test\r\n");
        let mut line = String::new();
        while heard.read_line(&mut line).is_ok_and(|count| count > 0) {
            if line.to_uppercase().starts_with("STARTTLS") {
                let _ = stream.write_all(b"220 go on\r\n");
                break;
            }
            let _ = stream.write_all(b"250-mail.test\r\n250 STARTTLS\r\n");
            line.clear();
        }
        let Ok(mut inner) = TcpStream::connect(behind) else {
            return;
        };
        let mut back = inner.try_clone().expect("a socket");
        let mut out = stream.try_clone().expect("a socket");
        std::thread::spawn(move || std::io::copy(&mut back, &mut out));
        let _ = std::io::copy(&mut stream, &mut inner);
    })
}

#[test]
fn a_certificate_is_judged_by_days_name_and_chain() {
    let home = Home::new();
    if !installed("openssl", "a_certificate_is_judged_by_days_name_and_chain") {
        return;
    }
    let authority = Authority::new(&home);
    let good = authority.serve("good", "localhost", 90);
    let soon = authority.serve("soon", "localhost", 10);
    let expired = authority.serve("expired", "localhost", -1);
    let other = authority.serve("other", "other.test", 90);
    let own = authority.self_signed("own");
    let mail = starttls(good.address);
    let at = |service: &Service, more: &str| {
        let port = service.address.port();
        format!(
            "plugin = \"tls\"\naddress = \"localhost:{port}\"\nca = \"{}\"\n{more}",
            authority.ca()
        )
    };
    let checks = expect(&[
        (
            &at(&good, ""),
            "ok",
            "the certificate of localhost is good until",
        ),
        (
            &at(&good, "version = \"TLSv1.2\"\nissuer = \"Test-Authority\""),
            "ok",
            "TLSv1.3",
        ),
        (
            &at(&good, "warn = \"100:\""),
            "warning",
            "d is below 100 (warning)",
        ),
        (&at(&soon, ""), "warning", "d is below 21 (warning)"),
        (
            &at(&soon, "crit = \"30:\""),
            "critical",
            "d is below 30 (critical)",
        ),
        (&at(&expired, ""), "critical", "has expired"),
        (
            &at(&other, "name = \"localhost\""),
            "critical",
            "not for localhost, but for other.test",
        ),
        (
            &at(&other, "name = \"other.test\""),
            "ok",
            "the certificate of other.test",
        ),
        (&at(&own, ""), "critical", "is not trusted"),
        (&at(&own, "verify = false"), "ok", "is good until"),
        (
            &at(&good, "issuer = \"Nobody\""),
            "critical",
            "which does not contain \"Nobody\"",
        ),
        (&at(&good, "sha256 = \"00:11\""), "critical", ", not 0011"),
        (
            &format!(
                "plugin = \"tls\"\naddress = \"localhost:{}\"",
                good.address.port()
            ),
            "critical",
            "its issuer is not known",
        ),
        (
            &format!(
                "plugin = \"tls\"\naddress = \"{mail}\"\nstarttls = \"smtp\"\nname = \"localhost\"\nca = \"{}\"",
                authority.ca()
            ),
            "ok",
            "is good until",
        ),
        (
            &format!("plugin = \"tls\"\naddress = \"{}\"", free()),
            "critical",
            "connection refused",
        ),
    ]);
    let left = measure(&checks[0], "days_left");
    assert!((89.0..=90.0).contains(&left), "{left}");
    assert!(measure(&checks[5], "days_left") < 0.0);
}
