//! How the figures of a command are written to stdout.

use anyhow::Context as _;
use cli_support::Exit;
use cli_support::output::{self, Align, Table};
use serde_json::Value;

use crate::cli::Print;
use crate::render::Figures;

/// Prints figures in the requested form.
pub(super) fn show(figures: &Figures, how: &Print) -> anyhow::Result<Exit> {
    print(&figures.render(how.output, output::stdout_width()))
}

/// Prints a result. A closed pipe counts as success.
pub(super) fn print(text: &str) -> anyhow::Result<Exit> {
    output::print(text).context("cannot write to stdout")?;
    Ok(Exit::Fine)
}

/// The leaves of a JSON value as `key,value` lines with dotted keys; list items are numbered.
pub(super) fn leaves(value: &Value) -> Table {
    let mut table = Table::new([("key", Align::Left), ("value", Align::Right)]);
    walk(value, String::new(), &mut |key, value| table.push([key, cell(value)]));
    table
}

/// A JSON leaf as a CSV cell: text without quotes, nothing for null.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn walk(value: &Value, path: String, visit: &mut impl FnMut(String, &Value)) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| walk(value, under(name), visit)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| walk(value, under(&place.to_string()), visit));
        }
        leaf => visit(path, leaf),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_have_dotted_keys() {
        let value = json!({"a": 1, "b": {"c": null, "d": ["x", 9.0]}, "e": {}});
        assert_eq!(leaves(&value).csv(), "key,value\na,1\nb.c,\nb.d.0,x\nb.d.1,9.0\n");
    }
}
