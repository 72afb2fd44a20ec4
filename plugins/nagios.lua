-- Runs an existing monitoring plugin (check_load, check_http, your own script): its exit code is the state,
-- 0 ok, 1 warning, 2 critical, 3 unknown; its first line is the message; what follows | are measures.
local command = param("command", nil, 'program and arguments, as text or as a list: "check_load -w 5,4,3 -c 10,8,6"')

local first = type(command) == "table" and command[1] or command
local program = tostring(first):match("%S+")
if not program then
  error("parameter `command` is empty; name a program, with its arguments", 0)
end

check("nagios " .. program:match("[^/]+$"), { every = "1m", timeout = "30s" }, nagios(command))
