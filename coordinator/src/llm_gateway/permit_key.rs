//! Tickets of permits and streams: keyed hashes that only a process with the response cache's key can make.
//!
//! A permit is given by one process and may be used after the next one has begun, on another stream. The ticket that goes with the
//! permit names the call and shows that it was permitted. So a result is accepted only where this process knows the permit, or
//! where the ticket is right.

use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::convert::Ticket;

use super::effect::StreamId;
use super::response_cache::CallId;

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

    /// Ticket of the permit of a call: its identifier, and a hash over it and all that the permit is for.
    pub(super) fn of_call(&self, run_id: &RunId, key: &AnswerKey, number: u64, call: CallId) -> Ticket {
        let id = call.to_bytes();
        // The length of the run id is what is left: nothing else varies.
        let hash =
            self.ticket(&[b"permit", &id, key.as_bytes(), &number.to_le_bytes(), run_id.as_str().as_bytes()]);
        let mut bytes = *hash.as_bytes();
        bytes.iter_mut().zip(id).for_each(|(byte, of_id)| *byte = of_id);
        Ticket::from_bytes(bytes)
    }

    /// The call that a worker's ticket permits; `None` where it is not the ticket of such a call.
    pub(super) fn call_of(
        &self,
        sent: Option<Ticket>,
        run_id: &RunId,
        key: &AnswerKey,
        number: u64,
    ) -> Option<CallId> {
        let id =
            |ticket: Ticket| CallId::from_bytes(ticket.as_bytes().first_chunk().copied().unwrap_or_default());
        let call = id(sent?);
        if Self::is_right(sent, self.of_call(run_id, key, number, call)) {
            return Some(call);
        }
        // Earlier releases recorded no calls, and their tickets named none.
        let older =
            self.ticket(&[b"call", key.as_bytes(), &number.to_le_bytes(), run_id.as_str().as_bytes()]);
        Self::is_right(sent, older).then(|| id(older))
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
        let call = CallId::new(7);
        let ticket = Some(key.of_call(&run("r"), &one, 1, call));
        assert_eq!(key.call_of(ticket, &run("r"), &one, 1), Some(call));
        assert_eq!(key.call_of(ticket, &run("s"), &one, 1), None);
        assert_eq!(key.call_of(ticket, &run("r"), &two, 1), None);
        assert_eq!(key.call_of(ticket, &run("r"), &one, 2), None);
        assert_eq!(other.call_of(ticket, &run("r"), &one, 1), None);
        assert_eq!(key.call_of(None, &run("r"), &one, 1), None);
        // The ticket of another call with a changed name.
        let mut forged = *key.of_call(&run("r"), &one, 1, CallId::new(8)).as_bytes();
        forged[..8].copy_from_slice(&call.to_bytes());
        assert_eq!(key.call_of(Some(Ticket::from_bytes(forged)), &run("r"), &one, 1), None);
        let stream = Some(key.of_stream(&WorkerName::new("r").unwrap(), StreamId(1)));
        assert_eq!(key.call_of(stream, &run("r"), &one, 1), None);
        assert_eq!(format!("{key:?}"), "PermitKey(…)");
    }

    #[test]
    fn a_ticket_of_an_earlier_release_is_that_of_one_call() {
        let (key, run, one) = (PermitKey::from_bytes([1; 32]), RunId::new("r").unwrap(), AnswerKey::of(b"1"));
        let ticket = Some(key.ticket(&[b"call", one.as_bytes(), &1_u64.to_le_bytes(), b"r"]));
        let call = key.call_of(ticket, &run, &one, 1);
        assert!(call.is_some() && call == key.call_of(ticket, &run, &one, 1));
        assert_eq!(key.call_of(ticket, &run, &one, 2), None);
    }
}
