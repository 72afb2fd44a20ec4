-- How full file systems are. Counts as df does: of what an ordinary user can use.
local paths = param("paths", { "/" }, "folders; each stands for the file system that it lies on")
local warn = param("warn", "92", "used percent above which we warn, or a range")
local crit = param("crit", "97", "used percent above which it is critical, or a range")
local inodes = param("inodes", "97", "used percent of inodes above which it is critical, or a range")

for _, path in ipairs(paths) do
  local name = #paths == 1 and "disk" or "disk " .. path
  check(name, { every = "1m", tags = { "machine" } }, function(c)
    local disk = system.disk(path)
    if disk.total == 0 then
      return path .. " has no size of its own"
    end
    c:measure("used", disk.used_percent, "%", { warn = warn, crit = crit, min = 0, max = 100 })
    c:measure("free", disk.available, "B", { min = 0, max = disk.total })
    if disk.inodes > 0 then
      local used = 100 * (1 - disk.inodes_free / disk.inodes)
      c:measure("inodes", used, "%", { crit = inodes, min = 0, max = 100 })
    end
    return ("%s is %.1f %% full, %.1f GB free"):format(path, disk.used_percent, disk.available / 1e9)
  end)
end
