//! Whether a server can be trusted with what it acknowledges: its version, how durable its commits are, and whether it is the
//! newest of its kind.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// The oldest version that is supported, as `server_version_num` gives it.
const OLDEST: i32 = 140_000;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineFacts {
    pub(crate) version_number: i32,
    pub(crate) version: String,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    pub(crate) synchronous_commit: String,
    pub(crate) synchronous_standby_names: String,
    /// Standbys that are connected.
    pub(crate) standbys: i64,
    /// Which cluster of servers it belongs to, and on which timeline; `None` for a standby.
    pub(crate) record: Option<EngineRecord>,
}

/// A cluster of servers, and the newest timeline on which it was seen. A standby that becomes the primary begins a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineRecord {
    pub(crate) system: String,
    pub(crate) timeline: u32,
}

impl EngineRecord {
    /// Reads the record in `file`; `None` where there is none.
    pub(crate) fn load(file: &Path) -> std::io::Result<Option<Self>> {
        match std::fs::read(file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a server may forget what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Danger {
    TooOld(String),
    Standby,
    NoFsync,
    TornPages,
    SynchronousCommit(String),
    StandbysLagBehind(i64),
    OlderTimeline { seen: u32, found: u32 },
    OtherCluster,
}

impl Danger {
    /// Whether `--engine-may-forget` accepts it.
    const fn can_be_accepted(&self) -> bool {
        !matches!(self, Self::TooOld(_) | Self::Standby)
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(version) => write!(f, "its version is {version}: 14 or a newer one is needed"),
            Self::Standby => f.write_str("it is a standby: name the primary in the URL, or all servers"),
            Self::NoFsync => f.write_str("fsync is off: set it to on"),
            Self::TornPages => f.write_str("full_page_writes is off: set it to on"),
            Self::SynchronousCommit(value) => {
                write!(f, "synchronous_commit is {value}: set it to on or remote_apply")
            }
            Self::StandbysLagBehind(standbys) => write!(
                f,
                "it has {standbys} standby servers and waits for none of them, so that one of them would not know the last \
                 commits if it took over: set synchronous_standby_names"
            ),
            Self::OlderTimeline { seen, found } => write!(
                f,
                "it is on timeline {found}, and timeline {seen} was seen before: another server has taken over from it; shut \
                 this one down, or take it out of the URL"
            ),
            Self::OtherCluster => f.write_str(
                "it is not the cluster of servers that was used before with this state folder: use the earlier one, or \
                 another state folder",
            ),
        }
    }
}

impl EngineFacts {
    pub(crate) async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        // The name of a file of the log begins with its timeline, in hexadecimal digits.
        let row = client
            .query_one(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                        current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
                        current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
                        (SELECT count(*) FROM pg_stat_replication),
                        (SELECT system_identifier::text FROM pg_control_system()),
                        CASE WHEN pg_is_in_recovery() THEN NULL
                             ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END",
                &[],
            )
            .await?;
        let digits: Option<String> = row.try_get(8)?;
        let timeline = digits.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
        let system: String = row.try_get(7)?;
        Ok(Self {
            version_number: row.try_get(0)?,
            version: row.try_get(1)?,
            fsync: row.try_get(2)?,
            full_page_writes: row.try_get(3)?,
            synchronous_commit: row.try_get(4)?,
            synchronous_standby_names: row.try_get(5)?,
            standbys: row.try_get(6)?,
            record: timeline.map(|timeline| EngineRecord { system, timeline }),
        })
    }

    /// Why the server may forget what it acknowledged; `seen` is what was seen before.
    pub(crate) fn dangers(&self, seen: Option<&EngineRecord>) -> Vec<Danger> {
        let mut found = Vec::new();
        if self.version_number < OLDEST {
            found.push(Danger::TooOld(self.version.clone()));
        }
        if !self.fsync {
            found.push(Danger::NoFsync);
        }
        if !self.full_page_writes {
            found.push(Danger::TornPages);
        }
        // `remote_write` is lost with the power of both machines.
        if !["on", "remote_apply"].contains(&self.synchronous_commit.as_str()) {
            found.push(Danger::SynchronousCommit(self.synchronous_commit.clone()));
        }
        if self.standbys > 0 && self.synchronous_standby_names.trim().is_empty() {
            found.push(Danger::StandbysLagBehind(self.standbys));
        }
        match (&self.record, seen) {
            (None, _) => found.push(Danger::Standby),
            (Some(record), Some(seen)) if record.system != seen.system => found.push(Danger::OtherCluster),
            (Some(record), Some(seen)) if record.timeline < seen.timeline => {
                found.push(Danger::OlderTimeline { seen: seen.timeline, found: record.timeline });
            }
            (Some(_), _) => {}
        }
        found
    }

    /// The server in a line.
    pub(crate) fn summary(&self) -> String {
        let timeline =
            self.record.as_ref().map_or_else(String::new, |record| format!(", timeline {}", record.timeline));
        let standbys = match self.standbys {
            0 => "no standby".to_owned(),
            standbys => format!("{standbys} standby servers, waits for {}", self.synchronous_standby_names),
        };
        format!(
            "PostgreSQL {}, fsync on, synchronous_commit {}, {standbys}{timeline}",
            self.version, self.synchronous_commit
        )
    }
}

/// Decides which server is used, and remembers the newest timeline, in a file across restarts.
#[derive(Debug)]
pub(crate) struct Trust {
    file: Option<PathBuf>,
    may_forget: bool,
    seen: Mutex<Option<EngineRecord>>,
}

impl Trust {
    /// Remembers in `file`; `may_forget`: a server that may forget is used all the same.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(crate) fn open(file: &Path, may_forget: bool) -> std::io::Result<Self> {
        let seen = EngineRecord::load(file)?;
        Ok(Self { file: Some(file.to_owned()), may_forget, seen: Mutex::new(seen) })
    }

    /// Remembers until the end of the process.
    pub(crate) fn in_memory(may_forget: bool) -> Self {
        Self { file: None, may_forget, seen: Mutex::default() }
    }

    /// What was seen before.
    pub(crate) fn seen(&self) -> Option<EngineRecord> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts a server, or says why not.
    pub(crate) fn admit(&self, facts: &EngineFacts) -> Result<(), String> {
        let seen = self.seen();
        let (accepted, refused): (Vec<Danger>, Vec<Danger>) = facts
            .dangers(seen.as_ref())
            .into_iter()
            .partition(|danger| self.may_forget && danger.can_be_accepted());
        if !refused.is_empty() {
            let hint = if refused.iter().all(Danger::can_be_accepted) {
                "; --engine-may-forget uses it all the same"
            } else {
                ""
            };
            return Err(format!("{}{hint}", list(&refused)));
        }
        if !accepted.is_empty() {
            tracing::warn!(reason = list(&accepted), "the ledger may forget what it acknowledged");
        }
        match &facts.record {
            Some(record) if seen.as_ref() != Some(record) => self.remember(record),
            _ => Ok(()),
        }
    }

    fn remember(&self, record: &EngineRecord) -> Result<(), String> {
        if let Some(file) = &self.file {
            let failed = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
            let json = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
            let folder = file.parent().unwrap_or(Path::new("."));
            let mut unfinished = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            std::io::Write::write_all(&mut unfinished, &json).map_err(failed)?;
            unfinished.as_file().sync_all().map_err(failed)?;
            unfinished.persist(file).map_err(|error| failed(error.error))?;
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.clone());
        Ok(())
    }
}

fn list(dangers: &[Danger]) -> String {
    dangers.iter().map(Danger::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(timeline: u32) -> EngineFacts {
        EngineFacts {
            version_number: 150_018,
            version: "15.18".to_owned(),
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".to_owned(),
            synchronous_standby_names: String::new(),
            standbys: 0,
            record: Some(EngineRecord { system: "7".to_owned(), timeline }),
        }
    }

    #[test]
    fn each_way_to_forget_is_named() {
        let remote_write = "remote_write".to_owned();
        let cases = [
            (facts(1), vec![]),
            (EngineFacts { synchronous_commit: "remote_apply".to_owned(), ..facts(1) }, vec![]),
            (EngineFacts { fsync: false, ..facts(1) }, vec![Danger::NoFsync]),
            (EngineFacts { full_page_writes: false, ..facts(1) }, vec![Danger::TornPages]),
            (
                EngineFacts { synchronous_commit: remote_write.clone(), ..facts(1) },
                vec![Danger::SynchronousCommit(remote_write)],
            ),
            (EngineFacts { standbys: 2, ..facts(1) }, vec![Danger::StandbysLagBehind(2)]),
            (EngineFacts { standbys: 2, synchronous_standby_names: "*".to_owned(), ..facts(1) }, vec![]),
            (
                EngineFacts { version_number: 130_011, version: "13.11".to_owned(), ..facts(1) },
                vec![Danger::TooOld("13.11".to_owned())],
            ),
            (EngineFacts { record: None, ..facts(1) }, vec![Danger::Standby]),
        ];
        for (facts, expected) in cases {
            assert_eq!(facts.dangers(None), expected, "{facts:?}");
        }
    }

    #[test]
    fn the_newest_timeline_is_remembered_over_restarts_and_an_older_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("engine.json");
        Trust::open(&file, false).unwrap().admit(&facts(3)).unwrap();
        let trust = Trust::open(&file, false).unwrap();
        let refused = trust.admit(&facts(2)).unwrap_err();
        assert!(refused.contains("timeline 3") && refused.contains("--engine-may-forget"), "{refused}");
        trust.admit(&facts(3)).unwrap();
        trust.admit(&facts(4)).unwrap();
        assert!(trust.admit(&facts(3)).is_err(), "it is on 4 now");

        let other =
            EngineFacts { record: Some(EngineRecord { system: "8".to_owned(), timeline: 9 }), ..facts(1) };
        assert!(trust.admit(&other).unwrap_err().contains("not the cluster"));
        let accepting = Trust::open(&file, true).unwrap();
        accepting.admit(&other).unwrap();
        Trust::open(&file, false).unwrap().admit(&other).unwrap();
        let old = EngineFacts { version_number: 130_000, ..other };
        assert!(accepting.admit(&old).is_err(), "its SQL is not known to work");
    }
}
