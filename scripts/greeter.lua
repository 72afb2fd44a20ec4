-- The smallest useful script: one handler, called by name.
--
--     moonkeep call greeter greet name=Ada
--
-- Save this file while the daemon runs: the next call gets the new code, and no call is lost.

-- /// moonkeep
-- concurrency = 16
-- ///
local moonkeep = require "moonkeep"

moonkeep.handle("greet", function(request)
  return "hello " .. (request.params.name or "world")
end, { delivery = "query" })
