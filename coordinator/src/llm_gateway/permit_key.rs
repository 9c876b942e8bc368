//! Tickets of permits and streams: keyed hashes that only a process with the response cache's key can make.
//!
//! A permit is given by one process and may be used after the next one has begun, on another stream. What was permitted is not
//! recorded for that: the ticket that goes with the permit shows it. So a result is accepted only where this process knows
//! the permit, or where the ticket is right.

use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::convert::Ticket;

use super::effect::StreamId;

/// The key of all tickets; as durable as the answers that are accepted with them.
#[derive(Clone)]
pub(crate) struct PermitKey([u8; 32]);

impl std::fmt::Debug for PermitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PermitKey(…)")
    }
}

impl PermitKey {
    /// The key of these bytes, which are a secret of the coordinator.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Ticket of the permit of a call.
    pub(super) fn of_call(&self, run_id: &RunId, key: &AnswerKey, number: u64) -> Ticket {
        // The length of the run id is what is left: nothing else varies.
        self.ticket(&[b"call", key.as_bytes(), &number.to_le_bytes(), run_id.as_str().as_bytes()])
    }

    /// Ticket of a worker's stream.
    pub(super) fn of_stream(&self, worker: &WorkerName, stream: StreamId) -> Ticket {
        self.ticket(&[b"stream", &stream.0.to_le_bytes(), worker.as_str().as_bytes()])
    }

    fn ticket(&self, parts: &[&[u8]]) -> Ticket {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        Ticket::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Whether a worker has sent the ticket. Takes the same time whatever differs.
    pub(super) fn is_right(sent: Option<Ticket>, ticket: Ticket) -> bool {
        let hash = |ticket: Ticket| blake3::Hash::from_bytes(*ticket.as_bytes());
        sent.is_some_and(|sent| hash(sent) == hash(ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_that_of_one_call_and_one_key() {
        let (key, other) = (PermitKey::from_bytes([1; 32]), PermitKey::from_bytes([2; 32]));
        let run = |name: &str| RunId::new(name).unwrap();
        let (one, two) = (AnswerKey::of(b"1"), AnswerKey::of(b"2"));
        let ticket = key.of_call(&run("r"), &one, 1);
        assert!(PermitKey::is_right(Some(ticket), key.of_call(&run("r"), &one, 1)));
        let others = [
            key.of_call(&run("s"), &one, 1),
            key.of_call(&run("r"), &two, 1),
            key.of_call(&run("r"), &one, 2),
            other.of_call(&run("r"), &one, 1),
            key.of_stream(&WorkerName::new("r").unwrap(), StreamId(1)),
        ];
        assert!(others.into_iter().all(|other| !PermitKey::is_right(Some(ticket), other)));
        assert!(!PermitKey::is_right(None, ticket));
        assert_eq!(format!("{key:?}"), "PermitKey(…)");
    }
}
