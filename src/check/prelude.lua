-- The globals of a plugin: modules by their short names, and the freeze after load.
local modules = ...
local error, next, rawset, require, setmetatable, tostring = error, next, rawset, require, setmetatable, tostring
local globals = _G

-- A module is made when it is first used: most plugins use one or two.
local lazy = {
  __index = function(table, key)
    local name = modules[key]
    if name then
      local module = require(name)
      rawset(table, key, module)
      return module
    end
  end,
}
setmetatable(globals, lazy)

return function()
  local kept = {}
  for key, value in next, globals do
    kept[key] = value
  end
  for key in next, kept do
    globals[key] = nil
  end
  setmetatable(kept, lazy)
  setmetatable(globals, {
    __index = kept,
    __newindex = function(_, key)
      key = tostring(key)
      error("the global '" .. key .. "' is set while a check runs, but globals are frozen after load; keep it in c.state."
        .. key .. " or make it local", 2)
    end,
    __pairs = function()
      return next, kept, nil
    end,
    __metatable = false,
  })
end
