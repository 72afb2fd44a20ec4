---@meta
-- Generated from the tables in moonkeep's src/lua. Do not edit: moonkeep init --types writes it anew.

--- Handlers, calls, events, timers, the script's own facts.
---@class moonkeep.Core
local moonkeep_Core = {}
moonkeep_Core.log = {}

---What a handler gets.
---@class moonkeep.Request
---@field params table the caller's parameters, `{}` if it sent none
---@field id string? the caller's own id of the request
---@field client string? the UUID of the client
---@field deadline number seconds left
---@field part fun(self: moonkeep.Request, value: any) sends a part of the answer at once
---@field progress fun(self: moonkeep.Request, fraction: number, note?: string) sends `{ progress = fraction, note = note }` as a part

---@class moonkeep.HandlerOptions
---@field delivery? "once"|"idempotent"|"query" what may happen when a request is repeated or a worker dies; "once" unless given
---@field timeout? string|number longest time of a request: "5s" or seconds; the caller's shorter one wins

---@class moonkeep.CallOptions
---@field timeout? string|number longest time to wait: "5s" or seconds

---@class moonkeep.Event
---@field name string
---@field data any what the sender gave
---@field from string? the script that sent it

---@class moonkeep.Task
---@field cancel fun(self: moonkeep.Task) stops it; its `<close>` variables run
---@field wait fun(self: moonkeep.Task, timeout?: string|number): any waits for its end and gives what it returned; raises what it raised

---What `pcall` gives of a failed function of moonkeep; `tostring` gives the message.
---@class moonkeep.Error
---@field code string
---@field message string
---@field data any
---@field retry_after number? seconds

--- Registers a handler. `error{ code = "not_found", message = "..." }` in it answers `script_error` with that table as data. An error if the name is taken.
---@param name string what callers name; 1 to 128 characters without blanks
---@param handler fun(request: moonkeep.Request): any called for each request, as a coroutine of its own; what it returns is the answer
---@param options? moonkeep.HandlerOptions how it may be repeated, and its time limit
function moonkeep_Core.handle(name, handler, options) end

--- Calls a handler of another script, or of this one, and gives its result. Raises a `moonkeep.Error` with the refusal's `code` (`busy`, `timeout`, `unknown_script`, `script_error`, ...). Stopping the caller cancels the request.
---@async
---@param script string the script's name
---@param handler string the handler's name
---@param params? table its parameters
---@param options? moonkeep.CallOptions 30 s unless given
---@return any
function moonkeep_Core.call(script, handler, params, options) end

--- Tells an event to everybody who listens: scripts with `moonkeep.on`, clients with `moonkeep events`.
---@async
---@param event string the event's name, such as `disk.full`
---@param data? any what goes with it
function moonkeep_Core.emit(event, data) end

--- Listens for events. At most 64 subscriptions a script.
---@param pattern string an event's name; `*` stands for any run of characters
---@param handler fun(event: moonkeep.Event) called for each such event, as a coroutine of its own
function moonkeep_Core.on(pattern, handler) end

--- Calls a function again and again, first after one interval. What it raises goes to the log, and it goes on.
---@param interval string|number `"10s"`, or seconds
---@param f fun() called each time; never twice at once: a run that takes longer skips beats
---@return moonkeep.Task
function moonkeep_Core.every(interval, f) end

--- Calls a function by the calendar: `moonkeep.cron("*/5 * * * *", f)`.
---@param schedule string minute, hour, day, month, weekday; with six fields, seconds first
---@param f fun() called at those times, in the machine's time zone
---@return moonkeep.Task
function moonkeep_Core.cron(schedule, f) end

--- Calls a function once, later.
---@param delay string|number `"1s"`, or seconds
---@param f fun() called once
---@return moonkeep.Task
function moonkeep_Core.after(delay, f) end

--- Waits. Everything else of the script goes on meanwhile.
---@async
---@param time string|number seconds, or `"500ms"`
function moonkeep_Core.sleep(time) end

--- How many tasks of this script are alive: requests that run, the caller's among them, timers, what `spawn` has started, kept connections of `moonkeep.http`. A number that only grows tells of a leak.
---@return integer
function moonkeep_Core.tasks() end

--- Starts a function as a task of the script's own. What it raises goes to the log unless somebody waits for it.
---@param f fun(...): any run beside everything else
---@param ... any its arguments
---@return moonkeep.Task
function moonkeep_Core.spawn(f, ...) end

--- Hands state to the new code at a reload. The function has one second.
---@param f fun(): any returns the state for the next generation, as JSON can say it, at most 256 KiB
function moonkeep_Core.on_handover(f) end

--- Runs a function before the worker leaves, within its grace time (5 s unless set).
---@param f fun() called before the worker leaves
function moonkeep_Core.on_shutdown(f) end

--- What `on_handover` of the generation before returned; nil after a fresh start.
---@type any
moonkeep_Core.handover = nil

--- Writes to the script's log.
---@param ... any shown as `print` shows them
function moonkeep_Core.log.debug(...) end

--- Writes to the script's log.
---@param ... any shown as `print` shows them
function moonkeep_Core.log.info(...) end

--- Writes to the script's log.
---@param ... any shown as `print` shows them
function moonkeep_Core.log.warn(...) end

--- Writes to the script's log.
---@param ... any shown as `print` shows them
function moonkeep_Core.log.error(...) end

--- The script's name.
---@type string
moonkeep_Core.script = nil

--- Counts the workers that the script has had.
---@type integer
moonkeep_Core.generation = nil

--- The home's folder.
---@type string
moonkeep_Core.home = nil

--- The folder that the script may write.
---@type string
moonkeep_Core.state_dir = nil

--- Questions to name servers.
---@class moonkeep.dns.Module
local moonkeep_dns_Module = {}

---@alias moonkeep.dns.Kind 'A'|'AAAA'|'CAA'|'CNAME'|'MX'|'NS'|'PTR'|'SOA'|'SRV'|'TXT'

---@class moonkeep.dns.Options
---@field server? string `'1.1.1.1'`, `'[::1]:5353'`; default: those of /etc/resolv.conf, one after the other
---@field timeout? number|string whole time; default 10 s
---@field tcp? boolean ask over TCP at once

---@class moonkeep.dns.Answer
---@field rcode string `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED`, ...
---@field records moonkeep.dns.Record[] of the answer, aliases (CNAME) on the way included
---@field values string[] `value` of those records that are of the kind that was asked for
---@field authoritative boolean
---@field authenticated boolean the server has checked DNSSEC
---@field server string that answered
---@field seconds number

---@class moonkeep.dns.Record
---@field name string
---@field kind string
---@field ttl integer seconds
---@field value string as in a zone file, without the dot at the end: `'10 mx.example.org'`, `'192.0.2.1'`
---@field priority? integer MX, SRV
---@field weight? integer SRV
---@field port? integer SRV
---@field target? string MX, SRV, NS, CNAME, PTR
---@field serial? integer SOA
---@field primary? string SOA
---@field tag? string CAA

--- Asks a name server. That a name does not exist is an answer (`rcode` is `NXDOMAIN`), not an error; an error is raised only if there is no answer. UDP first, then TCP if the answer did not fit.
---@async
---@param name string whole, without search domains; an address is turned round for `PTR`
---@param kind? moonkeep.dns.Kind default `"A"`
---@param options? moonkeep.dns.Options see the type
---@return moonkeep.dns.Answer
function moonkeep_dns_Module.resolve(name, kind, options) end

--- Files and folders.
---@class moonkeep.fs.Module
local moonkeep_fs_Module = {}

---@class moonkeep.fs.Stat
---@field kind 'file'|'folder'|'other'
---@field size integer bytes
---@field modified number seconds since 1970
---@field mode integer permission bits
---@field uid integer
---@field gid integer
---@field owner? string the user's name, if it can be found out
---@field group? string
---@field accessed number seconds since 1970
---@field changed number when its facts or content changed last, seconds since 1970
---@field inode integer
---@field device integer
---@field links integer

--- The whole file, at most 8 MiB. An error if it cannot be read or is no regular file.
---@async
---@param path string absolute, or relative to the working folder
---@return string
function moonkeep_fs_Module.read(path) end

--- Replaces the file, or makes it. A reader sees the old or the new text, never a part.
---@async
---@param path string absolute, or relative to the working folder
---@param data string any bytes
function moonkeep_fs_Module.write(path, data) end

--- Adds to the end of the file, or makes it.
---@async
---@param path string absolute, or relative to the working folder
---@param data string any bytes
function moonkeep_fs_Module.append(path, data) end

--- Whether something stands there; a link counts if its target exists.
---@async
---@param path string absolute, or relative to the working folder
---@return boolean
function moonkeep_fs_Module.exists(path) end

--- Facts about what stands there, links followed; nil if nothing does.
---@async
---@param path string absolute, or relative to the working folder
---@return moonkeep.fs.Stat?
function moonkeep_fs_Module.stat(path) end

--- The hash of a file of any size, hexadecimal. An error if it is no regular file.
---@async
---@param path string absolute, or relative to the working folder
---@param kind? 'sha256'|'blake3' default `sha256`
---@return string
function moonkeep_fs_Module.hash(path, kind) end

--- A part of a file, and the offset behind it. Nothing if the file ends before it; a log that has become shorter was begun anew (`stat` tells its `inode`).
---@async
---@param path string absolute, or relative to the working folder
---@param offset integer bytes to leave out; below 0: counted from the end
---@param most? integer bytes to read; default and most 8 MiB
---@return string
---@return integer
function moonkeep_fs_Module.read_at(path, offset, most) end

--- The last lines of a file, of its last 8 MiB at most.
---@async
---@param path string absolute, or relative to the working folder
---@param lines? integer default 10, most 100,000
---@return string[]
function moonkeep_fs_Module.tail(path, lines) end

--- The names in a folder, sorted.
---@async
---@param path string absolute, or relative to the working folder
---@return string[]
function moonkeep_fs_Module.list(path) end

--- Makes a folder and those above it; no error if it exists.
---@async
---@param path string absolute, or relative to the working folder
function moonkeep_fs_Module.mkdir(path) end

--- Removes a file or an empty folder.
---@async
---@param path string absolute, or relative to the working folder
function moonkeep_fs_Module.remove(path) end

--- Gives a file or folder another name on the same file system.
---@async
---@param path string absolute, or relative to the working folder
---@param to string replaced if it exists
function moonkeep_fs_Module.rename(path, to) end

--- HTTP requests as a client.
---@class moonkeep.http.Module
local moonkeep_http_Module = {}

---@class moonkeep.http.Options
---@field headers? table<string, string>
---@field body? string
---@field json? any sent as the body, with its content type; instead of `body`
---@field timeout? number|string whole time, body included; default 10 s
---@field max_bytes? integer a larger body is an error; default and most 8 MiB
---@field follow? boolean follow up to 10 redirects; default true
---@field insecure? boolean accept any certificate; default false
---@field ca? string path of a PEM file whose certificates are trusted as well
---@field proxy? string `http://host:port`; those of the environment are never used

---@class moonkeep.http.Response
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined by a comma
---@field body string
---@field seconds number from the request to the end of the body
---@field url string the address that answered, after redirects
---@field redirects string[] the addresses that were gone to on the way, in order
---@field timing moonkeep.http.Timing where the time went
---@field json fun(self): any the body, read as JSON

---@class moonkeep.http.Timing seconds; over all redirects
---@field resolve number looking up the name; 0 for an address and for a connection that was kept
---@field connect number TCP and TLS, without looking up the name; 0 for a connection that was kept
---@field wait number until the answer's headers were there, less the above
---@field transfer number the body

--- Fetches `url`. Any status is an answer; an error is raised only if there is none.
---@async
---@param url string `http://` or `https://`
---@param options? moonkeep.http.Options see the type
---@return moonkeep.http.Response
function moonkeep_http_Module.get(url, options) end

--- Like `get`, without the body.
---@async
---@param url string `http://` or `https://`
---@param options? moonkeep.http.Options see the type
---@return moonkeep.http.Response
function moonkeep_http_Module.head(url, options) end

--- Sends `options.body` to `url`.
---@async
---@param url string `http://` or `https://`
---@param options? moonkeep.http.Options see the type
---@return moonkeep.http.Response
function moonkeep_http_Module.post(url, options) end

--- Sends a request with any method.
---@async
---@param method string `"PUT"`, `"DELETE"`, ...
---@param url string `http://` or `https://`
---@param options? moonkeep.http.Options see the type
---@return moonkeep.http.Response
function moonkeep_http_Module.request(method, url, options) end

--- Pings, where the kernel lets ordinary users send them (`net.ipv4.ping_group_range`).
---@class moonkeep.icmp.Module
local moonkeep_icmp_Module = {}

---@class moonkeep.icmp.Options
---@field timeout? number|string whole time; default 10 s
---@field count? integer requests, 1 to 100; default 1
---@field every? number|string between two requests; default 0.2 s
---@field wait? number|string for one answer; default 1 s
---@field size? integer bytes of each request, 0 to 65,000; default 56

---@class moonkeep.icmp.Reply
---@field peer string the address that answered
---@field sent integer
---@field received integer
---@field lost number per cent
---@field seconds number mean time from a request to its answer
---@field least number
---@field most number

--- Sends echo requests and waits for the answers. Some lost ones are part of the result; an error is raised if none is answered. A confined script needs `allow.net = ["host:*"]`.
---@async
---@param host string a name or an address
---@param options? moonkeep.icmp.Options see the type
---@return moonkeep.icmp.Reply
function moonkeep_icmp_Module.ping(host, options) end

--- JSON text from Lua values and back, without silent losses.
---@class moonkeep.json.Module
local moonkeep_json_Module = {}

--- Writes a value as one line of JSON, keys in order. A table with the keys 1 to n is an array, one with string keys an object, an empty one an object unless made by `json.array`. Raises an error that names the place for what JSON cannot say: functions, mixed or sparse tables, NaN, infinities, invalid UTF-8, tables that contain themselves, more than 64 levels or 100,000 values.
---@param value any a table, string, number, boolean, nil or `json.null`
---@return string
function moonkeep_json_Module.encode(value) end

--- Reads JSON. `null` in an object leaves the field out; in an array it is `json.null`. Numbers without a fraction become integers. Raises an error with line and column.
---@param text string one JSON document
---@return any
function moonkeep_json_Module.decode(text) end

--- Marks a table as an array: `json.array{}` is written `[]`.
---@param values? any[] a table that is to be an array even when it is empty; a new one if left out
---@return any[]
function moonkeep_json_Module.array(values) end

--- Stands for `null` in arrays, and wherever a `null` is to be written. It is a value, so `if json.null` holds.
---@type lightuserdata
moonkeep_json_Module.null = nil

--- Runs commands, without a shell.
---@class moonkeep.process.Module
local moonkeep_process_Module = {}

---@class moonkeep.process.Options
---@field timeout? number|string after which its whole process group is killed; default: none
---@field stdin? string
---@field cwd? string
---@field env? table<string, string> added to the environment

---@class moonkeep.process.Result
---@field code? integer exit code
---@field signal? integer the signal that killed it
---@field stdout string at most 1 MiB
---@field stderr string at most 1 MiB
---@field seconds number

--- Runs a command and waits for its end. Any exit code is a result; an error is raised if it cannot be started or its time is up.
---@async
---@param command string|string[] program and arguments; text is split into words as a shell would, nothing else is expanded
---@param options? moonkeep.process.Options see the type
---@return moonkeep.process.Result
function moonkeep_process_Module.run(command, options) end

--- Regular expressions in time that is linear in the text, unlike Lua's patterns.
---@class moonkeep.regex.Module
local moonkeep_regex_Module = {}

---@class moonkeep.regex.Options
---@field ignore_case? boolean
---@field multi_line? boolean `^` and `$` also at lines
---@field dot_all? boolean `.` also matches a line break

---@class moonkeep.regex.Match: table the groups by number and by name; those that took no part are absent
---@field text string all that matched
---@field first integer where it begins, as in string.sub
---@field last integer where it ends

---@class moonkeep.regex.Regex
---@field test fun(self, text: string): boolean
---@field match fun(self, text: string, from?: integer): moonkeep.regex.Match? the first place from there on
---@field find fun(self, text: string, from?: integer): integer?, integer? where it begins and ends
---@field all fun(self, text: string, most?: integer): moonkeep.regex.Match[] every place, or so many; never more than 100,000
---@field replace fun(self, text: string, with: string, most?: integer): string, integer `$1`, `${name}`, `$0` in `with` are groups, `$$` a dollar; also gives how many
---@field split fun(self, text: string, most?: integer): string[] the pieces between matches, at most so many

--- An expression to use many times. The syntax is that of Rust's regex crate: like Perl's, without look-around and back-references. An error says where the pattern is wrong.
---@param pattern string at most 64 KiB; `[[\d+]]` is the handiest way to write one
---@param options? moonkeep.regex.Options see the type
---@return moonkeep.regex.Regex
function moonkeep_regex_Module.compile(pattern, options) end

--- Whether the pattern occurs in the text. Patterns of this form are kept compiled.
---@param text string any bytes
---@param pattern string at most 64 KiB; `[[\d+]]` is the handiest way to write one
---@return boolean
function moonkeep_regex_Module.test(text, pattern) end

--- The first place where the pattern occurs in the text, or nil.
---@param text string any bytes
---@param pattern string at most 64 KiB; `[[\d+]]` is the handiest way to write one
---@return moonkeep.regex.Match?
function moonkeep_regex_Module.match(text, pattern) end

--- A pattern that means this text and nothing else.
---@param text string any bytes
---@return string
function moonkeep_regex_Module.escape(text) end

--- Values that outlive the script: restarts, crashes and power losses. Each script and each plugin has its own.
---@class moonkeep.store.Module
local moonkeep_store_Module = {}

---@class moonkeep.store.Transaction
---@field get fun(key: string, default?: any): any
---@field set fun(key: string, value: any)
---@field delete fun(key: string): boolean
---@field keys fun(prefix?: string): string[]
---@field incr fun(key: string, by?: number): number

--- The value of a key, or the default.
---@async
---@param key string 1 to 512 bytes
---@param default? any given if there is no such key
---@return any
function moonkeep_store_Module.get(key, default) end

--- Keeps a value. Once it has returned, the value is on the disk.
---@async
---@param key string 1 to 512 bytes
---@param value any what JSON can say, at most 256 KiB of it; nil deletes
function moonkeep_store_Module.set(key, value) end

--- Forgets a key; whether it was there.
---@async
---@param key string 1 to 512 bytes
---@return boolean
function moonkeep_store_Module.delete(key) end

--- The keys, sorted.
---@async
---@param prefix? string only those that begin so
---@return string[]
function moonkeep_store_Module.keys(prefix) end

--- Adds to a number, 0 if there is none, and gives the sum. Nobody else's change is lost between.
---@async
---@param key string 1 to 512 bytes
---@param by? number default 1; may be negative
---@return number
function moonkeep_store_Module.incr(key, by) end

--- All that the function writes, or nothing: if it raises an error, nothing has changed, and the error goes on. Nobody else writes meanwhile. Gives what the function returns.
---@async
---@param run fun(tx: moonkeep.store.Transaction): any reads and writes through `tx`; it may not wait
---@return any
function moonkeep_store_Module.transaction(run) end

--- Load, memory, disks, processes and listeners of this machine.
---@class moonkeep.system.Module
local moonkeep_system_Module = {}

---@class moonkeep.system.Load
---@field one number
---@field five number
---@field fifteen number
---@field processors integer
---@field per_processor moonkeep.system.Averages the same, shared by the processors

---@class moonkeep.system.Averages
---@field one number
---@field five number
---@field fifteen number

---@class moonkeep.system.Memory
---@field total integer
---@field available integer what programs could still get
---@field used integer total less available
---@field swap_total integer
---@field swap_free integer

---@class moonkeep.system.Disk
---@field total integer bytes
---@field free integer bytes, those reserved for root included
---@field available integer bytes that an ordinary user could still write
---@field used integer bytes
---@field used_percent number as df counts: used of used and available
---@field inodes integer 0 where the file system has no fixed number
---@field inodes_free integer

---@class moonkeep.system.Process
---@field pid integer
---@field parent integer
---@field name string
---@field state string one letter: R running, S sleeping, D waiting for a disk, Z dead but not collected, ...
---@field command string with its arguments; empty for the kernel's own
---@field uid integer
---@field memory integer resident bytes
---@field threads integer
---@field cpu number seconds of processor time that it has used; for a share, measure twice
---@field cpu_percent number of one processor, over its whole life
---@field started number seconds since 1970

---@class moonkeep.system.Listener
---@field protocol 'tcp'|'udp'
---@field address string what it listens on: `0.0.0.0` and `::` are all addresses
---@field port integer
---@field pids integer[] the processes that hold the socket; empty if they cannot be seen
---@field names string[] the names of these processes

--- Load averages over 1, 5 and 15 minutes, and the processors that share them.
---@return moonkeep.system.Load
function moonkeep_system_Module.load() end

--- Bytes of memory, within the limit of the container if there is one.
---@return moonkeep.system.Memory
function moonkeep_system_Module.memory() end

--- Bytes and inodes of a file system.
---@async
---@param path string anything on the file system meant
---@return moonkeep.system.Disk
function moonkeep_system_Module.disk(path) end

--- Every process that can be seen, by pid. A confined script needs `allow.read = ["/proc"]`.
---@return moonkeep.system.Process[]
function moonkeep_system_Module.processes() end

--- Every TCP and UDP port that something listens on, by port. Who it is, is there for processes that the user may look into: the user's own, for root all. A confined script needs `allow.read = ["/proc"]`.
---@async
---@return moonkeep.system.Listener[]
function moonkeep_system_Module.listeners() end

--- Seconds since the machine started.
---@return number
function moonkeep_system_Module.uptime() end

--- The machine's name.
---@return string
function moonkeep_system_Module.hostname() end

--- TCP connections as a client.
---@class moonkeep.tcp.Module
local moonkeep_tcp_Module = {}

---@class moonkeep.tcp.Options
---@field timeout? number|string

---@class moonkeep.tcp.Connection
---@field seconds number time that connecting took
---@field peer string the address that answered
---@field read fun(self, format?: string|integer): string? a line (`'l'`, the default), that many bytes at most, or all until the end (`'a'`); nil at the end
---@field write fun(self, data: string)
---@field close fun(self) also done by `local connection <close> = ...`, and by the garbage collector, some time

--- Connects to `address`. Raises an error if that fails; it names the address and the reason.
---@async
---@param address string `"host:port"`, `"[::1]:port"`
---@param options? moonkeep.tcp.Options `timeout`: for connecting and for each read and write; default 10 s
---@return moonkeep.tcp.Connection
function moonkeep_tcp_Module.connect(address, options) end

--- Clocks, and times as text.
---@class moonkeep.time.Module
local moonkeep_time_Module = {}

--- Seconds since 1970, UTC, with fractions.
---@return number
function moonkeep_time_Module.now() end

--- Seconds from some fixed moment; never goes back. For measuring.
---@return number
function moonkeep_time_Module.monotonic() end

--- Waits; other coroutines run meanwhile.
---@async
---@param time number|string seconds, or text like `"500ms"`, `"1m"`
function moonkeep_time_Module.sleep(time) end

--- The seconds in a time like `"1m30s"`.
---@param time number|string seconds, or text like `"500ms"`, `"1m"`
---@return number
function moonkeep_time_Module.seconds(time) end

--- The moment as `2026-11-20T21:18:03Z`, UTC.
---@param seconds? number since 1970; default: now
---@return string
function moonkeep_time_Module.iso(seconds) end

--- Seconds since 1970 of a moment written as ISO 8601; an error if it is none.
---@param text string `2026-11-20T21:18:03Z` or with an offset
---@return number
function moonkeep_time_Module.parse(text) end

--- TLS connections as a client, and the facts of a server's certificates.
---@class moonkeep.tls.Module
local moonkeep_tls_Module = {}

---@class moonkeep.tls.Options
---@field timeout? number|string whole time until TLS stands; default 10 s
---@field server_name? string the name to ask for and to verify; default: the host of the address
---@field starttls? 'smtp'|'imap'|'pop3'|'ftp'|'postgres' speak this protocol in the clear first, until it changes to TLS
---@field ca? string path of a PEM file whose certificates are trusted as well
---@field insecure? boolean `connect` only: accept any certificate
---@field alpn? string[] protocols to offer, `{ 'h2', 'http/1.1' }`

---@class moonkeep.tls.Facts
---@field subject string `CN=example.org, O=...`
---@field issuer string
---@field names string[] host names and addresses that it is for
---@field not_before integer seconds since 1970
---@field not_after integer seconds since 1970
---@field days_left number until `not_after`; below 0 once it has expired
---@field serial string hexadecimal
---@field sha256 string fingerprint, hexadecimal
---@field self_signed boolean subject and issuer are the same

---@class moonkeep.tls.Certificate: moonkeep.tls.Facts
---@field chain moonkeep.tls.Facts[] all that the server sent, its own first
---@field verified boolean whether it would be trusted for `server_name`
---@field why? string why not
---@field version string `TLSv1.3`
---@field cipher string
---@field alpn? string the protocol that was agreed on
---@field peer string the address that answered
---@field seconds number from the beginning until TLS stood

---@class moonkeep.tls.Connection: moonkeep.tcp.Connection
---@field tls moonkeep.tls.Certificate

--- Connects to `address` and agrees on TLS. Raises an error if the server cannot be reached, or if its certificate cannot be trusted (unless `insecure`); it says why.
---@async
---@param address string `"host:port"`; the port may be left out: 443
---@param options? moonkeep.tls.Options see the type; `timeout` is also that of each read and write
---@return moonkeep.tls.Connection
function moonkeep_tls_Module.connect(address, options) end

--- The certificate that the server shows, and those above it. An expired, self-signed or misnamed one is no error: `verified` and `why` say whether it would be trusted. An error is raised only if there is none.
---@async
---@param address string `"host:port"`; the port may be left out: 443
---@param options? moonkeep.tls.Options see the type
---@return moonkeep.tls.Certificate
function moonkeep_tls_Module.certificate(address, options) end

--- UDP datagrams as a client.
---@class moonkeep.udp.Module
local moonkeep_udp_Module = {}

---@class moonkeep.udp.RequestOptions
---@field timeout? number|string whole time, all tries; default 10 s
---@field tries? integer how often it is sent, evenly over the time; default 3

---@class moonkeep.udp.Options
---@field timeout? number|string

---@class moonkeep.udp.Reply
---@field data string
---@field peer string the address that answered
---@field seconds number from the try that was answered to its answer, as far as one can know
---@field tries integer

---@class moonkeep.udp.Socket
---@field peer string
---@field send fun(self, data: string)
---@field receive fun(self): string the next datagram
---@field close fun(self) also done by `local socket <close> = ...`, and by the garbage collector, some time

--- Sends a datagram and waits for one from the same address; sends it again if none comes. Raises an error if none ever comes, or if the machine there says that nobody listens.
---@async
---@param address string `"host:port"`, `"[::1]:port"`
---@param data string any bytes, at most 65,507
---@param options? moonkeep.udp.RequestOptions see the type
---@return moonkeep.udp.Reply
function moonkeep_udp_Module.request(address, data, options) end

--- Sends one datagram. That it was sent says nothing about its arrival.
---@async
---@param address string `"host:port"`, `"[::1]:port"`
---@param data string any bytes, at most 65,507
function moonkeep_udp_Module.send(address, data) end

--- A socket to send to one address and receive from it.
---@async
---@param address string `"host:port"`, `"[::1]:port"`
---@param options? moonkeep.udp.Options `timeout`: for looking up the name and for each `receive`; default 10 s
---@return moonkeep.udp.Socket
function moonkeep_udp_Module.open(address, options) end

--- Unix sockets as a client.
---@class moonkeep.unix.Module
local moonkeep_unix_Module = {}

---@class moonkeep.unix.Options
---@field timeout? number|string

--- Connects to a stream socket. Raises an error if that fails; it names the socket and the reason. A confined script needs the path in `allow.unix`.
---@async
---@param path string of the socket; `"@name"` for an abstract one
---@param options? moonkeep.unix.Options `timeout`: for connecting and for each read and write; default 10 s
---@return moonkeep.tcp.Connection
function moonkeep_unix_Module.connect(path, options) end

---@overload fun(name: "moonkeep"): moonkeep.Core
---@overload fun(name: "moonkeep.dns"): moonkeep.dns.Module
---@overload fun(name: "moonkeep.fs"): moonkeep.fs.Module
---@overload fun(name: "moonkeep.http"): moonkeep.http.Module
---@overload fun(name: "moonkeep.icmp"): moonkeep.icmp.Module
---@overload fun(name: "moonkeep.json"): moonkeep.json.Module
---@overload fun(name: "moonkeep.process"): moonkeep.process.Module
---@overload fun(name: "moonkeep.regex"): moonkeep.regex.Module
---@overload fun(name: "moonkeep.store"): moonkeep.store.Module
---@overload fun(name: "moonkeep.system"): moonkeep.system.Module
---@overload fun(name: "moonkeep.tcp"): moonkeep.tcp.Module
---@overload fun(name: "moonkeep.time"): moonkeep.time.Module
---@overload fun(name: "moonkeep.tls"): moonkeep.tls.Module
---@overload fun(name: "moonkeep.udp"): moonkeep.udp.Module
---@overload fun(name: "moonkeep.unix"): moonkeep.unix.Module
---@param name string
---@return any
function require(name) end
