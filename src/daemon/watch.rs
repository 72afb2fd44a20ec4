//! Sees what changes in the home and tells the engine, once a burst.
//!
//! Folders are watched, never files, so that every style of saving is seen. An event is only a hint: it
//! leads to a look after the files have been quiet, and the ledger decides by content what is new. A look is
//! also taken when the kernel lost events, when asked for, and now and then in any case.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::OFlags;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::inbox::Inbox;
use super::ledger::{Contents, Ledger, News};
use super::logs::Logs;
use super::plugins::{self, Plugins};
use crate::engine::alphabet::{Input, Level, Sections};
use crate::limits;
use crate::options::Config;
use crate::options::http::Http;
use crate::paths::{CONFIG_FILE, Home};
use crate::proto::ids::ScriptName;
use crate::proto::messages::LoadedFile;
use crate::scripts::{self, Look};

/// Between two looks where the kernel gives us no events.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// Entries of the home itself whose change concerns us.
const OF_INTEREST: [&str; 4] = [CONFIG_FILE, "scripts", "plugins", "lib"];

/// What the core holds of the watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    ledger: Rc<RefCell<Ledger>>,
    /// Somebody waits for a look.
    asked: Rc<Notify>,
    /// Something may have changed: a look follows when the files are quiet, for it may be in the middle of a save.
    hints: Arc<Notify>,
    /// The newest look that the engine has asked for.
    wanted: Rc<Cell<u64>>,
}

impl Watch {
    /// Leads to a look at once.
    pub(super) fn rescan(&self) {
        self.asked.notify_one();
    }

    /// Leads to a look at once, and to [`Input::Looked`] after it.
    pub(super) fn look(&self, look: u64) {
        self.wanted.set(look);
        self.asked.notify_one();
    }

    /// Follows what a script's newest worker has loaded.
    pub(super) fn follow(&self, script: &ScriptName, files: Vec<LoadedFile>) {
        self.ledger.borrow_mut().follow(script, files);
        // A file may have changed since it was loaded and before its folder was watched.
        self.hints.notify_one();
    }
}

/// The task's half.
pub(super) struct Watchman {
    home: Home,
    config: Arc<Config>,
    plugins: Arc<Plugins>,
    /// What the engine was told of checks and alerts.
    sections: Option<Sections>,
    watch: Watch,
    inbox: Rc<Inbox>,
    logs: Logs,
    eyes: Eyes,
    /// What `[http]` says, for the listener.
    http: watch::Sender<Option<Http>>,
    /// The last look that the engine was told of.
    told: u64,
}

/// How changes are noticed.
enum Eyes {
    /// By the kernel's events. The folders that are watched, with their inodes: one that was replaced needs a new watch.
    Events {
        watcher: Box<RecommendedWatcher>,
        folders: BTreeMap<PathBuf, u64>,
    },
    /// The kernel has no watch for us.
    Polling,
}

/// Takes the first look, and hands it in.
pub(super) fn start(
    home: &Home,
    inbox: &Rc<Inbox>,
    logs: &Logs,
) -> (Watch, Watchman, watch::Receiver<Option<Http>>) {
    let (http, configured) = watch::channel(None);
    let watch = Watch {
        ledger: Rc::default(),
        asked: Rc::default(),
        hints: Arc::default(),
        wanted: Rc::default(),
    };
    let mut watchman = Watchman {
        home: home.clone(),
        config: Arc::default(),
        plugins: Arc::default(),
        sections: None,
        watch: watch.clone(),
        inbox: Rc::clone(inbox),
        logs: logs.clone(),
        eyes: open_eyes(home, &watch.hints, logs),
        http,
        told: 0,
    };
    let mut look = scripts::look(home);
    watchman.plugins = plugins::add_to(&mut look, home, &watchman.plugins);
    watchman.report(&look, &Contents::new());
    inbox.push(Input::Loaded);
    (watch, watchman, configured)
}

impl Watchman {
    /// Watches until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.look_until_sure().await;
            self.wait().await;
        }
    }

    /// Waits for a reason to look, and then until the files are quiet.
    async fn wait(&self) {
        let at_last = match self.eyes {
            Eyes::Events { .. } => limits::RESCAN_EVERY,
            Eyes::Polling => POLL_EVERY,
        };
        tokio::select! {
            // Cancel safe, all three: a notification that nobody waited for is remembered.
            () = self.watch.asked.notified() => {}
            () = self.watch.hints.notified() => self.settle().await,
            () = tokio::time::sleep(at_last) => {}
        }
    }

    async fn settle(&self) {
        let longest = Instant::now() + limits::SETTLE_MOST;
        loop {
            let quiet = (Instant::now() + limits::SETTLE).min(longest);
            if timeout_at(quiet, self.watch.hints.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn look_until_sure(&mut self) {
        loop {
            let (home, config) = (self.home.clone(), Arc::clone(&self.config));
            let before = Arc::clone(&self.plugins);
            let wanted = self.watch.wanted.get();
            let followed = self.watch.ledger.borrow().followed();
            let looked = tokio::task::spawn_blocking(move || {
                let contents = followed.into_iter().map(|path| (hash_of(&path), path));
                let contents: Contents = contents.map(|(hash, path)| (path, hash)).collect();
                let mut look = scripts::look_again(&home, &config);
                let plugins = plugins::add_to(&mut look, &home, &before);
                (look, plugins, contents)
            });
            let Ok((look, plugins, contents)) = looked.await else {
                self.logs.note(
                    Level::Error,
                    "looking at the home failed; it is tried again with the next change",
                );
                return;
            };
            self.plugins = plugins;
            let unsure = self.report(&look, &contents);
            if wanted > self.told {
                self.told = wanted;
                self.inbox.push(Input::Looked { look: wanted });
            }
            if !unsure {
                return;
            }
            tokio::time::sleep(limits::SETTLE).await;
        }
    }

    /// Hands in what is new. `true`: look again, something is missing that may come back.
    fn report(&mut self, look: &Look, contents: &Contents) -> bool {
        let news = self.watch.ledger.borrow_mut().compare(look, contents);
        self.config = Arc::clone(&look.config);
        self.http.send_if_modified(|http| {
            let changed = *http != look.config.http;
            http.clone_from(&look.config.http);
            changed
        });
        let News {
            changes,
            configured,
            skipped,
            unsure,
        } = news;
        for text in skipped {
            self.logs.note(Level::Warn, text);
        }
        if let Some(fault) = configured {
            self.inbox.push(Input::Configured { fault });
        }
        if self.sections.as_ref() != Some(&self.plugins.sections) {
            self.sections = Some(self.plugins.sections.clone());
            let sections = Box::new(self.plugins.sections.clone());
            self.inbox.push(Input::Sections(sections));
        }
        for change in changes {
            self.inbox.push(Input::Script(change));
        }
        let folders = self.folders(look);
        self.watch_folders(&folders);
        unsure
    }

    fn folders(&self, look: &Look) -> BTreeSet<PathBuf> {
        let mut folders: BTreeSet<PathBuf> = look.folders.iter().cloned().collect();
        folders.insert(self.home.lib());
        for file in self.watch.ledger.borrow().followed() {
            folders.extend(self.nearest_folder(&file));
            let real = fs::canonicalize(&file).ok();
            folders.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        let (state, logs) = (self.home.state(), self.home.logs());
        folders.retain(|folder| !folder.starts_with(&state) && !folder.starts_with(&logs));
        folders
    }

    /// The folder of a file; of one that is missing below the home, the nearest folder that there is.
    fn nearest_folder(&self, file: &Path) -> Option<PathBuf> {
        let folder = file.parent()?;
        let nearest = folder
            .ancestors()
            .take_while(|above| above.starts_with(self.home.root()))
            .find(|above| above.is_dir());
        Some(nearest.unwrap_or(folder).to_owned())
    }

    fn watch_folders(&mut self, wanted: &BTreeSet<PathBuf>) {
        let Eyes::Events { watcher, folders } = &mut self.eyes else {
            return;
        };
        let wanted: BTreeMap<PathBuf, u64> = wanted
            .iter()
            .filter_map(|folder| Some((folder.clone(), inode_of_folder(folder)?)))
            .collect();
        for (folder, inode) in &*folders {
            if wanted.get(folder) != Some(inode) {
                // The kernel has dropped the watch already if the folder is gone.
                let _gone = watcher.unwatch(folder);
            }
        }
        let mut refused = None;
        for (folder, inode) in &wanted {
            if folders.get(folder) == Some(inode) {
                continue;
            }
            // What changed in it since this look and before the watch is seen by the next look.
            self.watch.hints.notify_one();
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
                && folder.is_dir()
            {
                refused = Some(error);
            }
        }
        *folders = wanted;
        if let Some(error) = refused {
            warn_of_polling(&self.logs, &error);
            self.eyes = Eyes::Polling;
        }
    }
}

fn open_eyes(home: &Home, hints: &Arc<Notify>, logs: &Logs) -> Eyes {
    let (home, hints) = (home.clone(), Arc::clone(hints));
    let opened = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error means that events were lost: look.
        if event.map_or(true, |event| concerns_us(&home, &event)) {
            hints.notify_one();
        }
    });
    // The watcher does not say if the system had no thread for it, and would panic when it is used or dropped.
    let opened =
        opened.and_then(
            |mut watcher| match watcher.configure(notify::Config::default()) {
                Ok(_applied) => Ok(watcher),
                Err(error) => {
                    std::mem::forget(watcher);
                    Err(error)
                }
            },
        );
    match opened {
        Ok(watcher) => Eyes::Events {
            watcher: Box::new(watcher),
            folders: BTreeMap::new(),
        },
        Err(error) => {
            warn_of_polling(logs, &error);
            Eyes::Polling
        }
    }
}

fn warn_of_polling(logs: &Logs, error: &notify::Error) {
    logs.note(
        Level::Warn,
        format!(
            "the kernel watches no more folders for us ({error}): files are looked at every {} s instead; \
             raise fs.inotify.max_user_watches or fs.inotify.max_user_instances and restart",
            POLL_EVERY.as_secs()
        ),
    );
}

/// Whether an event is reason enough for a look. Reading is none, and in the home itself only what we read.
fn concerns_us(home: &Home, event: &Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    if let EventKind::Access(access) = event.kind
        && access != AccessKind::Close(AccessMode::Write)
    {
        return false;
    }
    event.paths.iter().any(|path| {
        let of_interest = |name: &OsStr| OF_INTEREST.iter().any(|one| name == *one);
        path.parent() != Some(home.root()) || path.file_name().is_some_and(of_interest)
    })
}

fn inode_of_folder(folder: &Path) -> Option<u64> {
    let facts = fs::metadata(folder).ok()?;
    facts.is_dir().then(|| facts.ino())
}

/// blake3, hex, of a file's bytes; `None` if there is no plain file.
fn hash_of(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    // Not to wait for the writer of a FIFO that was put there in this moment.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = fs::File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(limits::SCRIPT_BYTES + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(blake3::hash(&bytes).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag, ModifyKind};

    use super::*;

    fn concerns(kind: EventKind, path: &str) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        concerns_us(&home, &Event::new(kind).add_path(home.root().join(path)))
    }

    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const READ: EventKind = EventKind::Access(AccessKind::Read);
    const WRITTEN: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    #[test]
    fn writing_is_a_reason_to_look_and_reading_is_none() {
        assert!(concerns(CREATED, "scripts/a.lua"));
        assert!(concerns(WRITTEN, "scripts/a.lua"));
        assert!(concerns(
            EventKind::Modify(ModifyKind::Any),
            "lib/deep/x.lua"
        ));
        assert!(!concerns(READ, "scripts/a.lua"));
    }

    #[test]
    fn of_the_home_itself_only_what_we_read_counts() {
        assert!(concerns(CREATED, CONFIG_FILE));
        assert!(concerns(EventKind::Create(CreateKind::Folder), "lib"));
        assert!(!concerns(CREATED, "notes.txt"));
        assert!(!concerns(CREATED, "logs"));
    }

    #[test]
    fn lost_events_are_a_reason_to_look() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(concerns_us(&home, &lost));
    }
}
