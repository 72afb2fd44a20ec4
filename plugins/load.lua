-- Load per processor, so that the thresholds fit any machine; the average over five minutes decides. By itself it
-- complains only of a machine that is plainly overloaded: a long build is none.
local warn = param("warn", "10", "load per processor above which we warn, or a range")
local crit = param("crit", "30", "load per processor above which it is critical, or a range")
local over = param("over", 5, "the average that decides: over 1, 5 or 15 minutes")

local AVERAGES = { [1] = "one", [5] = "five", [15] = "fifteen" }
if not AVERAGES[over] then
  error(("parameter `over` takes 1, 5 or 15, but was given %s"):format(over), 0)
end

check("load", { every = "30s", tags = { "machine" } }, function(c)
  local load = system.load()
  local share = load[AVERAGES[over]] / load.processors
  c:measure("load_per_processor", share, "", { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0 })
  c:measure("load1", load.one, "", { min = 0 })
  c:measure("load5", load.five, "", { min = 0 })
  c:measure("load15", load.fifteen, "", { min = 0 })
  return ("load %.2f, %.2f, %.2f on %d processors"):format(load.one, load.five, load.fifteen, load.processors)
end)
