-- The library `io` over the protocol: stdin and stdout are the host's and wait without holding anybody up;
-- files are Lua's own.
local read_line, read_count, read_all, write, write_log, is_pipe, popen_run, refused = ...
local open, file_lines, file_type = io.open, io.lines, io.type
local error, type, tostring, tonumber, select, pcall = error, type, tostring, tonumber, select, pcall
local concat, unpack, max = table.concat, table.unpack, math.max

local function closed_tag(stream)
  if stream.closed then
    error("attempt to use a closed file", 3)
  end
end

local function read_one(stream, format)
  if type(format) == "number" then
    return stream.count(format)
  end
  local kind = tostring(format):gsub("^%*", ""):sub(1, 1)
  if kind == "l" then
    return stream.line()
  elseif kind == "L" then
    local line = stream.line()
    return line and line .. "\n"
  elseif kind == "a" then
    return stream.all()
  elseif kind == "n" then
    local line = stream.line()
    return line and tonumber(line)
  end
  error("bad argument to 'read' (invalid format)", 3)
end

local function read(stream, ...)
  closed_tag(stream)
  if not stream.line then
    return nil, "this stream can only be written", 9
  end
  local count = select("#", ...)
  if count == 0 then
    return stream.line()
  end
  local results = {}
  for position = 1, count do
    local value = read_one(stream, (select(position, ...)))
    results[position] = value
    if value == nil then
      return unpack(results, 1, position)
    end
  end
  return unpack(results, 1, count)
end

local methods = { read = read }

function methods.lines(stream, ...)
  local formats = { ... }
  local count = select("#", ...)
  return function()
    return read(stream, unpack(formats, 1, count))
  end
end

function methods.write(stream, ...)
  closed_tag(stream)
  if not stream.put then
    return nil, "this stream can only be read", 9
  end
  local count = select("#", ...)
  local parts = {}
  for position = 1, count do
    local value = select(position, ...)
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      error("bad argument #" .. position .. " to 'write' (string expected, got " .. kind .. ")", 2)
    end
    parts[position] = value
  end
  stream.put(concat(parts))
  return stream
end

function methods.close(stream)
  closed_tag(stream)
  if stream.standard then
    return nil, "the standard streams stay open", 9
  end
  stream.closed = true
  if stream.finish then
    return stream.finish()
  end
  return true
end

function methods.flush(stream)
  return stream
end

function methods.setvbuf()
  return true
end

function methods.seek()
  return nil, "a stream has no positions", 29
end

local meta = {
  __name = "FILE*",
  __index = methods,
  __close = function(stream)
    if not stream.closed then
      pcall(methods.close, stream)
    end
  end,
  __tostring = function(stream)
    return stream.closed and "file (closed)" or "file (" .. stream.name .. ")"
  end,
}

local function stream(fields)
  return setmetatable(fields, meta)
end

local stdin =
  stream { name = "stdin", standard = true, line = read_line, count = read_count, all = read_all }
local stdout = stream { name = "stdout", standard = true, put = write }
local stderr = stream { name = "stderr", standard = true, put = write_log }
local input, output = stdin, stdout

io.stdin, io.stdout, io.stderr = stdin, stdout, stderr

function io.read(...)
  return input:read(...)
end

function io.write(...)
  return output:write(...)
end

function io.open(name, mode)
  if is_pipe(name) then
    return nil, tostring(name) .. ": a named pipe would hold up the whole script; use moonkeep.process", 6
  end
  local why = refused(tostring(mode or "r"), name)
  if why then
    return nil, why, 13
  end
  local file, problem, number = open(name, mode)
  if file then
    return file
  end
  return nil, refused(tostring(mode or "r"), name, number) or problem, number
end

function io.lines(name, ...)
  if name == nil then
    return input:lines(...)
  end
  if is_pipe(name) then
    error(tostring(name) .. ": a named pipe would hold up the whole script; use moonkeep.process", 2)
  end
  local file, problem = io.open(name)
  if not file then
    error(problem, 2)
  end
  file:close()
  return file_lines(name, ...)
end

local function chosen(file, mode)
  if type(file) ~= "string" then
    return file
  end
  local opened, problem = io.open(file, mode)
  return opened or error(problem, 3)
end

function io.input(file)
  if file ~= nil then
    input = chosen(file, "r")
  end
  return input
end

function io.output(file)
  if file ~= nil then
    output = chosen(file, "w")
  end
  return output
end

function io.close(file)
  return (file or output):close()
end

function io.type(value)
  if getmetatable(value) == meta then
    return value.closed and "closed file" or "file"
  end
  return file_type(value)
end

-- Without a shell: the words of the command are split as a shell splits them, nothing else. The whole output is
-- read before the first line is given.
function io.popen(command, mode)
  mode = mode or "r"
  if mode ~= "r" and mode ~= "w" then
    error("bad argument #2 to 'popen' (invalid mode)", 2)
  end
  if mode == "w" then
    local parts = {}
    return stream {
      name = "popen",
      put = function(text)
        parts[#parts + 1] = text
      end,
      finish = function()
        local _, how, code, problem = popen_run(command, concat(parts))
        if problem then
          return nil, problem, 2
        end
        return how == "exit" and code == 0 or nil, how, code
      end,
    }
  end
  local text, how, code, problem = popen_run(command, "")
  if problem then
    return nil, problem, 2
  end
  local at = 1
  return stream {
    name = "popen",
    line = function()
      if at > #text then
        return nil
      end
      local stop = text:find("\n", at, true) or #text + 1
      local line = text:sub(at, stop - 1)
      at = stop + 1
      return line
    end,
    count = function(count)
      if at > #text then
        return nil
      end
      local piece = text:sub(at, at + max(count, 0) - 1)
      at = at + #piece
      return piece
    end,
    all = function()
      local rest = text:sub(at)
      at = #text + 1
      return rest
    end,
    finish = function()
      return how == "exit" and code == 0 or nil, how, code
    end,
  }
end
