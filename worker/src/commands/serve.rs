//! `worker serve`: a member of a fleet.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, output};
use domain::ids::WorkerName;
use tokio::sync::watch;

use crate::session::{self, Options, Stage};

/// Leases shards from a coordinator, processes them and hands in the results.
///
/// Needs nothing but the coordinator's address: no shared disk, no credentials of the store. Ctrl-C (or SIGTERM)
/// finishes the records that have begun, commits the shards that end within seconds, hands the rest back and ends with
/// exit code 130; a second one stops at once, and the leases run out by themselves. Told to end by `coordinator drain`,
/// the worker does the same and ends with exit code 0. Exit code 2: the coordinator refuses it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the coordinator, e.g. <http://127.0.0.1:7070>
    #[arg(long, value_name = "URL")]
    coordinator: String,
    /// Name of this worker in results and tables [default: the host's name]
    #[arg(long, value_name = "NAME")]
    name: Option<WorkerName>,
    /// Shards processed at the same time [default: one per core]
    #[arg(long, value_name = "N")]
    slots: Option<NonZeroUsize>,
    /// About how many records a model may be asked about at the same time; fewer are while its limits are low
    #[arg(long, value_name = "N", default_value_t = session::QUESTIONS)]
    questions: NonZeroUsize,
}

/// Serves until it is interrupted or refused.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let slots = args.slots.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let name = args.name.unwrap_or_else(host_name);
    let options = Options { coordinator: args.coordinator, name, slots, questions: args.questions };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(options));
    // After a second Ctrl-C nobody waits for what is still being computed.
    runtime.shutdown_background();
    ended
}

async fn serve(options: Options) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    output::say(&format!(
        "worker {} serves {} with {} slots; Ctrl-C ends it",
        options.name, options.coordinator, options.slots
    ));
    let (stage, stages) = watch::channel(Stage::Work);
    let session = tokio::spawn(session::serve(options, stages));
    tokio::pin!(session);
    tokio::select! {
        ended = &mut session => {
            let summary = ended?.hint("start the coordinator, or install the same release on both sides")?;
            output::say(&talk(summary));
            return Ok(Exit::Fine);
        }
        () = interrupts.next() => {}
    }
    output::say("finishing what has begun; Ctrl-C again stops at once");
    stage.send_replace(Stage::Drain);
    tokio::select! {
        ended = &mut session => output::say(&talk(ended??)),
        () = interrupts.next() => {}
    }
    Err(Interrupted).hint("start it again to go on: its coordinator leases what is left to anybody")
}

fn talk(summary: session::Summary) -> String {
    format!(
        "{} shards committed, {} handed back, {} lost to a deadline",
        summary.committed, summary.handed_back, summary.lost
    )
}

/// The host's name as far as it is a legal name.
fn host_name() -> WorkerName {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    legal_name(&text)
}

/// What of `text` makes a legal name; `worker` where nothing does.
fn legal_name(text: &str) -> WorkerName {
    let legal: String =
        text.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let legal = legal.trim_start_matches(['.', '_', '-']);
    let cut: String = legal.chars().take(60).collect();
    WorkerName::new(cut).unwrap_or_else(|_| fallback_name())
}

fn fallback_name() -> WorkerName {
    #[expect(clippy::expect_used, reason = "a constant that the rule for names allows")]
    WorkerName::new("worker").expect("letters are legal")
}

#[cfg(test)]
mod tests {
    use super::legal_name;

    #[test]
    fn any_host_name_gives_a_legal_name() {
        for (host, name) in [
            ("node-7.example.org\n", "node-7.example.org"),
            ("-_.node 7/ä", "node7"),
            ("", "worker"),
            (" \n", "worker"),
            ("---", "worker"),
            ("äöü", "worker"),
        ] {
            assert_eq!(legal_name(host).as_str(), name, "{host:?}");
        }
        assert_eq!(legal_name(&"n".repeat(300)).as_str(), "n".repeat(60));
    }
}
