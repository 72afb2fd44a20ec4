-- Asks the daemon for its health over plain lines, as API scripts of routing daemons do: no module, no
-- handler, only io.write and io.read. It says SUCCESS in its log (moonkeep logs api-health) and stays alive.

-- Sends one command and returns the lines of its answer, up to `done`. An `error` ends the script.
local function ask(command)
  io.write(command, "\n")
  local lines = {}
  for line in io.lines() do
    if line == "done" then
      return lines
    end
    if line == "error" then
      error(command .. " failed: " .. (lines[#lines] or "no reason was given"))
    end
    lines[#lines + 1] = line
  end
  error("the daemon has gone while it answered " .. command)
end

-- The first match of `pattern` in the lines, or an error that shows what came instead.
local function find(lines, pattern)
  for _, line in ipairs(lines) do
    local found = line:match(pattern)
    if found then
      return found
    end
  end
  error(("no line fits %q in:\n%s"):format(pattern, table.concat(lines, "\n")))
end

local pong = find(ask "ping", "^pong (%x+%-%x+%-%x+%-%x+%-%x+)")
local status = ask "status"
local uuid = find(status, "^UUID: (%S+)$")
local pid = tonumber(find(status, "^PID: (%d+)$"))

if uuid ~= pong then
  error("two daemons answered: ping says " .. pong .. ", status says " .. uuid)
end
if pid ~= tonumber(find(ask "status", "^PID: (%d+)$")) then
  error("the daemon's process changed between two questions")
end
io.stderr:write("SUCCESS: Health monitoring commands working\n")

-- Nothing more to ask. Reading on keeps the script alive; the daemon's `shutdown` ends the loop.
for line in io.lines() do
  if line == "shutdown" then
    break
  end
end
