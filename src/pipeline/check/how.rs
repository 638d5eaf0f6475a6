//! How a recipe is run: its own keys, and `[defaults]` for all others. Recipes without such keys of their own share one [`How`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::base::span::{Problem, Span};
use crate::base::text::{one_line, parse_duration, parse_size};
use crate::pipeline::check::Checker;
use crate::pipeline::paths;
use crate::pipeline::raw::{EnvValue, RawMake, SecretValue, Table};
use crate::pipeline::shell;
use crate::pipeline::types::{DEFAULT_SHELL, How, Tool};

/// A shell with its options, and where that is said; nowhere where it is Kiln's own choice.
#[derive(Clone, Default)]
pub(super) struct Shell {
    words: Arc<[String]>,
    span: Span,
}

impl Checker<'_> {
    /// How a recipe is run, and the places of the templates of its `on_stop`.
    pub(super) fn how(
        &mut self,
        name: &str,
        make: &mut RawMake,
        in_place: Option<Spanned<bool>>,
    ) -> (Arc<How>, Vec<Span>) {
        let in_place = in_place.is_some_and(Spanned::into_inner);
        if in_place || has_own(make) {
            let (how, spans) = self.own_how(name, make, in_place);
            return (Arc::new(how), spans);
        }
        let how = match self.common_how.take() {
            Some(how) => how,
            None => Arc::new(self.own_how(name, make, in_place).0),
        };
        self.common_how = Some(Arc::clone(&how));
        (how, Vec::new())
    }

    fn own_how(&mut self, name: &str, make: &mut RawMake, in_place: bool) -> (How, Vec<Span>) {
        let on_stop = make.on_stop.take().and_then(|run| self.command(name, "on_stop", run));
        let (on_stop, spans) = on_stop.unzip();
        let shell = match make.shell.take() {
            Some(shell) => self.shell(shell),
            None => self.common_shell.clone(),
        };
        let retry = make.retry.take().or_else(|| self.defaults.retry.clone());
        let (workdir, workdir_span) = self.workdir(make.workdir.take());
        let how = How {
            workdir,
            workdir_span,
            tools: self.tools(make.tools.take()),
            env: self.env(make.env.take(), make.secrets.as_ref()),
            pass: self.pass(make.pass.take()),
            secret_spans: make.secrets.iter().flat_map(BTreeMap::keys).map(Spanned::span).collect(),
            secrets: make.secrets.take().into_iter().flatten().map(|(k, v)| (k.into_inner(), v)).collect(),
            default_shell: shell.span.is_empty(),
            shell: shell.words,
            shell_span: shell.span,
            timeout: self.timeout(make.timeout.take()),
            retry: retry.map(Spanned::into_inner).unwrap_or_default(),
            grace: self.grace(make.grace.take()),
            log_limit: self.log_limit(make.log_limit.take()),
            on_stop,
            auto_update_schema: make.auto_update_schema.take().map(Spanned::into_inner),
            refresh_hive_metastore: make.refresh_hive_metastore.take().map(Spanned::into_inner),
            in_place,
        };
        (how, spans.unwrap_or_default())
    }

    /// The shell of recipes that say nothing of it.
    pub(super) fn take_common_shell(&mut self) {
        self.common_shell = match self.defaults.shell.take() {
            Some(shell) => self.shell(shell),
            None => Shell { words: DEFAULT_SHELL.map(str::to_owned).into(), span: 0..0 },
        };
    }

    fn shell(&mut self, shell: Spanned<Vec<String>>) -> Shell {
        if shell.get_ref().first().is_none_or(String::is_empty) {
            let problem = Problem::new("bad-value", "`shell` is empty").at(&shell.span(), "here");
            self.problem(problem.help("name a program and its options: shell = [\"sh\", \"-euc\"]"));
        }
        let words: Vec<&str> = shell.get_ref().iter().map(String::as_str).collect();
        self.one_program(&words, &shell.span(), "");
        self.takes_scripts(&words, &shell.span());
        Shell { span: shell.span(), words: shell.into_inner().into() }
    }

    /// That a shell would take the script for the name of a file.
    fn takes_scripts(&mut self, words: &[&str], span: &Span) {
        if shell::lacks_command(words) {
            let with: Vec<_> = words.iter().chain(&["-c"]).map(|word| toml::Value::from(*word).to_string()).collect();
            let message = format!("`{}` takes a script for the name of a file, but behind `-c`", words[0]);
            self.problem(
                Problem::new("bad-value", message).at(span, "here").help(format!("say: [{}]", with.join(", "))),
            );
        }
    }

    /// That a program and its options stand in one word.
    pub(super) fn one_program(&mut self, words: &[&str], span: &Span, or: &str) {
        let [program, rest @ ..] = words else { return };
        if !is_several_words(program) {
            return;
        }
        let each: Vec<_> = program.split_whitespace().chain(rest.iter().copied()).collect();
        let each: Vec<_> = each.into_iter().map(|word| toml::Value::from(word).to_string()).collect();
        let message = format!("no program is called `{}`", one_line(program, 60));
        let problem = Problem::new("bad-value", message).at(span, "a program and its options in one word");
        self.problem(problem.help(format!("a word each: [{}]{or}", each.join(", "))));
    }

    pub(super) fn workdir(&mut self, workdir: Option<Spanned<String>>) -> (String, Span) {
        let Some(workdir) = workdir.or_else(|| self.defaults.workdir.clone()) else {
            return (String::new(), Span::default());
        };
        let path = paths::normal(workdir.get_ref()).unwrap_or_else(|error| {
            let problem = Problem::new("bad-path", error.message(workdir.get_ref())).at(&workdir.span(), "this path");
            self.problem(problem.help("a working directory is relative to the root and stays inside it"));
            String::new()
        });
        (path, workdir.span())
    }

    fn tools(&mut self, tools: Option<Table<Spanned<String>>>) -> BTreeMap<String, Tool> {
        let mut sound = BTreeMap::new();
        for (name, command) in tools.unwrap_or_default() {
            if command.get_ref().trim().is_empty() {
                let problem = Problem::new("bad-value", format!("the command of tool `{}` is empty", name.get_ref()));
                self.problem(
                    problem.at(&command.span(), "here").help("say how its version is asked for: \"python3 --version\""),
                );
            }
            let span = command.span();
            sound.insert(name.into_inner(), Tool { command: command.into_inner(), span });
        }
        sound
    }

    fn env(
        &mut self,
        own: Option<Table<EnvValue>>,
        secrets: Option<&Table<SecretValue>>,
    ) -> BTreeMap<String, EnvValue> {
        let own = own.unwrap_or_default();
        let names = own.keys().chain(secrets.into_iter().flat_map(BTreeMap::keys));
        let names: Vec<_> = names.map(|name| (name.get_ref().clone(), name.span())).collect();
        for (name, span) in names {
            self.variable(&name, &span);
        }
        for (name, _) in secrets.into_iter().flatten() {
            if let Some((other, _)) = own.get_key_value(name) {
                let problem =
                    Problem::new("duplicate-name", format!("`{}` is in `env` and in `secrets`", name.get_ref()))
                        .at(&other.span(), "here")
                        .at(&name.span(), "and here");
                self.problem(problem.help("keep it in one of them"));
            }
        }
        let mut env: BTreeMap<_, _> =
            self.defaults.env.iter().map(|(name, value)| (name.get_ref().clone(), value.clone())).collect();
        env.extend(own.into_iter().map(|(name, value)| (name.into_inner(), value)));
        for (secret, _) in secrets.into_iter().flatten() {
            env.remove(secret.get_ref());
        }
        env
    }

    pub(super) fn variable(&mut self, name: &str, span: &Span) {
        let help = if name.is_empty() || name.contains(['=', '\0']) {
            "a variable's name is not empty and holds no `=`"
        } else if name.starts_with("KILN_") {
            "names that begin with KILN_ are set by Kiln"
        } else {
            return;
        };
        let problem = Problem::new("bad-name", format!("`{name}` cannot be a variable here")).at(span, "this name");
        self.problem(problem.help(help));
    }

    pub(super) fn pass(&mut self, own: Option<Vec<Spanned<String>>>) -> Vec<String> {
        let all: Vec<_> = self.defaults.pass.iter().cloned().chain(own.unwrap_or_default()).collect();
        for name in all.iter().filter(|name| name.get_ref().is_empty() || name.get_ref().contains(['=', '\0'])) {
            let problem = Problem::new("bad-name", format!("`{}` cannot be a variable here", name.get_ref()));
            self.problem(problem.at(&name.span(), "this name").help("a variable's name is not empty and holds no `=`"));
        }
        for name in all.iter().filter(|name| name.get_ref().contains(['[', ']', '?', '{', '}'])) {
            let problem = Problem::new("bad-name", format!("`{}` is the name of no variable", name.get_ref()));
            self.problem(
                problem.at(&name.span(), "this name").help("only `*` stands for others, for any letters: \"AWS_*\""),
            );
        }
        all.into_iter().map(Spanned::into_inner).collect()
    }

    pub(super) fn timeout(&mut self, own: Option<Spanned<String>>) -> Option<Duration> {
        let timeout = own.or_else(|| self.defaults.timeout.clone())?;
        let text = timeout.get_ref();
        let wrong = match parse_duration(text) {
            Ok(time) if !time.is_zero() => return Some(time),
            Ok(_) => "nothing is that fast".to_owned(),
            Err(error) => error,
        };
        let problem = Problem::new("bad-duration", format!("`timeout = \"{text}\"` is no time limit: {wrong}"));
        self.problem(problem.at(&timeout.span(), "here").help("write a time such as \"30s\", \"30m\" or \"1h 30m\""));
        None
    }

    pub(super) fn grace(&mut self, own: Option<Spanned<String>>) -> Option<Duration> {
        let grace = own.or_else(|| self.defaults.grace.clone())?;
        let text = grace.get_ref();
        let read = parse_duration(text);
        if let Err(error) = &read {
            let problem = Problem::new("bad-duration", format!("`grace = \"{text}\"` is not a time: {error}"));
            self.problem(problem.at(&grace.span(), "here").help("write a time such as \"30s\" or \"2m\""));
        }
        read.ok()
    }

    pub(super) fn log_limit(&mut self, own: Option<Spanned<String>>) -> Option<u64> {
        let limit = own.or_else(|| self.defaults.log_limit.clone())?;
        let text = limit.get_ref();
        let read = parse_size(text);
        if let Err(error) = &read {
            let problem = Problem::new("bad-size", format!("`log_limit = \"{text}\"` is not a size: {error}"));
            self.problem(
                problem.at(&limit.span(), "here").help("write a size such as \"64 KiB\", \"10 MiB\" or \"1 GiB\""),
            );
        }
        read.ok()
    }
}

/// Whether a program is named with its options. A path may have a space in it.
fn is_several_words(program: &str) -> bool {
    let mut words = program.split_whitespace();
    words.next().is_some_and(|first| !first.contains('/')) && words.next().is_some()
        || words.any(|word| word.starts_with('-'))
}

/// Whether it says itself how it is run.
fn has_own(make: &RawMake) -> bool {
    let RawMake { shell, workdir, tools, env, pass, secrets, timeout, retry, .. } = make;
    let RawMake { grace, log_limit, on_stop, auto_update_schema, refresh_hive_metastore, .. } = make;
    shell.is_some()
        || [workdir, timeout, grace, log_limit].into_iter().any(Option::is_some)
        || [auto_update_schema, refresh_hive_metastore].into_iter().any(Option::is_some)
        || tools.is_some()
        || env.is_some()
        || pass.is_some()
        || secrets.is_some()
        || retry.is_some()
        || on_stop.is_some()
}
