//! `key=value` and `key:=JSON` on the command line: the parameters of a call.

use serde_json::value::RawValue;

use crate::proto::messages::Json;

/// Makes one JSON object of words: `key=value` is a string, `key:=JSON` any value. In the order given.
///
/// # Errors
/// Which word is wrong and how it should be written.
pub(crate) fn object(words: &[String]) -> Result<Json, String> {
    let mut text = String::from("{");
    let mut names: Vec<&str> = Vec::new();
    for word in words {
        let (name, value) = member(word)?;
        if names.contains(&name) {
            return Err(format!("{name:?} is given twice; give it once"));
        }
        if !names.is_empty() {
            text.push(',');
        }
        names.push(name);
        text.push_str(Json::of(name).as_str());
        text.push(':');
        text.push_str(value.as_str());
    }
    text.push('}');
    Json::parse(&text).map_err(|error| format!("the parameters are no JSON object: {error}"))
}

fn member(word: &str) -> Result<(&str, Json), String> {
    let Some((name, value)) = word.split_once('=') else {
        return Err(format!(
            "{word:?} is no parameter; write key=value for a text, key:=JSON for anything else"
        ));
    };
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (name, json(name, value)?),
        None => (name, Json::of(value)),
    };
    if name.is_empty() {
        return Err(format!("{word:?} has no name before its `=`"));
    }
    Ok((name, value))
}

fn json(name: &str, value: &str) -> Result<Json, String> {
    Json::parse(value).map_err(|error| {
        format!("{name}:={value} is not JSON: {error}. For a text write {name}={value}")
    })
}

/// A whole JSON document that was typed.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn body(text: &str) -> Result<Json, String> {
    serde_json::from_str::<&RawValue>(text)
        .and_then(|_| Json::parse(text))
        .map_err(|error| format!("the JSON body is not valid: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        object(&words).map(|json| json.as_str().to_owned())
    }

    #[test]
    fn words_become_one_object_in_their_order() {
        for (words, expected) in [
            (&[][..], "{}"),
            (&["name=Ada"], r#"{"name":"Ada"}"#),
            (&["b=1", "a:=1"], r#"{"b":"1","a":1}"#),
            (&["x=a=b", "y="], r#"{"x":"a=b","y":""}"#),
            (
                &["list:=[1, {\"k\": null}]"],
                r#"{"list":[1, {"k": null}]}"#,
            ),
            (&["q=\"quoted\"\n"], r#"{"q":"\"quoted\"\n"}"#),
        ] {
            assert_eq!(read(words).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn errors_say_how_to_write_it() {
        for (words, part) in [
            (&["Ada"][..], "write key=value"),
            (&["=x"], "has no name"),
            (&["a=1", "a=2"], "given twice"),
            (&["a:=nope"], "For a text write a=nope"),
        ] {
            let error = read(words).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
