-- Whether an SSH server greets as one, and how fast. Nobody logs in.
local address = param("address", nil, '"host" or "host:port"; port 22 unless given')
local warn = param("warn", "1", "seconds to the greeting above which we warn, or a range")
local crit = param("crit", "5", "seconds to the greeting above which it is critical, or a range")
local software = param("software", "", 'text that the name of the software must contain: "OpenSSH_9"; empty: any')

if not address:find(":%d+$") then
  address = address .. ":22"
end

check("ssh " .. address, { every = "30s", timeout = "10s", tags = { "net" } }, function(c)
  local begun = time.monotonic()
  local connection <close> = tcp.connect(address, { timeout = c:remaining() })
  local line
  -- A server may say something to people before it greets.
  for _ = 1, 20 do
    line = connection:read()
    if line == nil or line:find("^SSH%-") then
      break
    end
  end
  if not line or not line:find("^SSH%-") then
    c:critical(("%s does not greet as SSH: %s"):format(address, line and ("%q"):format(line:sub(1, 80)) or "it closed the connection"))
    return
  end
  local took = time.monotonic() - begun
  c:measure("time", took, "s", { warn = warn ~= "" and warn or nil, crit = crit ~= "" and crit or nil, min = 0 })
  local version, name = line:match("^SSH%-([^-]+)%-(.*)$")
  c:expect(version == "2.0" or version == "1.99", ("%s speaks SSH %s, not 2.0"):format(address, version or "of no version"))
  c:expect(software == "" or (name or ""):find(software, 1, true),
    ("the software of %s is %q, which does not contain %q"):format(address, name or "", software))
  return ("%s: %s in %.1f ms"):format(address, name or line, took * 1000)
end)
