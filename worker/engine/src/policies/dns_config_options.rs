//! `dns_config_options`: names are looked up without needless questions.
//!
//! # What it checks
//! A workload whose pods set no DNS option `ndots: 2` (kube-linter `dnsconfig-options`).
//!
//! # Why
//! With the default of five dots, a name outside of the cluster is first asked for below every search domain (Kubernetes
//! documentation, *DNS for Services and Pods*).
//!
//! # Repair
//! None: with fewer dots, short names of other namespaces such as `db.shop.svc` are looked up outside of the cluster
//! first. Which names the program asks for, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {containers: [{name: web}]}                                                               # found
//! spec: {dnsConfig: {options: [{name: ndots, value: "2"}]}, containers: [{name: web}]}            # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use super::workload::pod_of;
use crate::k8s::{Pod, View};

pub(super) struct DnsConfigOptions;

fn trouble(pod: &Pod<'_>) -> Option<&'static str> {
    let Some(config) = pod.spec.get("dnsConfig").and_then(Value::as_object) else {
        return Some("Object does not define any DNSConfig rules.");
    };
    let Some(options) = config.get("options").and_then(Value::as_array) else {
        return Some("Object does not define any DNSConfig Options.");
    };
    let text = |option: &Value, key: &str| option.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_wanted = |option: &Value| {
        text(option, "name").as_deref() == Some("ndots") && text(option, "value").as_deref() == Some("2")
    };
    (!options.iter().any(is_wanted)).then_some("DNSConfig Options \"ndots:2\" not found.")
}

impl Reviewed for DnsConfigOptions {
    const ID: PolicyId = PolicyId::DnsConfigOptions;

    const CHECK: &'static Check = &Check {
        id: "dnsconfig-options",
        severity: Severity::Warning,
        remedy: "Set the DNS option ndots to 2.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let found =
            pod_of(view).and_then(|pod| Some((pod.pointer.join(&["dnsConfig", "options"]), trouble(pod)?)));
        found.map(|(place, message)| (place, message.to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which names the program looks up: if none of them has two dots and lies in the cluster, set the DNS option ndots to 2"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&DnsConfigOptions);
    }

    #[test]
    fn the_option_is_looked_for() {
        for (config, expected) in [
            ("null", Some("Object does not define any DNSConfig rules.")),
            ("{nameservers: [1.1.1.1]}", Some("Object does not define any DNSConfig Options.")),
            ("{options: []}", Some("DNSConfig Options \"ndots:2\" not found.")),
            ("{options: [{name: ndots, value: '5'}]}", Some("DNSConfig Options \"ndots:2\" not found.")),
            ("{options: [{name: edns0}, {name: ndots, value: '2'}]}", None),
        ] {
            let pod =
                document(&format!("kind: Pod\nspec: {{dnsConfig: {config}, containers: [{{name: a}}]}}"));
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(messages(&DnsConfigOptions, &pod), expected, "{config}");
        }
    }
}
