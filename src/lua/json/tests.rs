use super::*;

fn lua() -> Lua {
    let lua = Lua::new();
    prepare(&lua).expect("prepared");
    let null = null();
    lua.globals().set("null", null).expect("set");
    lua.globals()
        .set("array", array_metatable(&lua).expect("made"))
        .expect("set");
    lua
}

fn written(source: &str) -> String {
    let lua = lua();
    let value: Value = lua.load(source).eval().expect(source);
    match encode(&lua, "result", &value) {
        Ok(bytes) => String::from_utf8(bytes).expect("UTF-8"),
        Err(fault) => format!("error {fault}"),
    }
}

#[test]
fn values_are_written_as_json_says_them() {
    for (source, expected) in [
        ("nil", "null"),
        ("true", "true"),
        ("1", "1"),
        ("1.0", "1.0"),
        ("-0.5", "-0.5"),
        ("math.mininteger", "-9223372036854775808"),
        ("'a\"b\\n\\0'", r#""a\"b\n\u0000""#),
        ("{}", "{}"),
        ("setmetatable({}, array)", "[]"),
        ("{1, 'x', {}}", r#"[1,"x",{}]"#),
        ("{null, 1, null}", "[null,1,null]"),
        ("{ b = 1, a = { c = null } }", r#"{"a":{"c":null},"b":1}"#),
        ("{ ['a b'] = 'ü' }", r#"{"a b":"ü"}"#),
    ] {
        assert_eq!(written(source), expected, "{source}");
    }
}

/// What JSON cannot say, and how the error begins.
const REFUSED: &[(&str, &str)] = &[
    (
        "{ users = { {}, {}, { name = print } } }",
        "error result.users[3].name: a function cannot be written",
    ),
    ("0/0", "error result: "),
    ("{ x = math.huge }", "error result.x: inf is no JSON number"),
    (
        "{ 1, 2, k = 'v' }",
        "error result: a table with keys of both kinds",
    ),
    (
        "{ k = 'v', [5] = 1 }",
        "error result: a table with keys of both kinds",
    ),
    (
        "{ 1, nil, 3 }",
        "error result: an array with gaps: positions 1 and 3 are filled, 2 is not; put json.null",
    ),
    (
        "{ [1] = 1, [5] = 2 }",
        "error result: an array with gaps: positions 1 and 5 are filled, 2 to 4 are not",
    ),
    (
        "{ nil, 2 }",
        "error result: an array with gaps: position 2 is filled, 1 is not",
    ),
    (
        "{ 1, [0] = 1 }",
        "error result: an array with the position 0: arrays begin at 1",
    ),
    (
        "{ [3] = 1 }",
        "error result: a table whose first position is empty",
    ),
    (
        "{ [1.5] = 1 }",
        "error result: a table with keys of both kinds, or of one that JSON lacks (the key 1.5)",
    ),
    (
        "{ [true] = 1 }",
        "error result: a table with keys of both kinds",
    ),
    (
        "'\\xff'",
        "error result: a string that is not UTF-8 from its byte 1",
    ),
    (
        "{ ['a\\xff'] = 1 }",
        "error result: a key: a string that is not UTF-8 from its byte 2",
    ),
    (
        "{ a = { ['b c'] = { io.stdout } } }",
        "error result.a[\"b c\"][1]: a userdata",
    ),
    (
        "(function() local t = {} t.t = t return t end)()",
        "error result.t: a table that contains itself",
    ),
    (
        "(function() local t = {} for _ = 1, 70 do t = { t } end return t end)()",
        "error result",
    ),
    (
        "(function() local t = {} for i = 1, 200000 do t[i] = 1 end return t end)()",
        "error result[100000]: more than 100000",
    ),
    ("('x'):rep(2^20)", "error result: more than 1048576 bytes"),
    (
        "{ 1, ('\\0'):rep(2^18) }",
        "error result[2]: more than 1048576 bytes",
    ),
    ("('x'):rep(2^20 - 2)", "\"xxx"),
];

#[test]
fn what_json_cannot_say_is_an_error_with_its_place() {
    for (source, expected) in REFUSED {
        let got = written(source);
        assert!(
            got.starts_with(expected),
            "{source}: {}",
            &got[..got.len().min(200)]
        );
    }
}

#[test]
fn shared_tables_are_bounded_by_the_number_of_values() {
    let source = "(function() local t = { 1 } for _ = 1, 40 do t = { t, t } end return t end)()";
    assert!(written(source).contains("more than 100000 values"));
}

#[test]
fn a_document_comes_back_as_it_was() {
    for text in [
        "null",
        r#"{"a":[1,2.5,"x",true,null],"b":{},"c":[],"d":[[],{}]}"#,
        r#""\u0000é""#,
        "9223372036854775807",
        "[1.0]",
    ] {
        let lua = lua();
        let value = decode(&lua, text.as_bytes()).expect(text);
        let bytes = encode(&lua, "x", &value).expect(text);
        let again: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let first: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(again, first);
    }
}

#[test]
fn null_is_absent_in_objects_and_kept_in_arrays() {
    let lua = lua();
    let value = decode(&lua, br#"{"a":null,"b":[null,1]}"#).expect("decoded");
    assert_eq!(
        encode(&lua, "x", &value).expect("encoded"),
        br#"{"b":[null,1]}"#
    );
}

#[test]
fn broken_documents_are_errors() {
    let deep = "[".repeat(70) + &"]".repeat(70);
    let wide = format!("[{}1]", "1,".repeat(100_000));
    let bottomless = "[".repeat(200_000);
    for text in [
        "",
        "{",
        "[1,]",
        "{'a':1}",
        "01",
        "1 2",
        "\"\\x\"",
        "nul",
        "18446744073709551615",
        &deep,
        &wide,
        &bottomless,
    ] {
        let fault = decode(&lua(), text.as_bytes()).expect_err("broken");
        assert!(fault.what.starts_with("not readable as JSON: "), "{fault}");
    }
    assert!(decode(&lua(), b"\"\xff\"").is_err());
    let wide = decode(&lua(), br#"{"v":12345678901234567890}"#).expect_err("too wide");
    assert!(wide.what.contains(" at line 1 column "), "{wide}");
    assert_eq!(
        wide.without_position(),
        "not readable as JSON: the integer 12345678901234567890 does not fit Lua's 64 bits; send it as a string"
    );
}

/// Run with `cargo test --release -- --ignored --nocapture json_speed`.
#[test]
#[ignore = "a measurement"]
fn json_speed() {
    let users: Vec<String> = (0..8)
        .map(|n| format!(r#"{{"id":{n},"name":"user number {n}","mail":"user{n}@example.org","tags":["a","b"],"score":{n}.5,"on":true}}"#))
        .collect();
    let text = format!(r#"{{"users":[{}]}}"#, users.join(","));
    let lua = lua();
    lua.set_memory_limit(128 << 20).expect("limited");
    let rounds = 20_000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(decode(&lua, text.as_bytes()).expect("decoded"));
    }
    let decoding = start.elapsed() / rounds;
    let value = decode(&lua, text.as_bytes()).expect("decoded");
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(encode(&lua, "x", &value).expect("encoded"));
    }
    println!(
        "{} bytes: decode {decoding:?}, encode {:?}",
        text.len(),
        start.elapsed() / rounds
    );
}
