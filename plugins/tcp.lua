-- Whether a port answers, how fast, and with what.
local address = param("address", nil, 'what to connect to: "host:port"')
local warn = param("warn", "0.5", "seconds to connect above which we warn, or a range")
local crit = param("crit", "5", "seconds to connect above which it is critical, or a range")
local send = param("send", "", 'text to send after connecting; \\r and \\n stand for the control characters')
local expect = param("expect", "", "text that the answer's first line must contain; empty: nothing is read")

check("tcp " .. address, { every = "30s", timeout = "10s", tags = { "net" } }, function(c)
  local connection <close> = tcp.connect(address, { timeout = c:remaining() })
  c:measure("time", connection.seconds, "s", { warn = warn, crit = crit, min = 0 })
  if send ~= "" then
    connection:write((send:gsub("\\r", "\r"):gsub("\\n", "\n")))
  end
  if expect ~= "" then
    local line = connection:read()
    if line == nil then
      c:critical(address .. " closed the connection without an answer")
    else
      c:expect(line:find(expect, 1, true), ("%s answered %q, not %q"):format(address, line, expect))
    end
  end
  return ("%s answers in %.1f ms"):format(address, connection.seconds * 1000)
end)
