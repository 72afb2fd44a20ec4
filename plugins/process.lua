-- Whether a program runs, and how often.
local name = param("name", nil, "name of the program, as ps and top show it or as it was started")
local count = param("count", "1:", "how many there should be: a range outside of which it is critical")
local memory = param("memory", "", "resident bytes of all together above which we warn, or a range; empty: any")

-- The kernel keeps 15 bytes of a name; the command line has it whole.
local function is_meant(process)
  if process.state == "Z" then
    return false
  end
  local program = process.command:match("^%S+") or ""
  return process.name == name or program == name or program:match("[^/]+$") == name
end

check("process " .. name, { every = "30s", tags = { "machine" } }, function(c)
  local found, bytes = 0, 0
  for _, process in ipairs(system.processes()) do
    if is_meant(process) then
      found = found + 1
      bytes = bytes + process.memory
    end
  end
  c:measure("processes", found, "", { crit = count, min = 0 })
  c:measure("memory", bytes, "B", { warn = memory ~= "" and memory or nil, min = 0 })
  return ("%d of %s, %.1f MB"):format(found, name, bytes / 1e6)
end)
