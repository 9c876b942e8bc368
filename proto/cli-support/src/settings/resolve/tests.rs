//! Layering, origins, and what is refused.

use serde_json::json;

use super::*;

fn defaults() -> Value {
    json!({
        "seed": 1337,
        "ratio": 0.5,
        "endpoint": null,
        "verifier": {"gates": "strict", "disabled_gates": []},
        "rules": {"default_tag": "stable", "images": {}},
        "fleet": {"shard_size": 250},
    })
}

fn with(file: Option<Value>, env: &[(&str, &str)], flags: &[&str]) -> Result<Resolved, SettingsError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    resolve(&defaults(), &["rules.images"], file.map(|value| ("run.yaml", value)), env, &flags)
}

fn refusal(file: Option<Value>, env: &[(&str, &str)], flags: &[&str]) -> String {
    with(file, env, flags).unwrap_err().to_string()
}

#[test]
fn nothing_given_gives_the_defaults() {
    let resolved = with(None, &[("HOME", "/"), ("K8S", "x")], &[]).unwrap();
    assert_eq!(resolved.value, defaults());
    assert_eq!(resolved.origins.len(), 8);
    assert!(resolved.origins.values().all(|origin| *origin == Origin::Default));
}

#[test]
fn later_layers_win_and_origins_tell() {
    let file = json!({"seed": 1, "ratio": 1, "rules": {"default_tag": "v1"}, "fleet": null});
    let env = [("K8S_AUTO_FIX_SEED", "2"), ("K8S_AUTO_FIX_FLEET__SHARD_SIZE", "7")];
    let resolved = with(Some(file), &env, &["seed=3", "seed=4"]).unwrap();
    assert_eq!(resolved.value["seed"], 4);
    assert_eq!(resolved.value["ratio"], 1);
    assert_eq!(resolved.value["rules"]["default_tag"], "v1");
    assert_eq!(resolved.value["fleet"]["shard_size"], 7);
    assert_eq!(resolved.origins["seed"], Origin::Flag("--set seed".into()));
    assert_eq!(
        resolved.origins["fleet.shard_size"],
        Origin::Environment("K8S_AUTO_FIX_FLEET__SHARD_SIZE".into())
    );
    assert_eq!(resolved.origins["rules.default_tag"], Origin::File("run.yaml".into()));
    assert_eq!(resolved.origins["verifier.gates"], Origin::Default);
}

#[test]
fn open_maps_take_any_entry() {
    let file = json!({"rules": {"images": {"nginx": "nginx:1.27", "quay.io/a:b": "c"}}});
    let resolved =
        with(Some(file), &[], &["rules.images.docker.io/redis=redis:8", "rules.images.nginx=n"]).unwrap();
    assert_eq!(
        resolved.value["rules"]["images"],
        json!({"nginx": "n", "quay.io/a:b": "c", "docker.io/redis": "redis:8"})
    );
    assert_eq!(resolved.origins["rules.images.nginx"], Origin::Flag("--set rules.images.nginx".into()));
    assert!(!resolved.origins.contains_key("rules.images"));
    let whole = with(None, &[], &[r#"rules.images={"a": "b"}"#]).unwrap();
    assert_eq!(whole.value["rules"]["images"], json!({"a": "b"}));
}

#[test]
fn typed_texts_take_the_type_of_the_default() {
    let flags = ["rules.default_tag=1.25", "verifier.disabled_gates=schema,policy", "endpoint=http://x/?a=b"];
    let resolved = with(None, &[], &flags).unwrap();
    assert_eq!(resolved.value["rules"]["default_tag"], "1.25");
    assert_eq!(resolved.value["verifier"]["disabled_gates"], json!(["schema", "policy"]));
    assert_eq!(resolved.value["endpoint"], "http://x/?a=b");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    assert_eq!(
        refusal(Some(json!({"sede": 1})), &[], &[]),
        r#"unknown key "sede" (file run.yaml); did you mean "seed"?"#
    );
    assert_eq!(
        refusal(None, &[("K8S_AUTO_FIX_FLEET__SHARDSIZE", "1")], &[]),
        r#"unknown key "fleet.shardsize" (environment K8S_AUTO_FIX_FLEET__SHARDSIZE); did you mean "fleet.shard_size"?"#
    );
    assert_eq!(
        refusal(None, &[], &["shard_size=1"]),
        r#"unknown key "shard_size" (flag --set shard_size); did you mean "fleet.shard_size"?"#
    );
    assert_eq!(
        refusal(Some(json!({"rule": {"default_tag": "x"}})), &[], &[]),
        r#"unknown key "rule" (file run.yaml); did you mean "rules"?"#
    );
    assert_eq!(refusal(None, &[], &["colour=blue"]), r#"unknown key "colour" (flag --set colour)"#);
    assert_eq!(
        refusal(None, &[], &["seed.x=1"]),
        r#"unknown key "seed.x" (flag --set seed.x); did you mean "seed"?"#
    );
}

#[test]
fn wrong_types_and_shapes_are_refused() {
    assert_eq!(
        refusal(Some(json!({"rules": {"default_tag": 1.25}})), &[], &[]),
        r#"key "rules.default_tag" (file run.yaml) takes a text, not a number"#
    );
    assert_eq!(refusal(None, &[], &["seed=x"]), r#"key "seed" (flag --set seed) takes a number, not a text"#);
    assert_eq!(
        refusal(None, &[], &["fleet=1"]),
        r#"key "fleet" (flag --set fleet) takes a mapping, not a number"#
    );
    assert_eq!(refusal(Some(json!([1])), &[], &[]), r#"key "" (file run.yaml) takes a mapping, not a list"#);
    assert_eq!(refusal(None, &[], &["seed"]), r#"--set "seed" is not KEY=VALUE"#);
}

#[test]
fn an_error_of_the_configuration_names_the_key_and_its_origin() {
    let resolved = with(None, &[("K8S_AUTO_FIX_VERIFIER__GATES", "odd")], &["seed=3"]).unwrap();
    let read = |tree: Value| match tree.pointer("/verifier/gates").and_then(Value::as_str) {
        Some("strict") => Ok(()),
        other => Err(format!("unknown variant {other:?}")),
    };
    let error = resolved.read(&defaults(), read).unwrap_err();
    assert_eq!(
        error,
        "verifier.gates (environment K8S_AUTO_FIX_VERIFIER__GATES): unknown variant Some(\"odd\")"
    );
    let named = resolved.read(&defaults(), |_| Err::<(), _>("verifier.gates: no")).unwrap_err();
    assert_eq!(named, "verifier.gates: no", "not twice");
    assert_eq!(with(None, &[], &[]).unwrap().read(&defaults(), read), Ok(()));
}
