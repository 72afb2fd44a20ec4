//! Kinds that speak to a server of the test: tcp, http, udp, unix, dns, ntp, ssh, smtp, icmp.

use std::path::Path;

use super::fakes::{dns, lines, ntp, tcp, udp, unix};
use super::{compare, expect, expect_in, home_of, measure};
use crate::check::{closed, serve};
use crate::harness::{BINARY, Home, installed};

#[test]
fn tcp_judges_the_answer_and_the_time() {
    let echo = lines("hello world\r\n", &[("PING", "PONG now\r\n")]);
    let mute = tcp(drop);
    let raw = tcp(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"no newline");
        std::thread::sleep(crate::harness::PATIENCE);
    });
    let refused = closed();
    let checks = expect(&[
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\""),
            "ok",
            "answers in",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nexpect = \"world\""),
            "ok",
            "\"hello world\"",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nexpect = \"moon\""),
            "critical",
            "answered \"hello world\", which does not contain \"moon\"",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nmatches = \"^h.*d$\""),
            "ok",
            "answers in",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nmatches = \"^x\""),
            "critical",
            "does not match ^x",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{raw}\"\nexpect = \"newline\""),
            "ok",
            "no newline",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{mute}\"\nexpect = \"x\""),
            "critical",
            "closed the connection without an answer",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{refused}\""),
            "critical",
            "connection refused",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{refused}\"\nclosed = true"),
            "ok",
            "nothing answers, as it should",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nclosed = true"),
            "critical",
            "answers, but nothing should",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\nwarn = 0"),
            "warning",
            "is above 0 (warning)",
        ),
        (
            &format!("plugin = \"tcp\"\naddress = \"{echo}\"\ncrit = \"@0:9\""),
            "critical",
            "is within 0 to 9 (critical)",
        ),
    ]);
    assert!(measure(&checks[0], "time") >= 0.0);
    let asked = lines("", &[("PING", "PONG now\r\n")]);
    expect(&[(
        &format!("plugin = \"tcp\"\naddress = \"{asked}\"\nsend = 'PING\\r\\n'\nexpect = \"PONG\""),
        "ok",
        "PONG now",
    )]);
}

const UP: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-app: shop 2\r\nconnection: close\r\ncontent-length: 71\r\n\r\n\
    {\"status\":\"UP\",\"items\":[{\"n\":3},{\"n\":4}],\"error\":null,\"version\":\"2.1\"}\n";
const DOWN: &str = "HTTP/1.1 503 No\r\ncontent-type: application/health+json\r\nconnection: close\r\ncontent-length: 87\r\n\r\n\
    {\"status\":\"fail\",\"checks\":{\"db:time\":[{\"status\":\"fail\",\"output\":\"too slow\"}],\"a\":\"b\"}}   \n";
const WARNED: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 17\r\n\r\n{\"status\":\"warn\"}";

#[test]
fn http_judges_status_body_json_headers_and_health() {
    let (up, down, warned) = (serve(UP), serve(DOWN), serve(WARNED));
    let url = |address| format!("plugin = \"http\"\nurl = \"http://{address}/\"\n");
    let good = |more: &str| format!("{}{more}", url(up));
    let bad = |more: &str| format!("{}{more}", url(down));
    let checks = expect(&[
        (&good(""), "ok", "answered 200 in"),
        (
            &good(
                "status = [200, \"300:310\"]\ncontains = \"items\"\nlacks = \"nothing\"\nmatches = 'n\":\\d'",
            ),
            "ok",
            "",
        ),
        (
            &good("status = 204"),
            "critical",
            "status is 200, but should be 204",
        ),
        (&good("status = \"4xx\""), "critical", "should be 4xx"),
        (
            &good("contains = \"moon\""),
            "critical",
            "the body does not contain \"moon\"",
        ),
        (
            &good("lacks = \"UP\""),
            "critical",
            "the body contains \"UP\"",
        ),
        (
            &good("matches = \"^x\""),
            "critical",
            "the body does not match ^x",
        ),
        (
            &good(
                "json = [\"status == UP\", \"items[1].n > 3\", \"#items == 2\", \"error == null\", \"version =~ ^2\", \"version\"]",
            ),
            "ok",
            "",
        ),
        (
            &good("json = [\"items[0].n >= 4\", \"missing.part\", \"#items < 2\"]"),
            "critical",
            "items[0].n is 3, but should be >= 4; missing.part is absent, but should be there; #items is 2, but should be < 2",
        ),
        (&good("expect_headers = { X-App = \"shop\" }"), "ok", ""),
        (
            &good("expect_headers = { x-app = \"mill\", etag = \"\" }"),
            "critical",
            "is \"shop 2\", which does not contain \"mill\"",
        ),
        (&good("health = \"yes\""), "ok", "health UP"),
        (
            &bad(""),
            "critical",
            "status is 503, but should be 200:399; health is fail: db:time is fail (too slow)",
        ),
        (&bad("health = \"no\"\nstatus = 503"), "ok", "answered 503"),
        (
            &format!("{}health = \"yes\"", url(warned)),
            "warning",
            "health is warn",
        ),
        (
            &good("warn = 0\ncrit = 60"),
            "warning",
            "is above 0 (warning)",
        ),
        (
            &good("size = \"1000:\""),
            "critical",
            "size 71 B is below 1000 (critical)",
        ),
    ]);
    assert_eq!(measure(&checks[0], "status"), 200.0);
    assert_eq!(measure(&checks[7], "items[1].n"), 4.0);
}

#[test]
fn udp_judges_the_answer() {
    let echo = udp(|asked| Some([b"echo ", asked].concat()));
    let port = closed().port();
    let to = |more: &str| format!("plugin = \"udp\"\naddress = \"{echo}\"\n{more}");
    expect(&[
        (
            &to("send = 'a\\x00b'\nexpect = 'a\\x00b'"),
            "ok",
            "answered 8 bytes",
        ),
        (
            &to("send = \"x\"\nexpect = \"y\""),
            "critical",
            "answered \"echo x\", which does not contain \"y\"",
        ),
        (&to("send = \"x\"\nmatches = \"^echo .$\""), "ok", ""),
        (
            &to("send = \"x\"\nmatches = \"^y\""),
            "critical",
            "does not match ^y",
        ),
        (&to("send = \"x\"\nwarn = 0"), "warning", "is above 0"),
        (
            &format!("plugin = \"udp\"\naddress = \"127.0.0.1:{port}\"\nsend = \"x\""),
            "critical",
            "nobody listens",
        ),
    ]);
}

#[test]
fn unix_sockets_are_asked_and_judged() {
    let home = Home::new();
    let socket = home.path("app.sock");
    unix(&socket, "ready\n");
    let place = socket.display();
    let at = |more: &str| format!("plugin = \"unix\"\npath = \"{place}\"\n{more}");
    expect_in(
        &home,
        &[
            (&at(""), "ok", "answers in"),
            (&at("expect = \"ready\""), "ok", "\"ready\""),
            (
                &at("expect = \"done\""),
                "critical",
                "answered \"ready\", which does not contain \"done\"",
            ),
            (&at("warn = 0"), "warning", "is above 0"),
            (
                "plugin = \"unix\"\npath = \"/nowhere/x.sock\"",
                "critical",
                "/nowhere/x.sock",
            ),
        ],
    );
}

#[test]
fn dns_judges_records_rcodes_and_the_time() {
    let server = dns();
    let ask = |more: &str| {
        format!("plugin = \"dns\"\nserver = \"{server}\"\nname = \"good.test\"\n{more}")
    };
    let nobody = format!("plugin = \"dns\"\nserver = \"{server}\"\nname = \"bad.test\"\n");
    let checks = expect(&[
        (&ask(""), "ok", "good.test A: 192.0.2.1, 192.0.2.2"),
        (&ask("expect = \"192.0.2.2\""), "ok", ""),
        (
            &ask("expect = [\"192.0.2.3\"]"),
            "critical",
            "has the A 192.0.2.1, 192.0.2.2, but should have 192.0.2.3",
        ),
        (
            &ask("expect = [\"192.0.2.1\"]\nonly = true"),
            "critical",
            "but should not have 192.0.2.2",
        ),
        (
            &ask("record = \"mx\"\nexpect = \"10 mx.good.test.\""),
            "ok",
            "10 mx.good.test",
        ),
        (&ask("record = \"TXT\"\nexpect = \"v=abc\""), "ok", "v=abc"),
        (
            &ask("record = \"AAAA\""),
            "critical",
            "good.test has no AAAA",
        ),
        (
            &nobody,
            "critical",
            "answered NXDOMAIN for bad.test, not NOERROR",
        ),
        (&format!("{nobody}rcode = \"NXDOMAIN\""), "ok", "NXDOMAIN"),
        (&ask("ttl = \"300:\""), "warning", "ttl 60 s is below 300"),
        (&ask("authoritative = true"), "ok", ""),
        (
            &ask("authenticated = true"),
            "critical",
            "has not checked DNSSEC",
        ),
        (&ask("warn = 0"), "warning", "is above 0"),
    ]);
    assert_eq!(measure(&checks[0], "values"), 2.0);
}

#[test]
fn ntp_tells_how_far_the_clock_is_off() {
    let (right, late, wrong) = (ntp(0.0, 0, 2), ntp(2.0, 0, 3), ntp(-60.0, 0, 1));
    let (unsynchronized, refusing) = (ntp(0.0, 3, 16), ntp(0.0, 0, 0));
    let at = |server| format!("plugin = \"ntp\"\nserver = \"{server}\"");
    let checks = expect(&[
        (&at(right), "ok", "stratum 2"),
        (&at(late), "warning", "is above 0.5 (warning); our clock is"),
        (&at(wrong), "critical", "is above 5 (critical)"),
        (
            &at(unsynchronized),
            "critical",
            "is not synchronized itself",
        ),
        (&at(refusing), "critical", "we ask too often"),
        (
            &at(udp(|_| Some(vec![0; 48]))),
            "critical",
            "no answer of NTP",
        ),
    ]);
    assert!(measure(&checks[0], "offset") < 0.4, "{}", checks[0]);
    assert!(
        (measure(&checks[1], "offset") - 2.0).abs() < 0.4,
        "{}",
        checks[1]
    );
    assert!(
        (measure(&checks[2], "offset") - 60.0).abs() < 0.4,
        "{}",
        checks[2]
    );
}

#[test]
fn ssh_servers_are_known_by_their_banner() {
    let good = lines("one line for people\r\nSSH-2.0-OpenSSH_9.9 test\r\n", &[]);
    let old = lines("SSH-1.5-old\r\n", &[]);
    let web = lines("HTTP/1.1 400 Bad Request\r\n\r\n", &[]);
    let mute = tcp(drop);
    let at = |address| format!("plugin = \"ssh\"\naddress = \"{address}\"");
    expect(&[
        (&at(good), "ok", "OpenSSH_9.9 test in"),
        (
            &format!("{}\nsoftware = \"dropbear\"", at(good)),
            "critical",
            "\"OpenSSH_9.9 test\", which does not contain \"dropbear\"",
        ),
        (&format!("{}\nwarn = 0", at(good)), "warning", "is above 0"),
        (&at(old), "critical", "speaks SSH 1.5, not 2.0"),
        (&at(mute), "critical", "it closed the connection"),
        (&at(closed()), "critical", "connection refused"),
        (&format!("{}\ntimeout = \"500ms\"", at(web)), "critical", ""),
    ]);
}

#[test]
fn mail_servers_greet_and_say_what_they_offer() {
    let good = lines(
        "220 mail.test ESMTP\r\n",
        &[
            ("EHLO", "250-mail.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"),
            ("MAIL", "250 fine\r\n"),
            ("RCPT", "550 no such user\r\n"),
            ("QUIT", "221 bye\r\n"),
        ],
    );
    let busy = lines("421 too busy\r\n", &[]);
    let at = |more: &str| format!("plugin = \"smtp\"\naddress = \"{good}\"\n{more}");
    expect(&[
        (&at(""), "ok", "mail.test ESMTP, in"),
        (
            &at("starttls = true\noffers = [\"size\"]\nexpect = \"mail.test\""),
            "ok",
            "",
        ),
        (&at("offers = \"AUTH\""), "critical", "does not offer AUTH"),
        (
            &at("expect = \"other\""),
            "critical",
            "the greeting \"mail.test ESMTP\" does not contain \"other\"",
        ),
        (&at("from = \"a@b\""), "ok", ""),
        (
            &at("from = \"a@b\"\nrecipient = \"c@d\""),
            "critical",
            "answered 550 no such user to RCPT TO:<c@d>, not 250",
        ),
        (&at("warn = 0"), "warning", "is above 0"),
        (
            &format!("plugin = \"smtp\"\naddress = \"{busy}\""),
            "critical",
            "answered 421 too busy to the connection, not 220",
        ),
    ]);
}

/// Lets everybody ping in a network of its own, then runs the checks of the home `$1` there.
const OWN_NETWORK: &str = "ip link set lo up && echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range && \
    exec \"$0\" --home \"$1\" check -f json";

#[test]
fn pings_are_counted_and_a_kernel_that_forbids_them_is_named() {
    let test = "pings_are_counted_and_a_kernel_that_forbids_them_is_named";
    let ping = |more: &str| {
        format!("plugin = \"icmp\"\nhost = \"127.0.0.1\"\ncount = 3\nspacing = \"10ms\"\n{more}")
    };
    let sections = [
        ping(""),
        ping("warn = 0"),
        ping("crit = \"@0:9\""),
        ping("loss_crit = \"1:\""),
    ];
    let cases: Vec<_> = sections
        .iter()
        .zip([
            ("ok", "127.0.0.1 answered 3 of 3 pings"),
            ("warning", "is above 0 (warning)"),
            ("critical", "is within 0 to 9 (critical)"),
            ("critical", "loss 0 % is below 1 (critical)"),
        ])
        .map(|(section, (state, part))| (section.as_str(), state, part))
        .collect();
    let home = home_of(&cases);
    let report = crate::check::json(&home, &[]);
    if report["checks"][0]["state"] == "unknown" {
        let message = report["checks"][0]["message"].as_str().expect("a text");
        assert!(message.contains("ping_group_range"), "{message}");
    } else {
        let checks = expect_in(&home, &cases);
        assert_eq!(measure(&checks[0], "loss"), 0.0);
        return;
    }
    let root = home.root().display().to_string();
    let arguments = ["-n", "sh", "-c", OWN_NETWORK, BINARY, &root];
    if !installed("unshare", test) || !installed("ip", test) {
        return;
    }
    let finished = home
        .program(Path::new("/usr/bin/unshare"))
        .args(&arguments)
        .run();
    if finished.stdout.is_empty() {
        eprintln!(
            "{test}: skipped, no network of its own can be made here: {}",
            finished.stderr
        );
        return;
    }
    let checks = compare(&cases, &finished.stdout);
    assert_eq!(measure(&checks[0], "loss"), 0.0);
}
