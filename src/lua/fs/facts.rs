//! What is known of a file without reading it. Blocks.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use mlua::{Lua, Table};

#[derive(Debug)]
pub(super) struct Facts {
    kind: &'static str,
    facts: fs::Metadata,
    owner: Option<String>,
    group: Option<String>,
}

/// `None`: nothing stands there.
pub(super) fn stat(path: &str) -> io::Result<Option<Facts>> {
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = if facts.is_file() {
        "file"
    } else if facts.is_dir() {
        "folder"
    } else {
        "other"
    };
    Ok(Some(Facts {
        kind,
        owner: named("/etc/passwd", facts.uid()),
        group: named("/etc/group", facts.gid()),
        facts,
    }))
}

/// The name with this number in a file of users or groups. A sandbox may have closed it, and not everybody is in it.
fn named(file: &str, number: u32) -> Option<String> {
    named_in(&fs::read_to_string(file).ok()?, number)
}

fn named_in(text: &str, number: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// Seconds since 1970, with fractions.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of this era, to the microsecond, fit into 52 bits"
)]
fn moment(seconds: i64, nanoseconds: i64) -> f64 {
    seconds as f64 + nanoseconds as f64 / 1e9
}

impl Facts {
    pub(super) fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let facts = &self.facts;
        let table = lua.create_table()?;
        table.raw_set("kind", self.kind)?;
        table.raw_set("size", facts.len())?;
        table.raw_set("modified", moment(facts.mtime(), facts.mtime_nsec()))?;
        table.raw_set("accessed", moment(facts.atime(), facts.atime_nsec()))?;
        table.raw_set("changed", moment(facts.ctime(), facts.ctime_nsec()))?;
        table.raw_set("mode", facts.mode() & 0o7777)?;
        table.raw_set("uid", facts.uid())?;
        table.raw_set("gid", facts.gid())?;
        table.raw_set("inode", facts.ino())?;
        table.raw_set("device", facts.dev())?;
        table.raw_set("links", facts.nlink())?;
        table.raw_set("owner", self.owner)?;
        table.raw_set("group", self.group)?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\nodd\ndaemon:x:1:1::/:\n";
        assert_eq!(named_in(text, 1).as_deref(), Some("daemon"));
        assert_eq!(named_in(text, 7), None);
    }
}
