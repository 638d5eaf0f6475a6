//! `kiln schema`: the JSON Schema of what Kiln reads and writes, made from the types that do it.

use schemars::generate::SchemaSettings;

use crate::cli::args::SchemaOf;
use crate::cli::print;
use crate::event::Stamped;
use crate::exit;
use crate::pipeline::raw::RawFile;
use crate::plan::json::PlanJson;
use crate::session::fail::Fail;

pub(crate) fn schema(what: SchemaOf) -> Result<u8, Fail> {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match what {
        SchemaOf::Pipeline => generator.into_root_schema_for::<RawFile>(),
        SchemaOf::Plan => generator.into_root_schema_for::<PlanJson>(),
        SchemaOf::Events => generator.into_root_schema_for::<Stamped>(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(|error| Fail::because("the schema", &error))?;
    print(&format!("{text}\n"))?;
    Ok(exit::OK)
}
