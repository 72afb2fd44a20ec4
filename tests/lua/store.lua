-- moonkeep.store: values, keys, sums, transactions.
local store = require "moonkeep.store"
local json = require "moonkeep.json"

assert(store.get("none") == nil and store.get("none", "default") == "default")
for _, value in ipairs { 1, 1.5, "text", true, false, { 1, 2, { a = "b" } }, "" } do
  store.set("value", value)
  assert(json.encode(store.get("value")) == json.encode(value))
end
assert(math.type(store.incr("count")) == "integer" and store.incr("count", 4) == 5)
assert(store.incr("count", 0.5) == 5.5 and store.get("count") == 5.5)

store.set("a:1", 1)
store.set("a:2", 2)
store.set("b", 3)
assert(table.concat(store.keys("a:"), " ") == "a:1 a:2")
assert(store.delete("b") == true and store.delete("b") == false)
store.set("a:1", nil)
assert(table.concat(store.keys("a:"), " ") == "a:2")

-- All of a transaction, or nothing.
assert(store.transaction(function(tx)
  tx.set("x", 1)
  assert(tx.get("x") == 1)
  return tx.incr("x")
end) == 2)
local ok, why = pcall(store.transaction, function(tx)
  tx.set("x", 99)
  tx.delete("a:2")
  error({ code = "mine", message = "no" })
end)
assert(not ok and why.code == "mine", "the error goes on as it was")
assert(store.get("x") == 2 and store.get("a:2") == 2)

local kept
store.transaction(function(tx) kept = tx end)
local function refused(words, ...)
  local ok, why = pcall(...)
  assert(not ok and why.code == "bad_request" and why.message:find(words, 1, true), tostring(why and why.message))
end
refused("the transaction is over", kept.get, "x")
refused("may not wait", store.transaction, function() require("moonkeep").sleep(0.01) end)
refused("a key is a text", store.set, "", 1)
refused("is no number", function() store.set("t", "x") store.incr("t") end)
refused("function", store.set, "f", print)
refused("at most 262144", store.set, "large", ("x"):rep(300000))
-- After all that it still works.
assert(store.get("x") == 2)
