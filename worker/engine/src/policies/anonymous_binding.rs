//! `anonymous_binding`: no role is given to anonymous clients or to all accounts.
//!
//! # What it checks
//! The subjects of `RoleBindings` and `ClusterRoleBindings` (own check `anonymous-binding`): none is the user
//! `system:anonymous`, the group `system:unauthenticated` or the group `system:authenticated`. The roles that the API server
//! gives to these groups itself (`system:basic-user`, `system:discovery`, `system:public-info-viewer`) may be.
//!
//! # Why
//! The first two are all clients that reach the API server; the third is every account, every pod's included, and with some
//! providers every account of the provider.
//!
//! # Repair
//! None by rule: clients rely on it, as `kubeadm join` on what it reads before it has an account. To take the subject away
//! would lock those out, and who they are is not in the binding.
//!
//! # Example
//! ```yaml
//! subjects: [{kind: Group, name: "system:authenticated"}]  # before
//! subjects: [{kind: Group, name: developers}]              # where only they need it
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::rbac::{Subject, subjects};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct AnonymousBinding;

const CHECK: Check = Check {
    id: "anonymous-binding",
    severity: Severity::Error,
    remedy: "Bind the role to the users, groups and accounts that need it.",
};

/// Roles that every API server gives to all accounts or clients.
const HARMLESS: [&str; 3] = ["system:basic-user", "system:discovery", "system:public-info-viewer"];

/// Whom a subject includes, where that is too many.
fn included(subject: &Subject<'_>) -> Option<&'static str> {
    match (subject.kind, subject.name) {
        ("User", "system:anonymous") | ("Group", "system:unauthenticated") => {
            Some("every client of the API server")
        }
        ("Group", "system:authenticated") => Some("every account, every pod's included,"),
        _ => None,
    }
}

impl Reviewed for AnonymousBinding {
    const ID: PolicyId = PolicyId::AnonymousBinding;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let (subjects, role) = subjects(view);
        let subjects = subjects.into_iter().filter(|_| !HARMLESS.contains(&role));
        let found = |subject: Subject<'_>| {
            let who = included(&subject)?;
            Some((subject.at, format!("{who} gets the role {} by {}", quoted(role), quoted(subject.name))))
        };
        subjects.filter_map(found).collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "bind the role to the users, groups and accounts that need it, and to those alone".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&AnonymousBinding);
    }

    #[test]
    fn all_clients_count_but_for_the_api_servers_own_roles() {
        let binding = |role: &str| {
            document(&format!(
                "kind: RoleBinding\nroleRef: {{kind: ClusterRole, name: '{role}'}}\nsubjects: [{{kind: User, name: 'system:anonymous'}}, {{kind: Group, name: 'system:authenticated'}}, {{kind: Group, name: 'system:serviceaccounts'}}, {{kind: Group, name: 'system:unauthenticated'}}, {{kind: User, name: 'system:authenticated'}}]"
            ))
        };
        assert_eq!(
            messages(&AnonymousBinding, &binding("view")),
            [
                r#"every client of the API server gets the role "view" by "system:anonymous""#,
                r#"every account, every pod's included, gets the role "view" by "system:authenticated""#,
                r#"every client of the API server gets the role "view" by "system:unauthenticated""#
            ]
        );
        assert_eq!(messages(&AnonymousBinding, &binding("system:discovery")), [""; 0]);
    }
}
