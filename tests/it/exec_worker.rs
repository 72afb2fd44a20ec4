//! Executables in their worker: text encoding, ExaBGP's scripts, the legacy protocol.
