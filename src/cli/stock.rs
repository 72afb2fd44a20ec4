//! What the binary ships: the repository's own scripts and the files of a new home.

/// A file of a home: where it belongs in the home, and its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! stock {
    ($($path:literal),* $(,)?) => {
        &[$(File { path: $path, text: include_str!(concat!("../../", $path)) }),*]
    };
}

/// What every new home begins with.
pub(crate) const FIRST: &[File] = stock!["moonkeep.toml", "scripts/greeter.lua"];

/// What `init --stock` adds: every other script that the repository has.
pub(crate) const MORE: &[File] = stock![
    "scripts/api-health.lua",
    "scripts/clock.lua",
    "scripts/counter.lua",
    "scripts/echo.lua",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_stock_script_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(root.join("scripts")).expect("scripts/");
        let mut found: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| format!("scripts/{}", name.to_string_lossy()))
            .filter(|path| path.ends_with(".lua") && !path.ends_with("_test.lua"))
            .collect();
        found.sort();
        let mut embedded: Vec<&str> = [FIRST, MORE]
            .concat()
            .iter()
            .map(|file| file.path)
            .filter(|path| path.starts_with("scripts/"))
            .collect();
        embedded.sort_unstable();
        assert_eq!(embedded, found, "add the new script to MORE");
    }
}
