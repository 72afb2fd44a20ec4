//! `docs/requirements.md` names the tests that show each case; this keeps it true.
//!
//! A test names its cases in a comment: `// R-053, S-06` above it, or within it. The page's last column is
//! rendered from those comments; a row that no test names has to say why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut waiting = vec![top().join("src"), top().join("tests")];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("a folder of the repository");
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The cases that a comment names; ranges are written out by whoever writes the comment.
fn cases(comment: &str) -> Vec<String> {
    let words = comment.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '-'));
    words
        .filter(|word| is_case(word))
        .map(str::to_owned)
        .collect()
}

fn is_case(word: &str) -> bool {
    let Some((kind, number)) = word.split_once('-') else {
        return false;
    };
    let digits = match kind {
        "R" => 3,
        "S" => 2,
        _ => return false,
    };
    number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn function(line: &str) -> Option<&str> {
    let rest = line
        .trim_start()
        .strip_prefix("async ")
        .unwrap_or(line.trim_start());
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// Case to names of tests, from one file. A comment belongs to the test in which it stands, or to the one
/// that follows.
fn named_in(source: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let (mut test, mut waiting, mut marked) = (None, Vec::new(), false);
    for line in source.lines() {
        let text = line.trim_start();
        if text.starts_with("#[test]") || text.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = function(line) {
            test = marked.then(|| name.to_owned());
            marked = false;
        }
        if let Some(at) = text.find("//") {
            waiting.extend(cases(&text[at..]));
        }
        if let Some(name) = &test {
            for case in waiting.drain(..) {
                found.entry(case).or_default().insert(name.clone());
            }
        }
        // The end of a test: at the top level, in a module, or on the line of its name.
        if ["}", "    }"].contains(&line) || function(line).is_some() && line.ends_with('}') {
            test = None;
        }
    }
}

fn named() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for path in sources() {
        let source = fs::read_to_string(&path).expect("a source file");
        named_in(&source, &mut found);
    }
    found
}

/// The page with its last column as the sources say; a row without a test keeps its reason.
fn rendered(page: &str, named: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut out = String::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let case = cells[0].trim_start_matches("| ");
        match (is_case(case), named.get(case), cells.as_slice()) {
            (true, Some(tests), [_, what, _]) => {
                let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
                out += &format!("| {case} | {what} | {} |", tests.join(", "));
            }
            _ => out += line,
        }
        out.push('\n');
    }
    out
}

fn page() -> PathBuf {
    top().join("docs/requirements.md")
}

#[test]
fn the_requirements_page_names_the_tests_that_there_are() {
    let text = fs::read_to_string(page()).expect("docs/requirements.md");
    let wanted = rendered(&text, &named());
    if std::env::var_os("MOONKEEP_RENDER").is_some() {
        fs::write(page(), &wanted).expect("docs/requirements.md");
        return;
    }
    assert!(
        text == wanted,
        "docs/requirements.md is stale; render it with: MOONKEEP_RENDER=1 cargo test requirements"
    );
}

#[test]
fn the_requirements_page_names_no_test_that_is_gone() {
    let text = fs::read_to_string(page()).expect("docs/requirements.md");
    let known: BTreeSet<String> = sources()
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|source| {
            let names = source.lines().filter_map(function);
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let pages = [
        text,
        fs::read_to_string(top().join("docs/architecture.md")).unwrap_or_default(),
    ];
    for row in pages
        .iter()
        .flat_map(|page| page.lines())
        .filter(|line| line.starts_with("| "))
    {
        let last = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        let names = last.split('`').skip(1).step_by(2);
        for name in names.filter(|name| name.len() > 15 && name.contains('_')) {
            assert!(known.contains(name), "there is no test {name}: {row}");
        }
    }
}

#[test]
fn comments_are_attached_to_their_tests() {
    let source = "// R-001: why\n#[test]\nfn one() {\n    // S-02\n}\n\n/// R-003, R-004\n#[test]\nfn two() {}\n// R-006\n#[test]\nfn three() {}\nfn helper() {\n    // R-005\n}\n";
    let mut found = BTreeMap::new();
    named_in(source, &mut found);
    let shown: Vec<String> = found
        .iter()
        .map(|(case, tests)| format!("{case} {}", tests.iter().cloned().collect::<String>()))
        .collect();
    assert_eq!(
        shown,
        [
            "R-001 one",
            "R-003 two",
            "R-004 two",
            "R-006 three",
            "S-02 one"
        ]
    );
}
