-- Whether something, or a given program, listens on a port of this machine. Nothing is connected to.
local port = param("port", nil, "number of the port")
local protocol = param("protocol", "tcp", "tcp or udp")
local address = param("address", "", "address that it must listen on: 127.0.0.1, ::1; one on all addresses fits each; empty: any")
local process = param("process", "", "name of the program that must listen; seen of one's own programs, by root of all; empty: any")
local closed = param("closed", false, "true: nothing may listen there")
local loopback = param("loopback", false, "true: it must be reachable from this machine only")

local wanted = math.tointeger(tonumber(port))
if not wanted or wanted < 1 or wanted > 65535 then
  error(("parameter `port` takes a number from 1 to 65535, but was given %s"):format(tostring(port)), 0)
end
if protocol ~= "tcp" and protocol ~= "udp" then
  error(("parameter `protocol` takes tcp or udp, but was given %q"):format(protocol), 0)
end

local ALL = { ["0.0.0.0"] = true, ["::"] = true }
local title = protocol .. " " .. wanted

local function names_of(listener)
  return #listener.names > 0 and table.concat(listener.names, ", ") or "a process that cannot be seen"
end

local function is_local(listener)
  return listener.address:match("^127%.") or listener.address == "::1"
end

-- What a listener lacks; nil if it fits.
local function misfit(listener)
  if address ~= "" and listener.address ~= address and not ALL[listener.address] then
    return ("%s listens on %s, not %s"):format(names_of(listener), listener.address, address)
  end
  if process == "" then
    return nil
  end
  for _, name in ipairs(listener.names) do
    -- The kernel keeps 15 bytes of a name.
    if name == process:sub(1, 15) then
      return nil
    end
  end
  return ("%s listens on %s, not %s"):format(names_of(listener), listener.address, process)
end

check("port " .. title, { every = "30s", tags = { "machine", "net" } }, function(c)
  local fitting, misfits, open = {}, {}, {}
  for _, listener in ipairs(system.listeners()) do
    if listener.port == wanted and listener.protocol == protocol then
      local why = misfit(listener)
      if why then
        misfits[#misfits + 1] = why
      else
        fitting[#fitting + 1] = ("%s on %s"):format(names_of(listener), listener.address)
        if not is_local(listener) then
          open[#open + 1] = listener.address
        end
      end
    end
  end
  c:measure("listeners", #fitting, "", { min = 0 })
  if closed then
    c:expect(#fitting == 0, ("%s is open, but nothing should listen there: %s"):format(title, table.concat(fitting, ", ")))
    return #fitting == 0 and "nothing listens on " .. title .. ", as it should" or nil
  end
  if #fitting == 0 then
    c:critical(#misfits > 0 and title .. ": " .. table.concat(misfits, ", ") or "nothing listens on " .. title)
    return
  end
  if loopback then
    c:expect(#open == 0, ("%s is reachable from outside, on %s"):format(title, table.concat(open, ", ")))
  end
  return title .. ": " .. table.concat(fitting, ", ")
end)
