//! `moonkeep run`

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_globals: &Globals, _output: &Output, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "run is not built yet"))
}
