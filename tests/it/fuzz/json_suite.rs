//! JSONTestSuite through both of our JSON paths: `params` of a call, which pass through unread, and `json.decode`.
//!
//! `y_` must be accepted, `n_` refused. What the suite leaves to the reader is decided here: [`LEFT_TO_US`].

use moonkeep::lua::json;
use moonkeep::proto::codec::decode_client;
use moonkeep::proto::messages::{Command, FromClient};

const SUITE: &str = include_str!("json_suite.txt");

/// What the wire and Lua make of the cases that begin with `i_`.
///
/// The wire passes numbers of any size and lone surrogates on as they were written: they harm nobody who does not
/// read them. Lua refuses what it could not represent: integers beyond 64 bits, numbers beyond a double, strings
/// that are no text. Both refuse what is not UTF-8, a byte order mark, and more than 64 levels.
const LEFT_TO_US: &[(&str, bool, bool)] = &[
    ("i_number_double_huge_neg_exp", true, true),
    ("i_number_huge_exp", true, false),
    ("i_number_neg_int_huge_exp", true, false),
    ("i_number_pos_double_huge_exp", true, false),
    ("i_number_real_neg_overflow", true, false),
    ("i_number_real_pos_overflow", true, false),
    ("i_number_real_underflow", true, true),
    ("i_number_too_big_neg_int", true, true),
    ("i_number_too_big_pos_int", true, true),
    ("i_number_very_big_negative_int", true, true),
    ("i_object_key_lone_2nd_surrogate", true, false),
    ("i_string_1st_surrogate_but_2nd_missing", true, false),
    ("i_string_1st_valid_surrogate_2nd_invalid", true, false),
    ("i_string_UTF-16LE_with_BOM", false, false),
    ("i_string_UTF-8_invalid_sequence", false, false),
    ("i_string_UTF8_surrogate_U+D800", false, false),
    (
        "i_string_incomplete_surrogate_and_escape_valid",
        true,
        false,
    ),
    ("i_string_incomplete_surrogate_pair", true, false),
    ("i_string_incomplete_surrogates_escape_valid", true, false),
    ("i_string_invalid_lonely_surrogate", true, false),
    ("i_string_invalid_surrogate", true, false),
    ("i_string_invalid_utf-8", false, false),
    ("i_string_inverted_surrogates_U+1D11E", true, false),
    ("i_string_iso_latin_1", false, false),
    ("i_string_lone_second_surrogate", true, false),
    ("i_string_lone_utf8_continuation_byte", false, false),
    ("i_string_not_in_unicode_range", false, false),
    ("i_string_overlong_sequence_2_bytes", false, false),
    ("i_string_overlong_sequence_6_bytes", false, false),
    ("i_string_overlong_sequence_6_bytes_null", false, false),
    ("i_string_truncated-utf-8", false, false),
    ("i_string_utf16BE_no_BOM", false, false),
    ("i_string_utf16LE_no_BOM", false, false),
    ("i_structure_500_nested_arrays", false, false),
    ("i_structure_UTF-8_BOM_empty_object", false, false),
];

/// The cases: name and bytes.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let rows = SUITE.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let (name, text) = row.split_once('\t').expect("a name");
        let (times, text) = text.split_once('|').expect("a text");
        let text = unescaped(text.strip_suffix('|').expect("its end"));
        let times = times
            .trim()
            .strip_prefix('*')
            .map_or(1, |times| times.parse().expect("a number"));
        (name, text.repeat(times))
    })
    .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        (rest, _) = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => (after, bytes.push(b'\\')),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let hex = std::str::from_utf8(&digits).expect("hex");
                (after, bytes.push(u8::from_str_radix(hex, 16).expect("hex")))
            }
            (byte, after) => (after, bytes.push(*byte)),
        };
    }
    bytes
}

/// Whether it is taken as the parameters of a call, and passed on byte for byte.
fn passes_the_wire(text: &[u8]) -> bool {
    let start = b"{\"command\":\"call\",\"script\":\"s\",\"handler\":\"h\",\"params\":";
    let line = [&start[..], text, b"}"].concat();
    match decode_client(&line) {
        FromClient::Question(question) => {
            let Command::Call(call) = question.command else {
                panic!("a call")
            };
            let given = call
                .params
                .map_or_else(|| "null".to_owned(), |json| json.as_str().to_owned());
            assert_eq!(
                given,
                std::str::from_utf8(text).expect("UTF-8").trim(),
                "passed on as it was"
            );
            true
        }
        FromClient::Malformed(_) => false,
    }
}

// T14
#[test]
fn the_json_test_suite_is_taken_and_refused_as_it_should() {
    let lua = mlua::Lua::new();
    json::prepare(&lua).expect("a fresh state");
    let cases = cases();
    let mut faults = Vec::new();
    for (name, text) in &cases {
        let lua_takes = json::decode(&lua, text).is_ok();
        // A line ends at its first newline, so no document with one arrives; Lua may read it from a file.
        let wire_takes = (!text.contains(&b'\n')).then(|| passes_the_wire(text));
        let (wire, decoded) = match (&name[..1], LEFT_TO_US.iter().find(|row| row.0 == *name)) {
            ("y", _) => (true, true),
            ("n", _) => (false, false),
            (_, Some((_, wire, decoded))) => (*wire, *decoded),
            (_, None) => panic!("{name}: decide what becomes of it"),
        };
        if wire_takes.is_some_and(|takes| takes != wire) || lua_takes != decoded {
            faults.push(format!(
                "{name}: wire {wire_takes:?} not {wire}, Lua {lua_takes} not {decoded}"
            ));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    let of = |kind| {
        cases
            .iter()
            .filter(|(name, _)| name.starts_with(kind))
            .count()
    };
    assert_eq!([of("y_"), of("n_"), of("i_")], [95, 188, 35]);
}
