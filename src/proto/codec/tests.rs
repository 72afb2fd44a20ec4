//! One table of cases for both encodings, and properties over what no table holds.

use super::*;

#[test]
fn smoke() {
    for line in [
        "ping",
        "call s h a=1 b:={\"x\":[1, 2]} request_id=7",
        "{\"command\":\"ping\",\"request_id\":7}",
    ] {
        let FromClient::Question(question) = decode_client(line.as_bytes()) else {
            panic!("{line}")
        };
        let mut out = Vec::new();
        encode_question(&question, &mut out);
        assert_eq!(
            decode_client(&out[..out.len() - 1]),
            FromClient::Question(question),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
}
