-- Whether a machine answers pings: how many are lost, and how long they take.
-- Where the kernel lets nobody ping, it says so; sysctl net.ipv4.ping_group_range="0 2147483647" lets everybody.
local host = param("host", nil, "name or address")
local count = param("count", 5, "pings to send, 1 to 100")
local warn = param("warn", "0.2", "mean seconds to an answer above which we warn, or a range")
local crit = param("crit", "1", "mean seconds to an answer above which it is critical, or a range")
local loss_warn = param("loss_warn", "20", "lost percent above which we warn, or a range")
local loss_crit = param("loss_crit", "60", "lost percent above which it is critical, or a range")
local size = param("size", 56, "bytes of each ping, 0 to 65,000")
local every = param("spacing", "200ms", "time between two pings")

if not math.tointeger(count) or count < 1 or count > 100 then
  error(("parameter `count` takes 1 to 100, but was given %s"):format(count), 0)
end

local function given(text)
  return text ~= "" and text or nil
end

check("icmp " .. host, { every = "30s", timeout = "15s", tags = { "net" } }, function(c)
  local pinged, reply = pcall(icmp.ping, host, { timeout = c:remaining(), count = count, size = size, every = every })
  if not pinged then
    local text = type(reply) == "table" and reply.message or tostring(reply)
    -- What the kernel forbids us says nothing about the host.
    if text:find("ping_group_range", 1, true) then
      c:unknown(text)
      return
    end
    error(reply, 0)
  end
  c:measure("loss", reply.lost, "%", { warn = given(loss_warn), crit = given(loss_crit), min = 0, max = 100 })
  c:measure("rtt", reply.seconds, "s", { warn = given(warn), crit = given(crit), min = 0 })
  c:measure("rtt_least", reply.least, "s", { min = 0 })
  c:measure("rtt_most", reply.most, "s", { min = 0 })
  return ("%s answered %d of %d pings in %.1f ms"):format(reply.peer, reply.received, reply.sent, reply.seconds * 1000)
end)
