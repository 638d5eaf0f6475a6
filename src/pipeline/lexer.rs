//! The commands of a shell text, each with its words and with where it is redirected to: as far as the text tells, and no
//! further. Does not know what the commands do.

use crate::base::span::Span;
use crate::pipeline::shell::{Level, ShellReader};
use crate::pipeline::template::{Piece, Place, Quotes, Template};

/// A word, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word without its quotes.
    pub(crate) text: String,
    /// Only the shell can tell what it comes to.
    pub(crate) open: bool,
    /// It begins with the path of a node, which does not depend on the folder that the command runs in.
    pub(crate) from_root: bool,
    /// Where it stands in the template.
    pub(crate) span: Span,
}

/// A command as it stands, without what is around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Simple {
    /// Its words, that of the program first.
    pub(crate) words: Vec<Word>,
    /// What it is redirected to.
    pub(crate) to: Vec<Word>,
    /// The folders that a shell has gone to before, in order.
    pub(crate) gone_to: Vec<Word>,
}

/// What a name in a template stands for: a text, and whether it is a path from the root; nothing where that is another at each run.
pub(crate) type Value = Option<(String, bool)>;

/// The commands of a text for a shell.
pub(crate) fn commands(template: &Template, value: &dyn Fn(&str) -> Value) -> Vec<Simple> {
    let mut lexer = Lexer::default();
    for piece in &template.pieces {
        match piece {
            Piece::Text(slice) => lexer.text(template.slice(*slice), slice.span().start),
            Piece::Name { name, span, place } => lexer.value(value(template.slice(*name)), span.span(), *place),
        }
    }
    lexer.end_command();
    lexer.found
}

/// A template that is a word of its own.
pub(crate) fn word(template: &Template, value: &dyn Fn(&str) -> Value) -> Word {
    let mut word = Word { span: 0..template.text.len(), ..Word::default() };
    for piece in &template.pieces {
        match piece {
            Piece::Text(slice) => word.text.push_str(template.slice(*slice)),
            Piece::Name { name, .. } => word.push(value(template.slice(*name))),
        }
    }
    word
}

impl Word {
    fn push(&mut self, value: Value) {
        match value {
            Some((_, true)) | None if !self.text.is_empty() => self.open = true,
            None => self.open = true,
            Some((text, from_root)) => {
                self.text.push_str(&text);
                self.from_root |= from_root;
            }
        }
    }
}

/// Where the next word belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Word,
    From,
    To,
}

/// What a shell does in a list of commands.
#[derive(Clone, Debug, Default)]
struct Reading {
    now: Simple,
    word: Option<Word>,
    next: Next,
}

#[derive(Default)]
struct Lexer {
    reader: ShellReader,
    reading: Reading,
    /// That in which it stands: `echo "$(cat a.csv)"`.
    outer: Vec<Reading>,
    escaped: bool,
    found: Vec<Simple>,
}

/// Where a letter stands.
#[derive(Clone, Copy)]
struct At {
    place: Place,
    depth: usize,
    arithmetic: bool,
}

impl Lexer {
    fn at(&self) -> At {
        let level = self.reader.level();
        let arithmetic = matches!(level, Some(Level::Arithmetic(_)));
        At { place: self.reader.place(), depth: self.reader.depth(), arithmetic }
    }

    fn text(&mut self, text: &str, start: usize) {
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let before = self.at();
            self.reader.read_begin(&text[at..], c.len_utf8());
            let after = self.at();
            self.letter(c, start + at, before, after);
            at += c.len_utf8();
        }
    }

    fn value(&mut self, value: Value, span: Span, place: Place) {
        if matches!(place, Place::Bare | Place::Quoted(Quotes::Single | Quotes::Double)) {
            let word = self.word(span.start);
            word.push(value);
            word.span.end = span.end;
        }
        self.escaped = false;
        self.reader.read("x");
    }

    /// The word that is being read.
    fn word(&mut self, at: usize) -> &mut Word {
        self.reading.word.get_or_insert_with(|| Word { span: at..at, ..Word::default() })
    }

    /// A letter of a word.
    fn push(&mut self, c: char, at: usize, open: bool) {
        let word = self.word(at);
        word.text.push(c);
        word.open |= open;
        word.span.end = at + c.len_utf8();
    }

    fn letter(&mut self, c: char, at: usize, before: At, after: At) {
        let quoted = |at: At| matches!(at.place, Place::Quoted(Quotes::Single | Quotes::Double));
        let bare = |at: At| at.place == Place::Bare;
        if bare(after) && after.depth > before.depth {
            self.enter(c, at);
        } else if bare(before) && after.depth < before.depth {
            self.leave(at);
        } else if before.arithmetic {
        } else if std::mem::take(&mut self.escaped) {
            if c != '\n' {
                self.push(c, at, false);
            }
        } else if bare(before) && bare(after) {
            self.bare(c, at);
        } else if quoted(before) && quoted(after) && before.depth == after.depth {
            let open = before.place == Place::Quoted(Quotes::Double) && matches!(c, '$' | '`' | '\\');
            self.push(c, at, open);
        } else if (bare(before) && quoted(after)) || (quoted(before) && bare(after)) {
            self.word(at).span.end = at + c.len_utf8();
        } else if c == '\n' && (bare(before) || before.place == Place::Comment) {
            self.end_command();
        } else if matches!(after.place, Place::Quoted(Quotes::Other)) && (bare(before) || quoted(before)) {
            self.push(c, at, true);
        }
    }

    /// A `(…)`, a `$(…)`, or what is reckoned.
    fn enter(&mut self, c: char, at: usize) {
        if c == '$' {
            self.push(c, at, true);
        } else if self.reading.word.is_some() {
            // `f() {`
            self.end_command();
        } else {
            // What a process reads or writes in place of a file is none.
            self.reading.next = Next::Word;
        }
        let inner = Simple { gone_to: self.reading.now.gone_to.clone(), ..Simple::default() };
        self.outer.push(std::mem::replace(&mut self.reading, Reading { now: inner, ..Reading::default() }));
    }

    fn leave(&mut self, at: usize) {
        self.end_command();
        self.reading = self.outer.pop().unwrap_or_default();
        if let Some(word) = &mut self.reading.word {
            word.span.end = at + 1;
        }
    }

    fn bare(&mut self, c: char, at: usize) {
        let begins = self.reading.word.is_none();
        match c {
            '\\' => self.escaped = true,
            ' ' | '\t' | '\r' => self.end_word(),
            // `>&2`, `>|`
            '&' | '|' if begins && self.reading.next == Next::To => {}
            '\n' | ';' | '|' | '&' | ')' => self.end_command(),
            '<' => {
                self.end_redirection();
                self.reading.next = Next::From;
            }
            // `<>`
            '>' if begins && self.reading.next == Next::From => {}
            '>' => {
                self.end_redirection();
                self.reading.next = Next::To;
            }
            '(' => {}
            _ => self.push(c, at, matches!(c, '$' | '*' | '?' | '[' | ']' | '~' | '{' | '}')),
        }
    }

    /// Ends a word in front of a redirection; the number of what is redirected is none.
    fn end_redirection(&mut self) {
        if self.reading.word.as_ref().is_some_and(is_number) {
            self.reading.word = None;
        }
        self.end_word();
    }

    fn end_word(&mut self) {
        let Some(word) = self.reading.word.take() else { return };
        let Reading { now, next, .. } = &mut self.reading;
        match std::mem::take(next) {
            Next::Word => now.words.push(word),
            // `2>&1`
            Next::To if !is_number(&word) && word.text != "-" => now.to.push(word),
            Next::To | Next::From => {}
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.reading.next = Next::Word;
        let ended = std::mem::take(&mut self.reading.now);
        self.reading.now.gone_to.clone_from(&ended.gone_to);
        if let [program, folder, ..] = ended.words.as_slice()
            && matches!(program.text.as_str(), "cd" | "pushd")
        {
            self.reading.now.gone_to.push(folder.clone());
        }
        if !ended.words.is_empty() || !ended.to.is_empty() {
            self.found.push(ended);
        }
    }
}

fn is_number(word: &Word) -> bool {
    !word.open && !word.text.is_empty() && word.text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::parse;

    /// Each command in brackets: its words, those that are open with a `?`, and what it is redirected to.
    fn read(text: &str) -> String {
        let (template, errors) = parse(text);
        assert_eq!(errors, [], "{text}");
        let value = |name: &str| (name != "output").then(|| (format!("<{name}>"), name.starts_with("inputs")));
        let told = |word: &Word| format!("{}{}", word.text, if word.open { "?" } else { "" });
        let all = commands(&template, &value).into_iter().map(|simple| {
            let to = simple.to.iter().map(|word| format!(">{}", told(word)));
            let words: Vec<_> = simple.words.iter().map(told).chain(to).collect();
            format!("[{}]", words.join(" "))
        });
        all.collect()
    }

    #[test]
    fn commands_are_read_as_a_shell_would() {
        for (text, want) in [
            ("sort {{ inputs.a }} >b.csv", "[sort <inputs.a> >b.csv]"),
            ("sort a>>'b c.csv' 2>&1; x 2> err", "[sort a >b c.csv][x >err]"),
            ("cat <a <<<b 3<>c >| d &>e", "[cat >d][>e]"),
            ("if a | tee 'x'\"y\" && ! b; then c; fi", "[if a][tee xy][! b][then c][fi]"),
            ("x=\"$(cat a >b)\" y >c", "[cat a >b][x=$? y >c]"),
            ("(cd a; x >b) >c; y", "[cd a][x >b][>c][y]"),
            ("tee >(gzip >a.gz) <(b) >{{ output }}", "[gzip >a.gz][b][tee >?]"),
            ("if ((a > b)); then c $((d > e)) >f; fi", "[if][then c $? >f][fi]"),
            ("cat <<E >a\nb >c $(d >e)\nE\nf >g", "[cat >a][f >g]"),
            ("a # >b\nc \\>d \\\n e", "[a][c >d e]"),
            ("case x in a) b >c ;; esac; f() { g >h; }", "[case x in a][b >c][esac][f][{? g >h][}?]"),
            ("echo 'a > b' \"c > d $e\" `f > g` ${h:-i > j} >k", "[echo a > b c > d $e? `? $? >k]"),
            ("a >\"{{ vars.x }}\".csv >{{ inputs.y }}/z", "[a ><vars.x>.csv ><inputs.y>/z]"),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn the_folder_that_a_shell_has_gone_to_is_known_as_far_as_it_counts() {
        let (template, _) = parse("a; cd b; (cd c && d); e");
        let gone: Vec<_> = commands(&template, &|_| None)
            .into_iter()
            .map(|simple| simple.gone_to.into_iter().map(|word| word.text).collect::<Vec<_>>().join("/"))
            .collect();
        assert_eq!(gone, ["", "", "b", "b/c", "b"]);
    }
}
