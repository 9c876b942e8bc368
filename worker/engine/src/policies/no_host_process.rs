//! `no_host_process`: no container is a process of its Windows node.
//!
//! # What it checks
//! `windowsOptions.hostProcess` of every pod and container (own check `host-process`; the control *`HostProcess`* of the Pod
//! Security Standards, *Baseline*): it is not true.
//!
//! # Why
//! Such a container runs outside any container, with the rights of an account of its node.
//!
//! # Repair
//! None by rule: the image of such a container is made to run on the node, with other paths and another base.
//!
//! # Example
//! ```yaml
//! securityContext: {windowsOptions: {hostProcess: true}}   # before
//! securityContext: {windowsOptions: {hostProcess: false}}  # with an image that is made for a container
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::pod_security::contexts;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct NoHostProcess;

const PATH: [&str; 2] = ["windowsOptions", "hostProcess"];
const CHECK: Check = Check {
    id: "host-process",
    severity: Severity::Error,
    remedy: "Run the program in a container, not as a process of its node.",
};

/// Whether a container of the document is a process of its node.
pub(super) fn is_on_host(view: &View<'_>) -> bool {
    !NoHostProcess.violations(view).is_empty()
}

impl Reviewed for NoHostProcess {
    const ID: PolicyId = PolicyId::NoHostProcess;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let on_host = contexts(view).filter(|context| {
            let options = context.fields.get(PATH[0]);
            options.and_then(|options| options.get(PATH[1])) == Some(&Value::Bool(true))
        });
        on_host
            .map(|context| {
                let message = format!("{} runs as a process of its Windows node", context.owner());
                (context.at().join(&PATH), message)
            })
            .collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "an image for a process of the node does not run in a container: replace the program by one that needs no such process, \
         or except the finding where it manages its node"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoHostProcess);
    }

    #[test]
    fn pods_and_containers() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: a, securityContext: {windowsOptions: {hostProcess: false}}}], initContainers: [{name: b, securityContext: {windowsOptions: {hostProcess: true}}}, {name: c, securityContext: {windowsOptions: {hostProcess: 'true'}}}]}",
        );
        assert_eq!(
            messages(&NoHostProcess, &document),
            [
                "the pod runs as a process of its Windows node",
                r#"container "b" runs as a process of its Windows node"#
            ]
        );
    }
}
