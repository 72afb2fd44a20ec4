-- Whether a mail server greets, what it offers, and how fast. No mail is sent.
local address = param("address", nil, '"host" or "host:port"; port 25 unless given')
local warn = param("warn", "1", "seconds for the talk above which we warn, or a range")
local crit = param("crit", "5", "seconds for the talk above which it is critical, or a range")
local expect = param("expect", "", "text that the greeting must contain; empty: any")
local starttls = param("starttls", false, "true: it must offer STARTTLS")
local offers = param("offers", {}, 'further words that it must offer in answer to EHLO: "AUTH", "SIZE", ...')
local name = param("name", "localhost", "what we call ourselves")
local from = param("from", "", "sender to ask about with MAIL FROM; empty: not asked")
local recipient = param("recipient", "", "recipient to ask about with RCPT TO (needs `from`); empty: not asked")

if not address:find(":%d+$") then
  address = address .. ":25"
end
if recipient ~= "" and from == "" then
  error("parameter `recipient` needs the parameter `from`", 0)
end

-- The code and the lines of an answer, which may have several: "250-SIZE", "250 HELP".
local function answer(connection)
  local lines = {}
  for _ = 1, 200 do
    local line = connection:read()
    if line == nil then
      return nil, lines
    end
    local code, more, text = line:match("^(%d%d%d)([ -]?)(.*)$")
    lines[#lines + 1] = text or line
    if not code or more ~= "-" then
      return tonumber(code), lines
    end
  end
  return nil, lines
end

-- Says something and judges the answer; false: the talk is over.
local function ask(c, connection, words, wanted)
  if words then
    connection:write(words .. "\r\n")
  end
  local code, lines = answer(connection)
  if code == wanted then
    return true, lines
  end
  local said = lines[#lines] and ("%s %s"):format(code or "no code", lines[#lines]) or "nothing"
  c:critical(("%s answered %s to %s, not %d"):format(address, said, words or "the connection", wanted))
  return false
end

local function judge_offers(c, lines)
  local offered = {}
  for at = 2, #lines do
    offered[(lines[at]:match("^%S+") or ""):upper()] = true
  end
  for _, word in ipairs(offers) do
    c:expect(offered[word:upper()], ("%s does not offer %s"):format(address, word))
  end
  c:expect(not starttls or offered.STARTTLS, address .. " does not offer STARTTLS")
end

local function talk(c, connection)
  local good, lines = ask(c, connection, nil, 220)
  if not good then
    return nil
  end
  local greeting = lines[1]
  c:expect(greeting:find(expect, 1, true), ("the greeting %q does not contain %q"):format(greeting, expect))
  good, lines = ask(c, connection, "EHLO " .. name, 250)
  if good then
    judge_offers(c, lines)
  end
  if good and from ~= "" then
    good = ask(c, connection, "MAIL FROM:<" .. from .. ">", 250)
  end
  if good and recipient ~= "" then
    ask(c, connection, "RCPT TO:<" .. recipient .. ">", 250)
  end
  connection:write("QUIT\r\n")
  return greeting
end

check("smtp " .. address, { every = "1m", timeout = "10s", tags = { "net", "mail" } }, function(c)
  local begun = time.monotonic()
  local connection <close> = tcp.connect(address, { timeout = c:remaining() })
  local greeting = talk(c, connection)
  local took = time.monotonic() - begun
  c:measure("time", took, "s", { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0 })
  return greeting and ("%s: %s, in %.1f ms"):format(address, greeting, took * 1000)
end)
