//! The client library and what the command line makes of it: reconnect, resend, restart notices.
