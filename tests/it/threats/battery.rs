//! The Lua battery: everything that a script can do to itself. Each case runs in a worker of its own and ends in an
//! error, or with its worker killed; the daemon and a script beside them notice nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::leeway;
use crate::harness::Home;

/// Time limit of each handler.
const LIMIT: Duration = Duration::from_millis(500);
/// Cases at one time: more than the machine has processors.
const AT_ONCE: usize = 8;
const BETWEEN_PINGS: Duration = Duration::from_millis(5);
/// Until each has ended, killed or not: the limit, and the heartbeats that a worker misses before it is killed.
const ALL_ENDED: Duration = Duration::from_secs(30);
/// The time of a ping while they all run.
const PROMPT: Duration = Duration::from_millis(50);

/// A name, the body of a handler, and a part of its error; empty: any error, or the end of the worker.
type Case = (&'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("loop", "while true do end", "time was up"),
    ("loop_goto", "::again:: goto again", "time was up"),
    ("loop_for", "for i = 1, math.huge do end", "time was up"),
    (
        "loop_pcall",
        "while true do pcall(function() while true do end end) end",
        "time was up",
    ),
    (
        "loop_xpcall",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "",
    ),
    (
        "loop_coroutine",
        "coroutine.wrap(function() while true do end end)()",
        "time was up",
    ),
    (
        "loop_coroutines",
        "while true do coroutine.wrap(function() coroutine.wrap(function() while true do pcall(error) end end)() end)() end",
        "",
    ),
    (
        "loop_index",
        "local t = {} setmetatable(t, { __index = function() while true do end end }) return t.x",
        "time was up",
    ),
    (
        "loop_gc",
        "setmetatable({}, { __gc = function() while true do end end }) collectgarbage() while true do end",
        "",
    ),
    (
        "loop_close",
        "local guard <close> = setmetatable({}, { __close = function() while true do end end }) error 'out'",
        "",
    ),
    (
        "loop_error_handler",
        "return select(2, xpcall(error, function() while true do end end))",
        "",
    ),
    (
        "pattern",
        "return (('a'):rep(60)):find(('a*'):rep(60) .. 'b')",
        "",
    ),
    (
        "pattern_balance",
        "return (('('):rep(300000)):find('%b()' .. ('.-'):rep(20) .. 'x')",
        "",
    ),
    ("rep", "return ('x'):rep(1e10)", "too large"),
    ("rep_separator", "return ('x'):rep(1e9, ('y'):rep(100))", ""),
    ("rep_most", "return ('x'):rep(math.maxinteger)", "too large"),
    (
        "rep_rep",
        "local s = 'x' while true do s = s:rep(100) end",
        "",
    ),
    (
        "rep_kept",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
        "",
    ),
    (
        "concat",
        "local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1e4) end return table.concat(t)",
        "",
    ),
    (
        "concat_range",
        "return table.concat({}, ',', 1, math.maxinteger)",
        "invalid value",
    ),
    (
        "table_growth",
        "local t = {} while true do t[#t + 1] = { #t } end",
        "",
    ),
    (
        "closures",
        "local t = {} while true do local n = #t t[n + 1] = function() return n end end",
        "",
    ),
    (
        "coroutines",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "",
    ),
    (
        "format",
        "return string.format('%99999d', 1)",
        "invalid conversion",
    ),
    (
        "format_many",
        "return string.format(('%99d'):rep(1e6), 1)",
        "",
    ),
    ("pack", "return string.pack('s', ('x'):rep(1e9))", ""),
    (
        "unpack_table",
        "return table.unpack({}, 1, 1e8)",
        "too many results",
    ),
    (
        "sort",
        "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() return true end)",
        "invalid order function",
    ),
    (
        "sort_loop",
        "local t = { 3, 2, 1 } table.sort(t, function() while true do end end)",
        "time was up",
    ),
    (
        "move",
        "return table.move({}, 1, math.maxinteger - 1, 2)",
        "",
    ),
    (
        "recursion",
        "local function f() return 1 + f() end return f()",
        "",
    ),
    (
        "recursion_mutual",
        "local f, g function f() return g() + 1 end function g() return f() + 1 end return f()",
        "",
    ),
    (
        "recursion_pcall",
        "local function f() return pcall(f), f() end return f()",
        "",
    ),
    (
        "recursion_index",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
        "loop",
    ),
    (
        "recursion_gsub",
        "local function f(s) return (s:gsub('.', f)) end return f 'x'",
        "stack overflow",
    ),
    (
        "recursion_tostring",
        "local t = setmetatable({}, { __tostring = tostring }) return tostring(t)",
        "stack overflow",
    ),
    (
        "recursion_coroutine",
        "local function f() return coroutine.wrap(f)() end return f()",
        "",
    ),
    (
        "recursion_tail",
        "local function f() return f() end return f()",
        "time was up",
    ),
    (
        "parser_parentheses",
        "return assert(load('return ' .. ('('):rep(1e6)))",
        "",
    ),
    (
        "parser_tables",
        "return assert(load('return ' .. ('{'):rep(1e6)))",
        "",
    ),
    (
        "parser_functions",
        "return assert(load(('function f() '):rep(1e5)))",
        "",
    ),
    (
        "parser_endless",
        "return load(function() return ' ' end)",
        "time was up",
    ),
    (
        "bytecode_dump",
        "return assert(load(string.dump(function() return 1 end)))",
        "only text is loaded",
    ),
    (
        "bytecode_header",
        "return assert(load('\\27Lua'))",
        "only text is loaded",
    ),
    (
        "bytecode_mode",
        "return assert(load('return 1', 'x', 'b'))",
        "precompiled",
    ),
    ("debug_hook", "debug.sethook()", ""),
    ("debug_registry", "return debug.getregistry()", ""),
    (
        "loadlib",
        "return package.loadlib('/lib/x86_64-linux-gnu/libc.so.6', 'system')",
        "",
    ),
    (
        "cpath",
        "package.cpath = '/usr/lib/?.so' return require 'libc'",
        "not found",
    ),
    ("c_module", "return require 'socket.core'", "not found"),
    (
        "searchers",
        "package.searchers = { function() return function() return 1 end end } return require 'nothing'",
        "not found",
    ),
    (
        "string_metatable",
        "getmetatable('').__index = function() while true do end end return ('x').y",
        "",
    ),
    ("exit", "os.exit(0)", ""),
    (
        "execute",
        "error((select(4, os.execute 'id')))",
        "denied: this script may not run id",
    ),
    (
        "popen",
        "return assert(io.popen 'id')",
        "denied: this script may not run id",
    ),
    (
        "error_tostring",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "",
    ),
    (
        "error_tostring_odd",
        "error(setmetatable({}, { __tostring = function() return 5 end }))",
        "",
    ),
    ("error_nil", "error(nil)", "error(nil)"),
    (
        "error_chain",
        "local function e() error(setmetatable({}, { __tostring = e })) end e()",
        "",
    ),
    (
        "result_deep",
        "local t = {} local top = t for i = 1, 1e5 do t.x = {} t = t.x end return top",
        "deep",
    ),
    ("result_cycle", "local t = {} t.t = t return t", ""),
    (
        "result_dag",
        "local t = { 1 } for i = 1, 40 do t = { t, t } end return t",
        "",
    ),
    ("result_sparse", "return { [1] = 1, [1e9] = 2 }", ""),
    ("result_mixed", "return { 1, 2, x = 3 }", ""),
    ("result_nan", "return { 0 / 0 }", ""),
    ("result_key", "return { ['\\xff'] = 1 }", "UTF-8"),
    ("result_function", "return { f = print }", ""),
    ("result_large", "return { ('x'):rep(2e6) }", ""),
];

fn script(code: &str) -> String {
    let limit = LIMIT.as_millis();
    format!(
        "-- /// moonkeep\n-- restart = \"never\"\n-- limits.memory = \"24 MiB\"\n-- ///\n\
         require('moonkeep').handle('go', function() {code} end, {{ timeout = '{limit}ms' }})\n"
    )
}

/// Waits for the end of every request of a batch; pings meanwhile.
fn ends(home: &Home, batch: &'static [Case], pings: &mut Vec<Duration>) -> BTreeMap<String, Value> {
    let mut asking = home.connect();
    for (name, ..) in batch {
        asking.send_json(&json!({ "request_id": name, "command": "call", "script": name, "handler": "go", "timeout": 20 }));
    }
    let listening = std::thread::spawn(move || {
        let mut ends = BTreeMap::new();
        while ends.len() < batch.len() {
            let end = asking.recv_json();
            let id = end["request_id"].as_str().expect("an id").to_owned();
            ends.insert(id, end);
        }
        ends
    });
    let mut pinging = home.connect();
    while !listening.is_finished() {
        let begun = Instant::now();
        assert!(pinging.ask("ping")[0].starts_with("pong "));
        pings.push(begun.elapsed());
        std::thread::sleep(BETWEEN_PINGS);
    }
    listening.join().expect("every request ends")
}

// FI-18, T14, T15
#[test]
fn every_case_of_the_lua_battery_ends_and_the_daemon_is_not_disturbed() {
    let mut home = Home::new().script(
        "beside.lua",
        "require('moonkeep').handle('h', function() return 1 end)\n",
    );
    for (name, code, _) in CASES {
        home = home.script(&format!("{name}.lua"), &script(code));
    }
    let daemon = home.up();
    let begun = Instant::now();
    let mut pings = Vec::new();
    let batches = CASES.chunks(AT_ONCE);
    let ends: BTreeMap<String, Value> = batches
        .flat_map(|batch| ends(&home, batch, &mut pings))
        .collect();
    assert!(
        begun.elapsed() < ALL_ENDED * leeway(),
        "{:?}",
        begun.elapsed()
    );
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|(name, _, part)| {
            let end = &ends[*name];
            let message = end["error"]["message"].as_str().unwrap_or_default();
            // On a busy machine the worker may be killed before it has come so far.
            let killed =
                end["error"]["code"] == "outcome_unknown" && message.contains("was killed");
            let fits = end["status"] == "error" && (killed || message.contains(part));
            (!fits).then(|| format!("{name}: {end}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(home.connect().call("beside", "h", json!({})), 1);
    pings.sort();
    let p99 = pings[(pings.len() * 99 / 100).min(pings.len() - 1)];
    assert!(p99 < PROMPT * leeway(), "{p99:?} of {}", pings.len());
    eprintln!(
        "{} cases in {:?}, ping p99 {p99:?} of {}",
        CASES.len(),
        begun.elapsed(),
        pings.len()
    );
    daemon.stop();
}
