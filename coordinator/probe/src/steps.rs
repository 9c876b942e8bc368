//! Steps of so many calls in flight.

use super::drive::{Ask, Drive, Pace, Stop};
use super::plan::Plan;

/// Share of refused calls after which more in flight are of no use.
const TOO_MANY: f64 = 0.2;

/// Makes the steps of `plan`, one after the other; ends early where a bound is reached. Returns whether steps were left
/// out because the one before them was refused too often already.
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
