//! Lua scripts in their worker: handlers, limits, errors, the core API.
