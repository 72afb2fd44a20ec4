//! Words that stand for a secret, so that the secret itself is in no configuration, no journal and no log; and how
//! an address is shown that may hold one. Reading what a reference names is the business of whoever uses it.

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A variable of the daemon's environment.
    Variable(&'a str),
    /// A file: absolute, or relative to the home. Its text without blanks at its ends.
    File(&'a str),
}

impl<'a> Reference<'a> {
    /// `env:NAME` or `file:PATH`; anything else is an ordinary text.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn parse(text: &'a str) -> Result<Option<Self>, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return match fits {
                true => Ok(Some(Reference::Variable(name))),
                false => Err(format!("{name:?} behind \"env:\" names no variable")),
            };
        }
        match text.strip_prefix("file:") {
            Some("") => Err("a path is missing behind \"file:\"".to_owned()),
            Some(path) => Ok(Some(Reference::File(path))),
            None => Ok(None),
        }
    }
}

/// A header's value whose last word is a reference: what stands before it, and the reference.
///
/// # Errors
/// As [`Reference::parse`].
pub fn of_header(text: &str) -> Result<Option<(&str, Reference<'_>)>, String> {
    let start = text.rfind(' ').map_or(0, |blank| blank + 1);
    let (before, word) = text.split_at(start);
    Ok(Reference::parse(word)?.map(|reference| (before, reference)))
}

/// An address without what may be secret in it: user and password, all behind its host. A webhook's path is as
/// good as a password with most services.
#[must_use]
pub fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return match Reference::parse(address) {
            Ok(Some(_)) => address.to_owned(),
            Ok(None) | Err(_) => "the address".to_owned(),
        };
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let more = if behind.len() > 1 { "/..." } else { "" };
    format!("{scheme}://{host}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_texts() {
        for (text, expected) in [
            ("env:TOKEN_1", Ok(Some(Reference::Variable("TOKEN_1")))),
            ("file:secrets/t", Ok(Some(Reference::File("secrets/t")))),
            ("file:/run/t", Ok(Some(Reference::File("/run/t")))),
            ("https://env:a@b", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(Reference::parse(text), expected, "{text}");
        }
        for text in ["env:", "env:1", "env:A B", "file:"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            of_header("Bearer env:T"),
            Ok(Some(("Bearer ", Reference::Variable("T"))))
        );
        assert_eq!(of_header("env:T"), Ok(Some(("", Reference::Variable("T")))));
        assert_eq!(of_header("plain words"), Ok(None));
        assert!(of_header("Bearer env:").is_err());
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (address, expected) in [
            ("https://a.b:9/", "https://a.b:9"),
            ("https://a.b", "https://a.b"),
            (
                "https://me:pw@a.b/services/T0/B0/xyz?k=v#f",
                "https://a.b/...",
            ),
            ("https://a.b?token=s", "https://a.b/..."),
            ("https://u:p@ss@a.b/x", "https://a.b/..."),
            ("http://[::1]:80/x", "http://[::1]:80/..."),
            ("env:HOOK", "env:HOOK"),
            ("s3cret", "the address"),
        ] {
            assert_eq!(shown(address), expected);
        }
    }
}
