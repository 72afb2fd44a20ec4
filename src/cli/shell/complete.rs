//! Completion: commands, script names and handlers, from the live daemon. Pure.

use crate::proto::codec::COMMANDS;

use super::super::report::Script;

/// What can be completed at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) scripts: Vec<(String, Vec<String>)>,
    pub(super) checks: Vec<String>,
}

impl Names {
    pub(super) fn of(scripts: &[Script]) -> Self {
        let scripts = scripts.iter().map(|script| {
            let handlers = script.handlers.iter().flatten();
            let handlers = handlers.map(|handler| handler.name.clone()).collect();
            (script.name.clone(), handlers)
        });
        Names {
            scripts: scripts.collect(),
            checks: Vec::new(),
        }
    }
}

/// Where the word under completion begins in `line`, and what it can become.
pub(super) fn complete(line: &str, names: &Names) -> (usize, Vec<String>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = line.split_at(start);
    let mut words: Vec<&str> = before.split_whitespace().collect();
    if let Some(&("json" | "text")) = words.first() {
        words.remove(0);
    }
    words.retain(|word| !word.starts_with("--"));
    let choices: Vec<&str> = match words.as_slice() {
        [] => commands(),
        ["call" | "eval" | "start" | "stop" | "restart" | "reload" | "logs"] => names
            .scripts
            .iter()
            .map(|(name, _)| name.as_str())
            .collect(),
        ["call", script] => handlers(names, script),
        ["check" | "checks", ..] | ["downtime" | "heartbeat"] => {
            names.checks.iter().map(String::as_str).collect()
        }
        ["downtime", _] => vec!["30m", "2h", "1d", "until-ok", "off"],
        ["heartbeat", _] => vec!["start", "ok", "fail"],
        _ => Vec::new(),
    };
    let fitting = choices
        .into_iter()
        .filter(|choice| choice.starts_with(word));
    (start, fitting.map(str::to_owned).collect())
}

fn commands() -> Vec<&'static str> {
    let hidden = ["hello", "ack", "bye", "peer list"];
    let daemons = COMMANDS.iter().map(|spec| spec.name);
    daemons
        .filter(|name| !hidden.contains(name))
        .chain(["json", "text", "exit"])
        .collect()
}

fn handlers<'a>(names: &'a Names, script: &str) -> Vec<&'a str> {
    let found = names.scripts.iter().find(|(name, _)| name == script);
    found.map_or_else(Vec::new, |(_, handlers)| {
        handlers.iter().map(String::as_str).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_words() {
        let names = Names {
            scripts: vec![
                ("greeter".into(), vec!["greet".into(), "part".into()]),
                ("clock".into(), vec!["now".into()]),
            ],
            checks: vec!["web".into(), "disk".into()],
        };
        for (line, start, expected) in [
            ("sta", 0, &["status", "start"][..]),
            ("call ", 5, &["greeter", "clock"]),
            ("call gr", 5, &["greeter"]),
            ("call greeter ", 13, &["greet", "part"]),
            ("call --timeout=5 clock n", 23, &["now"]),
            ("json call clock ", 16, &["now"]),
            ("reload c", 7, &["clock"]),
            ("call greeter greet na", 19, &[]),
            ("call nobody ", 12, &[]),
            ("check web d", 10, &["disk"]),
            ("checks ", 7, &["web", "disk"]),
            ("downtime w", 9, &["web"]),
            ("downtime web u", 13, &["until-ok"]),
            ("heartbeat web ", 14, &["start", "ok", "fail"]),
        ] {
            let (from, mut found) = complete(line, &names);
            let mut expected: Vec<&str> = expected.to_vec();
            found.sort();
            expected.sort_unstable();
            assert_eq!(
                (from, found),
                (start, expected.iter().map(|s| (*s).to_owned()).collect()),
                "{line}"
            );
        }
    }
}
