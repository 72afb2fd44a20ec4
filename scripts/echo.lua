-- Gives back what it gets. Good for trying out a client, and for measuring.
--
--     moonkeep call echo echo text=hi count:=3
--     moonkeep call echo parts count:=3

-- /// moonkeep
-- concurrency = 64
-- ///
local moonkeep = require "moonkeep"

-- `query`: it changes nothing, so it may run again, and callers that ask the same at once may share one run.
moonkeep.handle("echo", function(request)
  return request.params
end, { delivery = "query" })

-- An answer in parts: each is sent at once, then comes the end.
moonkeep.handle("parts", function(request)
  local count = request.params.count or 3
  for number = 1, count do
    request:part { number = number }
  end
  return { parts = count }
end, { delivery = "query" })

-- Waits before it answers: `moonkeep.sleep` lets the other requests run meanwhile.
moonkeep.handle("slowly", function(request)
  moonkeep.sleep(request.params.seconds or 1)
  return request.params
end, { delivery = "query" })
