//! A target that takes the connection and then hangs costs a check its time limit, and nothing more.

use std::time::{Duration, Instant};

use super::expect;
use super::fakes::{silent, udp, unix};
use crate::harness::Home;

#[test]
fn a_target_that_hangs_is_critical_after_the_time_limit() {
    let (mute, deaf) = (silent(), udp(|_| None));
    let home = Home::new();
    let socket = home.path("mute.sock");
    unix(&socket, "");
    let hang = |section: String| format!("{section}\ntimeout = \"600ms\"");
    let sections = [
        hang(format!(
            "plugin = \"tcp\"\naddress = \"{mute}\"\nexpect = \"x\""
        )),
        hang(format!("plugin = \"http\"\nurl = \"http://{mute}/\"")),
        hang(format!("plugin = \"ssh\"\naddress = \"{mute}\"")),
        hang(format!("plugin = \"smtp\"\naddress = \"{mute}\"")),
        hang(format!("plugin = \"redis\"\naddress = \"{mute}\"")),
        hang(format!("plugin = \"postgres\"\naddress = \"{mute}\"")),
        hang(format!("plugin = \"tls\"\naddress = \"{mute}\"")),
        hang(format!(
            "plugin = \"udp\"\naddress = \"{deaf}\"\nsend = \"x\""
        )),
        hang(format!(
            "plugin = \"dns\"\nname = \"good.test\"\nserver = \"{deaf}\""
        )),
        hang(format!("plugin = \"ntp\"\nserver = \"{deaf}\"")),
        hang(format!(
            "plugin = \"unix\"\npath = \"{}\"\nexpect = \"x\"",
            socket.display()
        )),
        hang("plugin = \"command\"\ncommand = [\"sleep\", \"60\"]".to_owned()),
        hang("plugin = \"nagios\"\ncommand = [\"sleep\", \"60\"]".to_owned()),
    ];
    let cases: Vec<_> = sections
        .iter()
        .map(|section| (section.as_str(), "critical", ""))
        .collect();
    let begun = Instant::now();
    let checks = expect(&cases);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    for check in checks {
        let message = check["message"].as_str().expect("a text");
        let told = ["within", "timed out", "no answer", "does not answer"];
        assert!(told.iter().any(|word| message.contains(word)), "{check}");
        let seconds = check["duration_seconds"].as_f64().expect("a number");
        assert!((0.2..10.0).contains(&seconds), "{check}");
    }
}
