//! Search for the limits: single calls → twice the rate until calls are refused → a rate slightly above the limit until the
//! limit is known → once from no calls in flight, to detect a limit on calls in flight → the same with long prompts.

use llm::limit::Scarce;

use super::Seconds;
use super::call::Call;
use super::drive::{Ask, Drive, Pace, Stop};
use super::findings::{BETWEEN_STEP, Log, PASSES, Verdict};
use super::plan::MOST_PADDING;
use super::rate_limit::Estimate;

/// Single calls, to measure the latency.
const ALONE: usize = 4;

/// Fewest calls at each rate of the climb.
const FEWEST: f64 = 6.0;

/// Most calls with each length of long prompts.
const MOST_LONG: f64 = 60.0;

/// Fewest calls of a step whose answers are counted.
const MANY: f64 = 12.0;

/// Share of expected answers below which the provider counts as slowing down.
const SLOW: f64 = 0.65;

/// Factor between two rates of the climb.
const FASTER: f64 = 2.0;

/// Factor above the limit at which it is measured: enough for repeated refusals.
const ABOVE: f64 = 1.25;

/// Target precision: half of the interval's width over the value.
const SURE: f64 = 0.025;

/// Fewest calls for an estimate, and most that are spent on it.
const RESTS_ON: (f64, f64) = (60.0, 400.0);

/// Calls without a refusal that contradict an estimate below their rate.
const CLEAR: usize = 16;

/// Burst up to which a provider counts as allowing hardly any.
const TINY: usize = 4;

/// Factor between two rates at which the bisection ends.
const NEAR: f64 = 1.05;

/// Calls at each rate of the bisection.
const BETWEEN: usize = 48;

/// Factor above an estimate that cannot pass by chance.
const MORE: f64 = 1.035;

/// Windows that are measured, where the provider counts in windows.
const WINDOWS: usize = 2;

/// Most calls of a measurement.
const MOST: usize = 1500;

/// Share of the limit on calls that long prompts use.
const BELOW: f64 = 0.6;

/// Searches for all limits until they are found or a bound is reached. [`Verdict::of`] reads the result from the log of
/// `drive` in both cases.
pub async fn find<A: Ask>(drive: &mut Drive<A>) -> Result<(), Stop> {
    let ended = search(drive).await;
    drive.settle().await;
    ended
}

async fn search<A: Ask>(drive: &mut Drive<A>) -> Result<(), Stop> {
    let alone = alone(drive).await?;
    if let Some((scarce, pace)) = climb(drive, alone).await? {
        let measured = measure(drive, scarce, pace, 0).await?;
        if scarce == Scarce::Tokens {
            return Ok(());
        }
        let doubtful = check(drive, &measured).await?;
        from_standstill(drive, measured.pace, alone).await?;
        // Only where hardly any burst is allowed is allowance lost between two calls.
        let burst = drive.of_step().take_while(|call| !call.is_throttled()).count();
        let tiny = burst <= TINY && !log(drive, f64::INFINITY).is_concurrency_limited();
        if let Some((low, high)) = doubtful.filter(|_| tiny) {
            between(drive, low, high).await?;
        }
    }
    drive.settle().await;
    let Some(calls) = Verdict::of(&log(drive, f64::INFINITY)).calls_a_minute() else { return Ok(()) };
    long_prompts(drive, BELOW * calls / 60.0, alone).await
}

/// Measures the latency of single calls.
async fn alone<A: Ask>(drive: &mut Drive<A>) -> Result<Seconds, Stop> {
    let pace = Pace::InFlight(1);
    drive.begin("alone", pace, 0);
    drive.go(pace, |drive| drive.of_step().filter(|call| call.is_answered()).count() >= ALONE).await?;
    drive.settle().await;
    let log = log(drive, f64::INFINITY);
    Ok(log.median_latency("alone").unwrap_or(1.0).max(1e-3))
}

/// Raises the rate until a call is refused; `None` where calls accumulate before that.
async fn climb<A: Ask>(drive: &mut Drive<A>, alone: Seconds) -> Result<Option<(Scarce, f64)>, Stop> {
    let (mut pace, mut before) = (1.0 / alone, 0.0);
    loop {
        drive.begin("faster", Pace::Rate(pace), 0);
        let (usual, began) = (pace * alone, drive.now());
        let calls = FEWEST.max(usual);
        climb_until(drive, pace, |drive| drive.of_step().count() as f64 >= calls).await?;
        if before >= MANY && came_back(drive, began) < SLOW * before {
            // Fewer answers than calls one latency ago: at a steady rate they should be equal.
            let more = calls + 2.0 * usual;
            climb_until(drive, pace, |drive| drive.of_step().count() as f64 >= more).await?;
            if came_back(drive, drive.now() - alone) < SLOW * usual {
                let (since, most) = (began + alone, 8.0 * usual + 100.0);
                climb_until(drive, pace, |drive| {
                    came_back(drive, since) >= 80.0 || drive.in_flight() as f64 > most
                })
                .await?;
                return Ok(log(drive, f64::INFINITY).scarce().map(|scarce| (scarce, pace)));
            }
        }
        if let Some(scarce) = log(drive, f64::INFINITY).scarce() {
            return Ok(Some((scarce, pace)));
        }
        before = calls;
        pace *= FASTER;
    }
}

/// Sends at `pace` until `done`, or until a call of the step is refused.
async fn climb_until<A: Ask>(
    drive: &mut Drive<A>,
    pace: f64,
    done: impl Fn(&Drive<A>) -> bool,
) -> Result<(), Stop> {
    drive.go(Pace::Rate(pace), |drive| drive.of_step().any(Call::is_throttled) || done(drive)).await
}

/// Number of answers since a time.
fn came_back<A: Ask>(drive: &Drive<A>, since: Seconds) -> f64 {
    drive.calls.iter().filter(|call| call.is_answered() && call.done() > since).count() as f64
}

/// Result of a measurement above the limit.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// The last rate.
    pace: f64,
    /// The last rate at which calls were refused.
    refused: f64,
    /// Whether no calls were refused although the rate was above the estimate.
    contradicts: bool,
}

/// Sends at a rate slightly above the limit until it is known.
async fn measure<A: Ask>(
    drive: &mut Drive<A>,
    scarce: Scarce,
    pace: f64,
    padding: u64,
) -> Result<Measured, Stop> {
    let mut measured = Measured { pace, refused: pace, contradicts: false };
    drive.begin("at the limit", Pace::Rate(pace), padding);
    let begun = drive.calls.len();
    while drive.calls.len() < begun + MOST {
        let pace = measured.pace;
        let before = drive.calls.len();
        let until = before + 8.max((before - begun) / 20);
        drive.go(Pace::Rate(pace), |drive| drive.calls.len() >= until).await?;
        if drive.calls.iter().skip(before).any(Call::is_throttled) {
            measured.refused = pace;
        }
        let log = log(drive, drive.horizon());
        let size = log.usual_size(scarce);
        let clear = drive.calls.iter().rev().take_while(|call| !call.is_throttled()).count();
        match log.limit(scarce) {
            Some(found) if found.window.is_some() && drive.opened.len() > WINDOWS => break,
            Some(found) if found.window.is_some() => {}
            Some(found) if found.units >= 5.0 * size => {
                let passes = found.per_minute / 60.0 / size;
                measured.contradicts = pace > 1.2 * passes && clear >= CLEAR;
                if measured.contradicts || is_sure(&found, size) {
                    break;
                }
                measured.pace = ABOVE * passes;
            }
            // The refusal at this rate had another cause.
            _ if clear >= CLEAR && drive.opened.is_empty() => measured.pace *= ABOVE,
            _ => {}
        }
    }
    Ok(measured)
}

/// Checks whether more calls pass at a rate nearer to the estimate. With a provider that allows hardly any burst, allowance
/// is lost between two calls: then the limit lies between two rates, which are returned.
///
/// Starts while the allowance is used up; otherwise saved allowance would pass, too.
async fn check<A: Ask>(drive: &mut Drive<A>, measured: &Measured) -> Result<Option<(f64, f64)>, Stop> {
    if measured.contradicts {
        return Ok(Some((measured.pace, measured.refused)));
    }
    let found = log(drive, drive.horizon()).limit(Scarce::Requests);
    let Some(found) = found.filter(|found| found.window.is_none()) else { return Ok(None) };
    let passes = found.per_minute / 60.0;
    let pace = NEAR * passes;
    drive.begin("check", Pace::Rate(pace), 0);
    drive.go(Pace::Rate(pace), |drive| drive.of_step().count() >= BETWEEN).await?;
    drive.settle().await;
    let good = passed(drive) * pace;
    Ok((good > MORE * passes).then(|| (good, measured.refused.max(ABOVE * pace))))
}

/// Bisects between a rate that passes and one that does not.
async fn between<A: Ask>(drive: &mut Drive<A>, mut low: f64, mut high: f64) -> Result<(), Stop> {
    for _ in 0..3 {
        if !passes(drive, high).await? {
            break;
        }
        (low, high) = (high, 1.5 * high);
    }
    while high > NEAR * low {
        let pace = (low * high).sqrt();
        if passes(drive, pace).await? {
            low = pace;
        } else {
            high = pace;
        }
    }
    Ok(())
}

/// Whether calls pass at `pace`, apart from a few.
async fn passes<A: Ask>(drive: &mut Drive<A>, pace: f64) -> Result<bool, Stop> {
    drive.begin(BETWEEN_STEP, Pace::Rate(pace), 0);
    let too_many = (1.0 - PASSES) * BETWEEN as f64;
    drive
        .go(Pace::Rate(pace), |drive| {
            let refused = drive.of_step().filter(|call| call.is_throttled()).count();
            drive.of_step().count() >= BETWEEN || refused as f64 > too_many
        })
        .await?;
    drive.settle().await;
    Ok(passed(drive) >= PASSES)
}

/// Share of the last step's calls that were not refused.
fn passed<A: Ask>(drive: &Drive<A>) -> f64 {
    log(drive, f64::INFINITY).passed_of_step(drive.steps.len().saturating_sub(1))
}

fn is_sure(found: &Estimate, size: f64) -> bool {
    let calls = found.units / size;
    calls >= RESTS_ON.1 || (calls >= RESTS_ON.0 && found.uncertainty() <= SURE)
}

/// Starts again without calls in flight: a limit on calls in flight refuses none until it is reached, and then all until a
/// call ends; a rate limit does neither.
async fn from_standstill<A: Ask>(drive: &mut Drive<A>, pace: f64, alone: Seconds) -> Result<(), Stop> {
    drive.settle().await;
    let pace = FASTER * pace;
    let most = 1.5 * drive.most_in_flight() as f64 + 10.0;
    drive.begin("from standstill", Pace::Rate(pace), 0);
    drive
        .go(Pace::Rate(pace), |drive| {
            let refused = || drive.of_step().filter(|call| call.is_throttled());
            let since = refused().next().map_or(0.0, |first| drive.now() - first.sent);
            let enough = since >= 0.4 * alone && refused().count() >= 12;
            enough || drive.in_flight() as f64 > most || drive.of_step().count() > MOST
        })
        .await?;
    drive.settle().await;
    Ok(())
}

/// Sends longer and longer prompts, at an allowed rate, until one is refused because of its tokens.
async fn long_prompts<A: Ask>(drive: &mut Drive<A>, pace: f64, alone: Seconds) -> Result<(), Stop> {
    let mut padding = 250;
    while padding <= MOST_PADDING {
        drive.begin("longer", Pace::Rate(pace), padding);
        let calls = (pace * alone).clamp(8.0, MOST_LONG);
        let scarce = |drive: &Drive<A>| drive.of_step().any(|call| call.is_short_of(Scarce::Tokens));
        drive.go(Pace::Rate(pace), |drive| drive.of_step().count() as f64 >= calls || scarce(drive)).await?;
        if scarce(drive) {
            measure(drive, Scarce::Tokens, pace, padding).await?;
            return Ok(());
        }
        padding *= 2;
    }
    Ok(())
}

/// The log up to `until`.
fn log<A: Ask>(drive: &Drive<A>, until: Seconds) -> Log<'_> {
    Log { calls: &drive.calls, steps: &drive.steps, breaks: &drive.breaks, opened: &drive.opened, until }
}
