-- Whether a name server gives the right records of a name, and how fast.
local name = param("name", nil, "name to ask for, whole; for PTR an address")
local record = param("record", "A", "kind of record: A, AAAA, CAA, CNAME, MX, NS, PTR, SOA, SRV or TXT")
local expect = param("expect", {}, 'values that must be there, as in a zone file: "192.0.2.1", "10 mx.example.org"; empty: any')
local only = param("only", false, "true: no values but those of `expect`")
local rcode = param("rcode", "NOERROR", "what the answer must be: NOERROR, NXDOMAIN, ...")
local server = param("server", "", 'name server: "1.1.1.1", "[::1]:5353"; empty: those of this machine')
local warn = param("warn", "0.5", "seconds to the answer above which we warn, or a range")
local crit = param("crit", "3", "seconds to the answer above which it is critical, or a range")
local ttl = param("ttl", "", "least time to live of the values, in seconds: a range outside of which we warn; empty: any")
local authoritative = param("authoritative", false, "true: the server must be one of the zone's own")
local authenticated = param("authenticated", false, "true: the server must have checked DNSSEC")
local over_tcp = param("tcp", false, "true: ask over TCP at once")

record = record:upper()
if not ("A AAAA CAA CNAME MX NS PTR SOA SRV TXT "):find(record .. " ", 1, true) then
  error(('parameter `record` takes A, AAAA, CAA, CNAME, MX, NS, PTR, SOA, SRV or TXT, but was given %q'):format(record), 0)
end

local function given(text)
  return text ~= "" and text or nil
end

-- Names are the same in capitals and with a dot at their end.
local function plain(value)
  local text = tostring(value):gsub("%.$", "")
  return record == "TXT" and text or text:lower()
end

local function listed(values)
  return #values > 0 and table.concat(values, ", ") or "none"
end

local function judge_values(c, answer)
  local there, wanted = {}, {}
  for _, value in ipairs(answer.values) do
    there[plain(value)] = true
  end
  local missing, strange = {}, {}
  for _, value in ipairs(expect) do
    wanted[plain(value)] = true
    if not there[plain(value)] then
      missing[#missing + 1] = tostring(value)
    end
  end
  for _, value in ipairs(answer.values) do
    if only and not wanted[plain(value)] then
      strange[#strange + 1] = value
    end
  end
  local has = ("%s has the %s %s"):format(name, record, listed(answer.values))
  c:expect(#missing == 0, ("%s, but should have %s"):format(has, listed(missing)))
  c:expect(#strange == 0, ("%s, but should not have %s"):format(has, listed(strange)))
  c:expect(#answer.values > 0 or rcode ~= "NOERROR" or #missing > 0, ("%s has no %s"):format(name, record))
end

local function judge_ttl(c, answer)
  local least
  for _, one in ipairs(answer.records) do
    least = math.min(least or one.ttl, one.ttl)
  end
  if least then
    c:measure("ttl", least, "s", { warn = given(ttl), min = 0 })
  end
end

check(("dns %s %s"):format(name, record), { every = "1m", timeout = "10s", tags = { "net" } }, function(c)
  local answer = dns.resolve(name, record, { server = given(server), timeout = c:remaining(), tcp = over_tcp })
  c:measure("time", answer.seconds, "s", { warn = given(warn), crit = given(crit), min = 0 })
  if answer.rcode ~= rcode then
    c:critical(("%s answered %s for %s, not %s"):format(answer.server, answer.rcode, name, rcode))
    return
  end
  if rcode == "NOERROR" then
    judge_values(c, answer)
    judge_ttl(c, answer)
  end
  c:measure("values", #answer.values, "", { min = 0 })
  c:expect(answer.authoritative or not authoritative, ("%s does not answer for the zone itself"):format(answer.server))
  c:expect(answer.authenticated or not authenticated, ("%s has not checked DNSSEC for %s"):format(answer.server, name))
  local values = rcode == "NOERROR" and listed(answer.values) or rcode
  return ("%s %s: %s, from %s in %.1f ms"):format(name, record, values, answer.server, answer.seconds * 1000)
end)
