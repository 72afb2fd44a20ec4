-- Whether a Unix socket answers, how fast, and with what.
local path = param("path", nil, 'the socket: "/run/app.sock", or "@name" of an abstract one')
local warn = param("warn", "0.5", "seconds to connect and be answered above which we warn, or a range")
local crit = param("crit", "5", "seconds to connect and be answered above which it is critical, or a range")
local send = param("send", "", 'text to send after connecting; \\r, \\n, \\t and \\xHH stand for bytes')
local expect = param("expect", "", "text that the answer's first line must contain; empty: nothing is read")
local matches = param("matches", "", "regular expression that the answer's first line must match; empty: any")

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

local BYTES = { r = "\r", n = "\n", t = "\t", ["\\"] = "\\" }
local function bytes(text)
  return (text:gsub("\\x(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end):gsub("\\([rnt\\])", BYTES))
end

-- The first line of what comes: reads until the text is there, the line is whole, or nothing more comes. Not every
-- server ends its lines.
local function answer(connection)
  local text = ""
  while #text < 65536 and not text:find("\n", 1, true) do
    if expect ~= "" and matches == "" and text:find(expect, 1, true) then
      break
    end
    local read, more = pcall(connection.read, connection, 4096)
    if not read and text == "" then
      error(more, 0)
    end
    if not read or more == nil then
      break
    end
    text = text .. more
  end
  return text ~= "" and text:match("^[^\r\n]*") or nil
end

local function judge_answer(c, line)
  if line == nil then
    c:critical(path .. " closed the connection without an answer")
    return false
  end
  local has = expect == "" or line:find(expect, 1, true)
  c:expect(has, ("%s answered %q, which does not contain %q"):format(path, line, expect))
  local fits = not fitting or fitting:test(line)
  c:expect(fits, ("%s answered %q, which does not match %s"):format(path, line, matches))
  return has and fits
end

check("unix " .. path, { every = "30s", timeout = "10s", tags = { "machine" } }, function(c)
  local begun = time.monotonic()
  local connection <close> = unix.connect(path, { timeout = c:remaining() })
  if send ~= "" then
    connection:write(bytes(send))
  end
  local line
  if expect ~= "" or matches ~= "" then
    line = answer(connection)
    if not judge_answer(c, line) then
      return
    end
  end
  local took = time.monotonic() - begun
  c:measure("time", took, "s", { warn = given(warn), crit = given(crit), min = 0 })
  return ("%s answers in %.1f ms%s"):format(path, took * 1000, line and (": %q"):format(line:sub(1, 80)) or "")
end)
