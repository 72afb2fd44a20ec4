//! The plugins that the binary brings: the repository's own `plugins/`.

use super::plugin::Source;

/// Stem and text, by stem.
const STOCK: &[(&str, &str)] = &[
    ("command", include_str!("../../plugins/command.lua")),
    ("disk", include_str!("../../plugins/disk.lua")),
    ("dns", include_str!("../../plugins/dns.lua")),
    ("file", include_str!("../../plugins/file.lua")),
    ("http", include_str!("../../plugins/http.lua")),
    ("icmp", include_str!("../../plugins/icmp.lua")),
    ("load", include_str!("../../plugins/load.lua")),
    ("log", include_str!("../../plugins/log.lua")),
    ("memory", include_str!("../../plugins/memory.lua")),
    ("nagios", include_str!("../../plugins/nagios.lua")),
    ("ntp", include_str!("../../plugins/ntp.lua")),
    ("port", include_str!("../../plugins/port.lua")),
    ("postgres", include_str!("../../plugins/postgres.lua")),
    ("process", include_str!("../../plugins/process.lua")),
    ("redis", include_str!("../../plugins/redis.lua")),
    ("script", include_str!("../../plugins/script.lua")),
    ("smtp", include_str!("../../plugins/smtp.lua")),
    ("ssh", include_str!("../../plugins/ssh.lua")),
    ("swap", include_str!("../../plugins/swap.lua")),
    ("systemd", include_str!("../../plugins/systemd.lua")),
    ("tcp", include_str!("../../plugins/tcp.lua")),
    ("tls", include_str!("../../plugins/tls.lua")),
    ("udp", include_str!("../../plugins/udp.lua")),
    ("unix", include_str!("../../plugins/unix.lua")),
];

/// The stock plugin of that name.
#[must_use]
pub fn find(stem: &str) -> Option<Source> {
    STOCK
        .iter()
        .find(|(known, _)| *known == stem)
        .map(|(stem, text)| Source::Stock { stem, text })
}

/// Whether these bytes are the stock plugin of that name.
#[must_use]
pub fn is_text_of(stem: &str, bytes: &[u8]) -> bool {
    STOCK
        .iter()
        .any(|(known, text)| *known == stem && text.as_bytes() == bytes)
}

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    STOCK.iter().map(|(stem, _)| *stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_of_the_repository_is_embedded() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .expect("plugins/")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "lua"))
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|stem| !stem.ends_with("_test"))
            .collect();
        found.sort();
        assert_eq!(
            names().collect::<Vec<_>>(),
            found,
            "add the new plugin to STOCK"
        );
    }
}
