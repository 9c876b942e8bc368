//! `analysis multi-seed`.

use analysis::load::files;
use analysis::paper::multi_seed::multi_seed;
use anyhow::bail;
use console::Exit;
use serde_json::Value;

use crate::cli;
use crate::commands::print::show;

pub(crate) fn run(args: &cli::MultiSeed) -> anyhow::Result<Exit> {
    let Value::Object(corpora) = files::json(&args.file)? else {
        bail!("{} is no JSON object", args.file.display());
    };
    show(&multi_seed(&corpora), &args.print)
}
