//! The tools: their names, descriptions and schemas, and what does their work.

use std::sync::Arc;

use anyhow::Context as _;
use rmcp::handler::server::tool::{schema_for_input, schema_for_output};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::Value;

use super::call::{Call, Object};
use super::detect::Detect;
use super::explain::Explain;
use super::propose::Propose;
use super::verify::Verify;
use super::work::Work;

/// The answer of a tool.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) output: Value,
    pub(super) text: String,
}

/// A tool as a value.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    describe: fn() -> anyhow::Result<Tool>,
    pub(super) answer: fn(Object, &Call) -> anyhow::Result<Answer>,
}

/// All of them.
const ALL: [Entry; 4] = [entry::<Detect>(), entry::<Propose>(), entry::<Verify>(), entry::<Explain>()];

const fn entry<W: Work>() -> Entry {
    Entry { name: W::NAME, describe: describe::<W>, answer: answer::<W> }
}

/// The tool of a name. `Err`: what the tools are called.
pub(super) fn find(name: &str) -> Result<Entry, String> {
    ALL.into_iter().find(|tool| tool.name == name).ok_or_else(|| {
        let names = ALL.map(|tool| tool.name).join(", ");
        format!("unknown tool {name:?}; the tools are {names}")
    })
}

/// What clients are told of the tools.
pub(super) fn list() -> anyhow::Result<Vec<Tool>> {
    ALL.into_iter().map(|tool| (tool.describe)()).collect()
}

fn describe<W: Work>() -> anyhow::Result<Tool> {
    let input = schema_for_input::<W::Arguments>().map_err(anyhow::Error::msg)?;
    let output = schema_for_output::<W::Output>();
    let hints = ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false);
    Ok(Tool::new(W::NAME, W::DESCRIPTION, input)
        .with_raw_output_schema(Arc::clone(&output))
        .with_annotations(hints))
}

fn answer<W: Work>(arguments: Object, call: &Call) -> anyhow::Result<Answer> {
    let arguments = serde_json::from_value(Value::Object(arguments))
        .with_context(|| format!("the arguments of {} are not valid", W::NAME))?;
    let (output, text) = W::work(arguments, call)?;
    Ok(Answer { output: serde_json::to_value(output)?, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_reads_only_and_describes_what_it_takes_and_gives() {
        for tool in list().unwrap() {
            assert_eq!(tool.annotations.unwrap().read_only_hint, Some(true), "{}", tool.name);
            for schema in [&tool.input_schema, &tool.output_schema.unwrap()] {
                assert_eq!(schema["type"], "object", "{}", tool.name);
            }
            assert!(tool.description.unwrap().len() > 40, "{}", tool.name);
        }
        assert!(find("fix").err().unwrap().ends_with("the tools are detect, propose, verify, explain"));
    }
}
