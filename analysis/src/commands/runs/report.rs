//! `analysis report`.

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};

use crate::cli::{self, FigureForm};
use crate::commands::input::load;
use crate::commands::print::print;
use crate::metrics::tokens::Prices;
use crate::paper::{PaperFolder, audit};
use crate::report::{self, Options};

pub(crate) fn run(args: &cli::Report) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let audit = match &args.reference {
        None => None,
        Some(folder) => Some((folder.clone(), audit(&PaperFolder::open(folder, args.corpus.as_deref())?))),
    };
    let prices = args.price_prompt.zip(args.price_completion);
    let options = Options {
        seed: args.seed,
        examples: args.examples,
        rows: args.rows,
        prices: prices.map(|(prompt, completion)| Prices { prompt, completion }),
        audit,
    };
    let report = report::build(&results, &options)?;
    let written = report::write(&report, &args.out, args.figures == Some(FigureForm::Pdf))
        .context("cannot write the report")
        .hint("--out is a folder; it is created when missing")?;
    let bytes: u64 = written.iter().map(|file| file.bytes).sum();
    output::say(&format!("{} files, {:.1} MB", written.len() + 1, bytes as f64 / 1e6));
    print(&format!("{}\n", args.out.join("report.html").display()))
}
