-- Runs a program, without a shell: whether it ends as it should, says what it should, and how long it takes.
-- A program that speaks as a monitoring plugin does (0 ok, 1 warning, 2 critical) belongs to the plugin "nagios".
local command = param("command", nil, 'program and arguments, as text or as a list: ["sh", "-c", "..."]')
local exit = param("exit", { 0 }, "good exit codes, one or a list; every other is critical")
local warned = param("exit_warn", {}, "exit codes that are a warning")
local contains = param("contains", "", "text that the output must contain; empty: any output")
local lacks = param("lacks", "", "text that neither output nor errors may contain; empty: none")
local matches = param("matches", "", "regular expression that the output must match; empty: any output")
local value = param("value", "", "regular expression whose first group is a number in the output, to be measured; empty: none")
local warn = param("warn", "", "that number: above it we warn, or a range; empty: any")
local crit = param("crit", "", "that number: above it it is critical, or a range; empty: any")
local slow = param("slow", "", "seconds of running above which we warn, or a range; empty: any")
local input = param("input", "", "what the program reads on its stdin")
local folder = param("folder", "", "folder that it runs in; empty: the home")

local function given(text)
  return text ~= "" and text or nil
end

-- A regular expression that a parameter gave; nil if it is empty.
local function pattern(name, text)
  if text == "" then
    return nil
  end
  local good, compiled = pcall(regex.compile, text)
  if not good then
    error(("parameter `%s`: %s"):format(name, type(compiled) == "table" and compiled.message or tostring(compiled)), 0)
  end
  return compiled
end
local fitting, finder = pattern("matches", matches), pattern("value", value)

local function codes(name, list)
  local set = {}
  for _, code in ipairs(list) do
    local number = math.tointeger(tonumber(code))
    if not number or number < 0 or number > 255 then
      error(("parameter `%s` takes exit codes from 0 to 255, but was given %s"):format(name, tostring(code)), 0)
    end
    set[number] = true
  end
  return set
end
local good, doubtful = codes("exit", exit), codes("exit_warn", warned)

local first = type(command) == "table" and command[1] or command
local program = tostring(first):match("%S+")
if not program then
  error("parameter `command` is empty; name a program, with its arguments", 0)
end
program = program:match("[^/]+$") or program

local function first_line(text)
  return text:match("[^\r\n]+") or ""
end

-- How it ended, as words; nil if that is good.
local function judge_end(c, result)
  if result.signal then
    c:critical(("%s was killed by signal %d"):format(program, result.signal))
  elseif good[result.code] then
    return
  else
    local said = first_line(result.stderr)
    said = said ~= "" and said or first_line(result.stdout)
    local wanted = {}
    for code in pairs(good) do
      wanted[#wanted + 1] = code
    end
    table.sort(wanted)
    local text = ("%s ended with exit code %d, not %s%s"):format(program, result.code, table.concat(wanted, " or "),
      said ~= "" and ": " .. said or "")
    if doubtful[result.code] then
      c:warn(text)
    else
      c:critical(text)
    end
  end
end

local function judge_words(c, result)
  local shown = first_line(result.stdout)
  if contains ~= "" then
    c:expect(result.stdout:find(contains, 1, true), ("the output %q does not contain %q"):format(shown, contains))
  end
  if lacks ~= "" then
    local found = result.stdout:find(lacks, 1, true) or result.stderr:find(lacks, 1, true)
    c:expect(not found, ("the output contains %q"):format(lacks))
  end
  if fitting then
    c:expect(fitting:test(result.stdout), ("the output %q does not match %s"):format(shown, matches))
  end
  if finder then
    local found = finder:match(result.stdout)
    local number = found and tonumber(found[1] or found.text)
    if number then
      c:measure("value", number, "", { warn = given(warn), crit = given(crit) })
    else
      c:critical(("there is no number in the output %q where %s looks for it"):format(shown, value))
    end
  end
end

check("command " .. program, { every = "1m", timeout = "30s" }, function(c)
  local result = process.run(command, { stdin = given(input), cwd = given(folder) })
  judge_end(c, result)
  judge_words(c, result)
  c:measure("time", result.seconds, "s", { warn = given(slow), min = 0 })
  local said = first_line(result.stdout)
  return said ~= "" and said or ("%s ended well in %.0f ms"):format(program, result.seconds * 1000)
end)
