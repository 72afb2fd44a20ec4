-- Whether an address answers as it should: status, body, JSON, headers, redirects, and how fast. Documents that tell
-- of health ({"status": "UP"}, pass, ok, green, ...) are understood, with the parts that they name.
local url = param("url", nil, "address to fetch: http://... or https://...")
local status = param("status", { "200:399" }, 'good statuses: one (200), a range ("200:299", "2xx"), or a list of these')
local contains = param("contains", "", "text that the body must contain; empty: any body")
local lacks = param("lacks", "", "text that the body must not contain; empty: none")
local matches = param("matches", "", "regular expression that the body must match; empty: any body")
local conditions = param("json", {}, 'what must hold of a JSON body: "status == UP", "items[0].count >= 3", "#items > 0", '
  .. '"error == null", "version =~ ^2"; a path alone: it is there')
local health = param("health", "auto", "whether the body tells of health: yes, no, auto (as its content type says)")
local expected = param("expect_headers", {}, "headers that the answer must have, each with a text that it contains: { name = text }")
local redirect = param("redirect", "", "text that the address must contain that redirects lead to; empty: any")
local follow = param("follow", true, "follow redirects, at most 10; false: judge the first answer")
local warn = param("warn", "1", "seconds for the whole answer above which we warn, or a range")
local crit = param("crit", "5", "seconds for the whole answer above which it is critical, or a range")
local size = param("size", "", "bytes of the body: a range outside of which it is critical; empty: any")
local method = param("method", "GET", "GET, HEAD, POST, ...")
local headers = param("headers", {}, "headers to send: { name = value }")
local body = param("body", "", "body to send")
local insecure = param("insecure", false, "accept any certificate")

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
local fitting = pattern("matches", matches)

-- 200, "200", "2xx", "200:299" and "200-299" as { from, to }.
local function span(word)
  local text = tostring(word)
  local class = text:match("^%s*(%d)[xX][xX]%s*$")
  if class then
    return { class * 100, class * 100 + 99 }
  end
  local from, to = text:match("^%s*(%d%d%d)%s*[:-]%s*(%d%d%d)%s*$")
  from = from or text:match("^%s*(%d%d%d)%s*$")
  to = to or from
  if not from or tonumber(from) > tonumber(to) then
    error(('parameter `status` takes statuses like 200, "2xx" or "200:299", but was given %q'):format(text), 0)
  end
  return { tonumber(from), tonumber(to) }
end

local spans, wanted_statuses = {}, {}
for _, word in ipairs(status) do
  spans[#spans + 1] = span(word)
  wanted_statuses[#wanted_statuses + 1] = tostring(word)
end
wanted_statuses = table.concat(wanted_statuses, ", ")

if health ~= "yes" and health ~= "no" and health ~= "auto" then
  error(('parameter `health` takes yes, no or auto, but was given %q'):format(health), 0)
end

local function shown(value)
  if value == nil then
    return "absent"
  end
  local good, text = pcall(json.encode, value)
  text = good and text or tostring(value)
  return #text > 60 and text:sub(1, 57) .. "..." or text
end

local OPERATORS = { ["=="] = true, ["="] = true, ["!="] = true, ["<"] = true, ["<="] = true, [">"] = true, [">="] = true,
  ["=~"] = true, ["!~"] = true }

-- "items[0].count >= 3" as its path, operator and value; the value as JSON if it is JSON, else as text.
local function parse_condition(text)
  text = tostring(text)
  local path, operator, rest = text:match("^%s*([^=!<>~]-)%s*([=!<>~]+)%s*(.-)%s*$")
  local condition = { text = text, path = path or text:match("^%s*(.-)%s*$"), operator = operator, rest = rest, steps = {} }
  if condition.path == "" or operator and (not OPERATORS[operator] or rest == "") then
    error(('parameter `json` takes conditions like "status == UP" or "items[0].count >= 3", but was given %q'):format(text), 0)
  end
  local plain = condition.path
  condition.counts = plain:sub(1, 1) == "#"
  plain = plain:gsub("^#%s*", ""):gsub("^%$%.?", "")
  for key, index in plain:gmatch("([^.%[%]]*)%[?(%d*)%]?") do
    if key ~= "" then
      condition.steps[#condition.steps + 1] = key
    end
    if index ~= "" then
      condition.steps[#condition.steps + 1] = tonumber(index) + 1
    end
  end
  if operator then
    local decoded, value = pcall(json.decode, rest)
    condition.value = decoded and value or rest
    condition.null = rest == "null"
    condition.pattern = operator:find("~", 1, true) and pattern("json", rest) or nil
  end
  return condition
end

local parsed = {}
for _, text in ipairs(conditions) do
  parsed[#parsed + 1] = parse_condition(text)
end

local function look_up(document, condition)
  local value = document
  for _, step in ipairs(condition.steps) do
    if type(value) ~= "table" then
      return nil
    end
    value = value[step]
  end
  if condition.counts then
    local count = 0
    for _ in pairs(type(value) == "table" and value or {}) do
      count = count + 1
    end
    return type(value) == "table" and count or nil
  end
  if value == json.null then
    return nil
  end
  return value
end

local function holds(value, condition)
  local operator, wanted = condition.operator, condition.value
  if not operator then
    return value ~= nil
  elseif operator == "==" or operator == "=" or operator == "!=" then
    local same = value == wanted or tostring(value) == condition.rest
    if condition.null then
      same = value == nil
    end
    return same == (operator ~= "!=")
  elseif operator == "=~" or operator == "!~" then
    local text = type(value) == "string" and value or shown(value)
    return condition.pattern:test(text) == (operator == "=~")
  end
  local number, bound = tonumber(value), tonumber(wanted)
  if not number or not bound then
    return false
  elseif operator == "<" then
    return number < bound
  elseif operator == "<=" then
    return number <= bound
  elseif operator == ">" then
    return number > bound
  end
  return number >= bound
end

local function judge_conditions(c, document)
  for _, condition in ipairs(parsed) do
    local value = look_up(document, condition)
    if not holds(value, condition) then
      local wanted = condition.operator and condition.operator .. " " .. condition.rest or "there"
      c:critical(("%s is %s, but should be %s"):format(condition.path, shown(value), wanted))
    elseif math.type(value) then
      c:measure(condition.path, value)
    end
  end
end

local GRADES = {}
for grade, words in pairs({
  ok = "up ok pass passed passing healthy green true alive ready online",
  warning = "warn warning degraded yellow unknown",
  critical = "down fail failed failing error unhealthy red critical out_of_service false offline",
}) do
  for word in words:gmatch("%S+") do
    GRADES[word] = grade
  end
end

local function status_of(document)
  if type(document) ~= "table" then
    return nil
  end
  local word = document.status or document.state or document.health
  if type(word) == "string" or type(word) == "boolean" then
    return tostring(word)
  end
end

-- The parts that are not well, by Spring's, MicroProfile's and the health+json draft's ways of naming them.
local function ailing(document, found, prefix)
  for _, key in ipairs({ "components", "details", "checks", "services" }) do
    local parts = document[key]
    for name, part in pairs(type(parts) == "table" and parts or {}) do
      if type(part) == "table" and #part > 0 and type(part[1]) == "table" then
        part = part[1]
      end
      local word = status_of(part)
      local label = prefix .. tostring(type(part) == "table" and part.name or name)
      if word and GRADES[word:lower()] ~= "ok" then
        local why = part.output or part.error or type(part.details) == "table" and part.details.error
        found[#found + 1] = ("%s is %s%s"):format(label, word, type(why) == "string" and " (" .. why .. ")" or "")
      end
      if type(part) == "table" and #found < 10 then
        ailing(part, found, label .. "/")
      end
    end
  end
  return found
end

local function judge_health(c, document)
  local word = status_of(document)
  if not word then
    c:critical("the body is no health document: it has no status")
    return
  end
  local grade = GRADES[word:lower()]
  if grade == "ok" then
    return "health " .. word
  end
  local parts = ailing(document, {}, "")
  table.sort(parts)
  local text = ("health is %s%s"):format(word, #parts > 0 and ": " .. table.concat(parts, ", ") or "")
  if grade == "warning" then
    c:warn(text)
  else
    c:critical(text)
  end
end

local function tells_health(response)
  local kind = (response.headers["content-type"] or ""):lower()
  local named = kind:find("health+json", 1, true) or kind:find("spring-boot.actuator", 1, true)
  return health == "yes" or health == "auto" and named ~= nil
end

local function judge_document(c, response)
  local of_health = tells_health(response)
  if #parsed == 0 and not of_health then
    return nil
  end
  local decoded, document = pcall(json.decode, response.body)
  if not decoded then
    local why = tostring(type(document) == "table" and document.message or document)
    c:critical("the body is no JSON: " .. why)
    return nil
  end
  judge_conditions(c, document)
  return of_health and judge_health(c, document) or nil
end

local function judge_status(c, response)
  for _, range in ipairs(spans) do
    if response.status >= range[1] and response.status <= range[2] then
      return
    end
  end
  c:critical(("status is %d, but should be %s"):format(response.status, wanted_statuses))
end

local function judge_headers(c, response)
  for name, text in pairs(expected) do
    local value = response.headers[tostring(name):lower()]
    if value == nil then
      c:critical(("the answer has no header %s"):format(name))
    else
      c:expect(value:find(tostring(text), 1, true), ("the header %s is %q, which does not contain %q"):format(name, value, text))
    end
  end
  if redirect ~= "" then
    local place = follow and response.url or response.headers.location
    c:expect(place and place:find(redirect, 1, true),
      ("it leads to %s, which does not contain %q"):format(place or "nowhere else", redirect))
  end
end

local function judge_body(c, response)
  if contains ~= "" then
    c:expect(response.body:find(contains, 1, true), ("the body does not contain %q"):format(contains))
  end
  if lacks ~= "" then
    c:expect(not response.body:find(lacks, 1, true), ("the body contains %q"):format(lacks))
  end
  if fitting then
    c:expect(fitting:test(response.body), ("the body does not match %s"):format(matches))
  end
end

check("http " .. url, { every = "30s", timeout = "10s", tags = { "net", "web" } }, function(c)
  local response = http.request(method, url, {
    timeout = c:remaining(),
    headers = headers,
    body = given(body),
    insecure = insecure,
    follow = follow,
  })
  judge_status(c, response)
  judge_headers(c, response)
  judge_body(c, response)
  local told = judge_document(c, response)
  c:measure("status", response.status)
  c:measure("time", response.seconds, "s", { warn = given(warn), crit = given(crit), min = 0 })
  c:measure("size", #response.body, "B", { crit = given(size), min = 0 })
  return ("%s answered %d in %.1f ms%s"):format(url, response.status, response.seconds * 1000, told and ", " .. told or "")
end)
