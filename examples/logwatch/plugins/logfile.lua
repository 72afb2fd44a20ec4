-- Health of a log file: it is there, it does not grow without end, and it holds few errors.
--
--     moonkeep --home examples/logwatch check logfile

local file = param("file", "app.log", "the log file, relative to the home or absolute")
local pattern = param("pattern", "ERROR", "a Lua pattern that marks a line as trouble")
local most = param("most", 10, "lines of trouble above which the check is critical")

check("logfile", { every = "1m", timeout = "5s", tags = { "log" } }, function(c)
  local path = file:sub(1, 1) == "/" and file or require("moonkeep").home .. "/" .. file
  local log = io.open(path)
  c:expect(log ~= nil, "there is no " .. path)
  if not log then
    return
  end
  local trouble = 0
  for line in log:lines() do
    if line:find(pattern) then
      trouble = trouble + 1
    end
  end
  c:measure("trouble", trouble, "", { warn = 0, crit = most })
  c:measure("size", log:seek "end", "B", { warn = 1e9 })
  log:close()
end)
