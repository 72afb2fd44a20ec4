-- Takes notices and keeps them in a file of its state folder. A real one would send a message from here.
--
--     moonkeep call notify notify text="the disk is full" key=disk
--     moonkeep call notify recent count:=5

local moonkeep = require "moonkeep"

local path = moonkeep.state_dir .. "/notices.log"

-- Keys that were taken before: read once, kept in memory.
local known, notices = {}, {}
local stored = io.open(path)
if stored then
  for line in stored:lines() do
    local key, text = line:match "^([^\t]*)\t(.*)$"
    if key then
      known[key] = true
      notices[#notices + 1] = text
    end
  end
  stored:close()
end

-- `idempotent`: the key makes a second delivery harmless, so the daemon may repeat it after a crash.
moonkeep.handle("notify", function(request)
  local text, key = request.params.text, request.params.key
  if type(text) ~= "string" or type(key) ~= "string" then
    error { code = "bad_notice", message = "a notice has a text and a key, both strings" }
  end
  if known[key] then
    return "known"
  end
  local log = assert(io.open(path, "a"))
  assert(log:write(key, "\t", text, "\n"))
  assert(log:close())
  known[key] = true
  notices[#notices + 1] = text
  moonkeep.emit("notify.taken", { text = text })
  return "taken"
end, { delivery = "idempotent" })

moonkeep.handle("recent", function(request)
  local count = request.params.count or 10
  return { table.unpack(notices, math.max(1, #notices - count + 1)) }
end, { delivery = "query" })
