//! `analysis multi-seed`.

use anyhow::bail;
use cli_support::Exit;
use serde_json::Value;

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::paper::multi_seed::multi_seed;

pub(crate) fn run(args: &cli::MultiSeed) -> anyhow::Result<Exit> {
    let Value::Object(corpora) = files::json(&args.file)? else {
        bail!("{} is not a JSON object", args.file.display());
    };
    show(&multi_seed(&corpora), &args.print)
}
