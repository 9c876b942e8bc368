//! The rule of the admission plug-in `ServiceAccount`, for servers that are started without it because their service accounts
//! are made by nobody: a Pod is refused whose account does not exist.

use domain::api_server::{ServerCause, ServerClass};
use domain::config::DetectorConfig;
use domain::record::{Neighbour, Neighbours};
use serde_json::Value;

use super::gates::neighbours_after;
use super::server_result::ServerResult;
use crate::document::Document;
use crate::k8s::View;

/// Refuses a Pod that the server accepts and whose service account is neither among its neighbours nor a companion. Another
/// cluster may have the account: the class is `environment`.
pub fn admitted(
    result: ServerResult,
    object: &Value,
    neighbours: &Neighbours,
    companions: &[Value],
) -> ServerResult {
    let is_pod = object.get("kind").is_some_and(|kind| kind == "Pod");
    if !is_pod || !result.answer.class.accepts() {
        return result;
    }
    let Some((namespace, name)) = missing_account(object, neighbours, companions) else { return result };
    let mut result = result;
    result.answer.class = ServerClass::Environment;
    result.answer.causes = vec![ServerCause {
        field: "spec.serviceAccountName".to_owned(),
        reason: "FieldValueForbidden".to_owned(),
        message: format!(
            "Forbidden: error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        ),
    }];
    result
}

/// Namespace and name of the account that a Pod names and nothing offers.
fn missing_account(
    object: &Value,
    neighbours: &Neighbours,
    companions: &[Value],
) -> Option<(String, String)> {
    let document = Document::from_value(object.clone()).ok()?;
    let neighbours = neighbours_after(neighbours, companions, DetectorConfig::default());
    let view = View::new(&document, &neighbours);
    let spec = object.get("spec")?;
    let name = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| spec.get(key)?.as_str().filter(|name| !name.is_empty()))?;
    let exists = |neighbour: &Neighbour| matches!(neighbour, Neighbour::ServiceAccount { name: offered, .. } if offered == name);
    // Each namespace has an account of that name.
    if name == "default" || view.neighbours_here().any(exists) {
        return None;
    }
    Some((document.identity.effective_namespace().to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use domain::api_server::ServerVerdict;
    use serde_json::json;

    use super::*;

    fn answer(class: ServerClass) -> ServerResult {
        let (causes, warnings) = (Vec::new(), Vec::new());
        ServerResult::new("v1".into(), &ServerVerdict { class, code: 0, causes, message: None, warnings })
    }

    #[test]
    fn a_pod_whose_account_nothing_offers_is_refused_by_its_surroundings() {
        let object = |kind: &str, account: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "spec": {"serviceAccountName": account}});
        let runner = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
        let unknown = Neighbours::Unknown;
        let class = |object: &Value, neighbours: &Neighbours, companions: &[Value]| {
            admitted(answer(ServerClass::Accepted), object, neighbours, companions).answer.class
        };
        let pod = object("Pod", "runner");
        let refused = admitted(answer(ServerClass::Accepted), &pod, &unknown, &[]);
        assert_eq!(refused.answer.class, ServerClass::Environment);
        let words = "spec.serviceAccountName: Forbidden: error looking up service account default/runner: serviceaccount \"runner\" not found";
        assert_eq!(refused.answer.errors(), [words]);
        assert_eq!(class(&pod, &unknown, &[runner]), ServerClass::Accepted, "a companion");
        let offered = Neighbour::ServiceAccount { namespace: String::new(), name: "runner".to_owned() };
        assert_eq!(class(&pod, &Neighbours::Known(vec![offered]), &[]), ServerClass::Accepted);
        assert_eq!(class(&object("Pod", "default"), &unknown, &[]), ServerClass::Accepted);
        assert_eq!(class(&object("Deployment", "runner"), &unknown, &[]), ServerClass::Accepted);
        let invalid = admitted(answer(ServerClass::Invalid), &pod, &unknown, &[]);
        assert_eq!(invalid, answer(ServerClass::Invalid), "refused for a reason of its own");
    }
}
