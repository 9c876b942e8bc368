//! What goes wrong with the simulated provider, how often, and with whom.

use std::fmt;
use std::str::FromStr;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 429 although nothing is used up.
    TooMany,
    /// 500.
    Internal,
    /// Nothing comes.
    Timeout,
    /// The connection breaks.
    Reset,
    /// A page instead of JSON.
    Garbage,
    /// JSON that is cut off.
    Truncated,
    /// An answer without text.
    Empty,
    /// The model refuses.
    Refusal,
    /// The answer stands between sentences.
    Prose,
    /// The answer of another question.
    Wrong,
    /// The body comes in small pieces.
    Slow,
}

impl Fault {
    /// Every fault with its word.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::TooMany, "429"),
        (Self::Internal, "500"),
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

    /// The word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(fault, _)| *fault == self).map_or("", |(_, word)| word)
    }
}

/// How often each fault occurs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults(Vec<(Fault, f64)>);

/// Why a list of faults cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault {0:?} is not NAME=SHARE with a share from 0 to 1, all together at most 1, of: {words}", words = words())]
pub struct BadFault(String);

fn words() -> String {
    Fault::ALL.map(|(_, word)| word).join(", ")
}

impl FromStr for Faults {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let mut faults = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = || BadFault(part.chars().take(40).collect());
            let (name, share) = part.split_once('=').ok_or_else(bad)?;
            let (fault, _) = Fault::ALL.iter().find(|(_, word)| *word == name.trim()).ok_or_else(bad)?;
            let share: f64 = share.trim().parse().map_err(|_| bad())?;
            if !(0.0..=1.0).contains(&share) {
                return Err(bad());
            }
            faults.push((*fault, share));
        }
        if faults.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 {
            return Err(BadFault(text.chars().take(40).collect()));
        }
        Ok(Self(faults))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.0.iter().map(|(fault, share)| format!("{}={share}", fault.as_str())).collect();
        f.write_str(&if parts.is_empty() { "none".to_owned() } else { parts.join(",") })
    }
}

impl Faults {
    /// The fault at `dice` (from 0 to below 1), if any.
    pub fn at(&self, dice: f64) -> Option<Fault> {
        let mut below = 0.0;
        self.0.iter().find_map(|(fault, share)| {
            below += share;
            (dice < below).then_some(*fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept() {
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
}
