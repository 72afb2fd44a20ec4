//! The system calls that no safe wrapper covers: the only module that may say `unsafe`.
