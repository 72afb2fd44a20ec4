//! `moonkeep run FILE [ARGS]`: one script in the foreground, without a daemon.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::options::{Settings, header};
use crate::paths::{self, Home};
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Confinement, SandboxMode};
use crate::scripts;
use crate::worker::foreground;

/// Runs a Lua file until it ends. print and io.write go to standard output, the log to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The Lua file
    file: PathBuf,
    /// What the script gets as `...` and `arg`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Ends the process with the script's own exit code.
pub(crate) fn run(globals: &Globals, _output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    let confinement = confinement(&home, &args.file)?;
    match foreground::run(home.root(), &args.file, &args.args, &confinement)? {
        0 => Ok(Exit::Ok),
        code => Ok(Exit::Script(code)),
    }
}

/// What the file's header and the home's `[script.NAME]` say. A file that cannot be read is told of when it is run.
fn confinement(home: &Home, file: &Path) -> anyhow::Result<Confinement> {
    let mut settings = Settings::default();
    let bytes = std::fs::read(file).unwrap_or_default();
    header::apply(&bytes, header::Language::Lua, &mut settings)
        .map_err(|fault| anyhow::anyhow!("{}: {fault}", file.display()))?;
    let name = file.file_stem().and_then(|stem| stem.to_str());
    if let Some(name) = name.and_then(|name| ScriptName::new(name).ok()) {
        let config = scripts::load_config(home).map_err(anyhow::Error::msg)?;
        config.apply(&name, &mut settings);
        if home.is_one() {
            let folder = home.script_state(name.as_str());
            paths::make_private(&folder)
                .with_context(|| format!("cannot make the script's folder {}", folder.display()))?;
        }
    }
    Ok(Confinement {
        mode: settings.sandbox.unwrap_or(SandboxMode::On),
        landlock: !paths::landlock_is_off(),
        allow: settings.allow,
    })
}
