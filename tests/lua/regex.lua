-- moonkeep.regex: what is found, where, and what is refused.
local regex = require "moonkeep.regex"

local date = regex.compile [[(?<year>\d{4})-(\d\d)-(\d\d)]]
local found = date:match("on 2026-11-20, and 2027-01-02")
assert(found.text == "2026-11-20" and found.year == "2026" and found[1] == "2026" and found[3] == "20")
assert(found.first == 4 and found.last == 13)
assert(date:match("on 2026-11-20, and 2027-01-02", 5).year == "2027")
assert(date:match("nothing") == nil and date:find("nothing") == nil)
local first, last = date:find("x2026-11-20")
assert(first == 2 and last == 11)
assert(date:test("2026-11-20") and not date:test("2026"))

-- A group that took no part is absent.
local either = regex.compile("(a)|(b)")
found = either:match("b")
assert(found[1] == nil and found[2] == "b")

local words = regex.compile([[\w+]])
local all = words:all("a bc def")
assert(#all == 3 and all[3].text == "def" and all[3].first == 6)
assert(#words:all("a bc def", 2) == 2)

local text, count = regex.compile([[(\w+)@(\w+)]]):replace("a@b c@d", "$2 at ${1}", 1)
assert(text == "b at a c@d" and count == 1)
assert(regex.compile("x"):replace("xx", "$$") == "$$")
assert(table.concat(regex.compile([[\s*,\s*]]):split("a , b,c"), "|") == "a|b|c")
assert(#regex.compile(","):split("a,b,c", 2) == 2)

-- Flags, bytes that are no UTF-8, and positions from the end.
assert(regex.compile("ABC", { ignore_case = true }):test("xabcx"))
assert(regex.compile("^b$", { multi_line = true }):test("a\nb\nc"))
assert(regex.compile("a.b", { dot_all = true }):test("a\nb"))
assert(regex.compile([[(?-u)\xff]]):find("a\xff") == 2)
assert(regex.compile("b"):find("bab", -1) == 3)
assert(regex.compile("$"):find("ab", 3) == 3 and regex.compile("$"):find("ab", 4) == nil)

assert(regex.test("abc", "^a") and regex.match("k=v", "(.)=(.)")[2] == "v")
assert(regex.test("a.b", "^" .. regex.escape("a.b") .. "$") and not regex.test("axb", regex.escape("a.b")))

-- What backtracks elsewhere takes no time here.
assert(not regex.test(("a"):rep(100000), "(a*)*b"))

local function refused(words, ...)
  local ok, why = pcall(...)
  assert(not ok and why.code == "bad_request" and why.message:find(words, 1, true), tostring(why and why.message))
end
refused("is no regular expression", regex.compile, "(")
refused("once compiled", regex.compile, [[\w{1000}{1000}]])
refused("at most 65536", regex.compile, ("a"):rep(70000))
refused("did you mean `ignore_case`?", regex.compile, "a", { ignore_cas = true })
