//! `analysis tokens`.

use cli_support::Exit;

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::metrics::tokens::{Prices, tokens};

pub(crate) fn run(args: &cli::Tokens) -> anyhow::Result<Exit> {
    let prices = args.price_prompt.zip(args.price_completion);
    let prices = prices.map(|(prompt, completion)| Prices { prompt, completion });
    show(&tokens(&cases(&args.runs.input.paths)?, prices).figures(), &args.runs.print)
}
