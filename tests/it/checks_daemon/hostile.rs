//! Plugins that hang, spin, leave children: they are ended, and nobody else waits for that.

use std::time::Instant;

use serde_json::Value;

use super::{look, until, until_confirmed};
use crate::harness::{Home, wait_until};

const BAD: &str = r#"
local once = { every = "1h", fall = 1, timeout = "300ms" }
check("spins", once, function() while true do end end)
check("sleeps", once, function() process.run({ "sleep", "601" }, { timeout = "1h" }) end)
check("leaves", once, function()
  process.run({ "sh", "-c", "sleep 602 & exec sleep 603" }, { timeout = "1h" })
end)
"#;
/// No hook interrupts a search of this kind: it is one call into C.
const DEAF: &str = r#"
check("deaf", { every = "1h", fall = 1, timeout = "300ms" }, function()
  return (("a"):rep(60):find(("a*"):rep(40) .. "b"))
end)
"#;
const GOOD: &str = "check('good', { every = '100ms', retry_every = '100ms' }, function() end)\n";

#[test]
fn plugins_that_hang_are_ended_with_their_children_and_the_others_are_on_time() {
    let home = Home::new()
        .file("plugins/bad.lua", BAD)
        .file("plugins/deaf.lua", DEAF)
        .file("plugins/good.lua", GOOD);
    let _daemon = home.up();
    let mut line = home.connect();
    let ran = |check: &Value| check["runs"][0].as_u64() > Some(0);
    until(&mut line, "good", "it runs", ran);
    let runs = |check: Option<Value>| check.expect("it is there")["runs"][0].as_u64();
    let (begun, before) = (Instant::now(), runs(look(&mut line, "good")));
    for name in ["spins", "sleeps", "leaves"] {
        let check = until_confirmed(&mut line, name, "critical");
        let message = check["message"].as_str().expect("a message");
        assert!(message.contains("timed out"), "{name}: {message}");
    }
    let deaf = until_confirmed(&mut line, "deaf", "critical");
    let message = deaf["message"].as_str().expect("a message");
    assert!(message.contains("had to be killed"), "{message}");
    wait_until("no child is left", || {
        let left = home.processes();
        !left
            .iter()
            .any(|process| process.arguments.starts_with("sleep"))
    });
    let waited = begun.elapsed().as_millis() / 100;
    let good = look(&mut line, "good").expect("it is there");
    let done = runs(Some(good.clone()))
        .zip(before)
        .map(|(now, before)| now - before);
    let done = u128::from(done.expect("numbers"));
    assert!(done * 2 >= waited, "{done} of {waited} runs: {good}");
    let others = [1, 2, 3].map(|state: usize| good["runs"][state].as_u64());
    assert_eq!(others, [Some(0); 3], "{good}");
}
