//! TLS of the server: TLS 1.3 alone; the role of a client is a URI in its certificate.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use proto::channel::tls::{ALPN, authorities, certificates, private_key, provider};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

use super::roles::{Role, Roles};

/// Beginning of the URI in the alternative names of a client's certificate that names a role.
pub const ROLE_URI: &str = "urn:k8s-auto-fix:role:";

/// Files of a server's TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Its certificate, followed by those between it and its authority.
    pub cert: PathBuf,
    /// Private key of the certificate.
    pub key: PathBuf,
    /// Authorities of the clients' certificates; without it no client is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Reads the files. `required`: a client without a certificate is refused in the handshake.
pub(super) fn load(files: &TlsFiles, required: bool) -> anyhow::Result<Arc<ServerConfig>> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities(path)?, provider());
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build();
            builder.with_client_cert_verifier(
                verifier.with_context(|| format!("cannot use the authorities in {}", path.display()))?,
            )
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&files.cert)?, private_key(&files.key)?)
        .with_context(|| format!("cannot use {} with {}", files.cert.display(), files.key.display()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The roles that a verified certificate names.
pub(super) fn roles(certificate: &CertificateDer<'_>) -> Roles {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return Roles::default() };
    parsed.valid_uri_names().filter_map(|uri| uri.strip_prefix(ROLE_URI)).filter_map(Role::of).collect()
}
