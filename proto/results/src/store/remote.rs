//! Buckets of S3, Google and Azure. Credentials come from the environment: keys in variables, a web identity, the metadata
//! service of the machine, as each cloud's own programs take them.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};

use super::error::{RequestFailed, StoreError};
use super::location::{Bucket, Scheme};

/// Longest time of a request with all bytes of its body: those of a chunk of an upload over a slow line.
const REQUEST: &str = "300 seconds";

/// Longest time without a byte of a response.
const SILENCE: &str = "30 seconds";

/// Longest time in which a request is repeated. Who made it repeats it for longer, and says meanwhile why nothing goes on.
const REPEATED: Duration = Duration::from_secs(20);

/// Variables of the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// Exactly these.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// The settings in variables that begin with `prefix`; those that name no setting are of other programs.
    fn settings<K: std::str::FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Opens the bucket. Makes no request.
pub(super) fn open(bucket: &Bucket, environment: &Environment) -> Result<Arc<dyn ObjectStore>, StoreError> {
    // An error means that it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = match bucket.scheme {
        Scheme::S3 => s3(bucket, environment)?.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        Scheme::Google => google(bucket, environment)?.build().map(|store| Arc::new(store) as _),
        Scheme::Azure => azure(bucket, environment)?.build().map(|store| Arc::new(store) as _),
    };
    built.map_err(|error| settings(bucket, &reason(&error, bucket.scheme)))
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 10, retry_timeout: REPEATED }
}

fn s3(bucket: &Bucket, environment: &Environment) -> Result<AmazonS3Builder, StoreError> {
    let mut builder = AmazonS3Builder::new();
    for (key, value) in environment.settings::<AmazonS3ConfigKey>("AWS_") {
        builder = builder.with_config(key, value);
    }
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    for (key, value) in client(bucket, endpoint.as_deref(), allowed.as_deref(), "AWS_ALLOW_HTTP")? {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    Ok(builder.with_retry(retry()).with_bucket_name(&bucket.name))
}

fn google(bucket: &Bucket, environment: &Environment) -> Result<GoogleCloudStorageBuilder, StoreError> {
    let mut builder = GoogleCloudStorageBuilder::new();
    if let Some(path) = environment.variable("SERVICE_ACCOUNT") {
        builder = builder.with_service_account_path(path);
    }
    for (key, value) in environment.settings::<GoogleConfigKey>("GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let allowed = builder.get_config_value(&GoogleConfigKey::Client(ClientConfigKey::AllowHttp));
    for (key, value) in client(bucket, endpoint.as_deref(), allowed.as_deref(), "GOOGLE_ALLOW_HTTP")? {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    Ok(builder.with_retry(retry()).with_bucket_name(&bucket.name))
}

fn azure(bucket: &Bucket, environment: &Environment) -> Result<MicrosoftAzureBuilder, StoreError> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in environment.settings::<AzureConfigKey>("AZURE_") {
        builder = builder.with_config(key, value);
    }
    for name in ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"] {
        if let Some(url) = environment.variable(name) {
            builder = builder.with_msi_endpoint(url);
        }
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let allowed = builder.get_config_value(&AzureConfigKey::Client(ClientConfigKey::AllowHttp));
    for (key, value) in client(bucket, endpoint.as_deref(), allowed.as_deref(), "AZURE_ALLOW_HTTP")? {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    Ok(builder.with_retry(retry()).with_container_name(&bucket.name))
}

/// The settings of the HTTP client, the same for each cloud. `allowed`: what `variable` says of plain text.
fn client(
    bucket: &Bucket,
    endpoint: Option<&str>,
    allowed: Option<&str>,
    variable: &str,
) -> Result<impl Iterator<Item = (ClientConfigKey, &'static str)> + use<>, StoreError> {
    let plain = plain_text(bucket, endpoint, allowed == Some("true"), variable)?;
    let times = [(ClientConfigKey::Timeout, REQUEST), (ClientConfigKey::ReadTimeout, SILENCE)];
    Ok(times.into_iter().chain(plain.then_some((ClientConfigKey::AllowHttp, "true"))))
}

/// Whether requests may be plain text: where the endpoint is on this machine, or a variable allows it. The endpoint may hold a
/// secret and is not repeated.
fn plain_text(
    bucket: &Bucket,
    endpoint: Option<&str>,
    allowed: bool,
    variable: &str,
) -> Result<bool, StoreError> {
    let Some(endpoint) = endpoint else { return Ok(allowed) };
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.contains('@') || rest.contains('?') {
        return Err(settings(bucket, "the endpoint in the environment has a password or a query: remove it"));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Ok(allowed);
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    let loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback || allowed {
        return Ok(true);
    }
    let reason = format!(
        "the endpoint in the environment is plain http on another machine: use https, or set {variable}=true on a network \
         that you trust"
    );
    Err(settings(bucket, &reason))
}

fn settings(bucket: &Bucket, reason: &str) -> StoreError {
    StoreError::Settings { location: bucket.location(), reason: reason.to_owned() }
}

/// Why the settings make no store. Messages of the library repeat values, which may be secrets.
fn reason(error: &object_store::Error, scheme: Scheme) -> String {
    let prefix = match scheme {
        Scheme::S3 => "AWS_",
        Scheme::Google => "GOOGLE_",
        Scheme::Azure => "AZURE_",
    };
    let text = error.to_string();
    let known = [
        ("Missing AccessKeyId", "AWS_ACCESS_KEY_ID is missing beside AWS_SECRET_ACCESS_KEY"),
        ("Missing SecretAccessKey", "AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID"),
        ("Account must be specified", "AZURE_STORAGE_ACCOUNT_NAME is missing"),
    ];
    let found = known.iter().find(|(theirs, _)| text.contains(theirs)).map(|(_, ours)| (*ours).to_owned());
    found.unwrap_or_else(|| {
        format!("the variables {prefix}* make no usable settings: {}", RequestFailed::of(error))
    })
}

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::*;

    fn opened(url: &str, variables: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let Location::Bucket(bucket) = Location::parse(url).unwrap() else { panic!("{url}") };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        open(&bucket, &Environment::of(variables))
    }

    #[test]
    fn plain_http_needs_loopback_or_a_word() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        let with = |more: &[(&str, &str)]| {
            let opened = opened("s3://b/p", &[&keys[..], more].concat());
            opened.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(with(&[]), Ok(()));
        for endpoint in
            ["http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:1", "https://minio.example"]
        {
            assert_eq!(with(&[("AWS_ENDPOINT_URL", endpoint)]), Ok(()), "{endpoint}");
        }
        let refused = with(&[("AWS_ENDPOINT_URL", "http://minio.example:9000")]).unwrap_err();
        assert!(refused.contains("AWS_ALLOW_HTTP"), "{refused}");
        let refused = with(&[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1.example")]).unwrap_err();
        assert!(refused.contains("AWS_ALLOW_HTTP"), "{refused}");
        let allowed = [("AWS_ENDPOINT_URL", "http://minio.example"), ("AWS_ALLOW_HTTP", "true")];
        assert_eq!(with(&allowed), Ok(()));
        let secret = with(&[("AWS_ENDPOINT_URL", "https://user:hush@minio.example")]).unwrap_err();
        assert!(!secret.contains("hush"), "{secret}");
    }

    #[test]
    fn each_cloud_opens_from_its_variables_alone() {
        let account = [("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA==")];
        assert!(opened("az://c/p", &account).is_ok());
        assert!(opened("gs://b/p", &[("GOOGLE_SKIP_SIGNATURE", "true")]).is_ok());
        for (url, variables, expected) in [
            ("s3://b", &[("AWS_ACCESS_KEY_ID", "hush")][..], "AWS_SECRET_ACCESS_KEY"),
            ("az://c", &[], "AZURE_STORAGE_ACCOUNT_NAME"),
            ("gs://b", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "hush")], "GOOGLE_"),
        ] {
            let refused = opened(url, variables).unwrap_err().to_string();
            assert!(refused.contains(expected) && !refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        let store = opened("s3://b/p", &keys).unwrap();
        assert!(!store.to_string().contains("hush"));
    }
}
