//! `analysis diff`.

use cli_support::Exit;
use cli_support::failure::WithHint as _;

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::cases;
use crate::metrics::diff::diff;

pub(crate) fn run(args: &cli::Diff) -> anyhow::Result<Exit> {
    let (before, after) =
        (load(std::slice::from_ref(&args.before))?, load(std::slice::from_ref(&args.after))?);
    let corpora =
        (before.runs().next().map(|run| run.corpus_hash), after.runs().next().map(|run| run.corpus_hash));
    if let (Some(a), Some(b)) = corpora
        && a != b
        && !args.other_corpus
    {
        return Err(anyhow::anyhow!("the runs have different corpora")).hint(
            "records are compared by id, policy and document; --other-corpus compares those that both runs have",
        );
    }
    let diff = diff(&cases::read(&before)?, &cases::read(&after)?);
    show(&diff.figures(args.top), &args.print)?;
    let under = args.fail_under.is_some_and(|least| diff.after.rate.unwrap_or(0.0) < least);
    Ok(Exit::found(under || (args.fail_under.is_none() && diff.fell())))
}
