//! The target of a request: its path and its query, decoded.

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// With `%41` as `A`; what is no UTF-8 then is replaced, and so is found nowhere.
    pub(super) path: String,
    query: Vec<(String, String)>,
}

impl Target {
    pub(super) fn parse(target: &str) -> Self {
        // A proxy may send the absolute form.
        let target = match target.split_once("://") {
            Some(("http" | "https", rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            Some(_) | None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                decoded(&name.replace('+', " ")),
                decoded(&value.replace('+', " ")),
            )
        });
        Target {
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                decoded(path)
            },
            query: pairs.collect(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(key, _)| key == name)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.query.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str())
    }
}

/// Percent signs that begin no byte stay as they are.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_decoded() {
        for (target, path) in [
            ("/", "/"),
            ("", "/"),
            ("/livez/a%20b", "/livez/a b"),
            ("/livez/a+b", "/livez/a+b"),
            ("/%E2%82%ac", "/\u{20ac}"),
            ("/%ff", "/\u{fffd}"),
            ("/%zz%4", "/%zz%4"),
            ("http://a.b:1/x?y", "/x"),
            ("http://a.b", "/"),
        ] {
            assert_eq!(Target::parse(target).path, path, "{target}");
        }
        let target = Target::parse("/x?verbose&exclude=a+b&exclude=c%26d&&=e");
        assert!(target.has("verbose") && !target.has("verbos"));
        assert_eq!(target.all("exclude").collect::<Vec<_>>(), ["a b", "c&d"]);
    }
}
