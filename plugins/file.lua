-- Whether a file is there, fresh, of the right size, and holds a text.
local path = param("path", nil, "the file or folder")
local missing = param("missing", false, "true: it must not exist")
local age = param("age", "", "longest time since its last change: 90, 30m, 26h, ...; empty: any")
local size = param("size", "", "bytes: a range outside of which it is critical; empty: any")
local contains = param("contains", "", "text that it must contain; empty: any")

local oldest = age ~= "" and time.seconds(age) or nil

check("file " .. path, { every = "1m", tags = { "machine" } }, function(c)
  local stat = fs.stat(path)
  if missing then
    c:expect(stat == nil, path .. " exists, but should not")
    return stat == nil and path .. " does not exist, as it should" or nil
  end
  if stat == nil then
    c:critical(path .. " does not exist")
    return
  end
  local old = math.max(0, time.now() - stat.modified)
  c:measure("age", old, "s", { crit = oldest, min = 0 })
  c:measure("size", stat.size, "B", { crit = size ~= "" and size or nil, min = 0 })
  if contains ~= "" then
    c:expect(fs.read(path):find(contains, 1, true), ("%s does not contain %q"):format(path, contains))
  end
  return ("%s: %d bytes, changed %.0f s ago"):format(path, stat.size, old)
end)
