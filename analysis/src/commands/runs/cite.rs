//! `analysis cite`.

use cli_support::Exit;
use cli_support::failure::WithHint as _;
use cli_support::output;

use crate::cite::{Citation, bibtex};
use crate::cli::{self, CiteForm};
use crate::commands::input::load;
use crate::commands::print::print;
use crate::render::Form;

pub(crate) fn run(args: &cli::Cite) -> anyhow::Result<Exit> {
    let results = load(std::slice::from_ref(&args.run))?;
    let citation = Citation::of(&results, &args.run).hint("name the folder of a run, e.g. results/RUN")?;
    let form = match args.output {
        CiteForm::Text => return print(&citation.text()),
        CiteForm::Bibtex => return print(&bibtex(&citation)),
        CiteForm::Json => Form::Json,
        CiteForm::Md => Form::Md,
        CiteForm::Tex => Form::Tex,
    };
    print(&citation.figures().render(form, output::stdout_width()))
}
