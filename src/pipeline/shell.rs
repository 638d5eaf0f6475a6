//! Reads a shell text just far enough to know whether a place in it is inside quotes. Where it cannot be sure it says
//! that it is: a value is then refused rather than written wrong. Does not know templates.

use std::collections::VecDeque;

use crate::pipeline::template::{Place, Quotes};

/// Programs that run a text only behind `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Whether these are the words of a shell that takes what follows for the name of a file.
pub(crate) fn lacks_command(words: &[&str]) -> bool {
    let [program, options @ ..] = words else { return false };
    let takes = |option: &&str| option.starts_with('-') && !option.starts_with("--") && option.contains('c');
    SHELLS.contains(&program.rsplit('/').next().unwrap_or(program)) && !options.iter().any(takes)
}

/// What a place lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// `(…)` and `$(…)`, with the number of `case` that wait for their `esac`.
    Command(u32),
    /// `((…))` and `$((…))`: the parentheses that are open.
    Arithmetic(u32),
    /// `` `…` ``
    Backtick,
    /// `${…}`
    Parameter,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `$'…'`
    Ansi,
    /// `# …`
    Comment,
}

/// So many bytes are more than any word has that means something.
const BEGIN: usize = 6;

/// The beginning of a word: as much of it as tells the few words that mean something from all others.
#[derive(Default)]
struct Word {
    begin: [u8; BEGIN],
    len: usize,
}

impl Word {
    fn push(&mut self, text: &str) {
        let (from, to) = (self.len.min(BEGIN), (self.len + text.len()).min(BEGIN));
        self.begin[from..to].copy_from_slice(&text.as_bytes()[..to - from]);
        self.len += text.len();
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn begin(&self) -> &[u8] {
        &self.begin[..self.len.min(BEGIN)]
    }

    /// Whether a command begins after it.
    fn is_opener(&self) -> bool {
        let word = self.begin();
        matches!(word, b"do" | b"then" | b"else" | b"elif" | b"if" | b"while" | b"until" | b"!" | b"{" | b"time")
    }
}

/// Follows a shell text.
#[derive(Default)]
pub(crate) struct ShellReader {
    levels: Vec<Level>,
    /// The `case` that are open outside of all parentheses.
    cases: u32,
    previous: char,
    escaped: bool,
    /// How many of the next letters belong to what was read already.
    skip: usize,
    /// The word that is being read, and whether it stands where a command begins.
    word: Word,
    /// Whether the next word is a command.
    command: Option<bool>,
    /// The here-documents that begin at the end of the line, then the one that is being read.
    documents: VecDeque<Document>,
    in_document: bool,
    line: String,
    /// The brackets that are open in it behind a `$`, and whether a backtick is.
    inner: usize,
    ticked: bool,
}

/// A here-document: its end mark, whether tabs may stand before it, and whether the shell leaves it as it is.
struct Document {
    mark: String,
    tabs: bool,
    verbatim: bool,
}

impl ShellReader {
    /// What the place lies in that was read up to; nothing outside of all.
    pub(crate) fn level(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    /// How many levels that is deep.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Where the place lies that was read up to.
    pub(crate) fn place(&self) -> Place {
        if self.in_document {
            return Place::Quoted(match self.documents.front() {
                Some(document) if document.verbatim => Quotes::Verbatim,
                _ if self.inner > 0 || self.ticked => Quotes::Other,
                _ => Quotes::Document,
            });
        }
        // A shell takes backslashes away inside backticks before it looks for quotes.
        if self.levels.contains(&Level::Backtick) {
            return Place::Quoted(Quotes::Other);
        }
        let outer = self.levels.len().checked_sub(2).map(|i| self.levels[i]);
        match self.levels.last() {
            Some(Level::Command(_) | Level::Backtick | Level::Arithmetic(_)) | None => Place::Bare,
            Some(Level::Comment) => Place::Comment,
            Some(Level::Ansi | Level::Parameter) => Place::Quoted(Quotes::Other),
            Some(_) if outer == Some(Level::Parameter) => Place::Quoted(Quotes::Other),
            Some(Level::Single) => Place::Quoted(Quotes::Single),
            Some(Level::Double) => Place::Quoted(Quotes::Double),
        }
    }

    /// Reads on.
    pub(crate) fn read(&mut self, text: &str) {
        self.read_begin(text, text.len());
    }

    /// Reads on, so many bytes of a text: what they mean may depend on what follows.
    pub(crate) fn read_begin(&mut self, text: &str, length: usize) {
        let mut at = 0;
        while at < length
            && let Some(c) = text[at..].chars().next()
        {
            let rest = &text[at..];
            if self.skip > 0 {
                self.skip -= 1;
            } else if self.in_document {
                self.document(c, rest);
            } else {
                self.step(c, rest);
            }
            self.previous = c;
            at += c.len_utf8();
            at += self.hurry(text.get(at..length).unwrap_or_default());
        }
    }

    /// Reads letters that only go on with what is read already, as most letters do. How many bytes those are.
    fn hurry(&mut self, rest: &str) -> usize {
        if self.skip > 0 || self.escaped || self.in_document {
            return 0;
        }
        let bare = match self.levels.last() {
            Some(Level::Comment) => return 0,
            Some(Level::Single | Level::Double | Level::Ansi | Level::Parameter) => false,
            Some(Level::Command(_) | Level::Arithmetic(_) | Level::Backtick) | None => true,
        };
        let read = rest.bytes().take_while(|b| PLAIN[usize::from(*b)]).count();
        if bare {
            self.word.push(&rest[..read]);
        }
        if let Some(last) = rest[..read].chars().next_back() {
            self.previous = last;
        }
        read
    }

    fn document(&mut self, c: char, rest: &str) {
        match c {
            _ if std::mem::take(&mut self.escaped) => {}
            '\\' => self.escaped = true,
            '`' => self.ticked = !self.ticked,
            '$' if rest.starts_with("$(") || rest.starts_with("${") => (self.inner, self.skip) = (self.inner + 1, 1),
            '(' | '{' if self.inner > 0 => self.inner += 1,
            ')' | '}' => self.inner = self.inner.saturating_sub(1),
            _ => {}
        }
        if c != '\n' {
            self.line.push(c);
            return;
        }
        let ended = self.documents.front().is_some_and(|document| {
            let line = if document.tabs { self.line.trim_start_matches('\t') } else { &self.line };
            line == document.mark
        });
        if ended {
            self.documents.pop_front();
            self.begin_document();
        }
        self.line.clear();
    }

    fn begin_document(&mut self) {
        self.in_document = !self.documents.is_empty();
        (self.inner, self.ticked, self.escaped) = (0, false, false);
    }

    fn step(&mut self, c: char, rest: &str) {
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match self.levels.last() {
            Some(Level::Single) => self.close_on(c, '\''),
            Some(Level::Ansi) if c == '\\' => self.escaped = true,
            Some(Level::Ansi) => self.close_on(c, '\''),
            Some(Level::Comment) => {
                if c == '\n' {
                    self.levels.pop();
                    self.end_of_line();
                }
            }
            Some(Level::Double) => self.double(c, rest),
            Some(Level::Parameter) => self.parameter(c, rest),
            Some(Level::Command(_) | Level::Arithmetic(_) | Level::Backtick) | None => self.bare(c, rest),
        }
    }

    fn close_on(&mut self, c: char, end: char) {
        if c == end {
            self.levels.pop();
        }
    }

    fn open(&mut self, level: Level) {
        self.levels.push(level);
        self.word.clear();
        self.command = Some(true);
    }

    fn double(&mut self, c: char, rest: &str) {
        match c {
            '\\' => self.escaped = true,
            '"' => self.close_on(c, '"'),
            '$' => self.expansion(rest),
            '`' => self.backtick(),
            _ => {}
        }
    }

    fn parameter(&mut self, c: char, rest: &str) {
        match c {
            '\\' => self.escaped = true,
            '}' => self.close_on(c, '}'),
            '"' => self.levels.push(Level::Double),
            '\'' if !self.levels.contains(&Level::Double) => self.levels.push(Level::Single),
            '$' => self.expansion(rest),
            '`' => self.backtick(),
            _ => {}
        }
    }

    /// What a `$` begins.
    fn expansion(&mut self, rest: &str) {
        if rest.starts_with("$((") {
            self.skip = 2;
            self.open(Level::Arithmetic(2));
        } else if rest.starts_with("$(") {
            self.skip = 1;
            self.open(Level::Command(0));
        } else if rest.starts_with("${") && !rest.starts_with("${{") {
            self.skip = 1;
            self.open(Level::Parameter);
        }
    }

    fn bare(&mut self, c: char, rest: &str) {
        let arithmetic = matches!(self.levels.last(), Some(Level::Arithmetic(_)));
        let word_start = self.word.is_empty() && (self.previous == '\0' || !is_word(self.previous));
        self.follow_words(c);
        match c {
            '\\' => self.escaped = true,
            '\'' if self.previous == '$' => self.levels.push(Level::Ansi),
            '\'' => self.levels.push(Level::Single),
            '"' => self.levels.push(Level::Double),
            '`' => self.backtick(),
            '$' => self.expansion(rest),
            '#' if word_start && !arithmetic => self.levels.push(Level::Comment),
            '(' if arithmetic => self.parentheses(true),
            '(' if word_start && rest.starts_with("((") => {
                self.skip = 1;
                self.open(Level::Arithmetic(2));
            }
            '(' => self.open(Level::Command(0)),
            ')' if arithmetic => self.parentheses(false),
            ')' => self.close_command(),
            '<' if !arithmetic && rest.starts_with("<<<") => self.skip = 2,
            '<' if !arithmetic => self.here_document(rest),
            '\n' => self.end_of_line(),
            _ => {}
        }
    }

    fn parentheses(&mut self, more: bool) {
        if let Some(Level::Arithmetic(open)) = self.levels.last_mut() {
            *open = if more { *open + 1 } else { *open - 1 };
            if *open == 0 {
                self.levels.pop();
            }
        }
    }

    /// A `)` ends a command, or the pattern of a `case` in it.
    fn close_command(&mut self) {
        if self.levels.last() == Some(&Level::Command(0)) {
            self.levels.pop();
        } else {
            self.command = Some(true);
        }
    }

    /// Counts `case` and `esac`, where they are commands.
    fn follow_words(&mut self, c: char) {
        if is_word(c) {
            self.word.push(c.encode_utf8(&mut [0; 4]));
            return;
        }
        let command = self.command.unwrap_or(true);
        if !self.word.is_empty() {
            let cases = match self.levels.last_mut() {
                Some(Level::Command(cases)) => cases,
                _ => &mut self.cases,
            };
            match self.word.begin() {
                b"case" if command => *cases += 1,
                b"esac" if command => *cases = cases.saturating_sub(1),
                _ => {}
            }
            self.command = Some(command && self.word.is_opener());
            self.word.clear();
        }
        if matches!(c, ';' | '&' | '|' | '\n') {
            self.command = Some(true);
        }
    }

    fn here_document(&mut self, rest: &str) {
        let Some(word) = rest.strip_prefix("<<") else { return };
        let (word, tabs) = word.strip_prefix('-').map_or((word, false), |word| (word, true));
        let word = word.trim_start_matches([' ', '\t']);
        let mark = match word.chars().next() {
            Some(quote @ ('\'' | '"')) => word[1..].split(quote).next().unwrap_or_default().to_owned(),
            _ => word.split(|c: char| !is_word(c)).next().unwrap_or_default().replace('\\', ""),
        };
        if !mark.is_empty() {
            let verbatim = word.starts_with(['\'', '"', '\\']);
            self.documents.push_back(Document { mark, tabs, verbatim });
        }
        self.skip = 1;
    }

    fn end_of_line(&mut self) {
        self.begin_document();
        self.line.clear();
        self.command = Some(true);
    }

    fn backtick(&mut self) {
        if self.levels.last() == Some(&Level::Backtick) {
            self.levels.pop();
        } else {
            self.open(Level::Backtick);
        }
    }
}

/// The letters that go on with a word, and mean nothing inside any quotes or braces.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let more =
            matches!(byte, b'_' | b'.' | b'/' | b',' | b':' | b'%' | b'+' | b'-' | b'=' | b'*' | b'@' | b'[' | b']');
        plain[byte as usize] = byte.is_ascii_alphanumeric() || more;
        byte += 1;
    }
    plain
};

/// Whether a letter goes on with a word.
fn is_word(c: char) -> bool {
    WORD.get(c as usize).copied().unwrap_or_else(|| !c.is_whitespace())
}

/// The letters of ASCII that go on with a word.
const WORD: [bool; 128] = {
    let mut word = [false; 128];
    let mut byte = 0u8;
    while byte < 128 {
        let blank = matches!(byte, b'\t'..=b'\r' | b' ');
        let mark = matches!(byte, b';' | b'|' | b'&' | b'(' | b')' | b'<' | b'>' | b'`' | b'\'' | b'"');
        word[byte as usize] = !blank && !mark;
        byte += 1;
    }
    word
};

#[cfg(test)]
mod tests {
    use crate::pipeline::template::{Piece, Place, Quotes, parse};

    fn places(text: &str) -> Vec<Place> {
        let (template, errors) = parse(text);
        assert_eq!(errors, []);
        let place = |piece: &Piece| match piece {
            Piece::Name { place, .. } => Some(*place),
            Piece::Text(_) => None,
        };
        template.pieces.iter().filter_map(place).collect()
    }

    #[test]
    fn quotes_are_followed() {
        use Place::{Bare, Comment};
        const SINGLE: Place = Place::Quoted(Quotes::Single);
        const DOUBLE: Place = Place::Quoted(Quotes::Double);
        const DOCUMENT: Place = Place::Quoted(Quotes::Document);
        const VERBATIM: Place = Place::Quoted(Quotes::Verbatim);
        const OTHER: Place = Place::Quoted(Quotes::Other);
        for (text, want) in [
            ("cat {{ a }} '{{ a }}' \"{{ a }}\" {{ a }}", vec![Bare, SINGLE, DOUBLE, Bare]),
            (r#"echo "\"{{ a }}" {{ a }}"#, vec![DOUBLE, Bare]),
            (r#"echo "$(cat {{ a }}) {{ a }}""#, vec![Bare, DOUBLE]),
            ("# don't\ncat {{ a }}", vec![Bare]),
            ("# {{ a }}'\ncat {{ a }}", vec![Comment, Bare]),
            ("echo a#'b {{ a }}'", vec![SINGLE]),
            ("echo $# '{{ a }}' {{ a }}", vec![SINGLE, Bare]),
            ("cat <<EOF\n{{ a }}\nEOF\ncat {{ a }}", vec![DOCUMENT, Bare]),
            ("cat <<EOF\n\tEOF\n{{ a }}\nEOF\ncat {{ a }}", vec![DOCUMENT, Bare]),
            ("cat <<-'E'\n{{ a }}\n\tE\ncat {{ a }}", vec![VERBATIM, Bare]),
            ("cat <<'E-O F' <<B\n{{ a }}\nE-O F\n{{ a }}\nB\n{{ a }}", vec![VERBATIM, DOCUMENT, Bare]),
            ("cat <<EOF | sort '{{ a }}' {{ a }}\nx\nEOF\n", vec![SINGLE, Bare]),
            ("x=$((1<<2)); cat {{ a }}", vec![Bare]),
            ("(( x = y << z )); echo $(( (1) << b ))\ncat {{ a }}", vec![Bare]),
            ("cat <<< x\n{{ a }}", vec![Bare]),
            ("cat <<<'{{ a }}' {{ a }}", vec![SINGLE, Bare]),
            ("(cd x && cat {{ a }}); (f '{{ a }}') {{ a }}", vec![Bare, SINGLE, Bare]),
            (r"printf $'it\'s {{ a }}' {{ a }}", vec![OTHER, Bare]),
            ("x=`cat {{ a }}`; \"`cat {{ a }}` {{ a }}\"", vec![OTHER, OTHER, DOUBLE]),
            ("x=`cat $(cat {{ a }})`; {{ a }}", vec![OTHER, Bare]),
            ("echo ${x:-{{ a }}} {{ a }}", vec![OTHER, Bare]),
            (r#"echo "${x:-"{{ a }}"}" {{ a }}"#, vec![OTHER, Bare]),
            (r#"echo "${x#'}" {{ a }}"#, vec![Bare]),
            (r#"echo "${x:-$(cat {{ a }})}" "{{ a }}""#, vec![Bare, DOUBLE]),
            (r#"echo "$(case $x in a) echo "{{ a }}" ;; (b) echo {{ a }};; esac)" {{ a }}"#, vec![DOUBLE, Bare, Bare]),
            (r#"echo "$(echo case)" "{{ a }}""#, vec![DOUBLE]),
            (r#"echo "$(if true; then case x in x) echo '{{ a }}';; esac; fi)" "{{ a }}""#, vec![SINGLE, DOUBLE]),
            ("case x in\n a) cat {{ a }} ;;\n 'b') cat \"{{ a }}\" ;;\nesac", vec![Bare, DOUBLE]),
            (
                "cat <<E\n$(cat {{ a }}) ({{ a }}) ${x:-{{ a }}}\n\\$({{ a }}\n`{{ a }}\nE\n{{ a }}",
                vec![OTHER, DOCUMENT, OTHER, DOCUMENT, OTHER, Bare],
            ),
            ("cat <<\\E\n$(cat {{ a }})\nE\n{{ a }}", vec![VERBATIM, Bare]),
            ("x=\"${y:-'{{ a }}'}\"; echo ${y:-$(cat '{{ a }}')}", vec![OTHER, SINGLE]),
        ] {
            assert_eq!(places(text), want, "{text}");
        }
    }
}
