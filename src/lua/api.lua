-- What stands between a script and the host's functions: errors become tables with `code` and `message`.
local convert, unknown, capture = ...
local error, pcall, xpcall, setmetatable, type = error, pcall, xpcall, setmetatable, type

local api_error = {
  __name = "moonkeep.error",
  __tostring = function(problem)
    if problem.at then
      return problem.at .. ": " .. problem.message
    end
    return problem.message
  end,
}

local function finish(name, ok, ...)
  if ok then
    return ...
  end
  local problem = convert(name, (...))
  if type(problem) == "table" then
    setmetatable(problem, api_error)
  end
  error(problem, 0)
end

-- A host function as scripts call it.
local function guard(name, f)
  return function(...)
    return finish(name, pcall(f, ...))
  end
end

-- A module's table: an unknown name is an error at once.
local function seal(name, module)
  return setmetatable(module, {
    __name = name,
    __index = function(_, key)
      error(unknown(name, module, key), 2)
    end,
  })
end

-- Every function of a script is called through this: what it raises is described while its stack stands.
local function call(f, ...)
  return xpcall(f, capture, ...)
end

return guard, seal, call
