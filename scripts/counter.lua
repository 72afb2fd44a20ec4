-- Counts, and keeps its count when its file is saved.
--
--     moonkeep call counter add by:=5
--     (change something in this file and save it: the count goes on)
--     moonkeep call counter value
--
-- A reload starts the new code in a new process. What `on_handover` returns in the old one is
-- `moonkeep.handover` in the new one. After a crash or a restart there is none: the count begins at 0.

local moonkeep = require "moonkeep"

local before = moonkeep.handover or {}
local count = before.count or 0

-- `once`, the default: a repeated request with the same id gets the first answer, and adds nothing.
moonkeep.handle("add", function(request)
  count = count + (request.params.by or 1)
  return count
end)

moonkeep.handle("value", function()
  return { count = count, generation = moonkeep.generation }
end, { delivery = "query" })

moonkeep.on_handover(function()
  return { count = count }
end)
