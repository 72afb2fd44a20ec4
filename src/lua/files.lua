-- Files of `os`: what the sandbox refuses is said as `moonkeep.fs` says it.
local refused, place = ...
local remove, rename, tmpname, tmpfile, open = os.remove, os.rename, os.tmpname, io.tmpfile, io.open

local function told(done, problem, number, ...)
  if done then
    return done, problem, number
  end
  for position = 1, select("#", ...) do
    local why = refused("w", (select(position, ...)), number)
    if why then
      return nil, why, number
    end
  end
  return nil, problem, number
end

function os.remove(name)
  local why = refused("w", name)
  if why then
    return nil, why, 13
  end
  local done, problem, number = remove(name)
  return told(done, problem, number, name)
end

function os.rename(from, to)
  local why = refused("w", from) or refused("w", to)
  if why then
    return nil, why, 13
  end
  local done, problem, number = rename(from, to)
  return told(done, problem, number, from, to)
end

function os.tmpname()
  local name = place()
  if not name then
    return tmpname()
  end
  local file, problem = open(name, "w")
  if not file then
    error(problem, 2)
  end
  file:close()
  return name
end

function io.tmpfile()
  local name = place()
  if not name then
    return tmpfile()
  end
  local file, problem, number = open(name, "w+b")
  if file then
    remove(name)
  end
  return file, problem, number
end
