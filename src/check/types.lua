
--- What plugins in `plugins/` have as globals. docs/checks.md describes them.

---@class moonkeep.CheckOptions
---@field every? number|string how often the daemon runs it, start to start: "30s" (the default), "1m"
---@field retry_every? number|string the same while its last result is not its confirmed state; default 5 s
---@field cron? string in the place of `every`: "*/5 * * * *", in local time
---@field timeout? number|string default 10 s
---@field rise? integer good results in a row that confirm a recovery; default 2
---@field fall? integer bad results in a row that confirm a problem; default 3
---@field jitter? number share of `every` by which runs are spread; default 0.1
---@field tags? string[]
---@field needs? string[] names of parents

---@class moonkeep.HeartbeatOptions
---@field every? number|string how often it is expected; in the plugin or in its section
---@field grace? number|string how late it may be; default 1 m
---@field tags? string[]
---@field needs? string[] names of parents

--- A confirmed change of a check, as on_change hears of it.
---@class moonkeep.Change
---@field kind "problem"|"recovery"|"flapping_start"|"flapping_stop"
---@field check string
---@field instance string
---@field from? "ok"|"warning"|"unknown"|"critical"
---@field to "ok"|"warning"|"unknown"|"critical"
---@field message string
---@field measures table[]
---@field tags string[]
---@field began_unix_ms integer when the problem began
---@field at_unix_ms integer

---@class moonkeep.Thresholds
---@field warn? number|string a number: above it; a text: a Nagios range like "10:20"
---@field crit? number|string
---@field min? number
---@field max? number

---@class moonkeep.Probe
---@field name string
---@field state table lasts between runs
local probe = {}

--- Critical, if the condition does not hold; the function goes on. Without a message: file and line.
---@generic T
---@param condition T
---@param message? string
---@return T condition
function probe:expect(condition, message) end

--- A warning, if the condition does not hold; with a text alone in any case.
---@param condition any
---@param message? string
function probe:warn(condition, message) end

---@param message string
function probe:critical(message) end

---@param message string
function probe:unknown(message) end

--- Notes a value and judges it by the thresholds.
---@param name string
---@param value number?
---@param unit? string "s", "%", "B", "c", ...
---@param thresholds? moonkeep.Thresholds
---@return number? value
function probe:measure(name, value, unit, thresholds) end

--- Seconds that are left for a host call.
---@return number
function probe:remaining() end

--- Declares a check. The options may be left out.
---@param name string
---@param options moonkeep.CheckOptions
---@param run fun(c: moonkeep.Probe): string?
---@overload fun(name: string, run: fun(c: moonkeep.Probe): string?)
function check(name, options, run) end

--- Declares a heartbeat: a job tells of itself with `moonkeep heartbeat NAME`, and silence is critical.
---@param name string
---@param options? moonkeep.HeartbeatOptions
function heartbeat(name, options) end

--- Calls a function in the daemon at each confirmed change of a check of this plugin.
---@param hook fun(change: moonkeep.Change)
function on_change(hook) end

--- Declares and reads a parameter; nil as default: required.
---@generic T
---@param name string
---@param default T?
---@param doc? string
---@return T
function param(name, default, doc) end

--- Runs an existing monitoring plugin.
---@param command string|string[]
---@return fun(c: moonkeep.Probe): string?
function nagios(command) end

-- The modules under their short names.
---@type moonkeep.dns.Module
dns = {}
---@type moonkeep.fs.Module
fs = {}
---@type moonkeep.http.Module
http = {}
---@type moonkeep.icmp.Module
icmp = {}
---@type moonkeep.json.Module
json = {}
---@type moonkeep.process.Module
process = {}
---@type moonkeep.regex.Module
regex = {}
---@type moonkeep.store.Module
store = {}
---@type moonkeep.system.Module
system = {}
---@type moonkeep.tcp.Module
tcp = {}
---@type moonkeep.time.Module
time = {}
---@type moonkeep.tls.Module
tls = {}
---@type moonkeep.udp.Module
udp = {}
---@type moonkeep.unix.Module
unix = {}
