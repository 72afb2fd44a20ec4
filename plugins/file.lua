-- Whether a file or folder is there, fresh, of the right size, kind, mode and owner, and holds the right text.
local path = param("path", nil, "the file or folder; in its last part * and ? stand for any text and any letter: the newest that fits is meant")
local missing = param("missing", false, "true: it must not exist")
local age = param("age", "", "longest time since its last change: 90, 30m, 26h, ...; longer is critical; empty: any")
local age_warn = param("age_warn", "", "time since its last change after which we warn; empty: any")
local size = param("size", "", "bytes: a range outside of which it is critical; empty: any")
local size_warn = param("size_warn", "", "bytes: a range outside of which we warn; empty: any")
local kind = param("kind", "", "file, folder or other (a socket, a device, ...); empty: any")
local mode = param("mode", "", 'permissions that it must have, in octal: "0640"; empty: any')
local owner = param("owner", "", "name or number of the user that it must belong to; empty: any")
local group = param("group", "", "name or number of the group that it must belong to; empty: any")
local contains = param("contains", "", "text that it must contain; empty: any")
local lacks = param("lacks", "", "text that it must not contain; empty: none")
local matches = param("matches", "", "regular expression that it must match; empty: any")
local sha256 = param("sha256", "", "the hash that its content must have, in hexadecimal; empty: any")

local function given(text)
  return text ~= "" and text or nil
end

-- A regular expression that a parameter gave; nil if it is empty.
local function pattern(name, text)
  if text == "" then
    return nil
  end
  local good, compiled = pcall(regex.compile, text)
  if not good then
    error(("parameter `%s`: %s"):format(name, type(compiled) == "table" and compiled.message or tostring(compiled)), 0)
  end
  return compiled
end
local fitting = pattern("matches", matches)

local function seconds(name, text)
  if text == "" then
    return nil
  end
  local good, value = pcall(time.seconds, tonumber(text) or text)
  if not good then
    error(('parameter `%s` takes a time like 90, 30m or 26h, but was given %q'):format(name, text), 0)
  end
  return value
end
local oldest, aged = seconds("age", age), seconds("age_warn", age_warn)

if mode ~= "" and not mode:match("^[0-7]+$") then
  error(('parameter `mode` takes permissions in octal like 0640, but was given %q'):format(mode), 0)
end
local permissions = mode ~= "" and tonumber(mode, 8) or nil

-- The file that is meant: the newest that fits if the name has wildcards.
local function meant()
  local folder, pattern = path:match("^(.*)/([^/]*)$")
  folder, pattern = folder or ".", pattern or path
  if not pattern:find("[*?]") then
    return path
  end
  pattern = "^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
  local newest, changed
  for _, name in ipairs(fs.list(folder == "" and "/" or folder)) do
    local place = folder .. "/" .. name
    local stat = name:match(pattern) and fs.stat(place)
    if stat and (not changed or stat.modified > changed) then
      newest, changed = place, stat.modified
    end
  end
  return newest
end

-- The number of a user or group; nil if the machine knows none of that name.
local function number_of(name, list)
  if name:match("^%d+$") then
    return tonumber(name)
  end
  for line in fs.read(list):gmatch("[^\n]+") do
    local known, number = line:match("^([^:]*):[^:]*:(%d+)")
    if known == name then
      return tonumber(number)
    end
  end
end

local function judge_owner(c, place, what, wanted, list, actual)
  if wanted == "" then
    return
  end
  local number = number_of(wanted, list)
  if not number then
    c:unknown(("parameter `%s`: %s has no %q; give its number"):format(what, list, wanted))
  else
    c:expect(number == actual, ("the %s of %s is %d, not %s"):format(what, place, actual, wanted))
  end
end

local function judge_facts(c, place, stat)
  c:expect(kind == "" or stat.kind == kind, ("%s is a %s, not a %s"):format(place, stat.kind, kind))
  if permissions then
    c:expect(stat.mode == permissions, ("the mode of %s is %04o, not %04o"):format(place, stat.mode, permissions))
  end
  judge_owner(c, place, "owner", owner, "/etc/passwd", stat.uid)
  judge_owner(c, place, "group", group, "/etc/group", stat.gid)
end

local function judge_content(c, place)
  if contains ~= "" or lacks ~= "" or matches ~= "" then
    local text = fs.read(place)
    c:expect(contains == "" or text:find(contains, 1, true), ("%s does not contain %q"):format(place, contains))
    c:expect(lacks == "" or not text:find(lacks, 1, true), ("%s contains %q"):format(place, lacks))
    c:expect(not fitting or fitting:test(text), ("%s does not match %s"):format(place, matches))
  end
  if sha256 ~= "" then
    local hash = fs.hash(place)
    c:expect(hash == sha256:lower(), ("the SHA-256 of %s is %s, not %s"):format(place, hash, sha256))
  end
end

local function span(seconds)
  if seconds < 120 then
    return ("%.0f s"):format(seconds)
  elseif seconds < 7200 then
    return ("%.0f min"):format(seconds / 60)
  elseif seconds < 172800 then
    return ("%.1f h"):format(seconds / 3600)
  end
  return ("%.1f days"):format(seconds / 86400)
end

check("file " .. path, { every = "1m", tags = { "machine" } }, function(c)
  local place = meant()
  local stat = place and fs.stat(place)
  if missing then
    c:expect(not stat, (place or path) .. " exists, but should not")
    return not stat and path .. " does not exist, as it should" or nil
  end
  if not stat then
    c:critical(path .. " does not exist")
    return
  end
  local old = math.max(0, time.now() - stat.modified)
  c:measure("age", old, "s", { warn = aged, crit = oldest, min = 0 })
  c:measure("size", stat.size, "B", { warn = given(size_warn), crit = given(size), min = 0 })
  judge_facts(c, place, stat)
  judge_content(c, place)
  return ("%s: %d bytes, changed %s ago"):format(place, stat.size, span(old))
end)
