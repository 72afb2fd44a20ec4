//! `moonkeep logs [-f] [NAME]`: reads the log files themselves, so it needs no daemon.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use rustix::fs::OFlags;

use crate::daemon::logs;
use crate::limits;
use crate::paths::Home;
use crate::proto::ids::ScriptName;

use super::Globals;
use super::exit::{Exit, Failure};
use super::names;
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Without NAME: the daemon's own log.")]
pub(crate) struct Args {
    /// The script
    name: Option<String>,
    /// Show the last lines, then what is added, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines [default: all that is stored; 200 with -f]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
}

/// Between two looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    let path = log_of(&home, args.name.as_deref())?;
    let lines = match args.lines {
        None if args.follow => Some(limits::LOG_TAIL_LINES as usize),
        lines => lines,
    };
    // Opened before the stored part is read: a rotation in between loses nothing.
    let mut followed = Followed::open(&path).map_err(|error| unreadable(&path, &error))?;
    print_stored(output, &path, lines, followed.as_mut())?;
    if args.follow {
        follow(output, &path, followed)?;
    }
    Ok(Exit::Ok)
}

fn log_of(home: &Home, name: Option<&str>) -> Result<PathBuf, Failure> {
    let Some(name) = name else {
        return Ok(home.log(None));
    };
    let script = ScriptName::parse(name).map_err(|why| Failure::new(Exit::Failed, why))?;
    let path = home.log(Some(script.as_str()));
    if path.exists() {
        return Ok(path);
    }
    if !script.is_plugin() {
        names::check_known(home, &script)?;
    }
    Ok(path)
}

/// Prints what is stored, oldest first.
fn print_stored(
    output: &Output,
    path: &Path,
    lines: Option<usize>,
    current: Option<&mut Followed>,
) -> Result<(), Failure> {
    let mut current_text = Vec::new();
    if let Some(log) = current {
        current_text = log.more().map_err(|error| unreadable(path, &error))?;
    }
    let Some(lines) = lines else {
        for earlier in rotated(path) {
            let text = read_whole(&earlier).map_err(|error| unreadable(&earlier, &error))?;
            print(output, &text)?;
        }
        return print(output, &current_text);
    };
    let mut text = current_text;
    for earlier in rotated(path).iter().rev() {
        if memchr::memchr_iter(b'\n', &text).count() >= lines {
            break;
        }
        let mut before = read_whole(earlier).map_err(|error| unreadable(earlier, &error))?;
        before.append(&mut text);
        text = before;
    }
    print(output, last_lines(&text, lines))
}

/// With `--json` each line is an object: `{"line": "..."}`.
fn print(output: &Output, text: &[u8]) -> Result<(), Failure> {
    if !output.json {
        return output.bytes(text);
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return Ok(());
    }
    for line in body.split(|byte| *byte == b'\n') {
        output.json(&serde_json::json!({ "line": String::from_utf8_lossy(line) }))?;
    }
    Ok(())
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return b"";
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let start = memchr::memrchr_iter(b'\n', body).nth(lines - 1);
    start.map_or(text, |at| &text[at + 1..])
}

/// The predecessors of a log, `NAME.log.N` or `NAME.log.N.gz`, oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let mut found = logs::rotated(path);
    // While one is being compressed it is there twice.
    found.dedup_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, path)| path).collect()
}

/// A log that was compressed between the listing and the opening is read in its new place.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let packed = with_gz(path);
            match open(&packed) {
                Ok(_) => return read_whole(&packed),
                // Rotated away: the oldest log goes.
                Err(_) => return Ok(Vec::new()),
            }
        }
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    if path.extension().is_some_and(|ending| ending == "gz") {
        MultiGzDecoder::new(file).read_to_end(&mut text)?;
    } else {
        file.read_to_end(&mut text)?;
    }
    Ok(text)
}

fn with_gz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// A log that is open, read up to somewhere.
struct Followed {
    file: File,
    inode: u64,
}

impl Followed {
    /// `None`: there is no log yet.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Followed { file, inode }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was added since the last time.
    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.file.read_to_end(&mut text)?;
        Ok(text)
    }

    fn is_replaced(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|facts| facts.ino() != self.inode)
    }
}

/// Prints what is added, across rotations, for ever.
fn follow(output: &Output, path: &Path, log: Option<Followed>) -> Result<(), Failure> {
    let mut log = log;
    // The begin of a line whose end is not written yet: an object holds a whole line.
    let mut begun = Vec::new();
    loop {
        let look = |log: &mut Option<Followed>| -> io::Result<Vec<u8>> {
            let Some(open) = log else {
                *log = Followed::open(path)?;
                return log.as_mut().map_or(Ok(Vec::new()), Followed::more);
            };
            // Asked before reading: what was written before the rotation is then read to its end.
            let replaced = open.is_replaced(path);
            let mut text = open.more()?;
            if replaced {
                *log = Followed::open(path)?;
                if let Some(fresh) = log {
                    text.extend(fresh.more()?);
                }
            }
            Ok(text)
        };
        let text = look(&mut log).map_err(|error| unreadable(path, &error))?;
        if text.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        } else {
            begun.extend(text);
            let whole = match memchr::memrchr(b'\n', &begun) {
                Some(end) if output.json => end + 1,
                None if output.json => 0,
                Some(_) | None => begun.len(),
            };
            print(output, &begun[..whole])?;
            begun.drain(..whole);
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "cannot read {}: {error}. Look at its owner and mode",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        let text = b"a\nb\nc\n";
        assert_eq!(last_lines(text, 2), b"b\nc\n");
        assert_eq!(last_lines(text, 9), text);
        assert_eq!(last_lines(text, 0), b"");
        assert_eq!(last_lines(b"", 1), b"");
    }

    #[test]
    fn a_followed_log_is_read_to_its_end_across_a_rotation() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x.log");
        let mut file = File::create(&path).expect("log");
        let mut log = Followed::open(&path).expect("open").expect("there");
        file.write_all(b"one\n").expect("write");
        assert_eq!(log.more().expect("read"), b"one\n");
        file.write_all(b"two\n").expect("write");
        fs::rename(&path, dir.path().join("x.log.1")).expect("rotate");
        fs::write(&path, "three\n").expect("write");
        assert!(log.is_replaced(&path));
        assert_eq!(log.more().expect("read"), b"two\n");
        assert_eq!(rotated(&path), [dir.path().join("x.log.1")]);
    }
}
