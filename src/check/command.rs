//! Existing monitoring plugins: `nagios("check_load -w 5")`. The exit code is the state, the first line the
//! message, what follows `|` the measures.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use mlua::{AnyUserData, Function, Lua, Value};
use tokio::process::Command;

use super::probe::Probe;
use crate::lua::environment::Environment;
use crate::lua::grants::Grants;
use crate::lua::process::{Tap, finish, words};
use crate::monitor::perfdata::{self, Measure};
use crate::monitor::state::State;

/// Where distributions put monitoring plugins, none of them in PATH.
const FOLDERS: &[&str] = &[
    "/usr/lib/nagios/plugins",
    "/usr/lib64/nagios/plugins",
    "/usr/lib/monitoring-plugins",
    "/usr/libexec/nagios",
    "/usr/local/libexec/nagios",
    "/usr/local/nagios/libexec",
    "/opt/local/libexec/nagios",
];

/// The name of the program, and a function to be given to `check`.
///
/// # Errors
/// If the command is empty or a quote is not closed.
pub(super) fn wrap(
    lua: &Lua,
    command: Value,
    plugins: PathBuf,
) -> mlua::Result<(String, Function)> {
    let words = words("nagios", lua, command)?;
    let name = Path::new(&words[0]).file_name().map_or_else(
        || words[0].clone(),
        |name| name.to_string_lossy().into_owned(),
    );
    let function = lua.create_async_function(move |lua, probe: AnyUserData| {
        let words = words.clone();
        let plugins = plugins.clone();
        async move {
            let probe = probe.borrow::<Probe>()?.clone();
            run(&lua, &words, &plugins, &probe).await
        }
    })?;
    Ok((name, function))
}

async fn run(
    lua: &Lua,
    words: &[String],
    plugins: &Path,
    probe: &Probe,
) -> mlua::Result<Option<String>> {
    let program = locate(&words[0], plugins);
    let grants = Grants::of_state(lua);
    if grants.check_program(&program.to_string_lossy()).is_err() {
        // The refusal names the program as the plugin does.
        grants.check_program(&words[0])?;
    }
    let mut command = Command::new(program);
    command.args(&words[1..]);
    Environment::give(lua, &mut command);
    let tap = lua
        .app_data_ref::<Tap>()
        .map(|tap| tap.clone())
        .unwrap_or_default();
    let finished = finish(command, &words[0], None, &tap).await?;
    let output = Output::parse(&String::from_utf8_lossy(&finished.stdout));
    let verdict = verdict(finished.status);
    let mut findings = probe.findings.borrow_mut();
    findings.measures.extend(output.measures);
    findings.details = Some(output.details).filter(|text| !text.is_empty());
    let said = if output.message.is_empty() {
        let errors = String::from_utf8_lossy(&finished.stderr);
        let hint = errors.lines().next().unwrap_or_default().trim();
        match hint {
            "" => format!("`{}` said nothing", words[0]),
            hint => format!("`{}` said nothing on its output, but: {hint}", words[0]),
        }
    } else {
        output.message
    };
    match verdict {
        Verdict::State(State::Ok) => return Ok(Some(said)),
        Verdict::State(state) => findings.complain(state, said),
        Verdict::Odd(why) => findings.complain(State::Critical, format!("{why}: {said}")),
    }
    Ok(None)
}

/// A bare name is looked for in the home's plugins, in PATH (by the system) and where distributions put them.
fn locate(program: &str, plugins: &Path) -> PathBuf {
    if program.contains('/') {
        return PathBuf::from(program);
    }
    let own = plugins.join(program);
    if own.is_file() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return PathBuf::from(program);
    }
    FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|place| place.is_file())
        .unwrap_or_else(|| PathBuf::from(program))
}

#[derive(Debug, PartialEq)]
enum Verdict {
    State(State),
    /// Critical, because of how it ended.
    Odd(String),
}

fn verdict(status: ExitStatus) -> Verdict {
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or_default();
        return Verdict::Odd(format!("killed by signal {signal}"));
    };
    match (State::from_exit_code(code), code) {
        (Some(state), _) => Verdict::State(state),
        (None, 126) => Verdict::Odd(
            "return code of 126 is out of bounds; check if plugin is executable".to_owned(),
        ),
        (None, 127) => {
            Verdict::Odd("return code of 127 is out of bounds; check if plugin exists".to_owned())
        }
        (None, code) => Verdict::Odd(format!("return code of {code} is out of bounds")),
    }
}

#[derive(Debug, Default, PartialEq)]
struct Output {
    message: String,
    /// The later lines.
    details: String,
    measures: Vec<Measure>,
}

impl Output {
    /// Line 1 may have `|measures`; after the first `|` of a later line everything is measures.
    fn parse(text: &str) -> Self {
        let (first, later) = text.split_once('\n').unwrap_or((text, ""));
        let (message, mut performance) = match first.split_once('|') {
            Some((message, data)) => (message, data.to_owned()),
            None => (first, String::new()),
        };
        let (details, data) = later.split_once('|').unwrap_or((later, ""));
        performance.push(' ');
        performance.push_str(data);
        let (measures, _faults) = perfdata::parse(&performance);
        Output {
            message: message.trim().to_owned(),
            details: details.trim_end().to_owned(),
            measures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guidelines_example_of_several_lines_is_read_whole() {
        let text = "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n\
            / 15272 MB (77%);\n/boot 68 MB (69%);\n\
            /var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n/home=69357MB;253404;253409;0;253414\n";
        let output = Output::parse(text);
        assert_eq!(output.message, "DISK OK - free space: / 3326 MB (56%);");
        let names: Vec<_> = output.measures.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["/", "/boot", "/home"]);
        assert!(output.details.starts_with("/ 15272 MB"));
        assert!(output.details.ends_with("/var/log 819 MB (84%);"));
    }

    #[test]
    fn how_it_ended_is_the_state() {
        let exited = |code: i32| verdict(ExitStatus::from_raw(code << 8));
        assert_eq!(exited(1), Verdict::State(State::Warning));
        assert_eq!(exited(3), Verdict::State(State::Unknown));
        let odd = |verdict| match verdict {
            Verdict::Odd(why) => why,
            Verdict::State(state) => panic!("{state}"),
        };
        assert!(odd(exited(127)).contains("check if plugin exists"));
        assert!(odd(exited(126)).contains("executable"));
        assert!(odd(exited(9)).contains("9 is out of bounds"));
        assert_eq!(odd(verdict(ExitStatus::from_raw(9))), "killed by signal 9");
    }
}
