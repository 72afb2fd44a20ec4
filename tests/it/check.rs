//! Health checks, run once: states, formats, exit codes, the stock plugins.
