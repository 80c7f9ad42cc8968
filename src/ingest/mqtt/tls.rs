//! The door's TLS port: rustls in front of the same sessions. Who a device is, its secret says; the certificate is the
//! hub's only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::config::TlsConfig;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is meant.
    #[error("{what} {} cannot be used; it must be a PEM file", file.display())]
    Pem {
        /// `mqtt.tls.certificate` or `mqtt.tls.key`.
        what: &'static str,
        /// Which file.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The certificate and the key do not belong together, or are of a kind that rustls does not know.
    #[error("mqtt.tls.certificate and mqtt.tls.key do not make a server")]
    Rustls(#[from] rustls::Error),
}

/// Reads certificate and key.
///
/// # Errors
/// When a file is no PEM, or the two do not belong together.
pub(super) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, TlsError> {
    let failed = |what, file: &Path| {
        let file = file.to_owned();
        move |source| TlsError::Pem { what, file, source }
    };
    let certificate = &config.certificate;
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed("mqtt.tls.certificate", certificate))?;
    let key =
        PrivateKeyDer::from_pem_file(&config.key).map_err(failed("mqtt.tls.key", &config.key))?;
    let server =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}
