//! `kiln import`: a pipeline file from what another tool has, on standard output.

use crate::cli::args::Import;
use crate::cli::dss::Server;
use crate::cli::{Context, find, print};
use crate::engine::dss::import::{Wanted, import as write};
use crate::exit;
use crate::session::fail::Fail;

pub(crate) fn import(context: &Context, import: Import) -> Result<u8, Fail> {
    let Import::Dss { project, engine, target } = import;
    let server = match &engine {
        Some(engine) => {
            let file = find::find(context.file.as_deref(), &context.surroundings)?;
            Server::open(context, &file, engine, Some(&project))?
        }
        None => Server::configured(context, &project)?,
    };
    let contents = server.ask(server.remote.contents(&project))?;
    let wanted = Wanted {
        project: &project,
        url: server.remote.url(),
        key: &server.remote.key_line(),
        engine: engine.as_deref().unwrap_or("prod"),
        target: target.as_deref(),
    };
    let text = write(&contents, &wanted).map_err(|message| Fail::Usage(message, None))?;
    print(&text)?;
    Ok(exit::OK)
}
