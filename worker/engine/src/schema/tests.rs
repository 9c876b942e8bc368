//! The embedded file, and the rules on small documents.

use domain::api_server::KubernetesRelease;
use domain::pointer::Pointer;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::decode::{EMBEDDED, decompress};
use super::error::SchemaErrorKind;
use super::required;
use super::walk::{MAX_DEPTH, MAX_ERRORS};
use super::{Report, Structural};
use crate::testing::document;

fn report(document: &Value) -> Report {
    Structural::newest().validate(document, &[])
}

/// The messages of a document given as YAML.
fn messages(yaml: &str) -> Vec<String> {
    let document = document(yaml);
    let report = Structural::newest().validate(&document.value, &document.duplicate_keys);
    assert!(!matches!(report, Report::UnknownKind { .. }), "unknown kind: {yaml}");
    report.errors().iter().map(ToString::to_string).collect()
}

/// The messages of a Deployment whose pod spec gets `lines` and whose container gets `container`.
fn in_deployment(lines: &str, container: &str) -> Vec<String> {
    messages(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  \
         template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      {lines}\n      containers:\n      - name: c\n        \
         image: i:1\n        {container}\n"
    ))
}

const POD: &str = "spec.template.spec";

#[test]
fn the_embedded_files_are_the_recorded_ones() {
    let mut hashes = String::new();
    for (release, embedded) in KubernetesRelease::all().zip(EMBEDDED) {
        let text = decompress(embedded).unwrap();
        let hash = Sha256::digest(&text).iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        hashes.extend([hash.as_str(), "  kubernetes-", &release.to_string(), ".json\n"]);
        assert_eq!(Structural::of(release).version(), format!("{release}.0"));
    }
    assert_eq!(hashes, include_str!("../../schemas/kubernetes.sha256"));
    assert_eq!(KubernetesRelease::all().count(), EMBEDDED.len());
    assert_eq!(Structural::newest().kinds(), 201);
    assert_eq!(Structural::of(KubernetesRelease::OLDEST).kinds(), 158);
}

#[test]
fn damaged_files_are_refused() {
    let newest = EMBEDDED[EMBEDDED.len() - 1];
    assert!(Structural::decode(b"no gzip", KubernetesRelease::NEWEST).is_err());
    assert!(Structural::decode(&newest[..newest.len() / 2], KubernetesRelease::NEWEST).is_err());
}

/// A row that the publication agrees with, or that names nothing, must go.
#[test]
fn every_correction_of_required_fields_still_corrects_something() {
    let file: Value = serde_json::from_slice(&decompress(EMBEDDED[EMBEDDED.len() - 1]).unwrap()).unwrap();
    let definitions = file["definitions"].as_array().unwrap();
    for (name, field) in required::optional() {
        let suffix = format!(".{name}");
        let published_as: Vec<_> = definitions
            .iter()
            .filter(|definition| definition[0].as_str().unwrap().ends_with(&suffix))
            .flat_map(|definition| definition[1].as_array().unwrap())
            .filter(|row| row[0] == field)
            .map(|row| row[2] == 1)
            .collect();
        assert_eq!(published_as, [true], "{name}.{field}");
    }
}

#[test]
fn a_plain_deployment_is_valid() {
    assert_eq!(in_deployment("restartPolicy: Always", "ports: [{containerPort: 80}]"), [""; 0]);
}

#[test]
fn unknown_fields_are_named_with_their_path() {
    let strict = |path: &str| format!("strict decoding error: unknown field \"{path}\"");
    assert_eq!(
        in_deployment("securityContext: {allowPrivilegeEscalation: false}", "securitycontext: {}"),
        [
            strict(&format!("{POD}.securityContext.allowPrivilegeEscalation")),
            strict(&format!("{POD}.containers[0].securitycontext")),
        ]
    );
    assert_eq!(
        messages("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, clusterName: ''}\n"),
        [strict("metadata.clusterName")]
    );
    // A definition without any field takes none.
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n\
               spec: {group: g, scope: Namespaced, names: {plural: a, kind: A}, versions: [{name: v1, subresources: {status: {x: 1}}}]}\n";
    assert_eq!(messages(crd), [strict("spec.versions[0].subresources.status.x")]);
}

#[test]
fn types_are_those_of_the_decoder() {
    let wrong = |path: &str, found: &str, expected: &str| {
        format!("cannot unmarshal {found} into field \"{POD}.{path}\" of type {expected}")
    };
    for (pod, container, expected) in [
        ("", "env: [{name: A, value: 5}]", Some(wrong("containers[0].env[0].value", "number", "string"))),
        ("", "env: [{name: A, value: true}]", Some(wrong("containers[0].env[0].value", "bool", "string"))),
        ("", "env: {A: b}", Some(wrong("containers[0].env", "object", "list"))),
        (
            "",
            "ports: [{containerPort: '80'}]",
            Some(wrong("containers[0].ports[0].containerPort", "string", "int32")),
        ),
        (
            "",
            "ports: [{containerPort: 1.5}]",
            Some(wrong("containers[0].ports[0].containerPort", "number 1.5", "int32")),
        ),
        (
            "",
            "ports: [{containerPort: 2147483648}]",
            Some(wrong("containers[0].ports[0].containerPort", "number 2147483648", "int32")),
        ),
        // On its way to the server a whole float loses its point.
        ("", "ports: [{containerPort: 80.0}]", None),
        ("terminationGracePeriodSeconds: 2147483648", "", None),
        ("", "resources: {limits: {cpu: 1, memory: 1.5, nvidia.com/gpu: '1'}}", None),
        (
            "",
            "resources: {limits: {cpu: true}}",
            Some(wrong("containers[0].resources.limits.cpu", "bool", "quantity")),
        ),
        ("", "livenessProbe: {httpGet: {port: http}}", None),
        ("", "livenessProbe: {httpGet: {port: 80}}", None),
        (
            "",
            "livenessProbe: {httpGet: {port: [80]}}",
            Some(wrong("containers[0].livenessProbe.httpGet.port", "array", "int or string")),
        ),
        ("hostNetwork: 'true'", "", Some(wrong("hostNetwork", "string", "bool"))),
        ("securityContext: []", "", Some(wrong("securityContext", "array", "object"))),
        ("nodeSelector: {disk: 1}", "", Some(wrong("nodeSelector.disk", "number", "string"))),
    ] {
        assert_eq!(in_deployment(pod, container), Vec::from_iter(expected), "{pod} {container}");
    }
}

#[test]
fn texts_are_decoded() {
    assert_eq!(
        messages("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: YQ==, b: plain text}\n"),
        ["illegal base64 data in field \"data.b\""]
    );
    let at = |time: &str| {
        messages(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, creationTimestamp: {time}}}\n"
        ))
    };
    assert_eq!(at("null"), [""; 0]);
    assert_eq!(at("'2024-01-01T00:00:00Z'"), [""; 0]);
    assert_eq!(at("'yesterday'"), ["cannot parse field \"metadata.creationTimestamp\" as an RFC 3339 time"]);
}

#[test]
fn null_is_absence() {
    let null = "securityContext: null\n      volumes: null\n      nodeSelector: {a: null}";
    assert_eq!(in_deployment(null, "args: [null]\n        resources: null"), [""; 0]);
    assert_eq!(
        in_deployment("volumes: [null]", "env: [{name: null}]"),
        [
            format!("{POD}.volumes[0].name: Required value"),
            format!("{POD}.containers[0].env[0].name: Required value")
        ]
    );
}

#[test]
fn required_fields_are_the_servers() {
    let missing = |yaml: &str| -> Vec<String> {
        let found = messages(yaml);
        found
            .iter()
            .map(|text| text.split_once(": Required value").unwrap_or_else(|| panic!("{text}")).0.to_owned())
            .collect()
    };
    assert_eq!(missing("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"), ["spec.containers"]);
    assert_eq!(
        missing("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{}]}\n"),
        ["spec.containers[0].name", "spec.containers[0].image"]
    );
    assert_eq!(
        messages("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {}\n"),
        [
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value",
        ]
    );
    // A header may be empty, but not nameless.
    let headers =
        in_deployment("", "livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: a}, {value: b}]}}");
    assert_eq!(headers.len(), 1);
    let header =
        format!("{POD}.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"\": a valid HTTP");
    assert!(headers[0].starts_with(&header), "{headers:?}");
    // The role's API group has a default, and `status` is dropped before validation.
    let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\n\
                   roleRef: {kind: Role, name: r}\n";
    assert_eq!(missing(binding), [""; 0]);
    let status = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nstatus: {conditions: [{}]}\n";
    assert_eq!(missing(status), [""; 0]);
    let wrong = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nstatus: {x: 1}\n";
    assert_eq!(messages(wrong), ["strict decoding error: unknown field \"status.x\""]);
    // A kind without rules of its own.
    let claim = "apiVersion: resource.k8s.io/v1\nkind: ResourceSlice\nmetadata: {name: a}\nspec: {}\n";
    assert_eq!(missing(claim), ["spec.driver", "spec.pool"]);
}

#[test]
fn stored_objects_have_a_name_or_let_the_server_make_one() {
    let name = ["metadata.name: Required value: name or generateName is required"];
    let config = |metadata: &str| messages(&format!("apiVersion: v1\nkind: ConfigMap\n{metadata}\n"));
    assert_eq!(config(""), name);
    assert_eq!(config("metadata: {name: ''}"), name);
    assert_eq!(config("metadata: {generateName: a-}"), [""; 0]);
    assert_eq!(
        config("metadata: {name: 5}"),
        ["cannot unmarshal number into field \"metadata.name\" of type string"]
    );
    let review = "apiVersion: authorization.k8s.io/v1\nkind: SelfSubjectAccessReview\nspec: {}\n";
    assert_eq!(messages(review), [""; 0]);
}

#[test]
fn what_is_not_served_says_what_is() {
    let at = |version: &str, kind: &str| {
        messages(&format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n")).join("|")
    };
    for (version, kind, advice) in [
        ("extensions/v1beta1", "Deployment", " (removed in 1.16; use apiVersion apps/v1)"),
        ("extensions/v1beta1", "Ingress", " (removed in 1.22; use apiVersion networking.k8s.io/v1)"),
        ("apps/v1beta2", "StatefulSet", " (removed in 1.16; use apiVersion apps/v1)"),
        ("batch/v1beta1", "CronJob", " (removed in 1.25; use apiVersion batch/v1)"),
        ("policy/v1beta1", "PodDisruptionBudget", " (removed in 1.25; use apiVersion policy/v1)"),
        ("policy/v1beta1", "PodSecurityPolicy", " (removed in 1.25; use Pod Security admission)"),
        (
            "autoscaling/v2beta2",
            "HorizontalPodAutoscaler",
            " (removed in 1.26; use apiVersion autoscaling/v2)",
        ),
        ("v1", "Deployment", " (use apiVersion apps/v1)"),
        ("v1", "pod", " (did you mean kind Pod of v1?)"),
        ("v1", "Route", ""),
        ("v2", "Pod", " (use apiVersion v1)"),
    ] {
        assert_eq!(
            at(version, kind),
            format!("no matches for kind \"{kind}\" in version \"{version}\"{advice}")
        );
    }
}

#[test]
fn what_has_no_kind_is_refused() {
    assert_eq!(messages("apiVersion: v1\n"), ["document: Object 'Kind' is missing"]);
    assert_eq!(messages("kind: Pod\napiVersion: null\n"), ["document: Object 'apiVersion' is missing"]);
    assert_eq!(messages("kind: Pod\napiVersion: a/b/c\n"), ["unexpected GroupVersion string: a/b/c"]);
    assert_eq!(
        messages("kind: [Pod]\napiVersion: v1\n"),
        ["cannot unmarshal array into field \"kind\" of type string"]
    );
    assert!(!report(&json!([])).passes());
}

#[test]
fn custom_resources_are_not_judged() {
    let custom = json!({"apiVersion": "example.org/v1", "kind": "Thing", "anything": 1});
    let expected =
        Report::UnknownKind { group: "example.org".into(), version: "v1".into(), kind: "Thing".into() };
    assert_eq!(report(&custom), expected);
    assert!(report(&custom).passes());
    let twice = Structural::newest().validate(&custom, &[Pointer::of(["anything"])]);
    assert_eq!(
        twice.errors()[0].to_string(),
        "strict decoding error: duplicate field \"anything\"",
        "a repeated key is wrong in any document"
    );
}

#[test]
fn duplicate_keys_are_refused() {
    let twice = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, name: b}\n";
    assert_eq!(messages(twice), ["strict decoding error: duplicate field \"metadata.name\""]);
}

#[test]
fn lists_are_judged_by_entry() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [], "x": 1}});
    let custom = json!({"apiVersion": "example.org/v1", "kind": "Thing"});
    let list = |items: Vec<&Value>| json!({"apiVersion": "v1", "kind": "List", "metadata": {"x": 1}, "items": items});
    let mixed = report(&list(vec![&custom, &pod]));
    let pointers: Vec<_> = mixed.errors().iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/items/1/spec/x"]);
    assert_eq!(mixed.errors()[0].to_string(), "strict decoding error: unknown field \"items[1].spec.x\"");
    assert!(matches!(report(&list(vec![&custom])), Report::UnknownKind { .. }));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    assert_eq!(report(&list(vec![&custom, &namespace])), Report::Valid);
    assert_eq!(report(&list(vec![])), Report::Valid);
    // Entries of a typed list need not repeat their kind.
    let typed = json!({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}, "spec": {"y": 1}}]});
    let texts: Vec<_> = report(&typed).errors().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["strict decoding error: unknown field \"items[0].spec.y\""]);
}

#[test]
fn hostile_documents_cost_little() {
    let many: serde_json::Map<_, _> = (0..10_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let mut wide = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    wide["spec"] = Value::Object(many);
    assert_eq!(report(&wide).errors().len(), MAX_ERRORS);

    let mut schema = json!({"type": "object"});
    for _ in 0..2 * MAX_DEPTH {
        schema = json!({"properties": {"a": schema}});
    }
    let deep = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"},
        "spec": {"group": "g", "scope": "Namespaced", "names": {"plural": "a", "kind": "A"},
                 "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}
    });
    assert!(report(&deep).errors().iter().any(|error| error.kind == SchemaErrorKind::TooDeep));

    let mut lists = json!({"apiVersion": "v1", "kind": "List"});
    for _ in 0..MAX_DEPTH {
        lists = json!({"apiVersion": "v1", "kind": "List", "items": [lists]});
    }
    assert!(report(&lists).errors().iter().any(|error| error.kind == SchemaErrorKind::TooDeep));

    let long = json!({"apiVersion": "v1", "kind": "é".repeat(10_000)});
    assert!(report(&long).errors()[0].to_string().len() < 1_000);
}

proptest! {
    /// Whatever stands in a document, an error points at a node that is there, or at one that is not and should be.
    #[test]
    fn errors_point_into_the_document(
        kind in prop::sample::select(vec!["Pod", "Service", "List", "ConfigMap", "NamespaceList", "Nonsense"]),
        metadata in domain::testing::json(),
        spec in domain::testing::json(),
        items in domain::testing::json(),
    ) {
        let document = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec, "items": items});
        for error in report(&document).errors() {
            let found = error.pointer.resolve(&document);
            match error.kind {
                SchemaErrorKind::MissingRequired => prop_assert!(found.is_none_or(|value| value.is_null() || value == "")),
                _ => prop_assert!(found.is_some(), "{error}"),
            }
        }
    }
}
