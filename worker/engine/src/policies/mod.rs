//! The policies, one file each, which documents what the policy checks and how a violation is repaired. The modules
//! before the re-exports are shared by the policies.
//!
//! *Invariant*: a policy is deterministic and reads only the view and the rules that are passed to it.

mod contract;
mod host_flag;
mod label_text;
mod message;
mod probe_ports;
mod registry;
mod resource_amounts;
mod scope;
mod security;

pub(crate) use no_latest_tag::set_by_kustomization;

pub use contract::{Check, Finding, Fix, Policy, Severity};
pub use registry::{all, policy};
pub use scope::{Anchors, Companion, Fit, May, Scope, Site, To};

mod dangling_service;
mod deprecated_service_account_field;
mod drop_cap_sys_admin;
mod drop_capabilities;
mod duplicate_env_var;
mod enforce_seccomp;
mod env_var_secret;
mod invalid_target_ports;
mod job_ttl_after_finished;
mod liveness_port;
mod mismatching_selector;
mod no_allow_privilege_escalation;
mod no_anti_affinity;
mod no_host_ipc;
mod no_host_network;
mod no_host_path;
mod no_host_pid;
mod no_host_ports;
mod no_latest_tag;
mod no_privileged;
mod non_existent_service_account;
mod pdb_unhealthy_eviction_policy;
mod read_only_root_fs;
mod readiness_port;
mod run_as_non_root;
mod run_as_user;
mod set_requests_limits;
mod ssh_port;
mod startup_port;
mod unsafe_sysctls;
