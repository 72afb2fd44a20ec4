-- Follows a log file, as `tail -F` does, and calls `notify` for every line that fits a pattern.
--
-- LOGWATCH_FILE      the file, relative to the home or absolute; it need not exist yet
-- LOGWATCH_PATTERN   a Lua pattern, "ERROR" unless set

-- /// moonkeep
-- timeout = "5s"
-- ///
local moonkeep = require "moonkeep"

local file = os.getenv "LOGWATCH_FILE" or "app.log"
local pattern = os.getenv "LOGWATCH_PATTERN" or "ERROR"
if file:sub(1, 1) ~= "/" then
  file = moonkeep.home .. "/" .. file
end

-- Where to read on, and how much was found. A reload hands both to the new code: no line is told twice.
local state = moonkeep.handover or { offset = nil, told = 0 }

-- A notice that could not be delivered is told again: `notify` knows the line by its key.
local function tell(line, offset)
  local key = file .. "@" .. offset
  local ok, failure = pcall(moonkeep.call, "notify", "notify", { text = line, key = key }, { timeout = "5s" })
  if not ok then
    moonkeep.log.warn("notify did not take the line, trying again later: " .. tostring(failure))
  end
  return ok
end

-- Reads what was added since the last look. Stops before a line that could not be told.
local function look()
  local log = io.open(file, "rb")
  if not log then
    state.offset = 0 -- it will be read from its beginning once it is there
    return
  end
  local size = log:seek "end"
  if not state.offset then
    state.offset = size -- an old file: what stands in it is no news
  elseif size < state.offset then
    state.offset = 0 -- truncated or replaced
  end
  log:seek("set", state.offset)
  for line in log:lines "L" do
    if line:sub(-1) ~= "\n" then
      break -- still being written
    end
    if line:find(pattern) then
      if not tell(line:sub(1, -2), state.offset) then
        break
      end
      state.told = state.told + 1
    end
    state.offset = state.offset + #line
  end
  log:close()
end

moonkeep.handle("status", function()
  return { file = file, pattern = pattern, offset = state.offset, told = state.told }
end, { delivery = "query" })

moonkeep.on_handover(function()
  return state
end)

look()
moonkeep.every("250ms", look)
