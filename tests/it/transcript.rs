//! The daemon and the simulator run the same engine: a recorded run replays to the same effects.
