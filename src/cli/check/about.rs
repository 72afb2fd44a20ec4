//! `moonkeep check --list` and `moonkeep check help`: what there is, without running it.

use crate::check;
use crate::check::stock;
use crate::check::suite::{Entry, Inactive, Request, Suite};
use crate::check::text::escaped;
use crate::paths::Home;
use crate::proto::messages::{Allow, CheckKind, CheckSpec};
use crate::timespan::show_duration;

use super::super::exit::{Exit, Failure};
use super::super::output::Output;
use super::super::table::{self, Cell};
use super::stopped;

/// `check --list`
pub(super) fn list(output: &Output, suite: &Suite, request: &Request) -> Result<Exit, Failure> {
    let chosen = suite
        .find(&request.words)
        .map_err(|why| Failure::new(Exit::CheckUsage, why))?;
    let entries = chosen
        .iter()
        .map(|at| (&suite.entries[*at], suite.spec(*at)));
    if output.json {
        let checks: Vec<_> = entries
            .map(|(entry, spec)| entry_json(entry, &spec))
            .collect();
        let inactive: Vec<_> = suite.inactive.iter().map(inactive_json).collect();
        output.json(&serde_json::json!({ "checks": checks, "inactive": inactive }))?;
        return Ok(Exit::Ok);
    }
    let mut rows: Vec<Vec<Cell>> = entries
        .map(|(entry, spec)| entry_row(entry, &spec))
        .collect();
    if request.words.is_empty() {
        rows.extend(suite.inactive.iter().map(inactive_row));
    }
    if !rows.is_empty() {
        for line in table::lines(output, &["CHECK", "RUNS", "FILE", "TAGS", "REMARK"], &rows) {
            output.line(&line)?;
        }
    }
    let rest = unused(suite);
    if !rest.is_empty() {
        output.note(&format!(
            "Also to be had, with [check.NAME] and plugin = \"...\" in moonkeep.toml: {}",
            rest.join(", ")
        ));
    }
    Ok(Exit::Ok)
}

fn entry_json(entry: &Entry, spec: &CheckSpec) -> serde_json::Value {
    let (kind, grace) = match &spec.kind {
        CheckKind::Active => ("active", None),
        CheckKind::Heartbeat { grace } => ("heartbeat", Some(grace.as_secs_f64())),
        CheckKind::Broken { .. } => ("broken", None),
    };
    serde_json::json!({
        "name": entry.name,
        "kind": kind,
        "every_seconds": spec.cron.is_none().then_some(spec.every.as_secs_f64()),
        "cron": spec.cron,
        "grace_seconds": grace,
        "tags": entry.tags(),
        "needs": spec.needs,
        "file": entry.labels.file,
        "fault": fault(entry),
    })
}

fn inactive_json(one: &Inactive) -> serde_json::Value {
    serde_json::json!({ "plugin": one.labels.instance, "missing": one.missing })
}

fn entry_row(entry: &Entry, spec: &CheckSpec) -> Vec<Cell> {
    let remark = match fault(entry) {
        Some(why) => format!("cannot run: {why}"),
        None if spec.needs.is_empty() => String::new(),
        None => format!("needs {}", spec.needs.join(", ")),
    };
    row([
        &entry.name,
        &when(spec),
        &entry.labels.file,
        &entry.tags().join(", "),
        &remark,
    ])
}

/// When the daemon runs it.
fn when(spec: &CheckSpec) -> String {
    let every = show_duration(spec.every);
    match (&spec.kind, &spec.cron) {
        (CheckKind::Heartbeat { .. }, _) => format!("heard {every}"),
        (CheckKind::Broken { .. }, _) => String::new(),
        (CheckKind::Active, Some(cron)) => cron.clone(),
        (CheckKind::Active, None) => every,
    }
}

fn inactive_row(one: &Inactive) -> Vec<Cell> {
    let remark = if one.missing.is_empty() {
        "inactive: switched off in moonkeep.toml".to_owned()
    } else {
        format!("inactive: needs {}", one.missing.join(", "))
    };
    row([&one.labels.instance, "", &one.labels.file, "", &remark])
}

fn row(cells: [&str; 5]) -> Vec<Cell> {
    cells.map(|text| Cell::new(escaped(text))).into()
}

fn fault(entry: &Entry) -> Option<&str> {
    entry.fault().map(|outcome| outcome.message.as_str())
}

/// Plugins of the binary that no check comes from.
fn unused(suite: &Suite) -> Vec<&'static str> {
    let used = |name: &str| {
        suite.entries.iter().any(|entry| entry.labels.stem == name)
            || suite.inactive.iter().any(|one| one.labels.stem == name)
    };
    stock::names().filter(|name| !used(name)).collect()
}

/// `check help`
pub(super) fn plugins(output: &Output) -> Result<Exit, Failure> {
    output.line("Plugins that moonkeep brings:")?;
    for name in stock::names() {
        output.line(&format!("  {name}"))?;
    }
    output.note("`moonkeep check help PLUGIN` describes one, also one of your own.");
    Ok(Exit::Ok)
}

/// `check help PLUGIN`
pub(super) fn help(output: &Output, home: &Home, plugin: &str) -> Result<Exit, Failure> {
    let described = check::describe(home, plugin).map_err(stopped)?;
    if output.json {
        let params: Vec<_> = described
            .params
            .iter()
            .map(|param| {
                serde_json::json!({
                    "name": param.name,
                    "default": param.default,
                    "required": param.default.is_none(),
                    "doc": param.doc,
                })
            })
            .collect();
        output.json(&serde_json::json!({
            "plugin": described.stem,
            "file": described.file,
            "summary": described.summary,
            "params": params,
            "confined": described.allow.is_some(),
            "allow": described.allow,
        }))?;
        return Ok(Exit::Ok);
    }
    output.line(&format!(
        "{} ({})",
        escaped(&described.stem),
        escaped(&described.file)
    ))?;
    for line in described.summary.lines() {
        output.line(&format!("  {}", escaped(line)))?;
    }
    output.line("")?;
    output.line("Parameters, in moonkeep.toml below [check.NAME], or with --set NAME=VALUE:")?;
    for param in &described.params {
        let default = match &param.default {
            None => "required".to_owned(),
            Some(default) => format!("default {}", escaped(default)),
        };
        output.line(&format!("  {} ({default})", escaped(&param.name)))?;
        output.line(&format!("      {}", escaped(&param.doc)))?;
    }
    output.line("  plugin, enabled, every, retry_every, cron, timeout, rise, fall, jitter, grace, tags, needs")?;
    output.line("      understood for every plugin")?;
    output.line("")?;
    output.line(&permissions(described.allow.as_ref()))?;
    Ok(Exit::Ok)
}

/// What its header says that it may do.
fn permissions(allow: Option<&Allow>) -> String {
    let Some(allow) = allow else {
        return "It is not confined: its header allows nothing in particular, so it may do what you may.".to_owned();
    };
    let lists = [
        ("read", &allow.read),
        ("write", &allow.write),
        ("net", &allow.net),
        ("unix", &allow.unix),
        ("run", &allow.run),
        ("env", &allow.env),
    ];
    let said = lists.iter().filter(|(_, list)| !list.is_empty());
    let said: Vec<String> = said
        .map(|(key, list)| format!("{key} {}", escaped(&list.join(", "))))
        .collect();
    match said.is_empty() {
        true => "It is confined: it may read its home and write its own folder.".to_owned(),
        false => format!(
            "It is confined: beyond its home and its own folder it may {}.",
            said.join("; ")
        ),
    }
}
