//! Configuration of a run, sent as JSON so that an unknown key is refused and not dropped.

use domain::config::RunConfig;

use super::BadMessage;

/// Longest configuration that is parsed, in bytes.
const CONFIG_BYTES: usize = 1 << 20;

/// Encodes a configuration.
pub fn config_to_wire(config: &RunConfig) -> String {
    // A configuration holds strings, numbers and maps with string keys only, which always serialize.
    serde_json::to_string(config).unwrap_or_default()
}

/// Parses and checks a configuration.
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
    fn a_configuration_round_trips_and_an_invalid_one_is_refused() {
        let mut config = RunConfig::default();
        config.rules.images.insert("nginx".to_owned(), "nginx:1.27".to_owned());
        assert_eq!(config_from_wire(&config_to_wire(&config)).unwrap(), config);
        config.fleet.shard_size = 0;
        let error = config_from_wire(&config_to_wire(&config)).unwrap_err();
        assert!(error.to_string().contains("fleet.shard_size"), "{error}");
        assert!(config_from_wire(r#"{"sede": 1}"#).is_err());
    }
}
