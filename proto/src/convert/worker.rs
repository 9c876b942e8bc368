//! Status of a connected worker.

use std::time::Duration;

use domain::ids::WorkerName;

use super::BadMessage;
use super::run::rate;
use crate::v1;

/// Status of a connected worker, as shown to clients.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// Unique name.
    pub worker: WorkerName,
    /// Software version, for people.
    pub version: String,
    /// Shards that it processes at the same time.
    pub slots: u32,
    /// Leases that it holds.
    pub leased: u32,
    /// Shards committed since it connected.
    pub shards: u64,
    /// Records of these shards.
    pub records: u64,
    /// Records committed a second over the last minute.
    pub records_per_s: f64,
    /// Time since it connected.
    pub connected: Duration,
    /// Time since its last message.
    pub silent: Duration,
    /// Whether it is being drained.
    pub draining: bool,
    /// Parts of it that were refused since it connected.
    pub refused_parts: u32,
    /// Why the coordinator drains it; `None` when it does not, or was asked to.
    pub drained_because: Option<String>,
}

impl From<WorkerStatus> for v1::WorkerStatus {
    fn from(status: WorkerStatus) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            worker: status.worker.into(),
            version: status.version,
            slots: status.slots,
            leased: status.leased,
            shards: status.shards,
            records: status.records,
            records_per_s: status.records_per_s,
            connected_ms: ms(status.connected),
            silent_ms: ms(status.silent),
            draining: status.draining,
            refused_parts: status.refused_parts,
            drained_because: status.drained_because.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::WorkerStatus> for WorkerStatus {
    type Error = BadMessage;

    fn try_from(status: v1::WorkerStatus) -> Result<Self, BadMessage> {
        Ok(Self {
            worker: WorkerName::new(status.worker).map_err(|error| BadMessage::new("worker", error))?,
            version: status.version,
            slots: status.slots,
            leased: status.leased,
            shards: status.shards,
            records: status.records,
            records_per_s: rate(status.records_per_s),
            connected: Duration::from_millis(status.connected_ms),
            silent: Duration::from_millis(status.silent_ms),
            draining: status.draining,
            refused_parts: status.refused_parts,
            drained_because: Some(status.drained_because).filter(|reason| !reason.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_round_trips_and_an_invalid_rate_is_dropped() {
        let status = WorkerStatus {
            worker: WorkerName::new("w").unwrap(),
            version: "0.1.0".to_owned(),
            slots: 2,
            leased: 3,
            shards: 4,
            records: 1000,
            records_per_s: 12.5,
            connected: Duration::from_secs(60),
            silent: Duration::from_millis(1500),
            draining: true,
            refused_parts: 3,
            drained_because: Some("its parts were refused".to_owned()),
        };
        let mut wire = v1::WorkerStatus::from(status.clone());
        assert_eq!(WorkerStatus::try_from(wire.clone()).unwrap(), status);
        wire.records_per_s = f64::NAN;
        assert!(WorkerStatus::try_from(wire).unwrap().records_per_s.abs() < f64::EPSILON);
    }
}
