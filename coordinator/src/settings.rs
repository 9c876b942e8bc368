//! Configuration of a run from its layers: defaults < file < environment < flags.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use cli_support::settings::{Resolved, read_yaml, resolve};
use domain::api_server::KubernetesRelease;
use domain::api_server::SchemaDepth;
use llm::price::List;
use llm::settings::{OPEN_MAPS, Settings, is_of_machine};

/// Flags that set the configuration of a run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; see configs/run.yaml for every key
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, e.g. `--set rules.default_tag=v1`; may be repeated, beats file and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Which document is repaired: the record's own (record) or the whole one from --manifests (manifest)
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) documents: Option<WhichDocuments>,
    /// Records in a shard
    #[arg(long, value_name = "N")]
    pub(crate) shard_size: Option<u32>,
    /// What decides the schema gate: the embedded rules, an API server that is asked by dry runs, or the embedded rules with a
    /// server asked too (both)
    #[arg(long, value_enum, value_name = "DEPTH")]
    pub(crate) depth: Option<WhichDepth>,
    /// Release of Kubernetes (1.30 to 1.37) whose API server the schema gate speaks for, and that a throw-away --control-plane
    /// is of; `coordinator run` takes several, separated by commas, and judges the corpus by each in turn [default: 1.37]
    #[arg(long, value_name = "RELEASE", value_delimiter = ',')]
    pub(crate) kubernetes: Vec<KubernetesRelease>,
    /// Switch a gate off (policy, safety, schema, rescan); may be repeated
    #[arg(long, value_name = "GATE")]
    pub(crate) disable_gate: Vec<String>,
    /// US dollars that the run may spend on a model; it stops there, and goes on when submitted again with a higher limit
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,
    /// Calls that the run may make to a model; it stops there, and goes on when submitted again with a higher limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_requests: Option<u64>,
    /// Priority among runs that share an account: higher first [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Do not use answers that were cached before the run began: ask the model again
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Keep the secrets of the documents in the results (`patched_yaml`, `patch`, errors) instead of masks
    #[arg(long)]
    pub(crate) store_secrets: bool,
}

/// Which document is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichDocuments {
    /// The record's own `manifest_yaml`.
    Record,
    /// The whole document from the manifests.
    Manifest,
}

/// What decides the schema gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichDepth {
    /// The embedded schemas and rules.
    Embedded,
    /// An API server.
    Server,
    /// The embedded rules; what a server disagrees about is recorded.
    Both,
}

impl ConfigArgs {
    /// The resolved configuration with the origin of each value.
    pub(crate) fn resolve(&self) -> anyhow::Result<Resolved> {
        let defaults = llm::settings::defaults().context("cannot list the defaults")?;
        let path = self.config.as_ref().map(|path| path.display().to_string());
        let file = match (&self.config, &path) {
            (Some(config), Some(name)) => Some((name.as_str(), read_yaml(config)?)),
            _ => None,
        };
        let mut flags = self.set.clone();
        if let Some(documents) = self.documents {
            let value = match documents {
                WhichDocuments::Record => "record",
                WhichDocuments::Manifest => "manifest",
            };
            flags.push(format!("documents={value}"));
        }
        if let Some(size) = self.shard_size {
            flags.push(format!("fleet.shard_size={size}"));
        }
        flags.extend(self.depth.map(|depth| {
            let depth = match depth {
                WhichDepth::Embedded => SchemaDepth::Embedded,
                WhichDepth::Server => SchemaDepth::Server,
                WhichDepth::Both => SchemaDepth::Both,
            };
            format!("verifier.depth={depth}")
        }));
        match self.kubernetes.as_slice() {
            [] => {}
            [release] => flags.push(format!("verifier.kubernetes=\"{release}\"")),
            _ => anyhow::bail!("--kubernetes takes one release here; `coordinator run` takes several"),
        }
        if !self.disable_gate.is_empty() {
            flags.push(format!("verifier.disabled_gates={}", self.disable_gate.join(", ")));
        }
        flags.extend(self.max_cost.map(|cost| format!("spend.max_cost_usd={cost}")));
        flags.extend(self.max_requests.map(|requests| format!("spend.max_requests={requests}")));
        flags.extend(self.priority.map(|priority| format!("spend.priority={priority}")));
        if self.refresh {
            flags.push("spend.refresh=true".to_owned());
        }
        if self.store_secrets {
            flags.push("store_secrets=true".to_owned());
        }
        let mut resolved = resolve(&defaults, OPEN_MAPS, file, cli_support::env::settings(), &flags)?;
        if let Some(taken) = List::of(&resolved.value)?.taken(&resolved.value) {
            resolved.fill(&taken.key, taken.price, &taken.source);
        }
        Ok(resolved)
    }

    /// The checked settings of a command that calls providers from this machine.
    pub(crate) fn load(&self) -> anyhow::Result<Settings> {
        checked(&self.resolve()?)
    }
}

/// Tells the keys of the run and those of this machine's providers apart, and checks both.
pub(crate) fn checked(resolved: &Resolved) -> anyhow::Result<Settings> {
    let settings = run_checked(resolved)?;
    settings.providers.check().context("the configuration is not valid")?;
    Ok(settings)
}

/// Like [`checked`], for a command that calls no provider: what is set of them may be for another machine.
pub(crate) fn run_checked(resolved: &Resolved) -> anyhow::Result<Settings> {
    let settings = resolved.read(&llm::settings::defaults()?, Settings::from_tree);
    let settings = settings.map_err(anyhow::Error::msg).context("the configuration is not valid")?;
    settings.run.check().context("the configuration is not valid")?;
    settings.scanners.check().context("the configuration is not valid")?;
    Ok(settings)
}

/// What the list of prices says of the end of the model that is asked; `None`: nothing, or no model is asked.
pub(crate) fn end_of_model(resolved: &Resolved) -> anyhow::Result<Option<String>> {
    let tree = &resolved.value;
    let mode = tree.pointer("/proposer/mode").and_then(serde_json::Value::as_str).unwrap_or_default();
    let model = tree.get(mode).and_then(|section| section.get("model")?.as_str());
    let list = List::of(tree)?;
    Ok(model.and_then(|model| list.find(model)).and_then(llm::price::Listed::end))
}

/// What to say about the keys of providers and programs that the user set for a run whose workers are elsewhere; `None`: none were set.
pub(crate) fn unsent(resolved: &Resolved) -> Option<String> {
    resolved.set_keys(is_of_machine).map(|keys| {
        format!("not sent: {keys}. Where a provider is called, and with which key, and what a program or a scanner is, are settings of each worker (`worker serve --config`)")
    })
}

#[cfg(test)]
mod tests {
    use domain::budget::Price;
    use domain::outcome::Gate;

    use super::*;

    #[test]
    fn frequent_settings_have_flags() {
        let args = ConfigArgs {
            set: vec!["rules.images.nginx=nginx:1.27".to_owned()],
            documents: Some(WhichDocuments::Manifest),
            shard_size: Some(7),
            depth: Some(WhichDepth::Embedded),
            kubernetes: vec![KubernetesRelease::OLDEST],
            disable_gate: vec!["schema".to_owned(), "rescan".to_owned()],
            max_cost: Some(2.5),
            max_requests: Some(100),
            priority: Some(-1),
            refresh: true,
            store_secrets: true,
            config: None,
        };
        let config = args.load().unwrap().run;
        assert_eq!((config.spend.max_requests, config.spend.priority), (100, -1));
        assert!(
            config.store_secrets && config.spend.refresh && (config.spend.max_cost_usd - 2.5).abs() < 1e-9
        );
        assert_eq!(config.fleet.shard_size, 7);
        assert_eq!(config.documents, domain::config::Documents::Manifest);
        assert!(config.verifier.disabled_gates.contains(&Gate::Schema));
        assert_eq!(config.rules.images["nginx"], "nginx:1.27");
        let args = ConfigArgs { depth: Some(WhichDepth::Both), ..ConfigArgs::default() };
        assert_eq!(args.load().unwrap().run.verifier.depth, SchemaDepth::Both);
    }

    #[test]
    fn the_annotated_file_holds_the_defaults() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/run.yaml");
        let args = ConfigArgs { config: Some(file.into()), ..ConfigArgs::default() };
        assert_eq!(args.load().unwrap(), Settings::default());
        let resolved = args.resolve().unwrap();
        let said = unsent(&resolved).unwrap();
        assert!(said.contains("detector.policies_dir") && said.lines().count() == 1, "{said}");
        assert_eq!(unsent(&ConfigArgs::default().resolve().unwrap()), None);
    }

    #[test]
    fn a_bound_on_the_cost_wants_a_price() {
        let load = |set: &[&str]| {
            let set = set.iter().map(|&set| set.to_owned()).collect();
            ConfigArgs { set, max_cost: Some(5.0), ..ConfigArgs::default() }.load()
        };
        let by_model = ["proposer.mode=grok", "guardrails=none"];
        let listed = load(&by_model).unwrap().run;
        assert_eq!(listed.grok.price.input, Some(1.25), "of the list");
        let retired = [&by_model[..], &["grok.model=grok-4-fast-reasoning"]].concat();
        assert!(load(&retired).is_err(), "a listed model without a price has none");
        let unlisted = [&by_model[..], &["grok.model=grok-9"]].concat();
        let error = format!("{:#}", load(&unlisted).unwrap_err());
        for needed in
            ["no price of grok-9 is known", "spend.max_cost_usd", "grok.price.input", "grok.price.output"]
        {
            assert!(error.contains(needed), "{error}");
        }
        let priced = [&unlisted[..], &["grok.price.input=1", "grok.price.output=2"]].concat();
        assert_eq!(load(&priced).unwrap().run.grok.price, Price::flat(1.0, None, 2.0));
        let half = [&unlisted[..], &["grok.price.input=1"]].concat();
        assert!(
            format!("{:#}", load(&half).unwrap_err()).contains("grok.price: must have both input and output")
        );
        assert!(load(&[]).is_ok(), "the rules cost nothing");
    }

    #[test]
    fn a_price_of_the_list_shows_where_it_was_read() {
        let args = ConfigArgs { set: vec!["proposer.mode=grok".to_owned()], ..ConfigArgs::default() };
        let resolved = args.resolve().unwrap();
        let shown = resolved.show(cli_support::Format::Csv);
        let line = shown.lines().find(|line| line.starts_with("grok.price.input,1.25,")).unwrap();
        assert!(line.contains("list configs/prices.yaml (20") && line.contains("https://"), "{line}");
        assert_eq!(resolved.set_keys(|_| true).as_deref(), Some("proposer.mode"), "nobody set it");
    }

    #[test]
    fn the_end_of_a_model_is_said() {
        let end = |set: &[&str]| {
            let set = set.iter().map(|&set| set.to_owned()).collect();
            end_of_model(&ConfigArgs { set, ..ConfigArgs::default() }.resolve().unwrap()).unwrap()
        };
        assert_eq!((end(&[]), end(&["proposer.mode=grok"])), (None, None));
        let said = end(&["proposer.mode=grok", "grok.model=grok-4-fast-reasoning"]).unwrap();
        assert!(said.contains("2026-05-15") && said.contains("grok-4.3 answers in its place"), "{said}");
    }

    #[test]
    fn invalid_settings_are_refused_with_their_key() {
        // A misspelt key: the error suggests the right one.
        let args = ConfigArgs { set: vec!["fleet.shard_sise=7".to_owned()], ..ConfigArgs::default() };
        let error = format!("{:#}", args.load().unwrap_err());
        assert!(error.contains("fleet.shard_size"), "{error}");
        let args = ConfigArgs { shard_size: Some(0), ..ConfigArgs::default() };
        let error = format!("{:#}", args.load().unwrap_err());
        assert!(error.contains("fleet.shard_size: must be from 1"), "{error}");
    }
}
