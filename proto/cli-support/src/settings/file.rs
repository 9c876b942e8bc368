//! A configuration file as a JSON value.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::error::SettingsError;

/// More than any configuration needs.
const LIMIT: u64 = 1 << 20;

/// Reads a YAML (or JSON) file of at most 1 MiB. An empty file gives `null`. Duplicate keys and alias bombs are
/// refused by the parser.
pub fn read_yaml(path: &Path) -> Result<Value, SettingsError> {
    let read = |source| SettingsError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(read)?.take(LIMIT + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > LIMIT {
        return Err(SettingsError::TooLarge { path: path.to_owned(), limit: LIMIT });
    }
    serde_saphyr::from_str::<Option<Value>>(&text)
        .map(Option::unwrap_or_default)
        .map_err(|error| SettingsError::Syntax { path: path.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.yaml");
        std::fs::write(&path, text).unwrap();
        read_yaml(&path)
    }

    #[test]
    fn yaml_becomes_json() {
        let value =
            read("# talk\nseed: 7\nrules:\n  default_tag: \"1.25\"\n  images: {}\nlist: [a, b]\n").unwrap();
        assert_eq!(
            value,
            json!({"seed": 7, "rules": {"default_tag": "1.25", "images": {}}, "list": ["a", "b"]})
        );
        assert_eq!(read("# nothing\n").unwrap(), Value::Null);
        assert_eq!(read("{\"seed\": 1}").unwrap(), json!({"seed": 1}));
    }

    #[test]
    fn what_is_not_a_configuration_is_refused() {
        assert!(matches!(read("a: [1"), Err(SettingsError::Syntax { .. })));
        assert!(matches!(read("a: 1\na: 2\n"), Err(SettingsError::Syntax { .. })));
        assert!(matches!(read(&"#".repeat(1 << 21)), Err(SettingsError::TooLarge { .. })));
        let bomb = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n", m = n - 1)
        });
        assert!(matches!(read(&bomb), Err(SettingsError::Syntax { .. })));
        let missing = read_yaml(Path::new("no/such/file.yaml")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read configuration file no/such/file.yaml");
    }
}
