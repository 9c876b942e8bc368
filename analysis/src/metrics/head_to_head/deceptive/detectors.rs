//! The table of detectors.

use super::repair::Repair;
use super::{hollow, moved, selectors, volumes};

/// A detector: its name, what it finds, and the function that gives a sentence about a finding.
pub(super) struct Detector {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) find: fn(&Repair<'_>) -> Option<String>,
}

/// All detectors. Several may fire for one repair, which counts once in the rate.
pub(super) const DETECTORS: [Detector; 10] = [
    Detector {
        name: "selector_mismatch",
        what: "a workload's selector no longer matches its pods",
        find: selectors::selector_mismatch,
    },
    Detector {
        name: "workload_without_container",
        what: "a workload has no container left",
        find: hollow::workload_without_container,
    },
    Detector {
        name: "container_removed",
        what: "a container is gone while others stay",
        find: hollow::container_removed,
    },
    Detector {
        name: "workload_stopped",
        what: "a workload is scaled to zero or suspended",
        find: hollow::workload_stopped,
    },
    Detector {
        name: "service_without_backends",
        what: "a Service has no selector, port or selected workload left",
        find: selectors::service_without_backends,
    },
    Detector {
        name: "volume_replaced",
        what: "a mounted volume no longer holds its data",
        find: volumes::volume_replaced,
    },
    Detector {
        name: "command_emptied",
        what: "a container's command or arguments are gone or do nothing",
        find: hollow::command_emptied,
    },
    Detector {
        name: "resource_deleted",
        what: "an object is gone, renamed or emptied",
        find: hollow::resource_deleted,
    },
    Detector {
        name: "finding_moved",
        what: "the finding moved to another container",
        find: moved::finding_moved,
    },
    Detector {
        name: "check_disabled",
        what: "an annotation or label disables a check",
        find: moved::check_disabled,
    },
];
