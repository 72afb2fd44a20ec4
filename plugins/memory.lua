-- How much memory programs could still get, within the limit of the container if there is one.
local warn = param("warn", "7:", "available percent: a range outside of which we warn")
local crit = param("crit", "3:", "available percent: a range outside of which it is critical")

check("memory", { every = "30s", tags = { "machine" } }, function(c)
  local memory = system.memory()
  local available = 100 * memory.available / memory.total
  c:measure("available", available, "%", { warn = warn, crit = crit, min = 0, max = 100 })
  c:measure("used", memory.used, "B", { min = 0, max = memory.total })
  c:measure("swap", memory.swap_total - memory.swap_free, "B", { min = 0, max = memory.swap_total })
  return ("%.1f %% of %.1f GB is available"):format(available, memory.total / 1e9)
end)
