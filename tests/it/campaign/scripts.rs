//! The scripts under fire: their handlers write down themselves what they do.

use crate::harness::Home;

/// `once`, `idempotent`, `query`; and two ways to end badly.
const LUA: &str = r#"-- /// moonkeep
-- concurrency = 16
-- stop_timeout = "500ms"
-- limits.memory = "32 MiB"
-- ///
local moonkeep = require "moonkeep"

local function note(what, request)
  local ledger = assert(io.open(moonkeep.state_dir .. "/ledger", "a"))
  ledger:write(what, " ", request.id, " ", request.params.nonce, " ", moonkeep.generation, "\n")
  assert(ledger:close())
end

local function act(request)
  note("begin", request)
  moonkeep.sleep(tonumber(request.params.before))
  note("effect", request)
  moonkeep.sleep(tonumber(request.params.after))
  return request.params.nonce
end

moonkeep.handle("once", act)
moonkeep.handle("idempotent", act, { delivery = "idempotent" })
moonkeep.handle("query", function(request)
  moonkeep.sleep(tonumber(request.params.before))
  return request.params.nonce
end, { delivery = "query" })
moonkeep.handle("gorge", function()
  local kept = {}
  while true do kept[#kept + 1] = string.rep("x", 1000 * 1000 + #kept) end
end)
moonkeep.handle("spin", function() while true do pcall(function() while true do end end) end end, { timeout = "100ms" })
"#;

/// One handler, `once` for all anybody knows, and three ways to end badly.
const PYTHON: &str = r#"#!/usr/bin/env -S python3 -SE
# /// moonkeep
# stop_timeout = "500ms"
# ///
import os, signal, sys, time

folder = os.path.join(os.environ["MOONKEEP_HOME"], "state", "scripts", os.environ["MOONKEEP_SCRIPT"])
ledger = os.open(os.path.join(folder, "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def note(what, nonce):
    os.write(ledger, f"{what} - {nonce} {os.getpid()}\n".encode())

for line in sys.stdin:
    words = line.split()
    if words == ["shutdown"]:
        break
    if words[:1] != ["call"]:
        continue
    handler, ticket = words[2], words[-1]
    params = dict(word.split("=", 1) for word in words[3:-1])
    if handler == "exit":
        os._exit(3)
    if handler == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if handler == "exhaust":
        os.kill(os.getpid(), signal.SIGKILL)
    nonce = params["nonce"]
    note("begin", nonce)
    time.sleep(float(params["before"]) / 4)
    note("effect", nonce)
    time.sleep(float(params["after"]) / 4)
    os.write(1, f"{nonce} {ticket}\ndone {ticket}\n".encode())
"#;

/// What a client may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) script: &'static str,
    pub(super) handler: &'static str,
    pub(super) class: &'static str,
}

const fn target(script: &'static str, handler: &'static str, class: &'static str) -> Target {
    Target {
        script,
        handler,
        class,
    }
}

/// All classes, on Lua and on an executable; `once` most often.
pub(super) const MIXED: [Target; 8] = [
    target("one", "once", "once"),
    target("two", "once", "once"),
    target("one", "once", "once"),
    target("two", "idempotent", "idempotent"),
    target("one", "query", "query"),
    target("python", "act", "once"),
    target("two", "once", "once"),
    target("one", "idempotent", "idempotent"),
];

pub(super) const SCRIPTS: [&str; 3] = ["one", "two", "python"];

/// A home with all scripts of [`MIXED`].
pub(super) fn home() -> Home {
    Home::new()
        .kept_if_failed()
        .script("one.lua", LUA)
        .script("two.lua", LUA)
        .executable("python.py", PYTHON)
}

/// Everything that the handlers wrote down.
pub(super) fn ledger(home: &Home) -> String {
    let each = SCRIPTS.map(|script| {
        let place = home.path(&format!("state/scripts/{script}/ledger"));
        std::fs::read_to_string(place).unwrap_or_default()
    });
    each.concat()
}
