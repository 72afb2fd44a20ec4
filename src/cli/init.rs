//! `moonkeep init [DIR]`: a folder becomes a home.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::limits;
use crate::lua::reference;
use crate::paths::{CONFIG_FILE, Home};
use crate::trust;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::stock;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder; made if there is none [default: --home, else the current folder]
    dir: Option<PathBuf>,
    /// Copy every script that moonkeep ships, not only the first one
    #[arg(long)]
    stock: bool,
    /// Write only the editor types anew, into a home that there is
    #[arg(long, conflicts_with = "stock")]
    types: bool,
}

/// Where the types for the Lua language server go.
const TYPES: &str = "types/moonkeep.lua";

const EDITOR: &str = r#"{
  "runtime.version": "Lua 5.4",
  "workspace.library": ["types"],
  "workspace.checkThirdParty": false,
  "runtime.path": ["lib/?.lua", "lib/?/init.lua"]
}
"#;

const IGNORED: &str = "state/\nlogs/\n";

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let named = args.dir.as_deref().or(globals.named_home());
    let folder = named.unwrap_or(Path::new("."));
    let made = if args.types {
        renew_types(folder)?
    } else {
        create(folder, args.stock)?
    };
    let home = Home::at(folder).map_err(|error| cannot("resolve", folder, &error))?;
    if output.json {
        output.json(&serde_json::json!({ "home": home.root(), "created": made }))?;
    } else if !output.quiet {
        tell(output, &home, folder, &made)?;
    }
    if let Err(why) = trust::read(&home.config(), limits::CONFIG_BYTES) {
        output.warn(&format!("nothing will run in this home yet: {why}"));
    }
    Ok(Exit::Ok)
}

fn tell(output: &Output, home: &Home, typed: &Path, made: &[String]) -> Result<(), Failure> {
    let root = home.root().display().to_string();
    output.line(&format!("A home in {}", output.shown(&root)))?;
    for path in made {
        output.line(&format!("  {path}"))?;
    }
    let first = if typed == Path::new(".") {
        String::new()
    } else {
        format!("cd {} && ", shell_words::quote(&typed.to_string_lossy()))
    };
    output.note(&format!(
        "Next: {first}moonkeep up -d, then: moonkeep call greeter greet name=Ada"
    ));
    Ok(())
}

/// Writes the files of a new home, and says which. What exists already is kept.
fn create(folder: &Path, all: bool) -> Result<Vec<String>, Failure> {
    let config = folder.join(CONFIG_FILE);
    if fs::symlink_metadata(&config).is_ok() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{} is a home already: it has a {CONFIG_FILE}. Nothing was changed. For new editor types: moonkeep init --types",
                folder.display()
            ),
        ));
    }
    for part in ["", "scripts", "plugins", "lib", "types"] {
        make_folder(&folder.join(part))?;
    }
    let mut files = vec![
        stock::File {
            path: TYPES,
            text: "",
        },
        stock::File {
            path: ".luarc.json",
            text: EDITOR,
        },
        stock::File {
            path: ".gitignore",
            text: IGNORED,
        },
    ];
    if all {
        files.extend(stock::MORE);
    }
    // The configuration makes the folder a home, so it is written last.
    files.extend(stock::FIRST.iter().rev());
    let types = reference::types();
    let mut made = Vec::new();
    for file in files {
        let text = if file.path == TYPES {
            &types
        } else {
            file.text
        };
        if write_new(&folder.join(file.path), text)? {
            made.push(file.path.to_owned());
        }
    }
    made.sort();
    Ok(made)
}

fn renew_types(folder: &Path) -> Result<Vec<String>, Failure> {
    if !folder.join(CONFIG_FILE).is_file() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{} is no home: it has no {CONFIG_FILE}. Make it one with: moonkeep init {0}",
                folder.display()
            ),
        ));
    }
    make_folder(&folder.join("types"))?;
    let path = folder.join(TYPES);
    fs::write(&path, reference::types()).map_err(|error| cannot("write", &path, &error))?;
    Ok(vec![TYPES.to_owned()])
}

/// Never writable by the group, whatever the umask says: the daemon would refuse the scripts in it.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(|error| cannot("create", folder, &error))
}

/// `false`: there was one, and it stays.
fn write_new(path: &Path, text: &str) -> Result<bool, Failure> {
    let opened = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path);
    match opened {
        Ok(mut file) => file
            .write_all(text.as_bytes())
            .map(|()| true)
            .map_err(|error| cannot("write", path, &error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(cannot("create", path, &error)),
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "cannot {what} {}: {error}. Choose another folder, or make this one writable",
            path.display()
        ),
    )
}
