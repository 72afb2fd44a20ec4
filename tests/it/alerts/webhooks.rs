//! Webhooks, against a real listener.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::{Answer, Server};
use super::*;

#[test]
fn what_an_answer_means_for_the_alert() {
    let home = Home::new();
    let says = |status, text: &str| Answer::Says(status, text.to_owned());
    for (answer, expected, sentence) in [
        (Answer::Status(200), End::Delivered, ""),
        (Answer::Status(204), End::Delivered, ""),
        (Answer::Status(500), End::Failed, "HOST/... answers 500"),
        (Answer::Status(429), End::Failed, "HOST/... answers 429"),
        (
            says(404, "no such\ntopic"),
            End::Refused,
            "HOST/... answers 404 Not Found; is the address right, to its end?; it says: no such topic",
        ),
        (
            Answer::Status(401),
            End::Refused,
            "HOST/... answers 401 Unauthorized; are the token and the headers right?",
        ),
        (
            Answer::Header(
                302,
                "Location: https://b.example/new?token=s3cret".to_owned(),
            ),
            End::Refused,
            "it has moved to https://b.example/...: write that address",
        ),
        (
            Answer::Flood,
            End::Failed,
            "answers 500 Internal Server Error; it says: xxx",
        ),
        (Answer::Close, End::Failed, "HOST/...: no proper answer"),
        (Answer::Garbage, End::Failed, "HOST/...: no proper answer"),
    ] {
        let server = Server::start(std::slice::from_ref(&answer));
        let section = format!("webhook = \"{}/topic\"", server.address());
        let (end, said) = deliver(&home, &section, problem());
        assert_eq!(end, expected, "{answer:?}: {said}");
        let sentence = sentence.replace("HOST", &server.address());
        assert!(said.contains(&sentence), "{answer:?}: {said}");
        assert!(said.len() < 1_024 && !said.contains('\n'), "{said}");
        assert_eq!(server.requests().len(), 1, "one attempt is one request");
    }
}

#[test]
fn a_server_that_is_not_there_or_hangs_is_tried_again() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let (end, said) = deliver(
        &home,
        &format!("webhook = \"http://127.0.0.1:{port}\""),
        problem(),
    );
    assert_eq!(end, End::Failed);
    assert_eq!(
        said,
        format!("http://127.0.0.1:{port}: cannot connect: connection refused")
    );
    let server = Server::start(&[Answer::Hang]);
    let section = format!("webhook = \"{}\"\ntimeout = \"300ms\"", server.address());
    let begun = Instant::now();
    let (end, said) = deliver(&home, &section, problem());
    assert_eq!(end, End::Failed);
    assert!(said.contains("no answer within 300ms"), "{said}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_with_a_sentence() {
    if !harness::installed(
        "openssl",
        "a_certificate_that_nobody_signed_is_refused_with_a_sentence",
    ) {
        return;
    }
    let home = Home::new();
    let made = home
        .program(Path::new("/usr/bin/openssl"))
        .args(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "k.pem",
            "-out",
            "c.pem",
        ])
        .run();
    made.expect_code(0);
    let port = tls_server(&home);
    let section = format!("webhook = \"https://127.0.0.1:{port}/x\"");
    let (end, said) = deliver(&home, &section, problem());
    assert_eq!(end, End::Failed, "{said}");
    assert!(
        said.starts_with(&format!(
            "https://127.0.0.1:{port}/...: its certificate is not accepted: "
        )),
        "{said}"
    );
}

/// One that answers 200 to whoever trusts it.
fn tls_server(home: &Home) -> u16 {
    let certificate = CertificateDer::from_pem_file(home.path("c.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(home.path("k.pem")).expect("a key");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let Ok(mut tls) = rustls::ServerConnection::new(Arc::clone(&config)) else {
                return;
            };
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

#[test]
fn the_request_is_what_the_section_describes() {
    let home = Home::new();
    let server = Server::start(&[Answer::Status(200)]);
    let section = format!(
        r#"webhook = "{}/{{{{check}}}}?s={{{{message}}}}"
method = "PUT"
headers = {{ Authorization = "Bearer env:OPS_TOKEN", Title = "{{{{summary}}}} ü {{{{message}}}}", X-Key = "file:key" }}
body = '{{"text": "{{{{message}}}} since {{{{since}}}}", "all": {{{{alert|raw}}}}}}'
"#,
        server.address()
    );
    home.write("key", "from-a-file\n");
    let order = order(&home, hook(&section), problem());
    let attempt = Attempt::start(&home, &order, &[("OPS_TOKEN", "t0ken")]);
    assert_eq!(attempt.end(), (End::Delivered, String::new()));
    let request = server.only_request();
    assert_eq!(
        request.line,
        "PUT /web?s=cannot%20%22connect%22%0Asecond%20line HTTP/1.1"
    );
    assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
    assert_eq!(request.header("x-key"), Some("from-a-file"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.header("title"),
        Some("CRITICAL: web: cannot \"connect\" ü cannot \"connect\" second line")
    );
    let body = request.json();
    assert_eq!(
        body["text"],
        "cannot \"connect\"\nsecond line since 2026-11-21T03:40:12Z"
    );
    assert_eq!(body["all"]["state"], "critical");
    let id = request.header("idempotency-key").expect("an id");
    assert_eq!(body["all"]["id"], id);
}

#[test]
fn without_a_body_the_alert_goes_as_json_and_each_attempt_has_the_same_id() {
    let home = Home::new();
    let server = Server::start(&[Answer::Status(500), Answer::Status(200)]);
    let section = format!("webhook = \"{}/x\"", server.address());
    let mut order = order(&home, hook(&section), problem());
    assert_eq!(Attempt::start(&home, &order, &[]).end().0, End::Failed);
    order.delivery.failed = 1;
    assert_eq!(Attempt::start(&home, &order, &[]).end().0, End::Delivered);
    let seen = server.requests();
    let ids: Vec<_> = seen
        .iter()
        .map(|one| one.header("idempotency-key"))
        .collect();
    assert!(ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
    let body = seen[1].json();
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let expected = serde_json::json!({
        "id": ids[0], "kind": "problem", "check": "web", "state": "critical", "from": "ok",
        "message": "cannot \"connect\"\nsecond line", "summary": "CRITICAL: web: cannot \"connect\"",
        "measures": [{"name": "time", "value": 0.31, "unit": "s"}], "tags": ["prod", "http"],
        "began": "2026-11-21T03:40:12Z", "began_unix_ms": BEGAN,
        "at": "2026-11-21T03:41:12Z", "at_unix_ms": AT,
        "host": host, "home": home.root(), "hook": "ops", "attempt": 2,
    });
    assert_eq!(body, expected);
    order.delivery.id = DeliveryId(8);
    assert_eq!(Attempt::start(&home, &order, &[]).end().0, End::Delivered);
    let seen = server.requests();
    assert_ne!(seen[2].header("idempotency-key"), ids[0], "another alert");
}

#[test]
fn a_get_has_no_body_and_a_plain_text_is_not_escaped() {
    let home = Home::new();
    let server = Server::start(&[Answer::Status(200)]);
    let section = format!(
        "webhook = \"{}/x?m={{{{state}}}}\"\nmethod = \"GET\"",
        server.address()
    );
    assert_eq!(deliver(&home, &section, problem()).0, End::Delivered);
    let section = format!(
        "webhook = \"{}/y\"\nbody = \"{{{{message}}}}\"",
        server.address()
    );
    assert_eq!(deliver(&home, &section, problem()).0, End::Delivered);
    let seen = server.requests();
    assert_eq!(seen[0].line, "GET /x?m=critical HTTP/1.1");
    assert!(seen[0].body.is_empty());
    assert_eq!(seen[1].body, b"cannot \"connect\"\nsecond line");
    assert_eq!(
        seen[1].header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[test]
fn no_secret_stands_in_a_sentence_even_if_the_server_repeats_it() {
    let home = Home::new();
    let echo = "Cannot POST /services/T0KENPART/x?key=0123456789abc; Bearer t0ken-from-env; hunter2hunter2; inline-key-1";
    let server = Server::start(&[Answer::Says(403, echo.to_owned())]);
    let section = format!(
        "webhook = \"http://robot:hunter2hunter2@127.0.0.1:{}/services/T0KENPART/x?key=0123456789abc\"\nheaders = {{ Authorization = \"Bearer env:OPS_TOKEN\", X-Api-Key = \"inline-key-1\" }}",
        server.port
    );
    let order = order(&home, hook(&section), problem());
    let (end, said) = Attempt::start(&home, &order, &[("OPS_TOKEN", "t0ken-from-env")]).end();
    assert_eq!(end, End::Refused);
    for secret in [
        "T0KENPART",
        "0123456789abc",
        "t0ken-from-env",
        "hunter2",
        "inline-key-1",
    ] {
        assert!(!said.contains(secret), "{secret} in: {said}");
    }
    assert!(
        said.contains("answers 403") && said.contains("***"),
        "{said}"
    );
    let (end, said) = Attempt::start(&home, &order, &[]).end();
    assert_eq!(end, End::Failed, "it may be set later: {said}");
    assert!(said.contains("no variable OPS_TOKEN"), "{said}");
}

#[test]
fn a_delivery_ends_with_its_daemon() {
    let home = Home::new();
    let server = Server::start(&[Answer::Hang]);
    let section = format!("webhook = \"{}\"\ntimeout = \"5m\"", server.address());
    let mut attempt = Attempt::start(&home, &order(&home, hook(&section), problem()), &[]);
    wait_for("the request is there", || {
        (!server.requests().is_empty()).then_some(())
    });
    attempt.abandon();
    assert_eq!(attempt.end().0, End::Failed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    // The whole way: whatever a check says arrives, and the body is JSON.
    #[test]
    fn hostile_messages_arrive_as_they_are(message in any::<String>(), name in "[^\\x00]{1,30}") {
        let home = Home::new();
        let server = Server::start(&[Answer::Status(200)]);
        let section = format!(
            "webhook = \"{}/{{{{check}}}}\"\nheaders = {{ T = \"{{{{message}}}}\" }}\nbody = '[\"{{{{message}}}}\", \"{{{{check}}}}\"]'",
            server.address()
        );
        let alert = Alert { message: message.clone(), check: name.clone(), ..problem() };
        let (end, said) = deliver(&home, &section, alert);
        prop_assert_eq!(end, End::Delivered, "{}", said);
        let request = server.only_request();
        prop_assert_eq!(request.json(), serde_json::json!([message, name]));
        prop_assert_eq!(request.line.split(' ').count(), 3);
    }
}
