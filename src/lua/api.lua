-- What stands between a script and the host's functions: errors become tables with `code` and `message`.
local convert, unknown, capture, part, left = ...
local error, pcall, xpcall, setmetatable, type, tostring = error, pcall, xpcall, setmetatable, type, tostring

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
local function seal(name, module, absent)
  return setmetatable(module, {
    __name = name,
    __index = function(_, key)
      if not absent[key] then
        error(unknown(name, module, key), 2)
      end
    end,
  })
end

-- Every function of a script is called through this: what it raises is described while its stack stands.
local function call(f, ...)
  return xpcall(f, capture, ...)
end

local request = {}

-- What a handler gets. The positions 1 and 2 are the host's: the ticket and the deadline.
local request_meta = {
  __name = "moonkeep.Request",
  __index = function(self, key)
    local method = request[key]
    if method then
      return method
    end
    if key == "deadline" then
      return left(self[2])
    end
    if key ~= "params" and key ~= "id" and key ~= "client" then
      error(unknown("request", { params = 1, id = 1, client = 1, deadline = 1, part = 1, progress = 1 }, key), 2)
    end
  end,
}

function request.part(self, value)
  part(self[1], value)
end

function request.progress(self, fraction, note)
  if type(fraction) ~= "number" or fraction < 0 or fraction > 1 then
    error("request:progress: expected a number from 0 to 1 (0.4), got " .. tostring(fraction), 2)
  end
  part(self[1], { progress = fraction, note = note })
end

-- A handler is called through this.
local function serve(f, params, ticket, deadline, id, client)
  return xpcall(f, capture, setmetatable({ ticket, deadline, params = params, id = id, client = client }, request_meta))
end

return guard, seal, call, serve
