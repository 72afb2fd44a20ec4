//! Lines to messages and back, in both encodings.
