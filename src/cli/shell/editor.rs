//! The thread that reads lines: from a terminal with history and completion, or from a pipe.
//!
//! It reads only when it is asked to, so that the terminal is in its usual state while a command runs.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::complete::{Names, complete};

const PROMPT: &str = "moonkeep> ";

/// What the reader gives.
#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
    /// Nothing more can be read.
    Broken(String),
}

/// Prints above the prompt.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

/// The reader, from the shell's side.
pub(super) struct Reader {
    go: mpsc::Sender<Names>,
    typed: UnboundedReceiver<Typed>,
    printer: Option<Printer>,
    _thread: JoinHandle<()>,
}

impl Reader {
    /// Reads a terminal; `history` is the file that keeps what was typed.
    ///
    /// # Errors
    /// If the terminal cannot be used, or there is no thread for it.
    pub(super) fn terminal(history: PathBuf) -> Result<Self, String> {
        let (mut editor, printer) = new_editor(&history).map_err(|error| error.to_string())?;
        Reader::start(Some(printer), move |go, typed| {
            while let Ok(names) = go.recv() {
                if let Some(helper) = editor.helper_mut() {
                    helper.names = names;
                }
                let line = read_line(&mut editor);
                if let Typed::Line(_) = line {
                    // Without a history file the shell works all the same.
                    let _unkept = editor.append_history(&history);
                }
                if typed.send(line).is_err() {
                    return;
                }
            }
        })
    }

    /// Reads a pipe.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(super) fn pipe() -> Result<Self, String> {
        Reader::start(None, |go, typed| {
            let mut lines = std::io::stdin().lock().lines();
            while go.recv().is_ok() {
                let line = match lines.next() {
                    None => Typed::End,
                    Some(Ok(line)) => Typed::Line(line),
                    Some(Err(error)) => Typed::Broken(error.to_string()),
                };
                if typed.send(line).is_err() {
                    return;
                }
            }
        })
    }

    fn start(
        printer: Option<Printer>,
        read: impl FnOnce(mpsc::Receiver<Names>, UnboundedSender<Typed>) + Send + 'static,
    ) -> Result<Self, String> {
        let (go, asked) = mpsc::channel();
        let (give, typed) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || read(asked, give))
            .map_err(|error| error.to_string())?;
        Ok(Reader {
            go,
            typed,
            printer,
            _thread: thread,
        })
    }

    /// Asks for the next line.
    pub(super) fn ask(&self, names: Names) {
        // A reader that is gone is noticed by `next`.
        let _gone = self.go.send(names);
    }

    /// The line that was asked for; `None`: the reader has broken down. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Typed> {
        self.typed.recv().await
    }

    /// Shows a text above the prompt. `false`: there is no prompt to show it above.
    pub(super) fn print(&mut self, text: &str) -> bool {
        self.printer
            .as_mut()
            .is_some_and(|printer| printer.print(format!("{text}\n")).is_ok())
    }
}

type Terminal = Editor<Words, FileHistory>;

fn new_editor(history: &PathBuf) -> rustyline::Result<(Terminal, Printer)> {
    let config = Config::builder()
        .auto_add_history(true)
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Terminal = Editor::with_config(config)?;
    editor.set_helper(Some(Words::default()));
    // The first time there is none.
    let _none = editor.load_history(history);
    let printer = editor.create_external_printer()?;
    Ok((editor, Box::new(printer)))
}

fn read_line(editor: &mut Terminal) -> Typed {
    match editor.readline(PROMPT) {
        Ok(line) => Typed::Line(line),
        Err(ReadlineError::Interrupted) => Typed::Interrupted,
        Err(ReadlineError::Eof) => Typed::End,
        Err(error) => Typed::Broken(error.to_string()),
    }
}

/// Completes with what the daemon had last.
#[derive(Default)]
struct Words {
    names: Names,
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}
impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        let (start, mut found) = complete(before, &self.names);
        if let [only] = found.as_mut_slice() {
            only.push(' ');
        }
        Ok((start, found))
    }
}
