//! A terminal of a few rows, for what is drawn on one. It wraps, scrolls and erases; any sequence that it does not know is a
//! failure of the test, so nothing that steers can slip through.

/// The rows of the screen, and above them those that have scrolled away.
#[derive(Debug)]
pub(super) struct Terminal {
    width: usize,
    height: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Terminal {
    pub(super) fn new(width: u16, height: u16) -> Self {
        Self { width: width.into(), height: height.into(), rows: vec![Vec::new()], row: 0, column: 0 }
    }

    pub(super) fn write(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\n' => self.line_feed(),
                '\r' => self.column = 0,
                '\t' => self.column = (self.column / 8 + 1) * 8,
                '\u{1b}' => {
                    assert_eq!(chars.next(), Some('['), "only these sequences are known");
                    let rest = chars.as_str();
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a sequence has an end");
                    self.sequence(&rest[..end], &rest[end..=end]);
                    chars = rest[end + 1..].chars();
                }
                c => self.put(c),
            }
        }
    }

    /// All that was ever shown and still is, and the place of the cursor as `▮`.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let mut line: String = row.iter().collect::<String>().trim_end().to_owned();
            if i == self.row {
                assert!(line.is_empty(), "the cursor stands below all lines");
                line.push('▮');
            }
            lines.push(line);
        }
        lines.join("\n")
    }

    /// How many rows there are, with those that have scrolled away.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    fn put(&mut self, c: char) {
        assert!(!c.is_control(), "{c:?} reached the terminal");
        let wide = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if self.column + wide > self.width {
            self.line_feed();
        }
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column + 1), ' ');
        row[self.column] = c;
        self.column += wide;
    }

    fn line_feed(&mut self) {
        self.row += 1;
        self.column = 0;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn sequence(&mut self, parameter: &str, kind: &str) {
        let top = self.rows.len().saturating_sub(self.height);
        match (parameter, kind) {
            (n, "A") => self.row = self.row.saturating_sub(n.parse().expect("a number of rows")).max(top),
            ("", "J") => {
                self.rows.truncate(self.row + 1);
                self.rows[self.row].truncate(self.column);
            }
            ("2", "K") => self.rows[self.row].clear(),
            (_, "m") => {}
            other => panic!("{other:?} is not known"),
        }
    }
}
