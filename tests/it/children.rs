//! Workers as processes: start, stop, crash, groups, no orphan and no zombie.
