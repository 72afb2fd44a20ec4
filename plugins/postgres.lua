-- Whether a PostgreSQL server accepts connections, and how fast; with a query, what that gives.
-- It needs no driver, and so it logs in only where no password is asked for (trust, peer by ident) or a plain one;
-- without a user it is enough that the server asks for one.
local address = param("address", nil, '"host" or "host:port"; port 5432 unless given')
local user = param("user", "", "who logs in; empty: nobody, it is enough that the server asks for a password or names a mistake in the name")
local database = param("database", "", "empty: the one named after the user")
local password = param("password", "", "given if the server asks for a plain one; as it is or as env:NAME or file:PATH")
local query = param("query", "", "one statement, run if the server lets us in; its first value is measured or compared; empty: none")
local expect = param("expect", "", "what the query's first value must be; empty: any")
local warn = param("warn", "1", "seconds to the answer above which we warn, or a range")
local crit = param("crit", "5", "seconds to the answer above which it is critical, or a range")
local value_warn = param("value_warn", "", "the query's first value: above it we warn, or a range; empty: any")
local value_crit = param("value_crit", "", "the query's first value: above it it is critical, or a range; empty: any")

if not address:find(":%d+$") then
  address = address .. ":5432"
end
if query ~= "" and user == "" then
  error("parameter `query` needs the parameter `user`", 0)
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

local function exactly(connection, count)
  local parts = {}
  while count > 0 do
    local more = connection:read(count)
    if not more then
      return nil
    end
    count = count - #more
    parts[#parts + 1] = more
  end
  return table.concat(parts)
end

-- The next message: its letter and its body; nil at the end of the connection.
local function message(connection)
  local head = exactly(connection, 5)
  if not head then
    return nil
  end
  local kind, length = string.unpack(">c1 I4", head)
  if length < 4 or length > 1048576 then
    return "?", ""
  end
  return kind, exactly(connection, length - 4) or ""
end

local function send(connection, kind, body)
  connection:write(kind .. string.pack(">I4", #body + 4) .. body)
end

-- The fields of an error: C its code, M its text.
local function fields_of(body)
  local fields = {}
  for kind, text in body:gmatch("(%a)([^\0]*)\0") do
    fields[kind] = text
  end
  return fields
end

-- The server lives and serves, only not this user: wrong password, no such role, no such database, not from here.
local GREETED = { ["28000"] = true, ["28P01"] = true, ["3D000"] = true }
local WAYS = { [5] = "an MD5 password", [7] = "Kerberos", [10] = "a SCRAM password" }

-- Takes what the server says until it is ready. true: we are in; false: it wants a log-in; nil: it will not serve.
local function enter(c, connection)
  while true do
    local kind, body = message(connection)
    if kind == nil then
      c:critical(address .. " closed the connection without an answer")
      return nil
    elseif kind == "E" then
      local fields = fields_of(body)
      if user == "" and GREETED[fields.C] then
        return false
      end
      c:critical(("%s refuses: %s (%s)"):format(address, fields.M or "no reason", fields.C or "no code"))
      return nil
    elseif kind == "R" then
      local way = #body >= 4 and string.unpack(">I4", body) or 0
      if way ~= 0 and user == "" then
        return false
      elseif way == 3 and password ~= "" then
        send(connection, "p", password .. "\0")
      elseif way == 3 then
        c:critical(address .. " asks for a password; give the parameter password")
        return nil
      elseif WAYS[way] and query == "" then
        return false
      elseif way ~= 0 and way ~= 12 then
        c:unknown(("%s asks for %s, which this check cannot give; use a user of pg_hba.conf's `trust` for the query, or no query")
          :format(address, WAYS[way] or "a way of logging in unknown to us"))
        return nil
      end
    elseif kind == "Z" then
      return true
    elseif not kind:match("[SKNv]") then
      c:critical(("%s does not speak as PostgreSQL does"):format(address))
      return nil
    end
  end
end

-- The first column of the first row, and whether there was a row; nil if the query failed.
local function first_value(c, connection)
  send(connection, "Q", query .. "\0")
  local value, row = nil, false
  while true do
    local kind, body = message(connection)
    if kind == nil then
      c:critical(address .. " closed the connection during the query")
      return nil, false
    elseif kind == "E" then
      local fields = fields_of(body)
      c:critical(("the query failed: %s (%s)"):format(fields.M or "no reason", fields.C or "no code"))
      return nil, false
    elseif kind == "D" and not row then
      row = true
      local columns = string.unpack(">I2", body)
      local length = columns > 0 and string.unpack(">i4", body, 3) or -1
      value = length >= 0 and body:sub(7, 6 + length) or nil
    elseif kind == "Z" then
      c:expect(row, "the query gave no row")
      return value, row
    end
  end
end

local function judge_value(c, value)
  c:expect(expect == "" or value == expect, ("the query gave %q, not %q"):format(value or "NULL", expect))
  local number = tonumber(value)
  if number then
    c:measure("value", number, "", { warn = given(value_warn), crit = given(value_crit) })
  elseif value_warn ~= "" or value_crit ~= "" then
    c:critical(("the query gave %q, which is no number"):format(value or "NULL"))
  end
  return (", the query gave %s"):format(value or "NULL")
end

check("postgres " .. address, { every = "30s", timeout = "10s", tags = { "net", "database" } }, function(c)
  local begun = time.monotonic()
  local connection <close> = tcp.connect(address, { timeout = c:remaining() })
  local who = user ~= "" and user or "moonkeep"
  local settings = "user\0" .. who .. "\0" .. (database ~= "" and "database\0" .. database .. "\0" or "")
  send(connection, "", string.pack(">I4", 196608) .. settings .. "application_name\0moonkeep\0\0")
  local entered = enter(c, connection)
  if entered == nil then
    return
  end
  local took = time.monotonic() - begun
  c:measure("time", took, "s", { warn = given(warn), crit = given(crit), min = 0 })
  local told = ""
  if entered and query ~= "" then
    local value, row = first_value(c, connection)
    told = row and judge_value(c, value) or ""
  end
  if entered then
    send(connection, "X", "")
  end
  return ("%s accepts connections, in %.1f ms%s"):format(address, took * 1000, told)
end)
