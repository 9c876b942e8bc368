//! Steps with a fixed number of calls in flight.

use super::drive::{Ask, Drive, Pace, Stop};
use super::plan::Plan;

/// Share of refused calls above which further steps are skipped.
const TOO_MANY: f64 = 0.2;

/// Runs the steps of `plan` in order; ends early at a bound. Returns whether steps were skipped because too many calls of
/// the step before them were refused.
pub async fn in_steps<A: Ask>(drive: &mut Drive<A>, plan: &Plan) -> Result<bool, Stop> {
    let count = plan.steps.len();
    for (number, (step, calls)) in plan.steps.iter().zip(plan.shares()).enumerate() {
        let pace = Pace::InFlight(*step);
        drive.begin("step", pace, 0);
        let ended = drive.go(pace, |drive| drive.of_step().count() as u64 >= calls).await;
        drive.settle().await;
        ended?;
        let refused = drive.of_step().filter(|call| call.is_throttled()).count() as f64;
        if refused > TOO_MANY * calls as f64 && number + 1 < count {
            return Ok(true);
        }
    }
    Ok(false)
}
