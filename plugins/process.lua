-- Whether a program runs: how often, with how much memory and processor time.
local matches = param("matches", "", "regular expression for the whole command line, instead of a name")
local pidfile = param("pidfile", "", "file with the process id, instead of a name")
local user = param("user", "", "name or number of the user whose processes are meant; empty: anybody's")
local named = "name of the program, as ps and top show it or as it was started"
local name
if matches == "" and pidfile == "" and user == "" then
  name = param("name", nil, named .. "; or give matches, pidfile or user")
else
  name = param("name", "", named)
end
local count = param("count", "1:", "how many there should be: a range outside of which it is critical")
local count_warn = param("count_warn", "", "how many there should be: a range outside of which we warn; empty: any")
local memory = param("memory", "", "resident bytes of all together above which we warn, or a range; empty: any")
local memory_crit = param("memory_crit", "", "resident bytes of all together above which it is critical; empty: any")
local cpu = param("cpu", "", "percent of one processor, of all together, above which we warn, or a range; empty: any")
local cpu_crit = param("cpu_crit", "", "percent of one processor above which it is critical, or a range; empty: any")
local zombies = param("zombies", "", "dead processes of that name that nobody has collected: above it we warn; empty: any")

local function given(text)
  return text ~= "" and text or nil
end

-- A regular expression that a parameter gave; nil if it is empty.
local function pattern(name, text)
  if text == "" then
    return nil
  end
  local good, compiled = pcall(regex.compile, text)
  if not good then
    error(("parameter `%s`: %s"):format(name, type(compiled) == "table" and compiled.message or tostring(compiled)), 0)
  end
  return compiled
end
local fitting = pattern("matches", matches)

-- A number that is given bare is how many there should be, exactly.
local function exactly(text)
  return text:match("^%d+$") and text .. ":" .. text or given(text)
end

local title = given(name) or given(matches) or given(pidfile) or "of " .. user

local function uid_of(wanted)
  if wanted == "" or wanted:match("^%d+$") then
    return tonumber(wanted)
  end
  for line in fs.read("/etc/passwd"):gmatch("[^\n]+") do
    local known, number = line:match("^([^:]*):[^:]*:(%d+)")
    if known == wanted then
      return tonumber(number)
    end
  end
  return nil, ("parameter `user`: /etc/passwd has no %q; give its number"):format(wanted)
end

-- The kernel keeps 15 bytes of a name; the command line has it whole.
local function has_name(process)
  local program = process.command:match("^%S+") or ""
  return process.name == name or program == name or program:match("[^/]+$") == name
end

local function is_meant(process, pid, uid)
  if pid then
    return process.pid == pid
  end
  return (name == "" or has_name(process)) and (not fitting or fitting:test(process.command))
    and (not uid or process.uid == uid)
end

-- The processor seconds of a process; the kernel counts in hundredths. nil if it has ended.
local function seconds_of(pid)
  local read, text = pcall(fs.read, ("/proc/%d/stat"):format(pid))
  local fields = {}
  for word in (read and text:match("^.*%)(.*)$") or ""):gmatch("%S+") do
    fields[#fields + 1] = tonumber(word) or word
  end
  return fields[13] and (fields[12] + fields[13]) / 100, fields[20]
end

local function seconds_of_all(found)
  local now = {}
  for _, process in ipairs(found) do
    local seconds, begun = seconds_of(process.pid)
    if seconds then
      now[process.pid .. "/" .. begun] = seconds
    end
  end
  return { at = time.monotonic(), of = now }
end

-- Percent since the last run; a first run watches for half a second.
local function usage(c, found)
  local before = c.state.cpu
  if not before or time.monotonic() - before.at < 0.5 then
    before = seconds_of_all(found)
    time.sleep(0.5)
  end
  local now = seconds_of_all(found)
  c.state.cpu = now
  local spent = 0
  for key, seconds in pairs(now.of) do
    spent = spent + math.max(0, seconds - (before.of[key] or 0))
  end
  return 100 * spent / (now.at - before.at)
end

local function pid_of_file(c)
  if not fs.exists(pidfile) then
    c:critical(("there is no %s: the program does not run, or writes it elsewhere"):format(pidfile))
    return nil
  end
  local pid = tonumber(fs.read(pidfile):match("^%s*(%d+)"))
  c:expect(pid, ("%s holds no process id"):format(pidfile))
  return pid
end

check("process " .. title, { every = "30s", tags = { "machine" } }, function(c)
  local pid
  if pidfile ~= "" then
    pid = pid_of_file(c)
    if not pid then
      return
    end
  end
  local uid, unknown = uid_of(user)
  if unknown then
    c:unknown(unknown)
    return
  end
  local found, dead, bytes = {}, 0, 0
  for _, process in ipairs(system.processes()) do
    if is_meant(process, pid, uid) then
      if process.state == "Z" then
        dead = dead + 1
      else
        found[#found + 1] = process
        bytes = bytes + process.memory
      end
    end
  end
  c:measure("processes", #found, "", { warn = exactly(count_warn), crit = exactly(count), min = 0 })
  c:measure("memory", bytes, "B", { warn = given(memory), crit = given(memory_crit), min = 0 })
  if cpu ~= "" or cpu_crit ~= "" then
    c:measure("cpu", usage(c, found), "%", { warn = given(cpu), crit = given(cpu_crit), min = 0 })
  end
  if zombies ~= "" then
    c:measure("zombies", dead, "", { warn = zombies, min = 0 })
  end
  local only = #found == 1 and ", pid " .. found[1].pid or ""
  return ("%d of %s%s, %.1f MB"):format(#found, title, only, bytes / 1e6)
end)
