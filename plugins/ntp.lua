-- How far this machine's clock is from that of a time server (SNTP), and whether that server can be trusted.
local server = param("server", nil, '"host" or "host:port"; port 123 unless given')
local warn = param("warn", "0.5", "seconds that the clocks differ, either way, above which we warn, or a range")
local crit = param("crit", "5", "seconds that the clocks differ, either way, above which it is critical, or a range")
local stratum = param("stratum", "1:15", "steps from a reference clock: a range outside of which it is critical")
local samples = param("samples", 3, "how often to ask, 1 to 10: the quickest answer is the most exact")

if not math.tointeger(samples) or samples < 1 or samples > 10 then
  error(("parameter `samples` takes 1 to 10, but was given %s"):format(samples), 0)
end
if not server:find(":%d+$") then
  server = server .. ":123"
end

-- Seconds from 1900, where NTP begins, to 1970.
local EPOCH = 2208988800
local REASONS = { DENY = "it denies us access", RSTR = "it denies us access", RATE = "we ask too often", INIT = "it is not yet synchronized",
  STEP = "its time was just changed" }

local function written(moment)
  local whole = math.floor(moment)
  return string.pack(">I4 I4", (whole + EPOCH) & 0xFFFFFFFF, math.floor((moment - whole) * 2 ^ 32))
end

-- A moment near `about`: the 32 bits of NTP begin again every 136 years.
local function read(data, at, about)
  local seconds, fraction = string.unpack(">I4 I4", data, at)
  local moment = seconds - EPOCH + fraction / 2 ^ 32
  return moment + math.floor((about - moment) / 2 ^ 32 + 0.5) * 2 ^ 32
end

-- Version 4, mode 3: a client. nil and why, if the answer is of no use.
local function ask(c)
  local sent = time.now()
  local stamp = written(sent)
  local reply = udp.request(server, string.char(0x23) .. ("\0"):rep(39) .. stamp, { timeout = c:remaining(), tries = 1 })
  local received = time.now()
  local data = reply.data
  if #data < 48 or data:byte(1) & 7 ~= 4 then
    return nil, "what it says is no answer of NTP"
  elseif data:sub(25, 32) ~= stamp then
    return nil, "it answers a question that we did not ask"
  end
  local leap, level = data:byte(1) >> 6, data:byte(2)
  if level == 0 then
    local code = data:sub(13, 16):gsub("[^%w]", "")
    return nil, REASONS[code] or "it refuses: " .. code
  end
  local came, left = read(data, 33, sent), read(data, 41, sent)
  return {
    offset = ((came - sent) + (left - received)) / 2,
    delay = math.max(0, (received - sent) - (left - came)),
    leap = leap,
    stratum = level,
  }
end

check("ntp " .. server, { every = "5m", timeout = "10s", tags = { "net", "machine" } }, function(c)
  local best
  for _ = 1, samples do
    local sample, why = ask(c)
    if not sample then
      c:critical(("%s: %s"):format(server, why))
      return
    end
    if not best or sample.delay < best.delay then
      best = sample
    end
  end
  c:expect(best.leap ~= 3, server .. " is not synchronized itself")
  c:measure("offset", math.abs(best.offset), "s", { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0 })
  c:measure("delay", best.delay, "s", { min = 0 })
  c:measure("stratum", best.stratum, "", { crit = stratum ~= "" and stratum or nil, min = 0, max = 16 })
  local side = best.offset > 0 and "behind" or "ahead of"
  return ("our clock is %.4f s %s %s, stratum %d"):format(math.abs(best.offset), side, server, best.stratum)
end)
