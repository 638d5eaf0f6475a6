//! `kiln completions` and `kiln man`: what other programs can be told about the command line, made from it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use clap::{CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::base::text::did_you_mean;
use crate::cli::args::Cli;
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;

/// What makes a shell complete.
pub(crate) fn completions(shell: Shell) -> Result<u8, Fail> {
    let mut script = Vec::new();
    let mut kiln = visible();
    clap_complete::generate(shell, &mut kiln, "kiln", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        script += &names_in_bash(&kiln);
    }
    print(&script)?;
    Ok(exit::OK)
}

/// The command line without what nobody is meant to type.
fn visible() -> clap::Command {
    let kiln = Cli::command();
    let commands = kiln.get_subcommands().filter(|command| !command.is_hide_set());
    clap::Command::new("kiln")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(kiln.get_arguments())
        .subcommands(commands)
}

/// Bash knows of an argument only that it may be a file: where names are meant, those of the pipeline stand instead, and where
/// runs are, those of the history.
fn names_in_bash(kiln: &clap::Command) -> String {
    let is_named = |command: &&clap::Command| {
        command.get_positionals().any(|argument| argument.get_value_hint() == ValueHint::Other)
    };
    let named: Vec<_> = kiln.get_subcommands().filter(is_named).collect();
    let jobs = kiln.get_subcommands().filter(|command| command.get_name() == "jobs");
    let all = named.iter().copied().chain(jobs.flat_map(clap::Command::get_subcommands));
    let options: BTreeSet<String> = all.flat_map(clap::Command::get_opts).flat_map(spelled).collect();
    let commands: Vec<_> = named.iter().map(|command| command.get_name()).collect();
    let options: Vec<_> = options.into_iter().collect();
    let below = |command: &clap::Command| {
        let names: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        names.iter().map(|command| command.get_name().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let groups = kiln.get_subcommands().filter(|command| command.has_subcommands());
    let pages = groups.map(|group| format!("\"man {}\") what=\"_kiln_words {}\" ;;", group.get_name(), below(group)));
    let pages: Vec<_> =
        [format!("\"man \") what=\"_kiln_words {}\" ;;", below(kiln))].into_iter().chain(pages).collect();
    let script = NAMES_IN_BASH.replace("COMMANDS", &commands.join("|")).replace("OPTIONS", &options.join("|"));
    script.replace("PAGES", &pages.join("\n                "))
}

/// How an option that takes a value is written.
fn spelled(option: &clap::Arg) -> impl Iterator<Item = String> {
    let long = option.get_long().map(|long| format!("--{long}"));
    long.into_iter().chain(option.get_short().map(|short| format!("-{short}")))
}

/// What is offered is compared and quoted here: `compgen -W` would run what stands in a path between `$(` and `)`.
const NAMES_IN_BASH: &str = r#"
_kiln_offer() {
    local word
    while IFS= read -r word; do
        [[ "${word}" == "${cur}"* ]] || continue
        printf -v word %q "${word}"
        COMPREPLY+=("${word}")
    done
}
_kiln_words() {
    printf '%s\n' "$@"
}
_kiln_runs() {
    echo last
    "${kiln}" jobs "$1" --format json "${file[@]}" 2>/dev/null | sed -n 's/^ *"id": "\(.*\)",$/\1/p'
}
_kiln_steps() {
    "${kiln}" jobs show "$1" "${file[@]}" 2>/dev/null | awk '/^STATE +STEP/ { t = 1; next } /^$/ { t = 0 } t { print $2 }'
}
# A recipe with several outputs has a name of its own.
_kiln_nodes() {
    "${kiln}" list --format json "${file[@]}" 2>/dev/null |
        awk -F '"' '/^ *"(name|recipe)": "/ && !seen[$4]++ { print $4 }'
}
_kiln_targets() {
    case "${cur}" in
        +*) _kiln_nodes | sed 's/^/+/' ;;
        */*) "${kiln}" list --format json "${file[@]}" 2>/dev/null | sed -n 's/^ *"path": "\(.*\)",$/\1/p' ;;
        *) _kiln_nodes ;;
    esac
}
_kiln_tags() {
    "${kiln}" list --format json "${file[@]}" 2>/dev/null |
        awk '/^ *"tags": \[$/ { t = 1; next } /^ *\]/ { t = 0 } t { sub(/^ *"/, ""); sub(/",?$/, ""); print }' | sort -u
}
_kiln_names() {
    _kiln "$@"
    local kiln="$1" cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" i file=() words=()
    [[ ${COMP_CWORD} -lt 2 || ${cur} == -* ]] && return 0
    for ((i = 2; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            -f|--file) file=(-f "${COMP_WORDS[++i]}") ;;
            OPTIONS) ((++i)) ;;
            -*) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    local what=""
    case "${prev}" in
        --failed) what="_kiln_runs list" ;;
        -f|--file|OPTIONS) return 0 ;;
        *)
            case "${COMP_WORDS[1]} ${words[*]}" in
                "jobs show"|"jobs log") what="_kiln_runs list" ;;
                "jobs wait"*|"jobs abort"*) what="_kiln_runs running" ;;
                "jobs log "*" "*) return 0 ;;
                "jobs log "*) what="_kiln_steps ${words[1]}" ;;
                jobs*) return 0 ;;
                PAGES
            esac ;;
    esac
    if [[ -z ${what} ]]; then
        case "${COMP_WORDS[1]}" in COMMANDS) what=_kiln_targets ;; *) return 0 ;; esac
        # A `:` ends a word.
        if [[ ${prev}${cur} == tag: || ${COMP_WORDS[COMP_CWORD-2]}${prev} == tag: ]]; then
            what=_kiln_tags cur="${cur#:}"
        fi
    fi
    compopt +o default +o bashdefault 2>/dev/null
    COMPREPLY=()
    _kiln_offer < <(${what})
    return 0
}
complete -F _kiln_names -o bashdefault -o default kiln
"#;

/// One manual page on standard output, or all of them in a folder.
pub(crate) fn man(words: &[String], into: Option<&Path>) -> Result<u8, Fail> {
    let mut kiln = Cli::command();
    kiln.build();
    match into {
        Some(folder) => {
            let cannot = |error| Fail::because(&format!("{} cannot be written", folder.display()), &error);
            fs::create_dir_all(folder).map_err(cannot)?;
            write_all(&kiln, folder).map_err(cannot)?;
        }
        None => {
            let command = words.iter().try_fold(&kiln, |command, word| below(command, word))?;
            print(&page(command).map_err(|error| Fail::because("the page", &error))?)?;
        }
    }
    Ok(exit::OK)
}

/// Writes the pages of a command and of all below it.
fn write_all(command: &clap::Command, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(clap_mangen::Man::new(command.clone()).get_filename()), page(command)?)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.into_iter().try_for_each(|command| write_all(command, folder))
}

/// The page of a command. What its help says at the end stands under headings that readers of manuals look for.
fn page(command: &clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).source(concat!("Kiln ", env!("CARGO_PKG_VERSION")));
    man.render(&mut page)?;
    let page = with_values(command, &String::from_utf8_lossy(&page));
    let Some((above, extra)) = page.split_once("\n.SH EXTRA\n") else { return Ok(page) };
    let (notes, examples) = match extra.split_once("Examples:\n") {
        None => (extra, None),
        Some((notes, examples)) => (notes, Some(examples)),
    };
    let notes = if notes.trim().is_empty() { String::new() } else { format!(".SH NOTES\n{notes}") };
    let examples = examples.map(|examples| format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", examples.trim_end()));
    Ok(format!("{above}\n{notes}{}", examples.unwrap_or_default()))
}

/// A page whose synopsis says of options with a value what that is.
fn with_values(command: &clap::Command, page: &str) -> String {
    let Some((above, rest)) = page.split_once("\n.SH SYNOPSIS\n") else { return page.to_owned() };
    let (mut synopsis, below) =
        rest.split_once('\n').map_or((rest.to_owned(), ""), |(line, below)| (line.to_owned(), below));
    for option in command.get_opts() {
        let (Some(long), Some(value)) = (option.get_long(), option.get_value_names().and_then(<[_]>::first)) else {
            continue;
        };
        let name = format!("\\fB\\-\\-{}\\fR]", long.replace('-', "\\-"));
        let value = value.replace('-', "\\-");
        synopsis = synopsis.replace(&name, &format!("{} \\fI{value}\\fR]", name.trim_end_matches(']')));
    }
    format!("{above}\n.SH SYNOPSIS\n{synopsis}\n{below}")
}

fn below<'a>(command: &'a clap::Command, word: &str) -> Result<&'a clap::Command, Fail> {
    command.find_subcommand(word).ok_or_else(|| {
        let known = command.get_subcommands().map(clap::Command::get_name);
        let help = did_you_mean(word, known).unwrap_or_else(|| format!("`{command} --help` says what there is"));
        Fail::Usage(format!("`{command}` has no command `{word}`"), Some(help))
    })
}
