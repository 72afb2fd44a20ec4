//! `moonkeep shell`: a prompt that stays connected, or a batch of commands from a pipe.

mod complete;
mod editor;
mod line;

use std::io::IsTerminal;
use std::time::Duration;

use crate::client::Notice;
use crate::client::wire::{ConnectOptions, Status};
use crate::daemon;
use crate::paths::make_private;
use crate::proto::messages::{Body, Command, Encoding, Verb};

use super::Globals;
use super::answers::{self, Shower};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::report::Scripts;
use super::talk::{self, Ask, Patience, Start, Talk, words_of};
use super::{check, checks, control, list, status};

use complete::Names;
use editor::{Reader, Typed};
use line::{Line, Style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads commands from a pipe too: echo status | moonkeep shell. The exit code is then the highest of all."
)]
pub(crate) struct Args {}

/// How long a command waits for a daemon that is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the prompt waits for fresh names to complete.
const NAMES_WITHIN: Duration = Duration::from_millis(150);

pub(crate) fn run(globals: &Globals, output: &Output, _args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    let options = ConnectOptions::new(daemon::locate(&home)).keep();
    talk::converse_with(output, home, options, Start::IfConfigured, async |talk| {
        let is_person = std::io::stdin().is_terminal();
        // Connects, or says why it cannot.
        talk.result(Ask::now(
            Command::Ping {
                client: None,
                timestamp: None,
            },
            None,
        ))
        .await?;
        let mut shell = Shell {
            globals,
            output,
            talk,
            is_person,
            worst: Exit::Ok,
            names: Names::default(),
        };
        shell.run().await
    })
}

struct Shell<'a, 't> {
    globals: &'a Globals,
    output: &'a Output,
    talk: &'a mut Talk<'t>,
    is_person: bool,
    /// Of a batch.
    worst: Exit,
    names: Names,
}

impl Shell<'_, '_> {
    async fn run(&mut self) -> Result<Exit, Failure> {
        let mut reader = self.reader()?;
        if self.is_person {
            self.greet();
        }
        loop {
            self.learn_names().await;
            reader.ask(self.names.clone());
            match self.next_line(&mut reader).await {
                Some(Typed::Line(text)) => {
                    if !self.execute(&text).await? {
                        break;
                    }
                }
                Some(Typed::Interrupted) => {}
                Some(Typed::End) => break,
                Some(Typed::Broken(why)) => {
                    let text = format!("cannot read what is typed: {why}. Try another terminal");
                    return Err(Failure::new(Exit::Failed, text));
                }
                None => return Err(Failure::silent(Exit::Internal)),
            }
        }
        Ok(if self.is_person { Exit::Ok } else { self.worst })
    }

    fn reader(&self) -> Result<Reader, Failure> {
        let made = if self.is_person {
            let state = self.talk.home().state();
            // Without the folder there is no history, nothing worse.
            let _no_history = make_private(&state);
            Reader::terminal(state.join("shell_history"))
        } else {
            Reader::pipe()
        };
        made.map_err(|why| {
            let text = format!("the terminal cannot be used: {why}. Send commands through a pipe");
            Failure::new(Exit::Failed, text)
        })
    }

    fn greet(&self) {
        if let Status::Up(daemon) = self.talk.client().status() {
            self.output.note(&format!(
                "Connected to the moonkeep daemon (UUID: {daemon}). help lists the commands, Ctrl-D leaves."
            ));
        }
    }

    /// The next line; meanwhile notices are shown above the prompt.
    async fn next_line(&mut self, reader: &mut Reader) -> Option<Typed> {
        loop {
            tokio::select! {
                // Cancel safe: a channel's recv.
                typed = reader.next() => return typed,
                // Cancel safe: a channel's recv.
                notice = self.talk.notice() => self.show_notice(reader, &notice),
            }
        }
    }

    fn show_notice(&self, reader: &mut Reader, notice: &Notice) {
        let (text, important) = words_of(notice);
        // The greeting has said it.
        let is_first = matches!(notice, Notice::Up { again: false, .. });
        let wanted = important || (self.is_person && !is_first) || self.output.verbose;
        if wanted && !reader.print(&format!("moonkeep: {text}")) {
            self.output.warn(&text);
        }
    }

    async fn learn_names(&mut self) {
        let is_up = matches!(self.talk.client().status(), Status::Up(_));
        if !self.is_person || !is_up {
            return;
        }
        let asked = self
            .talk
            .result(Ask::now(Command::List, Some(NAMES_WITHIN)));
        // Names of before are good enough where a daemon is slow or away.
        if let Ok(result) = asked.await
            && let Ok(Scripts { scripts }) = answers::read(&result)
        {
            let checks = std::mem::take(&mut self.names.checks);
            self.names = Names {
                checks,
                ..Names::of(&scripts)
            };
        }
        let words = Vec::new();
        let asked = self
            .talk
            .pieces(Ask::now(Command::Checks { words }, Some(NAMES_WITHIN)));
        if let Ok(pieces) = asked.await
            && let Ok(view) = checks::whole(&pieces)
        {
            self.names.checks = view.checks.into_iter().map(|check| check.name).collect();
        }
    }

    /// Does what one line says. `false`: leave.
    async fn execute(&mut self, text: &str) -> Result<bool, Failure> {
        self.forget_interrupts().await;
        let ended = match line::read(text) {
            Line::Nothing => Ok(Exit::Ok),
            Line::Leave => return Ok(false),
            Line::Help => self.output.line(&line::help()).map(|()| Exit::Ok),
            Line::Wrong(refusal) => Err(Failure::refused(&refusal)),
            Line::Ask { style, id, command } => {
                let mut ask = Ask::now(command, self.globals.timeout);
                ask.id = id.unwrap_or(ask.id);
                ask.patience = Patience::For(PATIENCE);
                self.ask(style, ask).await
            }
        };
        let exit = match ended {
            Ok(exit) => exit,
            // Nobody reads us any more.
            Err(failure) if failure.exit == Exit::Ok => return Err(failure),
            Err(failure) => {
                self.output.failure(&failure);
                failure.exit
            }
        };
        if exit.code() > self.worst.code() {
            self.worst = exit;
        }
        Ok(true)
    }

    /// A Ctrl-C that was meant for the command before does not cancel the next one.
    async fn forget_interrupts(&mut self) {
        while tokio::time::timeout(Duration::ZERO, self.talk.interrupted())
            .await
            .is_ok()
        {}
    }

    async fn ask(&mut self, style: Style, mut ask: Ask) -> Result<Exit, Failure> {
        let json = self.output.json || style == Style::Json;
        let output = &self.output.in_json(json);
        let form = match style {
            Style::Json => Form::Answer,
            Style::Text => Form::Lines,
            Style::Plain if json => Form::Answer,
            Style::Plain => Form::of(&ask.command),
        };
        if form == Form::Lines {
            ask.encoding = Encoding::Text;
        }
        match form {
            Form::Check => return check::show(output, &self.talk.pieces(ask).await?),
            Form::Checks { is_asked_for } => {
                return checks::show(output, &self.talk.pieces(ask).await?, is_asked_for);
            }
            Form::Status | Form::List | Form::Control(_) | Form::Answer | Form::Lines => {}
        }
        let mut shower = Shower::new(output, ask.id.clone());
        let end = self.talk.ask(ask, &mut |body| shower.piece(body)).await?;
        end.exit(match (form, &end.body) {
            (Form::Status, Body::Ok { result, .. }) => status::show(output, result),
            (Form::List, Body::Ok { result, .. }) => list::show(output, result),
            (Form::Control(verb), Body::Ok { result, .. }) => control::show(output, verb, result),
            (_, body) => shower.end(body),
        })
    }
}

/// How the answer to a command is shown in the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Status,
    List,
    Control(Verb),
    Check,
    Checks {
        is_asked_for: bool,
    },
    /// As `call` shows it.
    Answer,
    /// The payload lines of the text protocol.
    Lines,
}

impl Form {
    fn of(command: &Command) -> Form {
        match command {
            Command::Status => Form::Status,
            Command::List => Form::List,
            Command::Control { verb, .. } => Form::Control(*verb),
            Command::Check { .. } => Form::Check,
            Command::Checks { words } => Form::Checks {
                is_asked_for: !words.is_empty(),
            },
            Command::Call(_) | Command::Eval { .. } | Command::Events { .. } => Form::Answer,
            Command::Nothing
            | Command::Ping { .. }
            | Command::Hello(_)
            | Command::Bye
            | Command::Version
            | Command::Help
            | Command::Shutdown
            | Command::Cancel { .. }
            | Command::Logs { .. }
            | Command::Emit { .. }
            | Command::Ack(_)
            | Command::Heartbeat { .. }
            | Command::Downtime { .. }
            | Command::Peers => Form::Lines,
        }
    }
}
