use std::path::Path;
use std::time::Duration;

use super::*;
use crate::proto::ids::{Generation, ScriptName};

fn state() -> State {
    state_in(Path::new("/nowhere"))
}

fn state_in(home: &Path) -> State {
    state_within(home, Bounds::default())
}

fn state_within(home: &Path, bounds: Bounds) -> State {
    let context = Rc::new(Context {
        script: ScriptName::new("test").expect("a name"),
        generation: Generation(1),
        home: home.to_owned(),
        state_dir: home.join("state/scripts/test"),
    });
    let state = new_state(&context, bounds).expect("a state");
    let sleep = state
        .lua()
        .create_async_function(|_, seconds: f64| async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            Ok(seconds)
        })
        .expect("a function");
    state.lua().globals().set("sleep", sleep).expect("set");
    state
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// Runs a chunk named `scripts/x.lua`; gives what it returned, as text.
fn run(source: &str) -> Result<String, Failure> {
    run_for(source, Duration::from_secs(10))
}

fn run_for(source: &str, time: Duration) -> Result<String, Failure> {
    let state = state();
    let chunk = state.load_text(source.as_bytes(), "@scripts/x.lua")?;
    let deadline = Instant::now() + time;
    let values = in_runtime(state.run(&chunk, (), Some(deadline)))?;
    Ok(values
        .iter()
        .map(|value| value.to_string().expect("shown"))
        .collect::<Vec<_>>()
        .join(" "))
}

#[test]
fn waiting_passes_through_everything_that_may_yield() {
    for (source, expected) in [
        ("return sleep(0.001)", "0.001"),
        ("return pcall(sleep, 0.001)", "true 0.001"),
        (
            "return coroutine.wrap(function() return sleep(0.001) end)()",
            "0.001",
        ),
        (
            "local t = {} for v in coroutine.wrap(function() for i = 1, 3 do sleep(0.001) coroutine.yield(i) sleep(0.001) end end) do t[#t + 1] = v end return table.concat(t, ',')",
            "1,2,3",
        ),
        (
            "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) sleep(0.001) return b * 2 end) local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) return x, y, coroutine.status(co)",
            "2 20 dead",
        ),
        (
            "return coroutine.wrap(function() return coroutine.wrap(function() sleep(0.001) return 7 end)() end)()",
            "7",
        ),
        (
            "local t = setmetatable({}, { __index = function(_, k) sleep(0.001) return k end }) return t.name",
            "name",
        ),
        (
            "return select('#', coroutine.resume(coroutine.create(function() return nil, nil end)))",
            "3",
        ),
    ] {
        assert_eq!(run(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn an_endless_loop_ends_at_its_deadline_whatever_surrounds_it() {
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do pcall(coroutine.wrap(function() while true do pcall(error) end end)) end",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "string.gsub('x', '.', function() while true do end end)",
        "local t <close> = setmetatable({}, { __close = function() while true do end end }) error('x')",
        "xpcall(error, function() while true do end end)",
    ] {
        let start = Instant::now();
        let failure = run_for(source, Duration::from_millis(60)).expect_err(source);
        assert!(
            start.elapsed() < Duration::from_millis(1500),
            "{source}: {:?}",
            start.elapsed()
        );
        let Failure::TimedOut { place, .. } = failure else {
            panic!("{source}: {failure}");
        };
        assert_eq!(place.as_deref(), Some("scripts/x.lua:1"), "{source}");
    }
}

#[test]
fn a_waiting_function_is_dropped_at_its_deadline() {
    let failure = run_for("sleep(60)", Duration::from_millis(30)).expect_err("late");
    assert_eq!(
        failure,
        Failure::TimedOut {
            place: None,
            traceback: None
        }
    );
}

#[test]
fn computing_functions_share_the_processor() {
    let state = state();
    in_runtime(async {
        let spin = state
            .load_text(b"while true do end", "=spin")
            .expect("loads");
        let quick = state
            .load_text(b"sleep(0.01) sleep(0.01) return 1", "=quick")
            .expect("loads");
        let deadline = Some(Instant::now() + Duration::from_secs(5));
        let spinning = state.run(&spin, (), deadline);
        let done = tokio::select! {
            done = state.run(&quick, (), deadline) => done,
            failed = spinning => panic!("{failed:?}"),
        };
        done.expect("ran beside the loop");
    });
}

#[test]
fn dropping_a_call_closes_its_variables_and_what_nested_coroutines_wait_for() {
    let state = state();
    let dropped = Rc::new(std::cell::Cell::new(false));
    struct Told(Rc<std::cell::Cell<bool>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let told = Rc::clone(&dropped);
    let forever = state
        .lua()
        .create_async_function(move |_, ()| {
            let told = Told(Rc::clone(&told));
            async move {
                std::future::pending::<()>().await;
                drop(told);
                Ok(())
            }
        })
        .expect("a function");
    state.lua().globals().set("forever", forever).expect("set");
    let source = b"local c <close> = setmetatable({}, { __close = function() closed = true end }) \
                   coroutine.wrap(function() coroutine.wrap(forever)() end)()";
    let chunk = state.load_text(source, "=x").expect("loads");
    in_runtime(async {
        let run = state.run(&chunk, (), None);
        let _ = tokio::time::timeout(Duration::from_millis(20), run).await;
    });
    assert!(
        dropped.get(),
        "the future of the innermost coroutine is dropped at once"
    );
    assert!(state.lua().globals().get::<bool>("closed").expect("set"));
}

#[test]
fn an_endless_close_handler_cannot_hold_the_drop() {
    let state = state();
    let source = b"local c <close> = setmetatable({}, { __close = function() while true do pcall(error) end end }) sleep(60)";
    let chunk = state.load_text(source, "=x").expect("loads");
    let start = Instant::now();
    in_runtime(async {
        let run = state.run(&chunk, (), None);
        let _ = tokio::time::timeout(Duration::from_millis(20), run).await;
    });
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let again = state
        .load_text(
            b"local n = 0 for i = 1, 1e6 do n = n + 1 end return n",
            "=y",
        )
        .expect("loads");
    in_runtime(state.run(&again, (), None)).expect("the state works");
}

#[test]
fn errors_name_file_and_line_and_keep_the_innermost_traceback() {
    let Err(Failure::Raised(raised)) =
        run("local function inner()\n error('bad') end\ncoroutine.wrap(function() inner() end)()")
    else {
        panic!("no error");
    };
    assert_eq!(raised.message, "scripts/x.lua:2: bad");
    let trace = raised.traceback.expect("a traceback");
    assert!(
        trace.contains("scripts/x.lua:2: in upvalue 'inner'"),
        "{trace}"
    );
    assert!(
        !trace.contains("[C]") && !trace.contains("__mlua"),
        "{trace}"
    );
}

#[test]
fn an_error_table_keeps_its_code_and_data() {
    let Err(Failure::Raised(raised)) =
        run("error{ code = 'not_found', message = 'no such thing', id = 5 }")
    else {
        panic!("no error");
    };
    assert_eq!(raised.message, "no such thing");
    assert_eq!(raised.code.as_deref(), Some("not_found"));
    assert_eq!(
        raised.data.expect("data").as_str(),
        r#"{"code":"not_found","id":5,"message":"no such thing"}"#
    );
}

#[test]
fn misspelt_names_get_a_suggestion() {
    for (source, near) in [
        ("prnt('x')", "did you mean 'print'?"),
        ("string.formt('x')", "did you mean 'format'?"),
        ("local s = 'x' s:uper()", "did you mean 'upper'?"),
        (
            "require('moonkeep.json').encod({})",
            "did you mean 'moonkeep.json.encode'?",
        ),
        ("require('moonkeep.jsn')", "did you mean 'moonkeep.json'?"),
    ] {
        let Err(Failure::Raised(raised)) = run(source) else {
            panic!("{source}")
        };
        assert!(
            raised.message.contains(near),
            "{source}: {}",
            raised.message
        );
        assert!(
            raised.message.starts_with("scripts/x.lua:1: "),
            "{source}: {}",
            raised.message
        );
    }
}

#[test]
fn the_dangerous_parts_of_the_libraries_are_not_there() {
    for (source, expected) in [
        (
            "return debug.getinfo, debug.sethook, debug.getregistry",
            "nil nil nil",
        ),
        ("return package.loadlib, package.cpath", "nil "),
        ("return (load('\\27Lua'))", "nil"),
        ("return (load(string.dump(function() end)))", "nil"),
        (
            "return (select(2, load(string.dump(print and function() end))):match('only text is loaded here: give Lua source'))",
            "only text is loaded here: give Lua source",
        ),
        ("return (load('return 1', 'x', 'b'))", "nil"),
        ("return load('return ...', '=x', 't', {})(4)", "4"),
    ] {
        assert_eq!(run(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn memory_ends_in_an_error_and_the_state_lives() {
    let state = state();
    let bomb = state
        .load_text(
            b"local t = {} for i = 1, math.huge do t[i] = ('x'):rep(100000) .. i end",
            "@scripts/x.lua",
        )
        .expect("loads");
    let failure = in_runtime(state.run(&bomb, (), None)).expect_err("memory");
    let text = failure.to_string();
    assert!(
        text.contains("not enough memory: ")
            && text.contains("128 MiB")
            && text.contains("limits.memory"),
        "{text}"
    );
    let left = state.memory();
    assert!(
        left < limits::LUA_MEMORY / 8,
        "{left} bytes are left after a memory error"
    );
    let fine = state
        .load_text(b"return #('x'):rep(1000)", "=y")
        .expect("loads");
    in_runtime(state.run(&fine, (), None)).expect("the state works");
}

#[test]
fn a_module_may_wait_at_its_top_level_and_is_loaded_once() {
    let home = tempfile::tempdir().expect("a folder");
    let lib = home.path().join("lib");
    std::fs::create_dir(&lib).expect("made");
    std::fs::write(
        lib.join("slow.lua"),
        "#!shebang\nsleep(0.005) count = (count or 0) + 1 return { n = count, name = ... }",
    )
    .expect("written");
    std::fs::write(lib.join("ring.lua"), "return require 'ring'").expect("written");
    let state = state_in(home.path());
    let chunk = state
        .load_text(
            b"local m = require 'slow' return m.n, m.name, require('slow') == m",
            "=x",
        )
        .expect("loads");
    let values = in_runtime(async {
        let (one, two) = tokio::join!(state.run(&chunk, (), None), state.run(&chunk, (), None));
        two.expect("second");
        one.expect("first")
    });
    assert_eq!(
        format!(
            "{:?}",
            values
                .iter()
                .map(|v| v.to_string().expect("shown"))
                .collect::<Vec<_>>()
        ),
        r#"["1", "slow", "true"]"#
    );
    let loaded = state.newly_loaded().expect("it is news");
    assert!(state.newly_loaded().is_none(), "it is news once");
    assert_eq!(loaded.len(), 1);
    assert!(loaded[0].path.ends_with("lib/slow.lua"));
    let ring = state
        .load_text(b"require 'ring'", "@scripts/x.lua")
        .expect("loads");
    let failure = in_runtime(state.run(&ring, (), None)).expect_err("a ring");
    assert!(failure.to_string().contains("requires itself"), "{failure}");
}

#[test]
fn a_folder_script_requires_what_lies_beside_it() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("scripts/parts");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::create_dir(home.path().join("lib")).expect("made");
    std::fs::write(home.path().join("lib/part.lua"), "return 'lib'").expect("written");
    std::fs::write(folder.join("part.lua"), "return 'beside'").expect("written");
    std::fs::write(folder.join("init.lua"), "return require 'part'").expect("written");
    std::fs::write(
        home.path().join("scripts/alone.lua"),
        "return require 'part'",
    )
    .expect("written");
    for (script, expected) in [("parts/init.lua", "beside"), ("alone.lua", "lib")] {
        let state = state_in(home.path());
        let path = home.path().join("scripts").join(script);
        let chunk = state.load_file(&path, None).expect("loads");
        let chunk = chunk.expect("nothing else was wanted");
        let values = in_runtime(state.run(&chunk, (), None)).expect("runs");
        assert_eq!(values[0].to_string().as_deref().ok(), Some(expected));
        let loaded = state.newly_loaded().expect("it is news");
        assert!(
            loaded
                .iter()
                .any(|file| file.path.ends_with("part.lua") && !file.hash.is_empty()),
            "{script}: the part is followed: {loaded:?}"
        );
    }
}

#[test]
fn a_module_that_is_nowhere_is_one_line_with_the_places_in_the_traceback() {
    let Err(Failure::Raised(raised)) = run("require 'some.thing'") else {
        panic!("no error");
    };
    assert_eq!(
        raised.message,
        "scripts/x.lua:1: module 'some.thing' not found; put it at lib/some/thing.lua, \
         or install it with LuaRocks (pure Lua only)"
    );
    let trace = raised.traceback.expect("a traceback");
    assert!(
        trace.starts_with("looked at:\n\tno file '/nowhere/lib/some/thing.lua'\n"),
        "{trace}"
    );
    assert!(trace.contains("\nstack traceback:"), "{trace}");
}

#[test]
fn recursion_ends_in_an_error() {
    for source in [
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. 'x'] end return t.x",
        "local function f() return pcall(f) end return f()",
        "local s = string.rep('(', 5000) .. '1' .. string.rep(')', 5000) return assert(load('return ' .. s))",
        "local co co = function() return coroutine.wrap(co)() end co()",
    ] {
        let _ = run_for(source, Duration::from_millis(1500));
    }
}

// The Lua battery: each case ends in an error, or without one, within its time; the state serves afterwards.
#[test]
fn the_battery_ends_within_its_time() {
    let state = state();
    for source in [
        "return setmetatable({}, { __gc = function() error('gc') end })",
        "local t = {} for i = 1, 100 do t[i] = setmetatable({}, { __gc = function() error('x') end }) end t = nil collectgarbage()",
        "return ('x'):rep(1 << 40)",
        "return ('x'):rep(1 << 20):rep(1 << 20)",
        "return ('x'):rep(-1)",
        "local s = 'x' while true do s = s .. s end",
        "return string.format('%99999d', 1)",
        "return table.concat(setmetatable({}, { __len = function() return 1 << 40 end, __index = function() return 'x' end }))",
        "table.sort({ 3, 1, 2, 5, 4 }, function() return true end)",
        "error(nil)",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "error(setmetatable({}, { __tostring = function() error('again') end }))",
        "error(print)",
        "string.x = 1 return ('').x, getmetatable('').__index == string",
        "getmetatable('').__index = function() while true do end end return ('').x",
        "return require('os.exit')",
        "return require('posix')",
        "return os.execute('false')",
        "return table.unpack({}, 1, 1e7)",
        "return load(function() return 'x = ' end)",
        "local a <close> = setmetatable({}, { __close = function() error('close') end }) return 1",
        "return select(-1)",
        "goto nowhere",
        "return string.dump(print)",
    ] {
        let Ok(chunk) = state.load_text(source.as_bytes(), "@scripts/x.lua") else {
            continue;
        };
        let start = Instant::now();
        let deadline = start + Duration::from_millis(200);
        let _ = in_runtime(state.run(&chunk, (), Some(deadline)));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{source}: {took:?}");
    }
    let fine = state.load_text(b"return 1 + 1", "=y").expect("loads");
    in_runtime(state.run(&fine, (), None)).expect("the state works");
}

#[test]
fn recursion_without_end_is_told_as_such_with_its_line() {
    let failure =
        run("local function f()\n return 1 + f()\nend\nreturn f()").expect_err("too deep");
    let text = failure.to_string();
    assert!(
        text.starts_with("scripts/x.lua:2: stack overflow"),
        "{text}"
    );
}

#[test]
fn recursion_that_takes_all_memory_is_told_as_recursion() {
    let bounds = Bounds {
        memory: 8 * 1024 * 1024,
        ..Bounds::default()
    };
    let state = state_within(Path::new("/nowhere"), bounds);
    let chunk = state
        .load_text(
            b"local function f()\n return 1 + f()\nend\nreturn f()",
            "@scripts/x.lua",
        )
        .expect("loads");
    let failure = in_runtime(state.run(&chunk, (), None)).expect_err("too deep");
    let text = failure.to_string();
    assert!(
        text.starts_with("scripts/x.lua:2: stack overflow: ") && text.contains("8 MiB"),
        "{text}"
    );
}
