-- Whether a UDP service answers what it is sent, how fast, and with what. UDP has no connection: without an answer
-- nobody knows whether anybody is there.
local address = param("address", nil, 'what to send to: "host:port", "[::1]:port"')
local send = param("send", nil, 'bytes to send; \\r, \\n, \\t, \\0 and \\xHH stand for bytes')
local expect = param("expect", "", 'text that the answer must contain, written like `send`; empty: any answer')
local matches = param("matches", "", "regular expression that the answer must match; empty: any")
local tries = param("tries", 3, "how often it is sent, if no answer comes: datagrams get lost")
local warn = param("warn", "0.5", "seconds to the answer above which we warn, or a range")
local crit = param("crit", "5", "seconds to the answer above which it is critical, or a range")

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

local BYTES = { r = "\r", n = "\n", t = "\t", ["0"] = "\0", ["\\"] = "\\" }
local function bytes(text)
  return (text:gsub("\\x(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end):gsub("\\([rnt0\\])", BYTES))
end
local request, part = bytes(send or ""), bytes(expect)

local function shown(data)
  local text = data:sub(1, 80):gsub("[^\32-\126]", function(byte)
    return ("\\x%02x"):format(byte:byte())
  end)
  return '"' .. text .. '"'
end

check("udp " .. address, { every = "30s", timeout = "10s", tags = { "net" } }, function(c)
  local reply = udp.request(address, request, { timeout = c:remaining(), tries = tries })
  c:measure("time", reply.seconds, "s", { warn = given(warn), crit = given(crit), min = 0 })
  c:measure("tries", reply.tries, "", { min = 1, max = tries })
  if part ~= "" and not reply.data:find(part, 1, true) then
    c:critical(("%s answered %s, which does not contain %s"):format(address, shown(reply.data), shown(part)))
  end
  if fitting and not fitting:test(reply.data) then
    c:critical(("%s answered %s, which does not match %s"):format(address, shown(reply.data), matches))
  end
  return ("%s answered %d bytes in %.1f ms"):format(address, #reply.data, reply.seconds * 1000)
end)
