-- moonkeep.time: clocks and times as text.
local time = require "moonkeep.time"

assert(time.seconds("1m30s") == 90 and time.seconds(0.5) == 0.5 and time.seconds("500ms") == 0.5)
assert(time.iso(0) == "1970-01-01T00:00:00Z")
assert(time.parse("2026-11-20T21:18:03Z") == 1795209483 and time.parse("1970-01-01T01:00:00+01:00") == 0)
assert(time.parse(time.iso(1795209483)) == 1795209483)
local before = time.monotonic()
time.sleep(0.01)
assert(time.monotonic() - before >= 0.01)
assert(math.abs(time.now() - os.time()) < 2)
for _, wrong in ipairs { "soon", "-1s", "", "5 parsecs" } do
  assert(not pcall(time.seconds, wrong), wrong)
end
assert(not pcall(time.parse, "2026-11-20") and not pcall(time.iso, 1e30))
