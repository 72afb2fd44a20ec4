use super::*;

#[test]
fn our_own_frames_are_left_out_of_tracebacks() {
    let text = "stack traceback:\n\t[C]: in function 'error'\n\tscripts/x.lua:1: in upvalue 'f'\n\t__mlua_async_poll:29: in function 'g'\n\t[moonkeep]:3: in function <[moonkeep]:1>\n\tscripts/x.lua:5: in main chunk";
    assert_eq!(
        clean(text),
        "stack traceback:\n\tscripts/x.lua:1: in upvalue 'f'\n\tscripts/x.lua:5: in main chunk"
    );
}

#[test]
fn a_message_of_several_lines_becomes_one() {
    assert_eq!(one_line("a\n\n  b\r\nc"), "a; b; c");
}

#[test]
fn a_late_function_says_where_it_was() {
    let late = Failure::TimedOut {
        place: Some("scripts/x.lua:7".to_owned()),
        traceback: None,
    };
    let refusal = late.refusal("handler spin");
    assert_eq!(refusal.code, ErrorCode::Timeout);
    assert!(
        refusal
            .message
            .starts_with("scripts/x.lua:7: handler spin was still computing"),
        "{}",
        refusal.message
    );
}
