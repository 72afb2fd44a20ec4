//! The command line: what each command prints and how it exits.

mod calls;
mod code;
mod errors;
mod home;
mod shell;
mod terminal;

/// Handlers for every kind of answer.
const TALKER: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("text", function(request) return "hello " .. (request.params.name or "world") end)
moonkeep.handle("params", function(request) return request.params end)
moonkeep.handle("nothing", function() end)
moonkeep.handle("parts", function(request)
  request:part("one")
  request:part({ two = 2 })
  request:progress(0.5, "half")
  return "end"
end)
moonkeep.handle("fail", function() error({ code = "no_luck", message = "no luck today" }) end)
moonkeep.handle("bug", function() local x = nil; return x.y end)
moonkeep.handle("escape", function() return "\27]52;c;aGk=\7\27[31mred" end)
moonkeep.handle("slow", function(request) moonkeep.sleep(request.params.seconds or 60) return "late" end)
print("talker has loaded")
"#;
