//! The words of the vocabulary, their replacements and where they count; and the places that may keep one, with the reason.

use std::path::Path;

use super::found::{Found, Place};

/// Words with the same scope.
pub(super) struct Group {
    /// Folders or files they count in.
    pub(super) paths: &'static [&'static str],
    pub(super) places: &'static [Place],
    /// The word and what replaces it. In messages it is a part of the text, between spaces or punctuation.
    pub(super) words: &'static [(&'static str, &'static str)],
}

/// A place that may keep a word.
pub(super) struct Allowed {
    pub(super) path: &'static str,
    /// The name, or a part of the message.
    pub(super) found: &'static str,
    pub(super) reason: &'static str,
}

impl Group {
    pub(super) fn covers(&self, file: &Path) -> bool {
        self.paths.iter().any(|path| file.starts_with(path))
    }

    /// What replaces the words of a name or message.
    pub(super) fn words_in(&self, found: &Found) -> Vec<&'static str> {
        if !self.places.contains(&found.place) {
            return Vec::new();
        }
        let is_here = |word: &str| match found.place {
            Place::Message => is_part(&found.text, word),
            _ => found.text == word,
        };
        self.words.iter().filter(|(word, _)| is_here(word)).map(|(_, instead)| *instead).collect()
    }
}

/// Whether a message has a phrase at the borders of words; `*` at its end stands for any word but `longer` and `more`.
fn is_part(message: &str, phrase: &str) -> bool {
    let (phrase, any) = phrase.strip_suffix('*').map_or((phrase, false), |phrase| (phrase, true));
    let lower = without_placeholders(&message.to_lowercase());
    lower.match_indices(phrase).any(|(at, _)| {
        let before = lower.get(..at).and_then(|text| text.chars().next_back());
        let after = lower.get(at + phrase.len()..).unwrap_or_default();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if is_word(before) {
            return false;
        }
        if any {
            // "there is no …" is plain English; "x is no y" is not.
            let there = lower.get(..at).is_some_and(|text| text.trim_end().ends_with("there"));
            !there && !after.starts_with("longer") && !after.starts_with("more")
        } else {
            !is_word(after.chars().next())
        }
    })
}

/// A format string without the names of its arguments: `{name:?}` becomes `{}`.
fn without_placeholders(message: &str) -> String {
    let mut depth = 0_usize;
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        if c == '}' {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 || c == '{' {
            text.push(c);
        }
        if c == '{' {
            depth += 1;
        }
    }
    text
}

const COORDINATOR: &[&str] = &["coordinator/src", "coordinator/tests", "coordinator/examples"];
const GATEWAY: &[&str] = &["coordinator/src/llm_gateway"];
const SCHEDULER: &[&str] = &["coordinator/src/scheduler", "coordinator/src/run", "coordinator/src/server"];
const WORKER: &[&str] = &["worker/src", "worker/tests", "worker/benches"];
const LIMITER: &[&str] = &["worker/llm/src/limit"];
const WIRE: &[&str] = &["proto/k8s_auto_fix", "proto/src"];
const EVERYWHERE: &[&str] = &["analysis", "coordinator", "proto", "scripts/xtask", "worker"];

const TYPES: &[Place] = &[Place::Type, Place::Variant];
const FILES: &[Place] = &[Place::File, Place::Module];

/// The left column of the vocabulary.
pub(super) const WORDS: &[Group] = &[
    Group {
        paths: COORDINATOR,
        places: TYPES,
        words: &[
            ("Desk", "GatewayHandle"),
            ("Clerk", "GatewayTask"),
            ("Inbox", "WorkerStream"),
            ("Closing", "ShutdownHandle"),
            ("Questions", "GatewayState"),
            ("Flight", "InFlightKey"),
            ("Lanes", "FairQueue"),
            ("Turns", "FairShare"),
            ("Keep", "CacheWrite"),
            ("Keeping", "CacheWrite"),
            ("Kept", "Persisted"),
            ("Book", "SchedulerState"),
            ("Tentative", "PendingLease"),
            ("Room", "UploadPermit"),
            ("Shelf", "run directory"),
            ("Moment", "Monotonic"),
            ("Refusal", "ApiError"),
        ],
    },
    Group {
        paths: GATEWAY,
        places: TYPES,
        words: &[
            ("Note", "GatewayMessage"),
            ("Board", "LlmStatusSnapshot"),
            ("Open", "PendingRequest"),
            ("Place", "RequestId"),
            ("Standing", "LlmAccess"),
            ("Terms", "LlmPolicy"),
            ("Account", "SpendTracker"),
            ("Spent", "LlmUsage"),
        ],
    },
    Group {
        paths: SCHEDULER,
        places: TYPES,
        words: &[
            ("Member", "ConnectedWorker"),
            ("Live", "ActiveRun"),
            ("Take", "LeaseState"),
            ("Hold", "LeaseState"),
            ("Reason", "ErrorReason"),
        ],
    },
    Group {
        paths: &["coordinator/src/server"],
        places: &[Place::Function],
        words: &[
            ("ear", "receive_loop"),
            ("giver", "dispatch_loop"),
            ("said", "wait_until"),
            ("told", "sent_configs"),
        ],
    },
    Group {
        paths: COORDINATOR,
        places: &[Place::Function],
        words: &[
            ("promise_name", "reserve_name"),
            ("dismiss", "drain"),
            ("hand_back", "release"),
            ("halve", "split"),
            ("halved", "split"),
            ("condemn", "quarantine"),
            ("condemned", "quarantined"),
            ("given_up", "dead_letter"),
            ("give_up", "dead_letter"),
        ],
    },
    Group {
        paths: COORDINATOR,
        places: FILES,
        words: &[
            ("questions", "llm_gateway"),
            ("machine", "state"),
            ("budget", "rate_limit"),
            ("lanes", "fair_queue"),
            ("answers", "response_cache"),
            ("recent", "dedup"),
            ("book", "state"),
            ("roster", "worker_registry"),
            ("keep", "lease_reaper"),
            ("late", "speculation"),
            ("pace", "throughput"),
            ("cover", "splitting"),
            ("slot", "shard_state"),
            ("words", "types"),
            ("uploads", "upload_limit"),
            ("finish", "finalize"),
            ("intact", "part_check"),
            ("shelves", "run_dirs"),
            ("retain", "removal"),
            ("asked", "llm_line"),
            ("live", "status_table"),
            ("ask", "llm_stream"),
            ("work", "work_stream"),
        ],
    },
    Group {
        paths: WORKER,
        places: TYPES,
        words: &[
            ("Line", "GatewayClient"),
            ("Order", "Command"),
            ("Consultant", "LlmClient"),
            ("Consulted", "Completion"),
            ("Said", "GatewayEvent"),
            ("Watchman", "DeadlineWatch"),
            ("Pulse", "Heartbeats"),
            ("Treated", "RepairResult"),
            ("Matter", "ProposalTask"),
            ("Talk", "Conversation"),
            ("Table", "LlmRunner"),
            ("Laid", "SlicePlan"),
            ("Opened", "ParsedDocument"),
            ("Desk", "dispatcher"),
        ],
    },
    Group {
        paths: WORKER,
        places: &[Place::Function],
        words: &[
            ("beat", "send_heartbeat"),
            ("consult", "complete"),
            ("lay_out", "plan"),
            ("stand_aside", "skip_reason"),
            ("hand_back", "release"),
        ],
    },
    Group {
        paths: WORKER,
        places: FILES,
        words: &[
            ("model", "gateway_client"),
            ("line", "gateway_client"),
            ("book", "gateway_client"),
            ("consult", "llm_client"),
            ("desk", "dispatcher"),
            ("held", "lease_table"),
            ("stock", "prefetch"),
            ("asked", "replay"),
        ],
    },
    Group { paths: &["worker/corpus"], places: FILES, words: &[("intake", "read"), ("cut", "split")] },
    Group {
        paths: &["worker/mock-llm"],
        places: FILES,
        words: &[("asked", "replay"), ("recorded", "replay")],
    },
    Group {
        paths: LIMITER,
        places: &[Place::Name, Place::File],
        words: &[
            ("told", "advertised"),
            ("most", "configured"),
            ("owed", "deficit"),
            ("hasty", "catch_up"),
            ("piled_up", "on_congestion"),
            ("usual", "baseline_rtt"),
            ("crowded", "on_congestion"),
            ("Fall", "LimitDrop"),
            ("Past", "PreviousDrop"),
            ("falls", "drops"),
        ],
    },
    Group { paths: LIMITER, places: &[Place::Type], words: &[("Seconds", "Monotonic")] },
    Group {
        paths: WIRE,
        places: TYPES,
        words: &[
            ("Want", "RequestShards"),
            ("HandBack", "ReleaseLeases"),
            ("Dismiss", "DrainWorker"),
            ("Leave", "Deregister"),
            ("Question", "AcquireCall"),
            ("Known", "CachedResponse"),
            ("Go", "CallPermit"),
            ("Kept", "ResultPersisted"),
            ("CallEnded", "CallResult"),
            ("Withdraw", "CancelCall"),
            ("AskRequest", "LlmCallsRequest"),
            ("AskResponse", "LlmCallsResponse"),
            ("Refusal", "ApiError"),
            ("Reason", "ErrorReason"),
        ],
    },
    Group {
        paths: EVERYWHERE,
        places: FILES,
        words: &[
            ("console", "cli-support"),
            ("dataset", "results"),
            ("parity", "paper"),
            ("published", "paper"),
        ],
    },
    Group {
        paths: EVERYWHERE,
        places: &[Place::Message],
        words: &[
            ("nobody", "the thing that does not act"),
            ("somebody", "the thing that acts"),
            ("whoever", "the thing that acts"),
            ("is no *", "is not a valid …"),
            ("are no *", "are not valid …"),
            ("halved", "split"),
            ("condemned", "quarantined"),
            ("handed back", "released"),
            ("hand back", "release"),
        ],
    },
];

const ROW: &str = "a text of outcome rows, which fingerprints hash";
const COMMAND: &str = "the command has this name";

/// Places that keep a word.
pub(super) const ALLOWED: &[Allowed] = &[
    Allowed { path: "scripts/xtask/src/words/table.rs", found: "", reason: "the table itself" },
    Allowed { path: "coordinator/src/commands/answers.rs", found: "answers", reason: COMMAND },
    Allowed { path: "coordinator/src/commands/mod.rs", found: "answers", reason: COMMAND },
    Allowed { path: "coordinator/tests/it/answers.rs", found: "answers", reason: COMMAND },
    Allowed { path: "coordinator/tests/it/main.rs", found: "answers", reason: COMMAND },
    Allowed { path: "analysis/src/commands/paper/mod.rs", found: "parity", reason: COMMAND },
    Allowed { path: "analysis/src/commands/paper/parity.rs", found: "parity", reason: COMMAND },
    Allowed { path: "analysis/tests/it/main.rs", found: "parity", reason: COMMAND },
    Allowed { path: "analysis/tests/it/parity.rs", found: "parity", reason: COMMAND },
    Allowed {
        path: "proto/domain/src",
        found: "published",
        reason: "shapes of published files; the crate is `paper`",
    },
    Allowed { path: "worker/engine/src/policies", found: "is no ", reason: ROW },
    Allowed { path: "worker/engine/src/policies", found: "are no texts", reason: ROW },
    Allowed { path: "worker/engine/src/propose/rules.rs", found: "is no map or list", reason: ROW },
    Allowed { path: "worker/corpus/src/split.rs", found: "is no Kubernetes object", reason: ROW },
    Allowed {
        path: "worker/engine/src/propose/prompt.rs",
        found: "You repair Kubernetes manifests",
        reason: "keys of the response cache hash the prompt",
    },
    Allowed {
        path: "worker/llm/src/limit/mod.rs",
        found: "Seconds",
        reason: "the limiter calculates in seconds with fractions; `clock::moment` is the one bridge to `Monotonic`",
    },
];
