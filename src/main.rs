//! argv to role: `moonkeep worker ...` runs one script, `moonkeep deliver` delivers one alert, `moonkeep
//! daemon-process ...` is a detached daemon, everything else is the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let role = std::env::args_os().nth(1).unwrap_or_default();
    if role == moonkeep::worker::ROLE {
        moonkeep::worker::main()
    } else if role == moonkeep::deliver::ROLE {
        moonkeep::deliver::main()
    } else if role == moonkeep::daemon::ROLE {
        moonkeep::daemon::main()
    } else {
        moonkeep::cli::main()
    }
}
