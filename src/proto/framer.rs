//! Cutting bytes into lines.
