-- moonkeep.json: there and back without losses, and what it refuses.
local json = require "moonkeep.json"

for _, text in ipairs { '{"a":[1,2.5,"x",true,null]}', "[]", "{}", '"\\u00e9"', "9007199254740993", "-0.5" } do
  local value = json.decode(text)
  assert(json.encode(json.decode(json.encode(value))) == json.encode(value), text)
end
assert(json.encode({ b = 1, a = 2 }) == '{"a":2,"b":1}')
assert(json.encode(json.decode("9007199254740993")) == "9007199254740993")
assert(json.encode(json.array {}) == "[]" and json.encode({}) == "{}")
for _, value in ipairs { print, 0 / 0, 1 / 0, { 1, a = 2 }, { [1] = 1, [3] = 3 }, "\xff" } do
  assert(not pcall(json.encode, value))
end
local loop = {}
loop.loop = loop
assert(not pcall(json.encode, loop))
for _, text in ipairs { "", "{", "[1,]", "nul", '{"a":1}x', ("["):rep(1000) } do
  assert(not pcall(json.decode, text), text)
end
