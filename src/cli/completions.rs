//! `kiln completions`: what makes shells complete the command line, made from it, and what asks `kiln candidates` for names of the
//! file and of the history.

use std::collections::BTreeSet;

use clap::{Arg, ArgAction, CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::cli::args::Cli;
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;

/// What makes a shell complete.
pub(crate) fn completions(shell: Shell) -> Result<u8, Fail> {
    let mut script = Vec::new();
    let mut kiln = visible();
    clap_complete::generate(shell, &mut kiln, "kiln", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    print(&if shell == Shell::Bash {
        script + &names_in_bash(&kiln)
    } else if shell == Shell::Zsh {
        names_in_zsh(&script)
    } else if shell == Shell::Fish {
        names_in_fish(&kiln, &script)
    } else {
        script
    })?;
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

/// The commands to which something is said that `is` of an argument.
fn said(kiln: &clap::Command, is: impl Fn(&Arg) -> bool) -> Vec<&str> {
    let fits = |command: &&clap::Command| command.get_positionals().any(&is);
    kiln.get_subcommands().filter(fits).map(clap::Command::get_name).collect()
}

/// Whether names of what can be built are meant.
fn is_target(argument: &Arg) -> bool {
    argument.get_value_hint() == ValueHint::Other && matches!(argument.get_action(), ArgAction::Append)
}

/// Whether a name is meant.
fn is_name(argument: &Arg) -> bool {
    argument.get_value_hint() == ValueHint::Other && !is_target(argument)
}

/// Whether a file or a folder is meant.
fn is_path(argument: &Arg) -> bool {
    matches!(argument.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}

/// Whether an option may stand without its value.
fn is_optional(option: &Arg) -> bool {
    option.get_num_args().is_some_and(|number| number.takes_values() && number.min_values() == 0)
}

/// All commands with the words before them; of a group, those below it.
fn every(kiln: &clap::Command) -> Vec<(String, &clap::Command)> {
    let all = kiln.get_subcommands().flat_map(|command| {
        let below =
            command.get_subcommands().map(|below| (format!("{} {}", command.get_name(), below.get_name()), below));
        let own = (!command.has_subcommands()).then(|| (command.get_name().to_owned(), command));
        own.into_iter().chain(below)
    });
    all.collect()
}

/// Bash knows of an argument only that it may be a file: where names are meant, those of the pipeline stand instead, and where
/// runs are, those of the history.
fn names_in_bash(kiln: &clap::Command) -> String {
    let all = every(kiln);
    let options = all.iter().flat_map(|(_, command)| command.get_opts()).chain(kiln.get_opts());
    let groups = kiln.get_subcommands().filter(|command| command.has_subcommands());
    let options: Vec<&Arg> = options.chain(groups.flat_map(clap::Command::get_opts)).collect();
    let those = |is: fn(&Arg) -> bool| {
        let those: BTreeSet<String> =
            options.iter().filter(|option| is(option)).flat_map(|option| spelled(option)).collect();
        those.into_iter().collect::<Vec<_>>().join("|")
    };
    let below = |command: &clap::Command| {
        let names: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        names.iter().map(|command| command.get_name().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let groups = kiln.get_subcommands().filter(|command| command.has_subcommands());
    let pages = groups.map(|group| format!("\"man {}\") what=(_kiln_words {}) ;;", group.get_name(), below(group)));
    let pages: Vec<_> = std::iter::once(format!("man) what=(_kiln_words {}) ;;", below(kiln))).chain(pages).collect();
    let values = |words: &str, option: &Arg| {
        let values = option.get_possible_values();
        let names: Vec<_> = values.iter().map(|value| value.get_name().to_owned()).collect();
        let name = option.get_long()?;
        (!names.is_empty()).then(|| format!("\"{words}--{name}\") what=(_kiln_words {}) ;;", names.join(" ")))
    };
    let own = all.iter().flat_map(|(name, command)| command.get_opts().map(move |option| (format!("{name} "), option)));
    let everywhere = kiln.get_opts().map(|option| ("*".to_owned(), option));
    let values: Vec<_> = own.chain(everywhere).filter_map(|(words, option)| values(&words, option)).collect();
    let values: Vec<_> = values.iter().map(|line| line.replace("\"*--", "*\"--")).collect();
    let script = NAMES_IN_BASH.replace("OPTIONAL", &those(is_optional)).replace("OPTIONS", &those(|_| true));
    let script = script.replace("PATHS", &those(is_path)).replace("FILES", &said(kiln, is_path).join("|"));
    let script =
        script.replace("TARGETS", &said(kiln, is_target).join("|")).replace("NAMES", &said(kiln, is_name).join("|"));
    script.replace("PAGES", &pages.join("\n            ")).replace("VALUES", &values.join("\n            "))
}

/// How an option that takes a value is written.
fn spelled(option: &Arg) -> impl Iterator<Item = String> {
    let long = option.get_long().map(|long| format!("--{long}"));
    long.into_iter().chain(option.get_short().map(|short| format!("-{short}")))
}

/// What is offered is compared and quoted here: `compgen -W` would run what stands in a path between `$(` and `)`.
const NAMES_IN_BASH: &str = r#"
# `quote` is the one that is open.
_kiln_offer() {
    local word
    while IFS= read -r word; do
        [[ "${word}" == "${before}${cur}"* ]] || continue
        word="${word#"${before}"}"
        case "${quote}" in
            \") word="$(sed 's/["$`\\]/\\&/g' <<< "${word}")" ;;
            \') word="${word//\'/\'\\\'\'}" ;;
            *) printf -v word %q "${word}" ;;
        esac
        COMPREPLY+=("${word}")
    done
}
# What a word means that is being typed.
_kiln_meant() {
    case "$1" in
        \'*) printf %s "${1#?}" ;;
        \"*) sed 's/\\\(["$`\\]\)/\1/g' <<< "${1#?}" ;;
        *) local word; IFS= read -d '' word <<< "$1"; printf %s "${word%$'\n'}" ;;
    esac
}
_kiln_words() {
    printf '%s\n' "$@"
}
_kiln_candidates() {
    "${kiln}" "${file[@]}" candidates "$@" 2>/dev/null
}
# Pipeline files, and folders that may hold some.
_kiln_files() {
    local word
    COMPREPLY=()
    compopt -o filenames +o default +o bashdefault 2>/dev/null
    while IFS= read -r word; do
        COMPREPLY+=("${word}")
    done < <(compgen -f -X '!*.toml' -- "${cur}"; compgen -d -- "${cur}")
}
_kiln_no_files() {
    compopt +o default +o bashdefault 2>/dev/null
}
# What was offered, without options: none is begun.
_kiln_no_options() {
    local word kept=()
    for word in "${COMPREPLY[@]}"; do
        [[ ${word} == [-\[\<]* ]] || kept+=("${word}")
    done
    COMPREPLY=("${kept[@]}")
}
_kiln_names() {
    _kiln "$@"
    local kiln="$1" cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    local i option="" joined="" file=() words=() what=() before="" quote=""
    case "${cur}" in [\"\']*) quote="${cur:0:1}" ;; esac
    cur="$(_kiln_meant "${cur}")"
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            OPTIONS)
                option="${COMP_WORDS[i]}"
                # Bash takes `=` for a word of its own.
                if [[ ${COMP_WORDS[i+1]} == "=" ]]; then ((++i)); joined=1; else joined=""; fi
                if [[ -z ${joined} && ${COMP_WORDS[i+1]} == -* ]]; then
                    case "${option}" in OPTIONAL) option=""; continue ;; esac
                fi
                ((++i))
                if [[ ${i} -lt ${COMP_CWORD} ]]; then
                    case "${option}" in
                        -f|--file) file+=(-f "${COMP_WORDS[i]}") ;;
                        -C|--directory) file+=(-C "${COMP_WORDS[i]}") ;;
                    esac
                    option=""
                fi ;;
            -*|=) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    [[ -n ${joined} && ${cur} == "=" ]] && cur=""
    local command="${words[0]}"
    case "${command}" in jobs|import) command+=" ${words[1]}" ;; esac
    if [[ -n ${option} ]]; then
        case "${command} ${option}" in
            *" --failed") what=(_kiln_candidates runs "${cur}") ;;
            *" --exclude") what=(_kiln_candidates targets "${cur}") ;;
            *" --var") what=(_kiln_candidates vars); compopt -o nospace 2>/dev/null ;;
        esac
        [[ -z ${what[*]} ]] && case "${command} ${option}" in
            VALUES
        esac
        if [[ -z ${what[*]} ]]; then
            case "${option}" in
                -f|--file) _kiln_files ;;
                PATHS) ;;
                *) COMPREPLY=(); _kiln_no_files ;;
            esac
            return 0
        fi
    else
        [[ ${cur} == -* ]] && return 0
        if [[ -z ${words[*]} ]]; then _kiln_no_options; return 0; fi
        case "${words[*]}" in
            "jobs log") what=(_kiln_candidates logs "${cur}") ;;
            "jobs show") what=(_kiln_candidates runs "${cur}") ;;
            "jobs wait"*|"jobs abort"*) what=(_kiln_candidates running "${cur}") ;;
            "jobs log "*" "*) return 0 ;;
            "jobs log "*) what=(_kiln_candidates steps "${words[2]}") ;;
            PAGES
            *)
                # What stands behind the `=` of a value is no name; it may be a file.
                if [[ ${prev} == "=" || ${cur} == "=" ]]; then COMPREPLY=(); return 0; fi
                # A `:` ends a word.
                [[ ${cur} == :* ]] && before=":" cur="${cur#:}"
                for ((i = COMP_CWORD; i > 1; i--)); do
                    [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i-1]} == : ]] || break
                    before="$(_kiln_meant "${COMP_WORDS[i-1]}")${before}"
                done
                case "${command}" in
                    TARGETS) what=(_kiln_candidates targets "${before}${cur}") ;;
                    NAMES) what=(_kiln_candidates names) ;;
                    FILES) _kiln_no_options; return 0 ;;
                    *) _kiln_no_options; _kiln_no_files; return 0 ;;
                esac ;;
        esac
    fi
    _kiln_no_files
    COMPREPLY=()
    _kiln_offer < <("${what[@]}")
    return 0
}
complete -F _kiln_names -o bashdefault -o default kiln
"#;

/// How lines of zsh's script begin that are about something that has names, and what offers them.
const IN_ZSH: [(&str, &str); 11] = [
    ("'*-f+[", "_files -g \"*.toml\""),
    ("'*--file=[", "_files -g \"*.toml\""),
    ("'*::targets -- ", "_kiln_targets"),
    ("':name -- ", "_kiln_names"),
    ("'*--exclude=", "_kiln_targets"),
    ("'*--var=", "_kiln_vars"),
    ("'()--failed=", "_kiln_runs"),
    ("':id -- ", "_kiln_runs"),
    ("':run_or_step -- ", "_kiln_logs"),
    ("'::step -- ", "_kiln_steps"),
    ("'*::ids -- ", "_kiln_running"),
];

/// The script of zsh, with what offers names.
fn names_in_zsh(script: &str) -> String {
    let line = |line: &str| match IN_ZSH.iter().find(|(begin, _)| line.starts_with(begin)) {
        Some((_, offer)) => match line.rsplit_once(':') {
            Some((above, "' \\" | "_default' \\" | "_files' \\")) => format!("{above}:{offer}' \\\n"),
            _ => format!("{line}\n"),
        },
        // Where neither a name nor a file is meant, nothing is known.
        None => match line.strip_suffix(":_default' \\") {
            Some(above) => format!("{above}: ' \\\n"),
            None => format!("{line}\n"),
        },
    };
    let script: String = script.lines().map(line).collect();
    script.replacen("\n_kiln() {\n", &format!("\n{NAMES_IN_ZSH}\n_kiln() {{\n"), 1)
}

/// What zsh has parsed so far lacks the options before the command, so the line itself is looked at.
const NAMES_IN_ZSH: &str = r#"_kiln_candidates() {
    local -a all file found
    local i
    all=("${(@Q)${(z)LBUFFER}}")
    for ((i = 2; i < $#all; i++)); do
        case "${all[i]}" in
            -f|--file) file+=(-f "${all[i+1]}") ;;
            --file=*) file+=(-f "${all[i]#--file=}") ;;
            -C|--directory) file+=(-C "${all[i+1]}") ;;
            --directory=*) file+=(-C "${all[i]#--directory=}") ;;
        esac
    done
    found=("${(@f)$("${all[1]}" "${file[@]}" candidates "$@" 2>/dev/null)}")
    compadd "${suffix[@]}" -- "${(@)found:#}"
}
_kiln_targets() { local -a suffix; _kiln_candidates targets "$PREFIX" }
_kiln_names() { local -a suffix; _kiln_candidates names }
_kiln_vars() { local -a suffix=(-S ''); _kiln_candidates vars }
_kiln_runs() { local -a suffix; _kiln_candidates runs "$PREFIX" }
_kiln_logs() { local -a suffix; _kiln_candidates logs "$PREFIX" }
_kiln_running() { local -a suffix; _kiln_candidates running "$PREFIX" }
_kiln_steps() { local -a suffix; _kiln_candidates steps "${line[1]}" }
"#;

/// The script of fish, with what offers names. It knows no option whose value may be left out.
fn names_in_fish(kiln: &clap::Command, script: &str) -> String {
    let line = |line: &str| match line.strip_suffix(" -r") {
        Some(above) if line.contains(" -l failed ") => format!("{above}\n"),
        Some(above) => format!("{above} -x\n"),
        None => format!("{line}\n"),
    };
    let script: String = script.lines().map(line).collect();
    let none = kiln.get_subcommands().filter(|command| command.get_positionals().next().is_none());
    let none: Vec<_> = none.map(clap::Command::get_name).collect();
    let values = kiln.get_subcommands().filter_map(|command| {
        let values = command.get_positionals().next()?.get_possible_values();
        let values: Vec<_> = values.iter().map(|value| value.get_name().to_owned()).collect();
        let begin = format!("complete -c kiln -n \"__fish_kiln_using_subcommand {}\"", command.get_name());
        (!values.is_empty()).then(|| format!("{begin} -f -a \"{}\"\n", values.join(" ")))
    });
    let script: String = std::iter::once(script).chain(values).collect();
    let names = NAMES_IN_FISH.replace("TARGETS", &said(kiln, is_target).join(" ")).replace("NONE", &none.join(" "));
    script + &names.replace("NAMES", &said(kiln, is_name).join(" "))
}

/// What offers names in fish.
const NAMES_IN_FISH: &str = r#"
function __kiln_candidates
    set -l words (commandline -opc)
    set -l file
    for i in (seq 2 (count $words))
        switch $words[$i]
            case -f --file
                test $i -lt (count $words); and set -a file -f $words[(math $i + 1)]
            case '--file=*'
                set -a file -f (string replace -- --file= '' $words[$i])
            case -C --directory
                test $i -lt (count $words); and set -a file -C $words[(math $i + 1)]
            case '--directory=*'
                set -a file -C (string replace -- --directory= '' $words[$i])
        end
    end
    $words[1] $file candidates $argv 2>/dev/null
end
function __kiln_log
    set -l words (commandline -opc)
    set -l rest (string match -v -- '-*' $words[(math (contains -i -- log $words) + 1)..])
    if set -q rest[1]
        __kiln_candidates steps $rest[1]
    else
        __kiln_candidates logs (commandline -ct)
    end
end
complete -c kiln -n "__fish_kiln_using_subcommand NONE" -f
complete -c kiln -n "__fish_kiln_using_subcommand TARGETS; and test (commandline -opc)[-1] != --failed" -f -a "(__kiln_candidates targets (commandline -ct))"
complete -c kiln -n "__fish_kiln_using_subcommand NAMES" -f -a "(__kiln_candidates names)"
complete -c kiln -n "__fish_kiln_using_subcommand TARGETS NAMES check" -l var -x -a "(__kiln_candidates vars)"
complete -c kiln -n "__fish_kiln_using_subcommand TARGETS" -l exclude -x -a "(__kiln_candidates targets (commandline -ct))"
complete -c kiln -n "__fish_kiln_using_subcommand run" -l failed -f -a "(__kiln_candidates runs (commandline -ct))"
complete -c kiln -n "__fish_kiln_using_subcommand run; and test (commandline -opc)[-1] = --failed" -f -a "(__kiln_candidates runs (commandline -ct))"
complete -c kiln -n "__fish_kiln_using_subcommand jobs; and __fish_seen_subcommand_from show" -f -a "(__kiln_candidates runs (commandline -ct))"
complete -c kiln -n "__fish_kiln_using_subcommand jobs; and __fish_seen_subcommand_from log" -f -a "(__kiln_log)"
complete -c kiln -n "__fish_kiln_using_subcommand jobs; and __fish_seen_subcommand_from wait abort" -f -a "(__kiln_candidates running (commandline -ct))"
"#;
