//! Script names that were typed: whether the home has them, and what may have been meant.

use crate::nearest::nearest;
use crate::paths::Home;
use crate::proto::ids::ScriptName;
use crate::scripts;

use super::exit::{Exit, Failure};

/// # Errors
/// That the home has no such script, the nearest name, and how to see them all.
pub(crate) fn check_known(home: &Home, name: &ScriptName) -> Result<(), Failure> {
    let look = scripts::look(home);
    let known: Vec<&str> = look
        .found
        .iter()
        .map(|found| found.name().as_str())
        .collect();
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    let hint = match nearest(name.as_str(), known.iter().copied()) {
        Some(near) => format!("Did you mean {near}?"),
        None => "See all with: moonkeep list".to_owned(),
    };
    Err(Failure::new(
        Exit::Failed,
        format!(
            "unknown_script: {} has no script {name}. {hint}",
            home.scripts().display()
        ),
    ))
}
