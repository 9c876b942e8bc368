//! `analysis queue`.

use std::time::{SystemTime, UNIX_EPOCH};

use cli_support::Exit;
use cli_support::output::{self, Align, Table};
use serde_json::json;

use super::schedule::rollout_times;
use crate::cli::{Order, QueueCommand, Queued};
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::{cases, files};
use crate::queue::{Answer, Choice, Item, Queue, Rule};
use crate::render::Figures;
use crate::schedule::{RiskEntries, Weights, from_cases};

pub(crate) fn run(args: &Queued) -> anyhow::Result<Exit> {
    let mut queue = Queue::open(&args.db)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    match &args.command {
        QueueCommand::Enqueue { paths, risk, rollout, max_attempts } => {
            let risk = match risk {
                Some(file) => RiskEntries::parse(&files::json(file)?),
                None => RiskEntries::default(),
            };
            let results = load(paths)?;
            let (times, replicas) = rollout_times(rollout.as_deref(), &results)?;
            let cases = cases::read(&results)?;
            let accepted = cases.iter().filter(|case| case.accepted);
            let items: Vec<Item> = from_cases(&cases, &risk, &times, &replicas)
                .into_iter()
                .zip(accepted)
                .map(|(candidate, case)| Item {
                    run_id: case.run.to_string(),
                    record_id: candidate.id,
                    policy_id: candidate.policy.to_string(),
                    terms: candidate.terms,
                })
                .collect();
            let new = queue.enqueue(&items, *max_attempts, now)?;
            output::say(&format!("{new} new, {} known", items.len() as u64 - new));
            Ok(Exit::Fine)
        }
        QueueCommand::Next { holder, count, lease, rule, alpha, kev_weight, print } => {
            let weights = Weights { alpha: *alpha, kev: *kev_weight, ..Weights::default() };
            let rule = match rule {
                Order::Score => Rule::Score,
                Order::Learnt => Rule::Learnt,
                Order::Risk => Rule::Risk,
                Order::Fifo => Rule::Fifo,
            };
            let choice =
                Choice { holder: holder.clone(), count: *count, lease_s: lease.as_secs_f64(), rule, weights };
            let claimed = queue.claim(&choice, now)?;
            let names = ["run", "record", "policy", "risk", "token", "attempt"];
            let mut table = Table::new(names.map(|name| (name, Align::Left)));
            for item in &claimed {
                table.push([
                    item.run_id.clone(),
                    item.record_id.clone(),
                    item.policy_id.clone(),
                    item.risk.to_string(),
                    item.token.to_string(),
                    item.attempt.to_string(),
                ]);
            }
            if claimed.is_empty() {
                output::say(&format!("no item of {} is waiting: nothing claimed", args.db.display()));
            }
            show(&Figures::new(json!(claimed)).with("Claimed", table), print)?;
            Ok(Exit::found(claimed.is_empty()))
        }
        QueueCommand::Ack { claim, seconds, refused } => {
            let answer = if *refused { Answer::Refused } else { Answer::Done(*seconds) };
            queue.answer(&claim.run, &claim.record, claim.token, answer, now)?;
            Ok(Exit::Fine)
        }
        QueueCommand::Requeue { claim } => {
            queue.answer(&claim.run, &claim.record, claim.token, Answer::Failed, now)?;
            Ok(Exit::Fine)
        }
        QueueCommand::Stats { print } => {
            let found = queue.stats(now)?;
            let mut table = Table::new([("state", Align::Left), ("items", Align::Right)]);
            let states = [("queued", found.queued), ("leased", found.leased), ("done", found.done)];
            for (state, items) in states.into_iter().chain([("failed", found.failed), ("dead", found.dead)]) {
                table.push([state.to_owned(), items.to_string()]);
            }
            show(&Figures::new(json!(found)).with("Items by state", table), print)
        }
    }
}
