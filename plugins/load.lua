-- Load per processor, so that the thresholds fit any machine; the average over five minutes decides. By itself it
-- complains only of a machine that is plainly overloaded: a long build is none.
local warn = param("warn", "10", "load per processor above which we warn, or a range")
local crit = param("crit", "30", "load per processor above which it is critical, or a range")

check("load", { every = "30s", tags = { "machine" } }, function(c)
  local load = system.load()
  local share = load.five / load.processors
  c:measure("load_per_processor", share, "", { warn = warn, crit = crit, min = 0 })
  c:measure("load1", load.one, "", { min = 0 })
  c:measure("load5", load.five, "", { min = 0 })
  c:measure("load15", load.fifteen, "", { min = 0 })
  return ("load %.2f, %.2f, %.2f on %d processors"):format(load.one, load.five, load.fifteen, load.processors)
end)
