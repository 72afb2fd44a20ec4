//! Lua from the command line: `eval` inside a script that serves, `run` without a daemon.

use super::TALKER;
use crate::harness::Home;

#[test]
fn eval_runs_inside_the_script_and_its_errors_say_where() {
    let home = Home::new().script("talker.lua", TALKER);
    let _daemon = home.up();
    let eval = |code: &str| home.run(&["eval", "talker", code]);
    assert_eq!(eval("return 1 + 1").ok(), "2\n");
    assert_eq!(eval("return 'a text'").ok(), "a text\n");
    eval("kept = 41").ok();
    assert_eq!(
        eval("return kept + 1").ok(),
        "42\n",
        "the script's own state"
    );
    eval("\nerror('no luck')")
        .expect_code(1)
        .expect_stderr(":2: no luck");
    eval("return +")
        .expect_code(1)
        .expect_stderr("script_error");
    home.run(&["--timeout", "300ms", "eval", "talker", "while true do end"])
        .expect_code(124);
    assert_eq!(eval("return 'alive'").ok(), "alive\n");
    home.run(&["eval", "talkr", "return 1"])
        .expect_code(1)
        .expect_stderr("unknown_script");
}

#[test]
fn run_ends_as_the_script_ends() {
    let home = Home::new()
        .file(
            "good.lua",
            "print('said', ...)\nio.write(io.read('l'), '\\n')\n",
        )
        .file("bad.lua", "local x\n\nx.y = 1\n")
        .file("broken.lua", "local x = = 1\n")
        .file("leaves.lua", "os.exit(7)\n")
        .file("lib/shared.lua", "return 'shared'\n")
        .file("uses.lua", "print((require 'shared'))\n");
    let good = home.moonkeep(&["run", "good.lua", "one", "--two"]);
    assert_eq!(
        good.input("heard\n").run().ok(),
        "said\tone\t--two\nheard\n"
    );
    assert_eq!(home.run(&["run", "uses.lua"]).ok(), "shared\n");
    for (file, place) in [("bad.lua", "bad.lua:3"), ("broken.lua", "broken.lua:1")] {
        let bad = home.run(&["run", file]).expect_code(1);
        assert_eq!(bad.stdout, "");
        bad.expect_stderr(place);
    }
    home.run(&["run", "good.lua"])
        .expect_code(1)
        .expect_stderr("note: run has no daemon: io.read hears nothing");
    home.run(&["run", "leaves.lua"]).expect_code(7);
    home.run(&["run", "nowhere.lua"])
        .expect_code(1)
        .expect_stderr("nowhere.lua");
}
