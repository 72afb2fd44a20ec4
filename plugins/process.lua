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

local meant = given(name) or given(matches) or given(pidfile) or user

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

-- The processor seconds of each.
local function seconds_of(found)
  local now = {}
  for _, process in ipairs(found) do
    now[process.pid] = { used = process.cpu, started = process.started }
  end
  return { at = time.monotonic(), of = now }
end

-- Percent since the last run; a first run watches for half a second.
local function usage(c, found, again)
  local before, now = c.state.cpu, seconds_of(found)
  if not before or now.at - before.at < 0.5 then
    time.sleep(0.5)
    before, now = now, seconds_of(again())
  end
  c.state.cpu = now
  local spent = 0
  for pid, one in pairs(now.of) do
    local same = before.of[pid]
    -- A process id that is used again is another process.
    if same and math.abs(same.started - one.started) > 2 then
      same = nil
    end
    spent = spent + math.max(0, one.used - (same and same.used or 0))
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

check("process " .. meant, { every = "30s", tags = { "machine" } }, function(c)
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
  local function look()
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
    return found, dead, bytes
  end
  local found, dead, bytes = look()
  c:measure("processes", #found, "", { warn = exactly(count_warn), crit = exactly(count), min = 0 })
  c:measure("memory", bytes, "B", { warn = given(memory), crit = given(memory_crit), min = 0 })
  if cpu ~= "" or cpu_crit ~= "" then
    c:measure("cpu", usage(c, found, look), "%", { warn = given(cpu), crit = given(cpu_crit), min = 0 })
  end
  if zombies ~= "" then
    c:measure("zombies", dead, "", { warn = zombies, min = 0 })
  end
  local only = #found == 1 and ", pid " .. found[1].pid or ""
  return ("%d of %s%s, %.1f MB"):format(#found, meant, only, bytes / 1e6)
end)
