//! The documentation runs as written: `console` blocks of the README and the guide, in a fresh folder.
//!
//! A block's lines are read as a terminal shows them: `$ ` before a command, `> ` before what it goes on with,
//! then its output. In the output `...` stands for anything; `[exit N]` is the exit code if it is not 0.
//! A command that ends in `# soon` is repeated until its output fits: a save takes a moment to serve.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::harness::{BINARY, Finished, Home, PATIENCE};

/// One command with what it is to show.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    output: String,
    exit: i32,
    soon: bool,
}

/// The steps of all `console` blocks of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
            continue;
        } else if let Some(command) = line.strip_prefix("$ ") {
            let (text, soon) = match command.split_once("  # soon") {
                Some((text, _)) => (text.trim_end(), true),
                None => (command, false),
            };
            steps.push(Step {
                command: text.to_owned(),
                soon,
                ..Step::default()
            });
        } else if let Some(step) = steps.last_mut() {
            step.add(line);
        }
    }
    steps
}

impl Step {
    fn add(&mut self, line: &str) {
        let goes_on = line.strip_prefix('>').filter(|_| self.output.is_empty());
        if let Some(more) = goes_on {
            self.command += "\n";
            self.command += more.strip_prefix(' ').unwrap_or(more);
        } else if let Some(code) = line.strip_prefix("[exit ") {
            self.exit = code.trim_end_matches(']').parse().expect("an exit code");
        } else {
            self.output += line;
            self.output += "\n";
        }
    }

    fn fits(&self, finished: &Finished) -> bool {
        let shown = format!("{}{}", finished.stdout, finished.stderr);
        finished.code() == Some(self.exit) && fits(&self.output, &shown)
    }
}

/// Whether `text` fits `pattern`, in which `...` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    // A line `...` stands for no line at all, too.
    let rest = if start.is_empty() || start.ends_with('\n') {
        rest.strip_prefix('\n').unwrap_or(rest)
    } else {
        rest
    };
    (0..=text.len())
        .filter(|at| text.is_char_boundary(*at))
        .any(|at| fits(rest, &text[at..]))
}

/// Runs a page in a fresh folder.
fn follow(page: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page))
        .expect("a page of the repository");
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page} has no console block");
    let home = Home::new();
    home.expect_debris();
    let mut folder = home.user();
    for step in &steps {
        if let Some(place) = step.command.strip_prefix("cd ") {
            folder = folder.join(place);
            continue;
        }
        perform(&home, &folder, step, page);
    }
}

fn perform(home: &Home, folder: &Path, step: &Step, page: &str) {
    let binaries = Path::new(BINARY).parent().expect("the binary's folder");
    let path = format!(
        "{}:{}",
        binaries.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let begun = Instant::now();
    loop {
        let finished = home
            .program(Path::new("/bin/sh"))
            .args(&["-c", &step.command])
            .without_env("MOONKEEP_HOME")
            .env("PATH", &path)
            .folder(folder)
            .run();
        if step.fits(&finished) {
            return;
        }
        let again = step.soon && begun.elapsed() < PATIENCE;
        assert!(again, "{page}: {step:#?} showed {finished:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_tour_of_the_readme_runs_as_written() {
    follow("README.md");
}

#[test]
fn the_guide_runs_as_written() {
    follow("docs/guide.md");
}

#[test]
fn the_page_about_checks_runs_as_written() {
    follow("docs/checks.md");
}

// R-002
#[test]
fn every_question_of_the_protocol_page_can_be_read() {
    use moonkeep::proto::codec::decode_client;
    use moonkeep::proto::messages::FromClient;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let text = fs::read_to_string(page).expect("a page of the repository");
    let questions: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("> "))
        .filter(|line| !line.contains("request_id=@"))
        .collect();
    assert!(questions.len() >= 4, "{questions:?}");
    for line in questions {
        let read = decode_client(line.as_bytes());
        assert!(matches!(read, FromClient::Question(_)), "{line}: {read:?}");
    }
}

/// A page cannot pass by being misread.
mod reading {
    use super::{Step, fits, steps};

    #[test]
    fn a_block_is_cut_into_commands_and_what_they_show() {
        let page = "```sh\n$ no\n```\n```console\n$ cat > f <<'E'\n> one\n>\n> E\n$ g  # soon\nout\n[exit 2]\n```\n";
        let cat = Step {
            command: "cat > f <<'E'\none\n\nE".into(),
            ..Step::default()
        };
        let g = Step {
            command: "g".into(),
            output: "out\n".into(),
            exit: 2,
            soon: true,
        };
        assert_eq!(steps(page), [cat, g]);
    }

    #[test]
    fn dots_stand_for_anything_and_nothing_else_does() {
        assert!(fits("a ... c\n", "a b c\n"));
        assert!(fits("...\n", "x\ny\n"));
        assert!(fits("...\n", ""));
        assert!(fits("a\n...\nb\n", "a\nb\n"));
        assert!(!fits("a\n", "a\nb\n"));
        assert!(!fits("a ... c\n", "a b d\n"));
    }
}
