//! What judges the schema of a run's documents.

use domain::api_server::SchemaDepth;
use domain::api_server::ServerIdentity;

use super::BadMessage;
use crate::v1;

/// Characters of the text of what a run waits for.
const TEXT_CHARS: usize = 500;

/// What judges the schema of a run's documents, as shown to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeStatus {
    /// `Server` or `Both`.
    pub depth: SchemaDepth,
    /// The server; `None` until a shard was leased.
    pub server: Option<ServerIdentity>,
    /// Why no shard can be leased, or what the records wait for; `None` when they do not wait.
    pub waits_for: Option<String>,
}

impl From<JudgeStatus> for v1::JudgeStatus {
    fn from(status: JudgeStatus) -> Self {
        let text = |part: fn(&ServerIdentity) -> &str| status.server.as_ref().map_or("", part).to_owned();
        Self {
            depth: status.depth.as_str().to_owned(),
            version: text(ServerIdentity::version),
            flags: text(ServerIdentity::flags),
            waits_for: status.waits_for.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::JudgeStatus> for JudgeStatus {
    type Error = BadMessage;

    fn try_from(status: v1::JudgeStatus) -> Result<Self, BadMessage> {
        let v1::JudgeStatus { depth, version, flags, waits_for } = status;
        let server = if version.is_empty() {
            None
        } else {
            Some(
                ServerIdentity::new(version, flags)
                    .map_err(|error| BadMessage::new("judge.version", error))?,
            )
        };
        Ok(Self {
            depth: SchemaDepth::parse(&depth)
                .ok_or_else(|| BadMessage::new("judge.depth", format!("{depth:?} is not known")))?,
            server,
            waits_for: (!waits_for.is_empty()).then(|| waits_for.chars().take(TEXT_CHARS).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_round_trips() {
        let server = ServerIdentity::new("v1.37.2", "a=b").unwrap();
        for (server, waits_for) in [(Some(server), None), (None, Some("no worker".to_owned()))] {
            let status = JudgeStatus { depth: SchemaDepth::Both, server, waits_for };
            assert_eq!(JudgeStatus::try_from(v1::JudgeStatus::from(status.clone())).unwrap(), status);
        }
    }
}
