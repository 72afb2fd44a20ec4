-- The globals of a plugin: modules by their short names, no stdin and stdout, and the freeze after load.
local modules, say = ...
local error, next, rawset, require, setmetatable, tostring = error, next, rawset, require, setmetatable, tostring
local globals = _G
local concat, pack, io_lines = table.concat, table.pack, io.lines

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

-- stdout is the report's: what is printed is shown beside it.
function print(...)
  local words = pack(...)
  for at = 1, words.n do
    words[at] = tostring(words[at])
  end
  say(concat(words, "\t"))
end

local function refuse(name, instead)
  return function()
    error(name .. " is not for plugins; " .. instead, 2)
  end
end

io.write = refuse("io.write", "use print, or return the message")
io.read = refuse("io.read", "nobody types while checks run")
io.popen = refuse("io.popen", "use process.run")
io.stdin, io.stdout, io.input, io.output = nil, nil, nil, nil
function io.lines(name, ...)
  if name == nil then
    error("io.lines needs a file name: nobody types while checks run", 2)
  end
  return io_lines(name, ...)
end
os.execute = refuse("os.execute", "use process.run")
os.exit = refuse("os.exit", "return from the function")

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
