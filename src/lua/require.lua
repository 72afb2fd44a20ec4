-- `require`, `load`, `loadfile` and `dofile` in plain Lua, so that a module's top level may wait. Text only.
local find, read, builtin, wait, searchpath = ...
local error, type, tostring, load, running = error, type, tostring, load, coroutine.running
local contains = string.find
local package = package
local loaded, preload = package.loaded, package.preload
local loading = {}

local function run(name, chunk, extra)
  local thread = running()
  loading[name] = thread
  local guard <close> = setmetatable({}, { __close = function() loading[name] = nil end })
  local value = chunk(name, extra)
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name], extra
end

function require(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
  end
  while true do
    local value = loaded[name]
    if value ~= nil then
      return value
    end
    local by = loading[name]
    if not by then
      break
    end
    if by == running() then
      error("module '" .. name .. "' requires itself, directly or through others; move what both need into a third", 2)
    end
    wait()
  end
  local own = builtin(name)
  if own ~= nil then
    loaded[name] = own
    return own
  end
  local chunk = preload[name]
  if chunk then
    return run(name, chunk, ":preload:")
  end
  local found, where = find(name, package.path)
  if not found then
    error(where, 2)
  end
  return run(name, found, where)
end

function package.searchpath(name, path, separator, replacement)
  return searchpath(name, path, separator, replacement)
end

-- Lua's own sentence about a binary chunk does not say what to do.
local function load_text(chunk, name, ...)
  local loaded_chunk, problem = load(chunk, name, "t", ...)
  if loaded_chunk then
    return loaded_chunk
  end
  if type(problem) == "string" and contains(problem, "attempt to load a binary chunk", 1, true) then
    problem = problem .. "; only text is loaded here: give Lua source, not what string.dump or luac made of it"
  end
  return nil, problem
end

_G.load = function(chunk, name, mode, ...)
  if mode ~= nil and mode ~= "t" and mode ~= "bt" then
    return nil, "precompiled chunks are not loaded here (mode '" .. tostring(mode) .. "'); give Lua source"
  end
  return load_text(chunk, name, ...)
end

function loadfile(path, mode, ...)
  if mode ~= nil and mode ~= "t" and mode ~= "bt" then
    return nil, "precompiled chunks are not loaded here (mode '" .. tostring(mode) .. "'); give Lua source"
  end
  local source, name = read(path)
  if not source then
    return nil, name
  end
  return load_text(source, name, ...)
end

function dofile(path)
  local chunk, problem = loadfile(path)
  if not chunk then
    error(problem, 2)
  end
  return chunk()
end
