//! A saved file serves, no request lost; a broken file never replaces a working one.
