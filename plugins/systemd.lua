-- Whether units of systemd are as they should be.
local units = param("units", nil, 'unit, or a list of units, each with a check of its own: "nginx", "backup.timer"; "*": none may have failed')
local states = param("states", { "active" }, "the good states: active, inactive, ...; for what runs now and then: active and inactive")
local user = param("user", false, "true: ask the user's own manager, not the system's")
local restarts = param("restarts", "", "restarts by systemd since the start: above it we warn, or a range; empty: any")
local memory = param("memory", "", "bytes of memory above which we warn, or a range; empty: any")

units = type(units) == "table" and units or { units }

local good = {}
for _, state in ipairs(states) do
  good[state] = true
end
local wanted = table.concat(states, " or ")

local function systemctl(c, ...)
  local command = { "systemctl", "--no-pager", "--plain", user and "--user" or "--system", ... }
  local called, result = pcall(process.run, command, { timeout = c:remaining() })
  if not called then
    local why = type(result) == "table" and result.message or tostring(result)
    c:unknown("systemd cannot be asked: " .. why .. "; on a machine without it use the plugins process and port")
    return nil
  end
  local trouble = result.stderr:match("[^\n]+") or ""
  if trouble:find("not been booted with systemd", 1, true) or trouble:find("Failed to connect", 1, true)
    or trouble:find("Failed to get D-Bus", 1, true) then
    c:unknown("this machine was not started by systemd, so its units cannot be asked for (" .. trouble
      .. "); use the plugins process and port")
    return nil
  end
  if result.code ~= 0 then
    c:unknown(("systemctl ended with exit code %s: %s"):format(result.code or "of a signal", trouble))
    return nil
  end
  return result.stdout
end

-- KEY=VALUE, line by line.
local function facts_of(text)
  local facts = {}
  for key, value in text:gmatch("([^=\n]+)=([^\n]*)") do
    facts[key] = value
  end
  return facts
end

local function number(text)
  -- What systemd does not count is "[not set]", or 2^64 - 1.
  local value = tonumber(text)
  return value and value < 2 ^ 63 and value or nil
end

local function judge_unit(c, unit)
  local text = systemctl(c, "show", unit, "--property=LoadState,ActiveState,SubState,Result,MainPID,NRestarts,MemoryCurrent,"
    .. "StateChangeTimestamp,ExecMainStatus")
  if not text then
    return
  end
  local facts = facts_of(text)
  if facts.LoadState == "not-found" then
    c:critical(("there is no unit %s"):format(unit))
    return
  end
  local state = ("%s (%s)"):format(facts.ActiveState or "of no state", facts.SubState or "unknown")
  if not good[facts.ActiveState] then
    local why = facts.Result and facts.Result ~= "success" and facts.Result ~= "" and ": " .. facts.Result or ""
    local code = why ~= "" and facts.ExecMainStatus and " with status " .. facts.ExecMainStatus or ""
    local sentence = ("%s is %s%s%s, but should be %s"):format(unit, state, why, code, wanted)
    if facts.ActiveState == "activating" or facts.ActiveState == "reloading" then
      c:warn(sentence)
    else
      c:critical(sentence)
    end
  end
  local again, bytes = number(facts.NRestarts), number(facts.MemoryCurrent)
  if again then
    c:measure("restarts", again, "", { warn = restarts ~= "" and restarts or nil, min = 0 })
  end
  if bytes then
    c:measure("memory", bytes, "B", { warn = memory ~= "" and memory or nil, min = 0 })
  end
  local since = facts.StateChangeTimestamp or ""
  if good[facts.ActiveState] then
    return ("%s is %s%s"):format(unit, state, since ~= "" and " since " .. since or "")
  end
end

local function judge_all(c)
  local text = systemctl(c, "list-units", "--state=failed", "--no-legend", "--all")
  if not text then
    return
  end
  local failed = {}
  for line in text:gmatch("[^\n]+") do
    local unit = line:match("([%w@:_.\\-]+%.%l+)")
    failed[#failed + 1] = unit
  end
  c:measure("failed", #failed, "", { min = 0 })
  c:expect(#failed == 0, ("%d units have failed: %s"):format(#failed, table.concat(failed, ", ")))
  return #failed == 0 and "no unit has failed" or nil
end

for _, unit in ipairs(units) do
  local name = unit == "*" and "systemd" or "systemd " .. unit
  check(name, { every = "30s", tags = { "machine" } }, function(c)
    if unit == "*" then
      return judge_all(c)
    end
    return judge_unit(c, unit)
  end)
end
