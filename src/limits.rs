//! Every bound of the program, by name, with its unit and its reason.
//!
//! Nothing else decides how large, how many or how long. Relations that code relies on are asserted at the end.

use std::time::Duration;

/// Longest line of the protocol, in bytes without its newline. A longer one is skipped and answered `too_large`.
pub const LINE_BYTES: usize = 1024 * 1024;
/// Longest request id that a sender may choose, in bytes: room for a UUID with a prefix.
pub const REQUEST_ID_BYTES: usize = 128;
/// Longest name of a script, in bytes. It becomes a file name with suffixes.
pub const SCRIPT_NAME_BYTES: usize = 64;
/// Longest name of a user of this machine, in bytes: what the system itself takes.
pub const USER_NAME_BYTES: usize = 32;
/// Longest name of a handler or an event, in bytes.
pub const HANDLER_NAME_BYTES: usize = 128;
/// Deepest nesting of JSON that is read or written. serde_json's own limit is 128.
pub const JSON_DEPTH: usize = 64;
/// Most values in one JSON document that passes into or out of Lua.
pub const JSON_NODES: usize = 100_000;
/// Most words in one text line.
pub const TEXT_WORDS: usize = 1_024;

/// Bytes asked from the kernel in one read.
pub const READ_BYTES: usize = 64 * 1024;
/// Lines of one session that are taken in before the engine has looked at them: it may pause the session.
pub const LINES_PER_TURN: usize = 128;
/// Requests that one session may have in flight; beyond it the session is not read until answers drain.
pub const IN_FLIGHT_PER_SESSION: usize = 1_024;
/// Sessions at one time. The accept loop answers further ones `busy` and closes them.
pub const SESSIONS: usize = 4_096;
/// Bytes of answers waiting for one session at which the session is no longer read.
pub const OUTBOX_PAUSE_BYTES: u64 = 1024 * 1024;
/// Bytes of answers waiting for one session at which it is disconnected as a slow reader.
pub const OUTBOX_DROP_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of requests and answers waiting for one worker at which no further request is given to it.
pub const WORKER_OUTBOX_BYTES: u64 = 4 * 1024 * 1024;
/// Event subscriptions of one session or worker.
pub const SUBSCRIPTIONS_PER_PEER: usize = 64;
/// Bytes waiting for a subscriber at which further events are counted and dropped; a gap marker follows.
pub const EVENT_OUTBOX_BYTES: u64 = 256 * 1024;

/// Time after which a session that is not read by its peer is disconnected.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Time for what still waits when the daemon closes a session.
pub const FLUSH_AT_CLOSE: Duration = Duration::from_secs(1);
/// Time that a worker whose daemon has gone takes to finish what runs, and to write down how it ended.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(10);
/// Time that a dead worker's output is still read for, should something that outlived it hold the pipe.
pub const DRAIN_AT_EXIT: Duration = Duration::from_millis(200);
/// Bytes of a log that `logs` gives in one answer: escaped they fit into a line.
pub const LOG_TAIL_BYTES: usize = 256 * 1024;
/// Time that a line may take from its first byte to its newline.
pub const LINE_DEADLINE: Duration = Duration::from_secs(5);
/// Silence after which a session that announced pings is dropped. Clients ping every 10 s.
pub const SESSION_IDLE: Duration = Duration::from_secs(15);
/// Time that queued and running requests of a vanished client are kept for its return.
pub const RESUME_WINDOW: Duration = Duration::from_secs(15);

/// Stored answers, by number, time and bytes: whichever comes first.
pub const STORED_ANSWERS: usize = 100_000;
/// See [`STORED_ANSWERS`].
pub const STORED_FOR: Duration = Duration::from_secs(24 * 3600);
/// See [`STORED_ANSWERS`].
pub const STORED_BYTES: usize = 64 * 1024 * 1024;
/// A larger result is not kept: a repeat is told that it was not retained.
pub const STORED_RESULT_BYTES: usize = 256 * 1024;

/// Size of the journal's log at which it is copied into the database file, in bytes: a start reads all of it.
pub const JOURNAL_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Commits between two looks at the size of the journal's log.
pub const JOURNAL_LOOK_EVERY: u32 = 64;
/// Disk space that is kept for the ends of what runs, should the disk become full, in bytes.
pub const JOURNAL_RESERVE: u64 = 256 * 1024;
/// Between two tries to get that space back.
pub const JOURNAL_ROOM_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to open a journal that failed.
pub const JOURNAL_REOPEN_EVERY: Duration = Duration::from_secs(5);
/// How long somebody else may hold the journal's lock before the journal counts as failed.
pub const JOURNAL_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Time that a start after a crash takes to look whether the journal is sound.
pub const JOURNAL_CHECK: Duration = Duration::from_millis(250);
/// Damaged journals that are kept for somebody to look at.
pub const JOURNALS_SET_ASIDE: usize = 3;
/// Answers that are forgotten at one time: one record of the journal for many.
pub const PRUNED_AT_ONCE: usize = 1_000;
/// By how much an answer may outlive [`STORED_FOR`], so that many are forgotten at one time.
pub const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How long a journal takes records again before the log says so: ends that its reserve takes come one by one.
pub const JOURNAL_CALM: Duration = Duration::from_millis(500);
/// How long beyond its deadline an asker waits for the journal to take the end of its request.
pub const JOURNAL_SLACK: Duration = Duration::from_secs(1);
/// How long `heartbeat` tries to be heard, if it is not told how long.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries of a `heartbeat` that was refused for now.
pub const HEARTBEAT_RETRY: Duration = Duration::from_millis(200);

/// What a `busy` refusal tells its asker to wait when the journal takes nothing.
pub const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// Outcome records of earlier daemons' workers that are looked at; of more, the oldest are removed unread.
pub const OUTCOME_FILES: usize = 4_096;
/// Bytes of an outcome record that are no longer needed before the worker writes the rest anew.
pub const OUTCOME_SPARE_BYTES: u64 = 1024 * 1024;
/// Bytes at the end of an outcome record that are read; from what a longer one lacks there nothing is concluded.
pub const OUTCOME_BYTES: u64 = 16 * 1024 * 1024;
/// How long a worker of an earlier daemon may take to finish what it runs, before it is killed: its own grace, and a bit.
pub const OLD_WORKER_WAIT: Duration = Duration::from_secs(12);
/// Between two looks whether it is gone.
pub const OLD_WORKER_LOOK: Duration = Duration::from_millis(20);

/// HTTP connections at one time. Further ones wait in the kernel's queue until one has ended, or was silent for too long.
pub const HTTP_CONNECTIONS: usize = 256;
/// Bytes of the head of an HTTP request; a longer one is answered 431. It is the least that hyper's buffer may be.
pub const HTTP_HEAD_BYTES: usize = 8 * 1024;
/// Headers of an HTTP request; more are answered 431.
pub const HTTP_HEADERS: usize = 64;
/// Time for an HTTP request, from its connection to the last byte that its sender takes. Each has a connection of its own.
pub const HTTP_TIME: Duration = Duration::from_secs(10);
/// Silence after which a connection that has not asked yet is closed, where no place is left.
pub const HTTP_SILENCE: Duration = Duration::from_secs(1);
/// Age at which a view of the checks is too old for who asks now: all who ask within it share one.
pub const HTTP_VIEW_AGE: Duration = Duration::from_millis(100);
/// Time that the core may take to show the checks, before it counts as not alive.
pub const HTTP_VIEW_WAIT: Duration = Duration::from_secs(2);
/// Between two tries to listen at an address that was refused, in use for one.
pub const HTTP_RETRY: Duration = Duration::from_secs(5);
/// Bytes of one check's message on the status page; `/checks.json` has all of it.
pub const PAGE_MESSAGE_BYTES: usize = 2_000;
/// Bytes of any other text of a check on the status page: a name, a tag, a reason.
pub const PAGE_TEXT_BYTES: usize = 300;

/// Requests that a script may run at once, unless its header says otherwise.
pub const CONCURRENCY: u32 = 16;
/// Most that a header may ask for.
pub const CONCURRENCY_MOST: u32 = 4_096;
/// Checks that one plugin worker may run at once, unless its header says otherwise: as many as run at all.
pub const PLUGIN_CONCURRENCY: u32 = 256;
/// Requests waiting for one script, unless its header says otherwise.
pub const QUEUE_ITEMS: usize = 1_024;
/// Most that a header may ask for.
pub const QUEUE_ITEMS_MOST: usize = 65_536;
/// Most requests that a rate may let through at once.
pub const RATE_BURST_MOST: u32 = 1_000_000;
/// Bytes waiting for one script.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Time limit of a request that names none.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time limit of a request.
pub const REQUEST_TIMEOUT_MOST: Duration = Duration::from_secs(24 * 3600);
/// Time from a worker's spawn to its readiness.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from the `shutdown` notice to SIGTERM, and again from SIGTERM to SIGKILL.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest `ready_timeout` and `stop_timeout` that a header may ask for.
pub const LIFE_TIMEOUT_MOST: Duration = Duration::from_secs(3600);
/// Time that an old generation may take for what it holds, after a reload.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for `moonkeep.on_handover` to return its state.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of state that one generation may hand to the next.
pub const HANDOVER_BYTES: usize = 256 * 1024;
/// What the daemon allows a worker beyond a request's deadline before it asks for a cancel: the
/// worker's own time limit comes first, and its error names the line.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(100);
/// Time that a worker has to confirm a cancel; after it the worker is killed.
pub const CANCEL_GRACE: Duration = Duration::from_millis(1_000);
/// Between two heartbeats of a worker.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Unanswered heartbeats after which a worker is killed.
pub const HEARTBEATS_MISSED: u32 = 3;
/// Starts of an `idempotent` request before it is given up as failed.
pub const IDEMPOTENT_STARTS: u32 = 3;
/// Starts of a `query` before it is given up as failed.
pub const QUERY_STARTS: u32 = 2;
/// Handlers that one script may have, and checks that one plugin worker may have: their names fit into one line.
pub const HANDLERS_PER_SCRIPT: usize = 4_096;
/// Modules that one script may report as loaded.
pub const MODULES_PER_SCRIPT: usize = 1_024;
/// Scripts of one home.
pub const SCRIPTS: usize = 4_096;

/// Files of a home that are no scripts, each mentioned with the reason; of more only the number is.
pub const SKIPPED: usize = 32;

/// First delay of the restart back-off after the immediate restart.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// When a script that changed while it was being loaded is started again, if no look has seen the change by then.
pub const OUTDATED_RETRY: Duration = Duration::from_millis(100);
/// Starts in a row that find another content than the looks do; one more is a failure like any other.
pub const OUTDATED_STARTS: u32 = 10;
/// Longest delay of the restart back-off.
pub const BACKOFF_MOST: Duration = Duration::from_secs(30);
/// Run time after which a worker counts as good and the back-off starts anew.
pub const BACKOFF_RESET: Duration = Duration::from_secs(10);
/// Restarts within [`INTENSITY_WINDOW`], or in a row without a good run, that lead to `failed`.
pub const INTENSITY: usize = 10;
/// See [`INTENSITY`].
pub const INTENSITY_WINDOW: Duration = Duration::from_secs(60);
/// Between the slow retries of a failed script.
pub const FAILED_RETRY: Duration = Duration::from_secs(300);

/// Memory of one Lua state, in bytes, unless the header says otherwise.
pub const LUA_MEMORY: usize = 128 * 1024 * 1024;
/// Least that a header may ask for: below it not even the Lua libraries load.
pub const LUA_MEMORY_LEAST: usize = 1024 * 1024;
/// Most that a header may ask for.
pub const LUA_MEMORY_MOST: usize = 64 * 1024 * 1024 * 1024;
/// Open files of a worker.
pub const WORKER_FILES: u64 = 1_024;
/// Least that a header may ask for: the worker itself needs about a dozen.
pub const WORKER_FILES_LEAST: u64 = 32;
/// Time that a new worker waits for its script's lock: the daemon holds it only while it looks for earlier workers.
pub const SCRIPT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Most that a header may ask for.
pub const WORKER_FILES_MOST: u64 = 1_048_576;
/// The largest file that a confined worker may write, in bytes: what fills a disk by mistake ends earlier than the disk.
pub const WORKER_FILE_BYTES: u64 = 4 << 30;
/// Memory that a confined worker may have beside its Lua state, in bytes: threads, buffers, the program itself.
pub const WORKER_DATA_BYTES: u64 = 2 << 30;
/// Processor time that a confined worker may use between two heartbeats: the net under the heartbeat, for the case that
/// nobody is there any more to miss it.
pub const WORKER_CPU: Duration = Duration::from_secs(600);
/// Ancestors of a client's process that are looked at to find the script that it belongs to; deeper ones count as a script's.
pub const ANCESTORS: usize = 256;
/// Entries of one list or table in a header: arguments, variables, permissions.
pub const SETTING_ENTRIES: usize = 256;
/// Levels of a setting: brackets in each other, or parts of a dotted key. The deepest that there is has three.
pub const SETTING_DEPTH: usize = 16;
/// Instructions between two looks of the preemption hook.
pub const HOOK_INSTRUCTIONS: u32 = 10_000;
/// Processor time after which a handler gives way to the others.
pub const TIME_SLICE: Duration = Duration::from_millis(5);
/// Size of a script file, in bytes.
pub const SCRIPT_BYTES: u64 = 4 * 1024 * 1024;
/// Size of `moonkeep.toml`, in bytes.
pub const CONFIG_BYTES: u64 = 1024 * 1024;

/// How late records may be written that stand in a worker's outcome record too: they share a later one's write.
pub const LATE_RECORDS: Duration = Duration::from_millis(20);
/// So many of them are written at once.
pub const LATE_RECORDS_MOST: usize = 256;

/// Quiet time after a file event before the files are looked at.
pub const SETTLE: Duration = Duration::from_millis(50);
/// Looks in a row, [`SETTLE`] apart, that find a script gone or without a byte before it is taken as meant so.
pub const DOUBTFUL_LOOKS: u32 = 10;
/// Longest that a never-ending burst of file events can put off the look.
pub const SETTLE_MOST: Duration = Duration::from_millis(500);
/// Between the slow rescans that catch what the kernel's events missed.
pub const RESCAN_EVERY: Duration = Duration::from_secs(60);
/// Size at which a log file is rotated, in bytes.
pub const LOG_BYTES: u64 = 8 * 1024 * 1024;
/// Rotated log files kept for a script.
pub const LOG_FILES: usize = 4;
/// Longest line of a log, in bytes; the rest is cut and marked.
pub const LOG_LINE_BYTES: usize = 8 * 1024;
/// Last lines of a worker's log that are kept for its exit event.
pub const STDERR_TAIL_LINES: usize = 20;
/// Lines that `logs` gives unless told otherwise.
pub const LOG_TAIL_LINES: u32 = 200;

/// Between two pings of a client.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// Time limit of one ping.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Unanswered pings in a row after which a daemon counts as dead.
pub const PINGS_MISSED: u32 = 3;
/// Time for a connection's first pong.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// First delay between attempts to connect, or to repeat a refused request.
pub const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such delay.
pub const RETRY_MOST: Duration = Duration::from_secs(5);
/// How long a `call` without a time limit or id waits for a daemon.
pub const CALL_WITHOUT_DAEMON: Duration = Duration::from_secs(2);

/// What a `busy` refusal tells its asker to wait.
pub const BUSY_RETRY: Duration = Duration::from_millis(50);
/// A timer that fires this late tells of a suspension: nobody is given up for silence then.
pub const OVERSLEPT: Duration = Duration::from_secs(1);
/// What a control command may take beyond the time limits of what it waits for.
pub const CONTROL_SLACK: Duration = Duration::from_secs(1);
/// From SIGKILL to the moment at which the daemon leaves without a worker's exit.
pub const EXIT_GRACE: Duration = Duration::from_secs(5);
/// Time for what a script has started to be dead, once it is killed at the script's end.
pub const SWEEP: Duration = Duration::from_secs(1);
/// Between two looks at what is left of it. Each reaches what the last one has orphaned.
pub const SWEEP_AGAIN: Duration = Duration::from_millis(2);
/// Processes and threads that a script may have at one time, where the system counts them for us.
pub const WORKER_PROCESSES: u32 = 4_096;
/// Descendants that are killed in one go, before anything else has its turn.
pub const VICTIMS_AT_ONCE: usize = 256;
/// Between two notes about answers that nobody waits for.
pub const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Time for a detached daemon to report that it is ready.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a start waits for a lock whose holder does not serve: a killed daemon's copy of it in a process that
/// it was just starting. A busy machine may leave that one without its turn for some tenths of a second.
pub const DEAD_HOLDER: Duration = Duration::from_secs(1);
/// Between two looks at the lock's and the socket's inode.
pub const CLAIM_CHECK_EVERY: Duration = Duration::from_secs(5);

/// After a check's own time limit: its worker ends the run in that time, or is asked to, and then killed.
pub const CHECK_KILL_AFTER: Duration = Duration::from_secs(1);
/// An alert or an answer about a check waits so long, and no longer, until what it tells of is written down.
pub const CHECK_KEPT_WITHIN: Duration = Duration::from_secs(2);
/// Between two attempts to write down what is to be kept of the checks, after one that failed.
pub const CHECKBOOK_RETRY: Duration = Duration::from_secs(5);
/// Time limit of a check that names none.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Start to start of a check that names nothing else.
pub const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Shortest and longest time between two runs that a check may ask for.
pub const CHECK_EVERY_LEAST: Duration = Duration::from_millis(100);
/// See [`CHECK_EVERY_LEAST`].
pub const CHECK_EVERY_MOST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Start to start while the last result is not the confirmed state.
pub const CHECK_RETRY_EVERY: Duration = Duration::from_secs(5);
/// Good results in a row that confirm a recovery.
pub const CHECK_RISE: u32 = 2;
/// Bad results in a row that confirm a problem.
pub const CHECK_FALL: u32 = 3;
/// Most that a check may ask for as either.
pub const CHECK_COUNT_MOST: u32 = 100;
/// Share of the interval by which the runs of a check are spread.
pub const CHECK_JITTER: f64 = 0.1;
/// How late a heartbeat may come that names no grace.
pub const HEARTBEAT_GRACE: Duration = Duration::from_secs(60);
/// Checks that run at the same time.
pub const CHECKS_AT_ONCE: usize = 256;
/// Bytes of a check's message.
pub const CHECK_OUTPUT_BYTES: usize = 8 * 1024;
/// By so much `c:remaining()` is less than the whole: a host call's own time limit comes first, and its error says more.
pub const CHECK_SLACK: Duration = Duration::from_millis(50);
/// Bytes of a check's name, and of a tag.
pub const CHECK_NAME_BYTES: usize = 256;
/// Names and tags that one command may give. Below [`TEXT_WORDS`], which the whole line keeps.
pub const CHECK_WORDS: usize = 1_000;
/// Time for a plugin's file to be loaded. Shorter than [`READY_TIMEOUT`]: the worker can still say which one it was.
pub const PLUGIN_LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Checks that one plugin may define.
pub const CHECKS_PER_PLUGIN: usize = 10_000;

/// Checks of one home; of more, the rest is not watched, and a note says so.
pub const CHECKS: usize = 100_000;
/// Shortest time from one start of a check to its next.
pub const CHECK_INTERVAL_LEAST: Duration = Duration::from_millis(10);
/// How late the first run of a check may be after its declaration: a fresh daemon soon knows.
pub const CHECK_FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Results of a check that are kept: those that Nagios judges flapping by.
pub const CHECK_HISTORY: usize = 21;
/// Changes of a check's confirmed state that are kept for its uptime; time before the oldest counts as not watched.
pub const CHECK_TRANSITIONS: usize = 1_000;
/// How far back they reach.
pub const CHECK_HISTORY_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bars of history that are shown, and the time of each.
pub const CHECK_BARS: usize = 48;
/// See [`CHECK_BARS`].
pub const CHECK_BAR: Duration = Duration::from_secs(1800);
/// Between two writes of a check's results. What is told or confirmed is written at once.
pub const CHECK_KEEP_EVERY: Duration = Duration::from_secs(10);
/// At multiples of this, results of many checks together: a write each would cost more than the checks.
pub const CHECK_KEEP_TOGETHER: Duration = Duration::from_secs(1);
/// Runs that are due within so much of each other begin together: to be woken for each would cost more than the run.
pub const CHECK_START_TOGETHER: Duration = Duration::from_millis(200);
/// How long the record of a check that is no longer declared is kept for its return.
pub const CHECK_FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// What is kept of a check waits at least so long for it after a start, however long it has been gone.
pub const CHECK_RETURN_WITHIN: Duration = Duration::from_secs(300);
/// How long a parent that nobody has declared may be missing: its plugin may still be loading.
pub const CHECK_PARENT_WAIT: Duration = Duration::from_secs(30);
/// Between two questions about the wall clock.
pub const CHECK_CLOCK_EVERY: Duration = Duration::from_secs(30);
/// Results that are not confirmed count in a row with those of the next daemon if it comes so soon.
pub const CHECK_SOFT_KEPT: Duration = Duration::from_secs(300);
/// A local clock that jumps by no more than this has changed for summer time: what is to be run at a fixed time is
/// then run once, as cron does. More is a correction.
pub const CHECK_CRON_SHIFT: Duration = Duration::from_secs(3 * 3600);
/// A clock that is corrected by no more than this skips and repeats no time of a schedule.
pub const CHECK_CRON_DRIFT: Duration = Duration::from_secs(60);
/// Longest time without alerts that can be asked for at once.
pub const QUIET_MOST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Bytes of the reason for a downtime.
pub const QUIET_WHY_BYTES: usize = 1_024;

/// Alerts that wait to be delivered, each through one hook; of more the oldest are given up, and a note says so.
pub const DELIVERIES: usize = 10_000;
/// Attempts to deliver at the same time.
pub const DELIVERIES_AT_ONCE: usize = 16;
/// Of these, through one hook: one that hangs leaves room for the others.
pub const DELIVERIES_PER_HOOK: usize = 4;
/// First delay before an alert is tried again.
pub const DELIVERY_RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest such delay.
pub const DELIVERY_RETRY_MOST: Duration = Duration::from_secs(300);
/// Age at which an alert that cannot be delivered is given up, with a note.
pub const DELIVERY_AGE_MOST: Duration = Duration::from_secs(24 * 3600);
/// Time limit of one attempt to deliver an alert, where its hook names none.
pub const ALERT_TIMEOUT: Duration = Duration::from_secs(10);
/// Least that a hook may ask for.
pub const ALERT_TIMEOUT_LEAST: Duration = Duration::from_millis(100);
/// Most that it may ask for: attempts of one hook about one check wait for each other.
pub const ALERT_TIMEOUT_MOST: Duration = Duration::from_secs(300);
/// By so much the daemon waits longer for a delivery than the delivery itself: it tells more about its end.
pub const DELIVERY_SLACK: Duration = Duration::from_secs(3);
/// Bytes of a hook's output, or of a server's answer, that are told when a delivery fails.
pub const DELIVERY_OUTPUT_BYTES: usize = 8 * 1024;
/// Bytes of a delivery on its way to the process that makes it; a hook's texts are bounded by `moonkeep.toml`'s size.
pub const DELIVERY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a file that holds a secret.
pub const SECRET_BYTES: u64 = 64 * 1024;

/// Time limit of a call from Lua to the network that names none.
pub const HOST_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an HTTP body, of a line or a file that Lua reads at once.
pub const HOST_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a file that are hashed at a time.
pub const HASH_PIECE_BYTES: usize = 64 * 1024;
/// Last lines of a file that `fs.tail` gives, unless the script says otherwise.
pub const TAIL_LINES: usize = 10;
/// Most that a script may ask for.
pub const TAIL_LINES_MOST: usize = 100_000;
/// Kinds of HTTP clients (followed redirects, proxy, authorities) that are kept with their connections.
pub const HTTP_CLIENTS: usize = 16;
/// Connections to one host that are kept open for the next request.
pub const HTTP_IDLE_PER_HOST: usize = 4;
/// How long they are.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);
/// Between two attempts to connect to a Unix socket whose queue is full.
pub const UNIX_RETRY: Duration = Duration::from_millis(5);
/// Largest datagram, in bytes: what UDP over IPv4 can carry.
pub const DATAGRAM_BYTES: usize = 65_507;
/// Echo requests of one ping.
pub const PINGS: u32 = 100;
/// Bytes behind the header of an echo request, unless the script says otherwise: what ping(8) sends.
pub const PING_BYTES: usize = 56;
/// Most that a script may ask for.
pub const PING_BYTES_MOST: usize = 65_000;
/// Between two echo requests, unless the script says otherwise. Ordinary users get no less from ping(8) either.
pub const PING_EVERY_ECHO: Duration = Duration::from_millis(200);
/// How long one answer is waited for, unless the script says otherwise.
pub const PING_WAIT: Duration = Duration::from_secs(1);
/// Times that a request by UDP is sent before it counts as unanswered, unless the script says otherwise.
pub const UDP_TRIES: u32 = 3;
/// Most that a script may ask for.
pub const UDP_TRIES_MOST: u32 = 100;
/// How long the system's list of trusted authorities is used before it is read again.
pub const AUTHORITIES_KEPT: Duration = Duration::from_secs(3600);
/// Names of a certificate that are told.
pub const CERTIFICATE_NAMES: usize = 1_024;
/// Lines of one reply before TLS begins.
pub const STARTTLS_LINES: usize = 64;
/// Bytes of one such line.
pub const STARTTLS_LINE_BYTES: usize = 4 * 1024;
/// Name servers of the system that are asked; resolv.conf(5) knows three.
pub const NAME_SERVERS: usize = 3;
/// Times that each of them is asked.
pub const DNS_ROUNDS: usize = 2;
/// Bytes of a datagram that a name server may answer with: what passes every network in one piece.
pub const DNS_PAYLOAD_BYTES: u16 = 1_232;
/// Bytes of a regular expression's pattern.
pub const REGEX_PATTERN_BYTES: usize = 64 * 1024;
/// Bytes that one may take once compiled, and again while it is used.
pub const REGEX_BYTES: usize = 4 * 1024 * 1024;
/// Compiled patterns that `regex.test` and `regex.match` keep for the next call.
pub const REGEXES_KEPT: usize = 64;
/// Matches and pieces that one call gives.
pub const REGEX_MATCHES: usize = 100_000;
/// Keys of a script's store.
pub const STORE_KEYS: u32 = 10_000;
/// Bytes of one key.
pub const STORE_KEY_BYTES: usize = 512;
/// Bytes of one value, as JSON.
pub const STORE_VALUE_BYTES: usize = 256 * 1024;
/// Bytes of a store's file.
pub const STORE_BYTES: u32 = 64 * 1024 * 1024;
/// How long a store that another process of the same script writes to is waited for.
pub const STORE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a command's output that are kept, for stdout and stderr each.
pub const COMMAND_OUTPUT_BYTES: usize = 1024 * 1024;
/// How long a command's output is read on after its end, if a helper of it holds the pipe open.
pub const OUTPUT_AFTER_EXIT: Duration = Duration::from_millis(200);

const _: () = assert!(SCRIPT_LOCK_TIMEOUT.as_secs() < READY_TIMEOUT.as_secs());
const _: () = assert!(OUTBOX_PAUSE_BYTES < OUTBOX_DROP_BYTES);
const _: () = assert!(CHECK_WORDS < TEXT_WORDS);
const _: () = assert!(EVENT_OUTBOX_BYTES < OUTBOX_PAUSE_BYTES);
const _: () = assert!(LINE_BYTES as u64 * 2 < OUTBOX_DROP_BYTES);
const _: () = assert!(STORED_RESULT_BYTES < LINE_BYTES);
const _: () = assert!(PRUNED_AT_ONCE < STORED_ANSWERS);
const _: () = assert!(PING_EVERY.as_secs() < SESSION_IDLE.as_secs());
const _: () = assert!(SETTLE.as_millis() < SETTLE_MOST.as_millis());
const _: () = assert!(JSON_DEPTH < 128);
const _: () = assert!(DELIVERIES_PER_HOOK < DELIVERIES_AT_ONCE);
const _: () = assert!(READY_TIMEOUT.as_secs() < CHECK_PARENT_WAIT.as_secs());
const _: () = assert!(PLUGIN_CONCURRENCY as usize == CHECKS_AT_ONCE);
const _: () = assert!(PLUGIN_LOAD_TIMEOUT.as_secs() < READY_TIMEOUT.as_secs());
