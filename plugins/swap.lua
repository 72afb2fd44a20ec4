-- How much of the swap space is in use. A machine without swap is fine unless it is required.
local warn = param("warn", "50", "used percent above which we warn, or a range; empty: any")
local crit = param("crit", "80", "used percent above which it is critical, or a range; empty: any")
local required = param("required", false, "true: it is critical if there is no swap space")

check("swap", { every = "1m", tags = { "machine" } }, function(c)
  local memory = system.memory()
  local total, used = memory.swap_total, memory.swap_total - memory.swap_free
  if total == 0 then
    c:expect(not required, "there is no swap space, but there should be")
    return not required and "there is no swap space" or nil
  end
  local percent = 100 * used / total
  local limits = { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0, max = 100 }
  c:measure("used", percent, "%", limits)
  c:measure("free", memory.swap_free, "B", { min = 0, max = total })
  return ("%.1f %% of %.1f GB swap is used"):format(percent, total / 1e9)
end)
