//! Aligned columns.

use crate::check::columns;

use super::output::{Output, Paint};

/// A cell: its text as it may be shown, and its colour.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Cell {
            text: text.into(),
            paint: None,
        }
    }

    pub(crate) fn painted(self, paint: Paint) -> Self {
        Cell {
            paint: Some(paint),
            ..self
        }
    }
}

/// The lines of a table: each column as wide as its widest cell, the last one open.
pub(crate) fn lines(output: &Output, head: &[&str], rows: &[Vec<Cell>]) -> Vec<String> {
    let head: Vec<Cell> = head
        .iter()
        .map(|title| Cell::new(*title).painted(Paint::Dim))
        .collect();
    let all: Vec<&Vec<Cell>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| columns::width(&cell.text))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    all.iter().map(|row| line(output, row, &widths)).collect()
}

fn line(output: &Output, row: &[Cell], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in row.iter().zip(widths) {
        if !out.is_empty() {
            out.push_str("  ");
        }
        match cell.paint {
            Some(paint) => out.push_str(&output.paint(paint, &cell.text)),
            None => out.push_str(&cell.text),
        }
        let missing = width.saturating_sub(columns::width(&cell.text));
        out.push_str(&" ".repeat(missing));
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::super::output::Color;
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let output = Output::new(Color::Never, false, false, false);
        let row = |a: &str, b: &str| vec![Cell::new(a), Cell::new(b)];
        let lines = lines(
            &output,
            &["NAME", "STATE"],
            &[row("a", "ready"), row("longer", "")],
        );
        assert_eq!(lines, ["NAME    STATE", "a       ready", "longer"]);
    }
}
