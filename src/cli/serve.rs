//! `kiln serve`: starts the job server, and tells what it tells.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;

use crate::cli::args::ServeArgs;
use crate::cli::{Context, find, print};
use crate::exit;
use crate::server::auth::keys::{SHORTEST, hash_text, random};
use crate::server::{Notice, Options, Tell, serve as run};
use crate::session::fail::Fail;

pub(crate) fn serve(context: &Context, args: &ServeArgs) -> Result<u8, Fail> {
    if args.hash_key {
        return hash_key();
    }
    let files = match context.files.as_slice() {
        [] => find::find_all(&context.surroundings),
        named => named.to_vec(),
    };
    let files = if files.is_empty() { vec![find::find(None, &context.surroundings)?] } else { files };
    let max_activities = args.max_activities.unwrap_or(context.surroundings.cores) as usize;
    let options = Options {
        files,
        listen: args.listen,
        key_file: args.api_key_file.clone(),
        max_jobs: args.max_jobs.map_or(max_activities, |max| max as usize),
        max_activities,
        link: context.surroundings.error_terminal,
    };
    run(context.site(), options, &teller(context))
}

/// Where it listens is for programs; the rest is for people.
fn teller(context: &Context) -> Tell {
    let color = context.surroundings.color(context.color, context.surroundings.error_terminal);
    let width = context.render_width();
    let base = context.surroundings.folder.clone();
    Arc::new(move |notice| {
        let text = match notice {
            Notice::Listening(address) => {
                // A reader that went away needs no address.
                drop(print(&format!("listening on http://{address}\n")));
                return;
            }
            Notice::Link(link) => format!("to watch in a browser, open {link} (it works once)\n"),
            Notice::Key(file) => format!("the key is in {}\n", file.strip_prefix(&base).unwrap_or(&file).display()),
            Notice::Warning(about) => format!("warning: {about}\n"),
            Notice::ReadAgain(file) => format!("{file} has changed: the next job goes by what it says now\n"),
            Notice::Broken(fail) => {
                format!("{}what the file said before counts until it is mended\n", fail.render(color, width))
            }
            Notice::Ending(signal) => format!("{signal}: nothing more starts; what runs is asked to end\n"),
        };
        drop(io::stderr().write_all(text.as_bytes()));
    })
}

/// `--hash-key`
fn hash_key() -> Result<u8, Fail> {
    let mut input = io::stdin();
    if input.is_terminal() {
        let key = random()?;
        print(&format!("key:  {key}\nhash: {}\n", hash_text(&key)))?;
        return Ok(exit::OK);
    }
    let mut key = String::new();
    input.read_to_string(&mut key).map_err(|error| Fail::because("standard input", &error))?;
    let key = key.trim();
    if key.len() < SHORTEST {
        let help = "take a random one: `openssl rand -hex 32`, or call this on a terminal".to_owned();
        let message = format!("the key has {} characters; at least {SHORTEST} are needed", key.len());
        return Err(Fail::Usage(message, Some(help)));
    }
    print(&format!("{}\n", hash_text(key)))?;
    Ok(exit::OK)
}
