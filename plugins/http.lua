-- Whether an address answers with the right status and text, and how fast.
local url = param("url", nil, "address to fetch")
local status = param("status", "200:399", "the good statuses: one, or a range")
local contains = param("contains", "", "text that the body must contain; empty: any body")
local warn = param("warn", "1", "seconds above which we warn, or a range")
local crit = param("crit", "5", "seconds above which it is critical, or a range")
local method = param("method", "GET", "GET, HEAD, POST, ...")
local headers = param("headers", {}, "headers to send: { name = value }")
local body = param("body", "", "body to send")
local insecure = param("insecure", false, "accept any certificate")

-- A single status is meant exactly, not as 0 to it.
local good = status:find(":", 1, true) and status or status .. ":" .. status

check("http " .. url, { every = "30s", timeout = "10s", tags = { "net", "web" } }, function(c)
  local response = http.request(method, url, {
    timeout = c:remaining(),
    headers = headers,
    body = body ~= "" and body or nil,
    insecure = insecure,
  })
  c:measure("status", response.status, "", { crit = good })
  c:measure("time", response.seconds, "s", { warn = warn, crit = crit, min = 0 })
  c:measure("size", #response.body, "B", { min = 0 })
  if contains ~= "" then
    c:expect(response.body:find(contains, 1, true), ("the body does not contain %q"):format(contains))
  end
  return ("%s answered %d in %.1f ms"):format(url, response.status, response.seconds * 1000)
end)
