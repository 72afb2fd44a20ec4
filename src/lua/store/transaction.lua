-- Lets errors of the script's function go on as they were: a table stays that table.
local inner = ...
local pcall, error = pcall, error

local function finish(ok, ...)
  if ok then return ... end
  error((...), 0)
end

return function(run) return finish(inner(pcall, run)) end
