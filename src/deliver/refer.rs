//! Reads what references name, and keeps what is secret out of sentences.

use std::io::Read as _;
use std::path::Path;

use crate::limits;
use crate::options::secret::{Reference, of_header, shown};

/// Texts shorter than this are not hidden: they are words, and hiding them would tell more than they do.
const SECRET_LEAST: usize = 6;

/// What may stand in no sentence.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn add(&mut self, text: &str) {
        let text = text.trim();
        if text.len() >= SECRET_LEAST {
            self.0.push(text.to_owned());
        }
    }

    /// All behind the host of an address, as a whole and in its parts, and who stands before the host.
    pub(super) fn add_address(&mut self, address: &str) {
        let Some((_, rest)) = address.split_once("://") else {
            return;
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        if let Some((user, _host)) = authority.rsplit_once('@') {
            user.split(':').for_each(|part| self.add(part));
        }
        self.add(behind);
        behind
            .split(['/', '?', '#', '&', '='])
            .for_each(|part| self.add(part));
    }

    /// The sentence with `***` in the place of each.
    pub(super) fn hide(&self, sentence: &str) -> String {
        let mut longest_first: Vec<&String> = self.0.iter().collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest_first
            .into_iter()
            .fold(sentence.to_owned(), |text, secret| {
                text.replace(secret.as_str(), "***")
            })
    }
}

/// An address as it is written, or what its reference names.
///
/// # Errors
/// What is missing, and where.
pub(super) fn address(text: &str, home: &Path) -> Result<String, String> {
    match Reference::parse(text)? {
        None => Ok(text.to_owned()),
        Some(reference) => {
            let address = read(&reference, home)?;
            let fits = address.starts_with("https://") || address.starts_with("http://");
            if fits && !address.contains(char::is_whitespace) {
                Ok(address)
            } else {
                Err(format!(
                    "what {} names is no address; it has to begin with http:// or https://",
                    shown(text)
                ))
            }
        }
    }
}

/// A header's value; `true`: it holds a secret.
///
/// # Errors
/// As [`address`].
pub(super) fn header(text: &str, home: &Path) -> Result<(String, bool), String> {
    match of_header(text)? {
        None => Ok((text.to_owned(), false)),
        Some((before, reference)) => Ok((format!("{before}{}", read(&reference, home)?), true)),
    }
}

fn read(reference: &Reference, home: &Path) -> Result<String, String> {
    let text = match reference {
        Reference::Variable(name) => std::env::var(name).map_err(|_| {
            format!("the daemon's environment has no variable {name}; set it where the daemon is started, and start it again")
        })?,
        Reference::File(path) => {
            let path = home.join(path);
            let told = |error: std::io::Error| format!("cannot read the secret in {}: {error}", path.display());
            let mut text = String::new();
            std::fs::File::open(&path)
                .and_then(|file| file.take(limits::SECRET_BYTES).read_to_string(&mut text))
                .map_err(told)?;
            text
        }
    };
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        let what = match reference {
            Reference::Variable(name) => format!("the variable {name} of the daemon's environment"),
            Reference::File(path) => format!("the file {path}"),
        };
        return Err(format!(
            "{what} holds no secret: it is empty, or has control characters in it"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_say_what_is_missing() {
        let home = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, text: &str| std::fs::write(home.path().join(name), text).expect("a file");
        write("token", "  s3cret-token\n");
        write("hook", "https://a.b/c\n");
        write("empty", "\n");
        let read = |text| header(text, home.path());
        assert_eq!(read("plain"), Ok(("plain".to_owned(), false)));
        assert_eq!(
            read("Bearer file:token"),
            Ok(("Bearer s3cret-token".to_owned(), true))
        );
        assert_eq!(
            address("file:hook", home.path()),
            Ok("https://a.b/c".to_owned())
        );
        for (text, expected) in [
            ("file:missing", "cannot read the secret in"),
            ("file:empty", "the file empty holds no secret"),
            (
                "env:MOONKEEP_TEST_NO_SUCH",
                "no variable MOONKEEP_TEST_NO_SUCH",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
        let error = address("file:token", home.path()).expect_err("no address");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn no_part_of_a_secret_address_stands_in_a_sentence() {
        let mut secrets = Secrets::default();
        secrets.add_address("https://robot:hunter22@a.b/services/T0KEN1/abc?key=0123456789");
        secrets.add("Bearer xyz");
        secrets.add("ok");
        let hidden = secrets.hide(
            "Cannot POST /services/T0KEN1/abc?key=0123456789 for hunter22: T0KEN1, Bearer xyz; ok",
        );
        assert_eq!(hidden, "Cannot POST *** for ***: ***, ***; ok");
    }
}
