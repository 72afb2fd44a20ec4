//! One daemon for each home, whatever starts at once and whatever an earlier one left behind.
