//! `moonkeep version`

use super::exit::{Exit, Failure};
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The Lua that is built in.
const LUA: &str = "Lua 5.4";

pub(crate) fn run(output: &Output, _args: &Args) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if output.json {
        output.json(&serde_json::json!({ "version": version, "lua": LUA }))?;
    } else {
        output.line(&format!("moonkeep {version} ({LUA})"))?;
    }
    Ok(Exit::Ok)
}
