-- Whether a Redis server (or Valkey, KeyDB) answers PING, how fast, and what its INFO says.
local address = param("address", nil, '"host" or "host:port"; port 6379 unless given')
local password = param("password", "", "for AUTH, as it is or as env:NAME or file:PATH; empty: none")
local user = param("user", "", "for AUTH with an access list; empty: the default user")
local warn = param("warn", "0.5", "seconds to the answer above which we warn, or a range")
local crit = param("crit", "2", "seconds to the answer above which it is critical, or a range")
local info = param("info", {}, 'what must hold of INFO: "connected_clients < 100", "role == master", "master_link_status == up"')
local memory = param("memory", "", "used percent of maxmemory above which we warn, or a range; empty: any")
local clients = param("clients", "", "connected clients above which we warn, or a range; empty: any")
local lag = param("lag", "", "seconds since a replica heard of its master above which it is critical, or a range; empty: any")

if not address:find(":%d+$") then
  address = address .. ":6379"
end

-- "env:NAME" and "file:PATH" stand for what is there, so that no secret need be in moonkeep.toml.
local function secret(text)
  local variable, file = text:match("^env:(.+)$"), text:match("^file:(.+)$")
  if variable then
    return os.getenv(variable) or error(("parameter `password`: there is no variable %s"):format(variable), 0)
  end
  if file then
    local place = file:sub(1, 1) == "/" and file or require("moonkeep").home .. "/" .. file
    return (fs.read(place):gsub("%s+$", ""))
  end
  return text
end
password = secret(password)

local function given(text)
  return text ~= "" and text or nil
end

local conditions = {}
for _, text in ipairs(info) do
  local key, operator, value = tostring(text):match("^%s*([%w_]+)%s*([=!<>]=?)%s*(.-)%s*$")
  if not key or operator == "!" then
    error(('parameter `info` takes conditions like "role == master" or "connected_clients < 100", but was given %q'):format(tostring(text)), 0)
  end
  conditions[#conditions + 1] = { key = key, operator = operator, value = value }
end

local function holds(actual, operator, wanted)
  if operator == "=" or operator == "==" or operator == "!=" then
    return (actual == wanted) == (operator ~= "!=")
  end
  local left, right = tonumber(actual), tonumber(wanted)
  if not left or not right then
    return false
  elseif operator == "<" then
    return left < right
  elseif operator == "<=" then
    return left <= right
  elseif operator == ">" then
    return left > right
  end
  return left >= right
end

-- Sends a command, and gives its answer: text, or nil and why not.
local function ask(connection, ...)
  local words = { ... }
  local parts = { ("*%d\r\n"):format(#words) }
  for _, word in ipairs(words) do
    parts[#parts + 1] = ("$%d\r\n%s\r\n"):format(#word, word)
  end
  connection:write(table.concat(parts))
  local line = connection:read()
  if line == nil then
    return nil, "it closed the connection"
  end
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == "+" then
    return rest
  elseif kind == "-" then
    return nil, rest
  elseif kind == "$" and tonumber(rest) then
    local bytes, text = tonumber(rest) + 2, {}
    while bytes > 0 do
      local more = connection:read(math.max(1, bytes))
      if not more then
        return nil, "it closed the connection amid an answer"
      end
      bytes = bytes - #more
      text[#text + 1] = more
    end
    return table.concat(text)
  end
  return nil, ("it does not speak as Redis does: %q"):format(line:sub(1, 80))
end

local function refused(c, doing, why)
  if why:find("^NOAUTH") then
    why = why .. "; give the parameter password"
  end
  c:critical(("%s refuses %s: %s"):format(address, doing, why))
end

local function facts_of(text)
  local facts = {}
  for key, value in text:gmatch("([%w_]+):([^\r\n]*)") do
    facts[key] = value
  end
  return facts
end

local function judge_facts(c, facts)
  local used, most = tonumber(facts.used_memory), tonumber(facts.maxmemory)
  c:measure("memory", used, "B", { min = 0, max = most and most > 0 and most or nil })
  if memory ~= "" then
    if most and most > 0 then
      c:measure("memory_used", 100 * used / most, "%", { warn = memory, min = 0, max = 100 })
    else
      c:unknown("parameter `memory`: the server has no maxmemory to compare with")
    end
  end
  c:measure("clients", tonumber(facts.connected_clients), "", { warn = given(clients), min = 0 })
  if lag ~= "" then
    c:measure("lag", tonumber(facts.master_last_io_seconds_ago), "s", { crit = lag })
  end
  for _, condition in ipairs(conditions) do
    local actual = facts[condition.key]
    if actual == nil then
      c:critical(("INFO has no %s"):format(condition.key))
    elseif not holds(actual, condition.operator, condition.value) then
      c:critical(("%s is %s, but should be %s %s"):format(condition.key, actual, condition.operator, condition.value))
    end
  end
end

check("redis " .. address, { every = "30s", timeout = "10s", tags = { "net", "database" } }, function(c)
  local begun = time.monotonic()
  local connection <close> = tcp.connect(address, { timeout = c:remaining() })
  if password ~= "" then
    local words = user ~= "" and { "AUTH", user, password } or { "AUTH", password }
    local good, why = ask(connection, table.unpack(words))
    if not good then
      refused(c, "the password", why)
      return
    end
  end
  local pong, why = ask(connection, "PING")
  if not pong then
    refused(c, "PING", why)
    return
  end
  local took = time.monotonic() - begun
  c:measure("time", took, "s", { warn = given(warn), crit = given(crit), min = 0 })
  local text, problem = ask(connection, "INFO")
  if not text then
    refused(c, "INFO", problem)
    return
  end
  local facts = facts_of(text)
  judge_facts(c, facts)
  return ("%s: Redis %s, %s, answered in %.1f ms"):format(address, facts.redis_version or "?", facts.role or "of no role", took * 1000)
end)
