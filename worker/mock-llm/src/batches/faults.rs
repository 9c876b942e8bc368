//! What goes wrong with files and batches, and how often.

use std::fmt;
use std::str::FromStr;

/// A fault of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchFault {
    /// The batch expires: a part of its lines is answered.
    Expire,
    /// The batch fails: a part of its lines is answered.
    Fail,
    /// The reply to an upload is lost; the file is there.
    LoseUpload,
    /// The reply to the creation of a batch is lost; the batch is worked on.
    LoseCreate,
    /// A finished batch names its output file only when it has been asked a few times.
    LateOutput,
    /// A look at a batch is answered with 500.
    Poll,
    /// A download breaks off.
    Break,
    /// An output line comes twice.
    Duplicate,
    /// A line is neither answered nor mentioned in any file.
    Missing,
    /// A line is answered with 500.
    LineInternal,
    /// A line is refused for its content.
    LineContent,
    /// The output lines of a batch come in another order.
    Shuffle,
}

impl BatchFault {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::Expire,
        Self::Fail,
        Self::LoseUpload,
        Self::LoseCreate,
        Self::LateOutput,
        Self::Poll,
        Self::Break,
        Self::Duplicate,
        Self::Missing,
        Self::LineInternal,
        Self::LineContent,
        Self::Shuffle,
    ];

    /// Its name in arguments and statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expire => "expire",
            Self::Fail => "fail",
            Self::LoseUpload => "lose-upload",
            Self::LoseCreate => "lose-create",
            Self::LateOutput => "late-output",
            Self::Poll => "poll-500",
            Self::Break => "break",
            Self::Duplicate => "duplicate",
            Self::Missing => "missing",
            Self::LineInternal => "line-500",
            Self::LineContent => "line-403",
            Self::Shuffle => "shuffle",
        }
    }
}

/// Faults with their shares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchFaults(Vec<(BatchFault, f64)>);

/// A text that does not name faults and shares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: write faults of batches as NAME=SHARE with shares from 0 to 1, e.g. expire=0.3,duplicate=0.1; known are {1}"
)]
pub struct UnknownFault(String, String);

impl BatchFaults {
    /// The share of a fault.
    pub fn share(&self, fault: BatchFault) -> f64 {
        self.0.iter().find(|(named, _)| *named == fault).map_or(0.0, |(_, share)| *share)
    }

    /// Whether it occurs this time.
    pub(super) fn occurs(&self, fault: BatchFault, random: &mut fastrand::Rng) -> bool {
        // One number for every question, so that one fault does not shift the others.
        let drawn = random.f64();
        drawn < self.share(fault)
    }
}

impl FromStr for BatchFaults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let read = |part: &str| {
            let (name, share) = part.trim().split_once('=')?;
            let fault = BatchFault::ALL.into_iter().find(|fault| fault.as_str() == name)?;
            let share: f64 = share.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
            Some((fault, share))
        };
        let known = || BatchFault::ALL.map(BatchFault::as_str).join(", ");
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts
            .map(|part| read(part).ok_or_else(|| UnknownFault(part.to_owned(), known())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for BatchFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> =
            self.0.iter().map(|(fault, share)| format!("{}={share}", fault.as_str())).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_their_shares() {
        let faults: BatchFaults = "expire=0.3, shuffle=1".parse().unwrap();
        assert!((faults.share(BatchFault::Expire) - 0.3).abs() < 1e-9);
        assert_eq!(
            (faults.share(BatchFault::Break), faults.to_string()),
            (0.0, "expire=0.3,shuffle=1".to_owned())
        );
        let mut random = fastrand::Rng::with_seed(1);
        assert!(
            faults.occurs(BatchFault::Shuffle, &mut random) && !faults.occurs(BatchFault::Fail, &mut random)
        );
        for bad in ["expire", "expire=2", "gone=0.1", "expire=x"] {
            assert!(bad.parse::<BatchFaults>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(BatchFaults::default()));
    }
}
