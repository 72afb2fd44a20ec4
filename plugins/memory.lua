-- How much memory programs could still get, within the limit of the container if there is one.
local warn = param("warn", "7:", "available percent: a range outside of which we warn; empty: any")
local crit = param("crit", "3:", "available percent: a range outside of which it is critical; empty: any")

check("memory", { every = "30s", tags = { "machine" } }, function(c)
  local memory = system.memory()
  local available = 100 * memory.available / memory.total
  local limits = { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0, max = 100 }
  c:measure("available", available, "%", limits)
  c:measure("used", memory.used, "B", { min = 0, max = memory.total })
  return ("%.1f %% of %.1f GB is available"):format(available, memory.total / 1e9)
end)
