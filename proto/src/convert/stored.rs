//! A run with the size of its results.

use domain::ids::RunId;
use domain::run::RunState;

use super::BadMessage;
use crate::v1;

/// A run with the size of its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// The run.
    pub run_id: RunId,
    /// State in its life cycle.
    pub state: RunState,
    /// Records of the corpus.
    pub records: u64,
    /// Time of submission, in ms since the Unix epoch.
    pub created_at_ms: u64,
    /// Bytes of its results, the copy of its corpus included.
    pub bytes: u64,
    /// Path or URL of the results.
    pub results: String,
}

impl From<StoredRun> for v1::StoredRun {
    fn from(run: StoredRun) -> Self {
        Self {
            run_id: run.run_id.into(),
            state: run.state.as_str().to_owned(),
            records: run.records,
            created_at_ms: run.created_at_ms,
            bytes: run.bytes,
            results: run.results,
        }
    }
}

impl TryFrom<v1::StoredRun> for StoredRun {
    type Error = BadMessage;

    fn try_from(run: v1::StoredRun) -> Result<Self, BadMessage> {
        Ok(Self {
            run_id: RunId::new(run.run_id).map_err(|error| BadMessage::new("run_id", error))?,
            state: RunState::parse(&run.state)
                .ok_or_else(|| BadMessage::new("state", format!("{:?} is not known", run.state)))?,
            records: run.records,
            created_at_ms: run.created_at_ms,
            bytes: run.bytes,
            results: run.results,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_run_round_trips() {
        let run = StoredRun {
            run_id: RunId::new("r").unwrap(),
            state: RunState::Removing,
            records: 9,
            created_at_ms: 7,
            bytes: 1 << 40,
            results: "results/r".to_owned(),
        };
        let mut wire = v1::StoredRun::from(run.clone());
        assert_eq!(StoredRun::try_from(wire.clone()).unwrap(), run);
        wire.state = "gone".to_owned();
        assert_eq!(StoredRun::try_from(wire).unwrap_err().field, "state");
    }
}
