-- Whether new lines of a log match a pattern. It remembers how far it has read, over restarts and rotations, and counts
-- what came since; the first run begins at the end. Matches count for a while (`hold`), so that an alert can follow.
local path = param("path", nil, "the log file")
local matches = param("matches", nil, "regular expression, or a list: a line that matches one of them counts")
local exclude = param("exclude", {}, "regular expressions: a line that matches one of them does not count")
local warn = param("warn", "", "matching lines above which we warn, or a range; empty: any")
local crit = param("crit", "0", "matching lines above which it is critical, or a range; empty: any")
local hold = param("hold", "5m", "how long a match counts; 0: in the run that finds it only")
local begin = param("begin", "end", "where the very first run begins: end or start")
local ignore_case = param("ignore_case", false, "whether capitals and small letters are the same")
local optional = param("optional", false, "true: it is fine if there is no such file")

local CHUNK = 1024 * 1024
-- As much of the file's beginning as tells it from one that was written over it.
local HEAD = 64

local function given(text)
  return text ~= "" and text or nil
end

if begin ~= "end" and begin ~= "start" then
  error(('parameter `begin` takes end or start, but was given %q'):format(begin), 0)
end
local known, seconds = pcall(time.seconds, tonumber(hold) or hold)
if not known then
  error(('parameter `hold` takes a time like 0, 90 or "5m", but was given %q'):format(hold), 0)
end

local function patterns(name, list)
  local compiled = {}
  for _, text in ipairs(type(list) == "table" and list or { list }) do
    local good, one = pcall(regex.compile, tostring(text), { ignore_case = ignore_case })
    if not good then
      error(("parameter `%s`: %s"):format(name, type(one) == "table" and one.message or tostring(one)), 0)
    end
    compiled[#compiled + 1] = one
  end
  return compiled
end
local wanted, unwanted = patterns("matches", matches), patterns("exclude", exclude)

-- Bytes as text that the store can keep, whatever they are.
local function hexadecimal(bytes)
  return (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

local function printable(line)
  line = line:sub(1, 300)
  return utf8.len(line) and line or (line:gsub("[\128-\255]", "?"))
end

local function any(list, line)
  for _, one in ipairs(list) do
    if one:test(line) then
      return true
    end
  end
  return false
end

-- Reads the whole lines of a file from `offset` on. Gives where it ended; a line that is still being written waits.
-- `found` gathers how many lines there were, how many matched, and the last one.
local function read_lines(c, file, offset, enough, found)
  local rest = ""
  repeat
    local text = fs.read_at(file, offset + #rest, CHUNK)
    if text == "" then
      break
    end
    rest = rest .. text
    local last = rest:match("^.*()\n")
    -- A line longer than a chunk is taken as it is.
    local whole = last and rest:sub(1, last) or #rest > CHUNK and rest or ""
    offset, rest = offset + #whole, rest:sub(#whole + 1)
    for line in whole:gmatch("([^\n]*)\n?") do
      if line ~= "" then
        found.lines = found.lines + 1
        if any(wanted, line) and not any(unwanted, line) then
          found.matches, found.last = found.matches + 1, printable(line)
        end
      end
    end
  until c:remaining() < enough
  return offset
end

-- Where the file of that number is now: a rotation has renamed it.
local function renamed(mark)
  local folder = path:match("^(.*)/[^/]*$") or "."
  local stem = path:match("[^/]+$")
  for _, name in ipairs(fs.list(folder == "" and "/" or folder)) do
    if name:sub(1, #stem) == stem or name:find(stem:gsub("%.%w+$", ""), 1, true) then
      local place = folder .. "/" .. name
      local stat = fs.stat(place)
      if stat and stat.inode == mark.inode and stat.device == mark.device and stat.size >= mark.offset then
        return place
      end
    end
  end
end

-- Reads what is new since `mark`, and gives the new mark.
local function catch_up(c, mark, stat, found)
  local enough = c:remaining() / 2
  if not mark then
    local offset = begin == "start" and read_lines(c, path, 0, enough, found) or stat.size
    return { offset = offset }
  end
  local same = mark.inode == stat.inode and mark.device == stat.device
  local head = hexadecimal(fs.read_at(path, 0, #mark.head // 2))
  if same and stat.size >= mark.offset and head == mark.head then
    return { offset = read_lines(c, path, mark.offset, enough, found) }
  end
  local old = not same and renamed(mark)
  if old then
    found.rotated = true
    read_lines(c, old, mark.offset, enough, found)
  end
  return { offset = read_lines(c, path, 0, enough, found) }
end

-- The matches that still count: those of this run, and those of runs no longer ago than `hold`.
local function recent(mark, found)
  local now, kept, sum, last = time.now(), {}, found.matches, found.last
  for _, one in ipairs(mark and mark.recent or {}) do
    if now - one.at < seconds then
      kept[#kept + 1], sum, last = one, sum + one.count, found.last or one.line
    end
  end
  if found.matches > 0 and seconds > 0 then
    kept[#kept + 1] = { at = now, count = found.matches, line = found.last }
  end
  -- Many runs within one hold are many entries: the oldest become one.
  while #kept > 50 do
    local first = table.remove(kept, 1)
    kept[1].count = kept[1].count + first.count
  end
  return json.array(kept), sum, last
end

check("log " .. path, { every = "30s", timeout = "20s", tags = { "machine", "log" } }, function(c)
  local stat = fs.stat(path)
  if not stat then
    c:expect(optional, path .. " does not exist")
    return optional and path .. " does not exist, which is fine" or nil
  end
  local key = "log/" .. c.name
  local mark = store.get(key)
  if mark and mark.path ~= path then
    mark = nil
  end
  local found = { lines = 0, matches = 0 }
  local new = catch_up(c, mark, stat, found)
  local kept, sum, last = recent(mark, found)
  new.path, new.inode, new.device, new.recent = path, stat.inode, stat.device, kept
  new.head = hexadecimal(fs.read_at(path, 0, math.min(HEAD, new.offset)))
  store.set(key, new)
  c:measure("lines", found.lines, "", { min = 0 })
  c:measure("matches", sum, "", { warn = given(warn), crit = given(crit), min = 0 })
  if sum > 0 then
    return ("the last is: %s"):format(last or "?")
  elseif not mark and begin == "end" then
    return ("%s is watched from here on"):format(path)
  end
  return ("%d new lines in %s, none matches%s"):format(found.lines, path, found.rotated and "; it was rotated" or "")
end)
