//! Rows of cells as lines with their columns aligned, as wide as a terminal shows them. Does not know what they say.

use crate::report::line::columns;

/// A line for each row.
pub(crate) fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths = Vec::new();
    for row in rows.iter().map(AsRef::as_ref) {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&widths);
        let cells: Vec<_> = cells.map(|(cell, width)| cell.clone() + &" ".repeat(width - columns(cell))).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_cells_keep_the_columns() {
        let rows = [&["日本", "a"][..], &["abcdef", "", "b"], &["é"]].map(|row| row.iter().copied().map(String::from));
        let rows = rows.map(Iterator::collect::<Vec<String>>);
        assert_eq!(table(&rows), "日本    a\nabcdef     b\né\n");
    }
}
