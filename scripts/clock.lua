-- Tells the time: to those who ask, and once a minute to those who listen.
--
--     moonkeep call clock now
--     moonkeep events 'clock.*'

local moonkeep = require "moonkeep"

local function now()
  return { unix = os.time(), utc = os.date("!%Y-%m-%dT%H:%M:%SZ") }
end

moonkeep.handle("now", now, { delivery = "query" })

-- Between two ticks the script sleeps: it costs no processor time.
moonkeep.every("60s", function()
  moonkeep.emit("clock.tick", now())
end)
