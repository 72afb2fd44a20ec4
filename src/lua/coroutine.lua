-- Coroutines of the script's own, through which waiting passes: when a host function waits inside one, the
-- outermost coroutine (the host's) yields, and everything goes on from there once the wait is over.
local pending, deeper, shallower, note, noted, traceback, stopped = ...
local create, resume, yield, status, close =
  coroutine.create, coroutine.resume, coroutine.yield, coroutine.status, coroutine.close
local error, type, xpcall = error, type, xpcall

local again

local function after(thread, ok, ...)
  shallower()
  if ok and (...) == pending then
    return again(thread, yield(pending))
  end
  return ok, ...
end

again = function(thread, ...)
  deeper()
  return after(thread, resume(thread, ...))
end

local function finish(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

local function checked(f, name)
  if type(f) ~= "function" then
    error("bad argument #1 to '" .. name .. "' (function expected, got " .. type(f) .. ")", 3)
  end
  return create(function(...)
    return finish(xpcall(f, note, ...))
  end)
end

local function unwrap(thread, ok, ...)
  if ok then
    return ...
  end
  local problem = ...
  if status(thread) == "suspended" then
    close(thread)
  end
  error(problem, 0)
end

function coroutine.create(f)
  return checked(f, "create")
end

function coroutine.resume(thread, ...)
  if type(thread) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected, got " .. type(thread) .. ")", 2)
  end
  return again(thread, ...)
end

function coroutine.wrap(f)
  local thread = checked(f, "wrap")
  return function(...)
    return unwrap(thread, again(thread, ...))
  end
end

local function closed(...)
  shallower()
  return ...
end

function coroutine.close(thread)
  deeper()
  return closed(close(thread))
end

-- An error of the hook calls the message handler while hooks are off: a handler that computes without end would
-- be out of reach.
_G.xpcall = function(f, handler, ...)
  return xpcall(f, function(problem)
    if stopped() then
      return problem
    end
    return handler(problem)
  end, ...)
end

-- All of the library's `debug` that is safe. Of another coroutine only an error's traceback is known.
debug = {
  traceback = function(first, second)
    local other = type(first) == "thread"
    local message = first
    if other then
      message = second
    end
    if message ~= nil and type(message) ~= "string" and type(message) ~= "number" then
      return message
    end
    local text = other and noted() or traceback()
    if message ~= nil then
      return message .. "\n" .. text
    end
    return text
  end,
}
