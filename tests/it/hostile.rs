//! Clients and scripts that misbehave: garbage, floods, forged tickets, stalled readers.
