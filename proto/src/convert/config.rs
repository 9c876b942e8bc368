//! A run's configuration: travels as JSON, so that an unknown key is refused rather than dropped.

use domain::config::RunConfig;

use super::BadMessage;

/// Longest configuration that is read.
const CONFIG_BYTES: usize = 1 << 20;

/// The configuration as it travels.
pub fn config_to_wire(config: &RunConfig) -> String {
    // Texts, numbers and maps with text keys: nothing in a configuration can fail to be JSON.
    serde_json::to_string(config).unwrap_or_default()
}

/// Reads and checks a configuration.
pub fn config_from_wire(json: &str) -> Result<RunConfig, BadMessage> {
    if json.len() > CONFIG_BYTES {
        return Err(BadMessage::new("config_json", format!("is longer than {CONFIG_BYTES} bytes")));
    }
    let config: RunConfig =
        serde_json::from_str(json).map_err(|error| BadMessage::new("config_json", error))?;
    config.check().map_err(|error| BadMessage::new("config_json", error))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_and_an_unchecked_one_does_not() {
        let mut config = RunConfig::default();
        config.rules.images.insert("nginx".to_owned(), "nginx:1.27".to_owned());
        assert_eq!(config_from_wire(&config_to_wire(&config)).unwrap(), config);
        config.fleet.shard_size = 0;
        let error = config_from_wire(&config_to_wire(&config)).unwrap_err();
        assert!(error.to_string().contains("fleet.shard_size"), "{error}");
        assert!(config_from_wire(r#"{"sede": 1}"#).is_err());
    }
}
