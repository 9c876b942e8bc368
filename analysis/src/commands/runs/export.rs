//! `analysis export`.

use anyhow::{Context as _, bail};
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use results::corpus_copy::CorpusReader;
use results::layout::CORPUS_FILE;
use results::paper_files::{Export, export};
use results::scan::Part;

use crate::cli;
use crate::commands::input::load;

pub(crate) fn run(args: &cli::Export) -> anyhow::Result<Exit> {
    let results = load(std::slice::from_ref(&args.run))?;
    let Some(folder) = results.folders().next() else {
        return Err(anyhow::anyhow!("{} is not the folder of a run: it has no run.json", args.run)).hint(
            "the exported files contain the documents, which are in the run's folder beside the parts",
        );
    };
    if results.folders().len() > 1 {
        bail!("{} names several runs; export one at a time", args.run);
    }
    let corpus = CorpusReader::open(&folder.join(CORPUS_FILE)).context("cannot read the run's corpus")?;
    if args.verdicts {
        return super::verdicts::write(&results, &corpus, &args.to);
    }
    let parts = results.parts().iter().map(|path| Part::File(path.clone())).collect();
    let exported = export(Export { corpus: &corpus, parts, to: &args.to, gz: args.gz })?;
    for (file, entries) in exported.files.iter().zip(exported.entries) {
        output::say(&format!("{}: {entries} entries", file.display()));
    }
    Ok(Exit::Fine)
}
