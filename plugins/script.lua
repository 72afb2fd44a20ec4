-- Asks a handler of one of moonkeep's own scripts: what it returns is the result. true or nothing: ok, false: critical,
-- a text: ok, with it as message; or { state = "warning", message = "...", measures = { queue = 7 } }.
local script = param("script", nil, "name of the script")
local handler = param("handler", "health", "name of its handler")
local params = param("params", {}, "parameters for the handler")
local warn = param("warn", "", "seconds to the answer above which we warn, or a range; empty: any")
local crit = param("crit", "", "seconds to the answer above which it is critical, or a range; empty: any")

local moonkeep = require "moonkeep"

local function given(text)
  return text ~= "" and text or nil
end

-- The socket of the daemon of this home, or nothing if none has run.
local function socket()
  local note = moonkeep.home .. "/state/daemon.socket"
  return fs.exists(note) and fs.read(note):match("[^\n]+") or nil
end

-- As a client of the daemon: for `moonkeep check`, which is no part of it.
local function call_from_outside(c)
  local path = socket()
  if not path then
    error({ code = "no_daemon", message = "no daemon has run in this home; start it with `moonkeep up`" }, 0)
  end
  local limit = c:remaining()
  local connected, connection = pcall(unix.connect, path, { timeout = limit })
  if not connected then
    error({ code = "no_daemon", message = "no daemon answers; start it with `moonkeep up`" }, 0)
  end
  local connection <close> = connection
  local sent = next(params) and params or nil
  connection:write(json.encode({ request_id = "1", command = "call", script = script, handler = handler, params = sent,
    timeout = limit }) .. "\n")
  while true do
    local line = connection:read()
    if not line then
      error({ code = "no_daemon", message = "the daemon went away before it answered" }, 0)
    end
    local answer = json.decode(line)
    if answer.status == "ok" then
      return answer.result
    elseif answer.status == "error" then
      error(answer.error, 0)
    end
  end
end

local function call(c)
  local called, result = pcall(moonkeep.call, script, handler, params, { timeout = c:remaining() })
  if called then
    return result
  end
  local inside = not (type(result) == "table" and tostring(result.message):find("plugins and tools cannot", 1, true))
  if inside then
    error(result, 0)
  end
  return call_from_outside(c)
end

-- What no answer means: a wrong name is a mistake in the configuration, everything else is the script's failure.
local function refused(c, why)
  local code = type(why) == "table" and why.code or "?"
  local text = type(why) == "table" and tostring(why.message) or tostring(why)
  if code == "script_error" and type(why.data) == "table" and why.data.message then
    text = tostring(why.data.message)
  end
  local sentence = ("%s %s: %s"):format(script, handler, text)
  if code == "unknown_script" then
    c:unknown("parameter `script`: " .. text)
  elseif code == "unknown_handler" then
    c:unknown("parameter `handler`: " .. text)
  else
    c:critical(sentence)
  end
end

local STATES = { ok = "ok", warning = "warn", critical = "critical", unknown = "unknown" }

-- { queue = 7 }, or { { name = "queue", value = 7, unit = "", warn = 5 } }.
local function measure_all(c, measures)
  for name, one in pairs(type(measures) == "table" and measures or {}) do
    if type(one) == "table" then
      local limits = { warn = one.warn, crit = one.crit, min = one.min, max = one.max }
      c:measure(tostring(one.name or name), tonumber(one.value), one.unit, limits)
    else
      c:measure(tostring(name), tonumber(one))
    end
  end
end

local function judge_table(c, result)
  measure_all(c, result.measures)
  local state = result.state
  if state == nil or type(state) == "boolean" then
    state = state == false and "critical" or "ok"
  end
  local message = result.message ~= nil and tostring(result.message) or nil
  local way = STATES[state]
  if not way then
    c:unknown(("%s %s returned the state %q; return ok, warning, critical or unknown"):format(script, handler, tostring(state)))
  elseif way ~= "ok" then
    c[way](c, message or ("%s %s says: %s"):format(script, handler, state))
    return nil
  end
  return message
end

local function judge(c, result)
  if result == false then
    c:critical(("%s %s returned false"):format(script, handler))
    return nil
  elseif type(result) == "table" then
    return judge_table(c, result)
  elseif type(result) == "string" then
    return result
  end
end

check(("script %s %s"):format(script, handler), { every = "30s", timeout = "10s", tags = { "script" } }, function(c)
  local begun = time.monotonic()
  local called, result = pcall(call, c)
  if not called then
    refused(c, result)
    return
  end
  local took = time.monotonic() - begun
  local message = judge(c, result)
  c:measure("time", took, "s", { warn = given(warn), crit = given(crit), min = 0 })
  return message or ("%s %s answered in %.1f ms"):format(script, handler, took * 1000)
end)
