//! What no table holds: any params, any code.

use std::time::Duration;

use proptest::prelude::*;

use super::frames::{eval, round_trip, script};
use super::*;

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_.-]{0,6}",
        "\\PC{1,6}",
        Just("request_id".to_owned())
    ]
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        "[ \"\\\\\n\t\r={}:]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(key(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(settings())]

    // R-002: parse(print(x)) = x.
    #[test]
    fn calls_with_any_params_round_trip(params in json_value(), handler in "\\PC{1,20}", micros in 1_u64..86_400_000_000) {
        let params = (!params.is_null()).then(|| Json::of(&params));
        round_trip(&Command::Call(crate::proto::messages::Call {
            script: script(),
            handler: handler.into(),
            params: params.clone(),
            timeout: Some(Duration::from_micros(micros)),
        }), RequestId::new("r").ok());
        round_trip(&Command::Emit { event: "e".into(), data: params }, None);
    }

    #[test]
    fn evals_of_any_code_round_trip(code in "(?s).{0,40}") {
        round_trip(&eval(&code, None), RequestId::new("r").ok());
    }
}
