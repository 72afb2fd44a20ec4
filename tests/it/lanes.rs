//! Many clients at once: every answer reaches who asked, and nobody else.
