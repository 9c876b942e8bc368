//! Faults of the simulated provider, and how often they occur.

use std::fmt;
use std::str::FromStr;

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A 429 although the limits are not used up.
    TooMany,
    /// Status 500.
    Internal,
    /// Status 503, as of a provider that restarts.
    Unavailable,
    /// Status 403 for the content of a prompt.
    Content,
    /// Status 400 for a prompt that is too long.
    Length,
    /// Status 401 without a word about the key, as gateways send now and then.
    Odd,
    /// Status 402: the account has no credit.
    NoCredit,
    /// There is no reply.
    Timeout,
    /// The connection breaks.
    Reset,
    /// An HTML page instead of JSON.
    Garbage,
    /// Truncated JSON.
    Truncated,
    /// A response without text.
    Empty,
    /// The model refuses in words.
    Refusal,
    /// The response is embedded in prose.
    Prose,
    /// A response that does not fit the prompt.
    Wrong,
    /// The body arrives in small pieces.
    Slow,
}

impl Fault {
    /// Every fault with its name.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::TooMany, "429"),
        (Self::Internal, "500"),
        (Self::Unavailable, "503"),
        (Self::Content, "403"),
        (Self::Length, "length"),
        (Self::Odd, "401"),
        (Self::NoCredit, "402"),
        (Self::Timeout, "timeout"),
        (Self::Reset, "reset"),
        (Self::Garbage, "garbage"),
        (Self::Truncated, "truncated"),
        (Self::Empty, "empty"),
        (Self::Refusal, "refusal"),
        (Self::Prose, "prose"),
        (Self::Wrong, "wrong"),
        (Self::Slow, "slow"),
    ];

    /// Name of the fault.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(fault, _)| *fault == self).map_or("", |(_, word)| word)
    }
}

/// How often each fault occurs, or when.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    shares: Vec<(Fault, f64)>,
    /// Faults of every call from one second to another.
    spans: Vec<(Fault, f64, f64)>,
}

/// A list of faults that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "fault {0:?} is neither NAME=SHARE with a share from 0 to 1, all together at most 1, nor NAME@FROM-TO in seconds, of: \
     {words}",
    words = words()
)]
pub struct BadFault(String);

fn words() -> String {
    Fault::ALL.map(|(_, word)| word).join(", ")
}

impl FromStr for Faults {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let (mut faults, mut spans) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = || BadFault(part.chars().take(40).collect());
            let named =
                |name: &str| Fault::ALL.iter().find(|(_, word)| *word == name.trim()).map(|found| found.0);
            if let Some((name, span)) = part.split_once('@') {
                let (from, to) = span.split_once('-').ok_or_else(bad)?;
                let second =
                    |text: &str| text.trim().parse().ok().filter(|at: &f64| at.is_finite() && *at >= 0.0);
                let (from, to) =
                    second(from).zip(second(to)).filter(|(from, to)| from < to).ok_or_else(bad)?;
                spans.push((named(name).ok_or_else(bad)?, from, to));
                continue;
            }
            let (name, share) = part.split_once('=').ok_or_else(bad)?;
            let fault = named(name).ok_or_else(bad)?;
            let share: f64 = share.trim().parse().map_err(|_| bad())?;
            if !(0.0..=1.0).contains(&share) {
                return Err(bad());
            }
            faults.push((fault, share));
        }
        if faults.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 {
            return Err(BadFault(text.chars().take(40).collect()));
        }
        Ok(Self { shares: faults, spans })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.shares.iter().map(|(fault, share)| format!("{}={share}", fault.as_str()));
        let spans = self.spans.iter().map(|(fault, from, to)| format!("{}@{from}-{to}", fault.as_str()));
        let parts: Vec<_> = shares.chain(spans).collect();
        f.write_str(&if parts.is_empty() { "none".to_owned() } else { parts.join(",") })
    }
}

impl Faults {
    /// The fault of every call at the second `now`, if any.
    pub fn during(&self, now: f64) -> Option<Fault> {
        self.spans.iter().find(|(_, from, to)| (*from..*to).contains(&now)).map(|(fault, ..)| *fault)
    }

    /// The fault at `at` (from 0 to below 1), if any.
    pub fn at(&self, at: f64) -> Option<Fault> {
        let mut below = 0.0;
        self.shares.iter().find_map(|(fault, share)| {
            below += share;
            (at < below).then_some(*fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_occur_by_their_shares() {
        let faults: Faults = "429=0.1, 500=0.05,timeout=0.03".parse().unwrap();
        let count =
            |wanted| (0..1000).filter(|at| faults.at((f64::from(*at) + 0.5) / 1000.0) == wanted).count();
        assert_eq!([count(Some(Fault::TooMany)), count(Some(Fault::Internal)), count(None)], [100, 50, 820]);
        assert_eq!(faults.to_string(), "429=0.1,500=0.05,timeout=0.03");
        for bad in ["x=0.1", "429", "429=2", "429=0.6,500=0.6", "429=-1"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
        assert_eq!("".parse::<Faults>().unwrap().at(0.0), None);
    }

    #[test]
    fn a_fault_of_a_span_befalls_every_call_in_it() {
        let faults: Faults = "503@2-12.5, 500=0.1".parse().unwrap();
        assert_eq!(
            [1.9, 2.0, 12.4, 12.5].map(|now| faults.during(now).is_some()),
            [false, true, true, false]
        );
        assert_eq!(faults.during(3.0), Some(Fault::Unavailable));
        assert_eq!(
            (faults.at(0.05), faults.to_string()),
            (Some(Fault::Internal), "500=0.1,503@2-12.5".to_owned())
        );
        for bad in ["503@", "503@5", "503@9-3", "503@-1-3", "503@0-inf", "x@0-1", "503@a-b"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
