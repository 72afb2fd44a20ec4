//! argv to role: `moonkeep worker ...` runs one script, everything else is the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let is_worker = arguments
        .nth(1)
        .is_some_and(|word| word == moonkeep::worker::ROLE);
    if is_worker {
        moonkeep::worker::main()
    } else {
        moonkeep::cli::main()
    }
}
