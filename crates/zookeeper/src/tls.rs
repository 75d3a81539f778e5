//! Connections under TLS, with the feature `tls`. Without it there is no [`Tls`] to be had.

#[cfg(feature = "tls")]
pub use with_rustls::{Tls, TlsError};

/// How to connect under TLS: with the feature `tls` only.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub enum Tls {}

#[cfg(feature = "tls")]
mod with_rustls {
    use std::fmt;
    use std::io;
    use std::sync::Arc;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

    /// How to connect under TLS: which servers are believed, and what we show them.
    #[derive(Clone)]
    pub struct Tls(TlsConnector);

    /// Why there is no TLS. It never holds a key.
    #[derive(Debug, thiserror::Error)]
    pub enum TlsError {
        /// A text is not the PEM it should be.
        #[error("{0} is not PEM, or holds none")]
        Pem(&'static str),
        /// It is PEM, and of no use.
        #[error("{what}: {cause}")]
        Refused {
            /// What.
            what: &'static str,
            /// Why.
            cause: Error,
        },
    }

    impl Tls {
        /// Believes servers whose certificate, for the name they are addressed by, is signed by one
        /// of `authorities`; shows them `identity`, a certificate's chain and its key. All PEM.
        ///
        /// # Errors
        /// [`TlsError`], naming what is of no use.
        pub fn new(authorities: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
            let refused = |what| move |cause| TlsError::Refused { what, cause };
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities, "the authorities' file")? {
                roots.add(authority).map_err(refused("an authority"))?;
            }
            let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(refused("TLS"))?
                .with_root_certificates(roots);
            let config = match identity {
                None => builder.with_no_client_auth(),
                Some((chain, key)) => {
                    let chain = certificates(chain, "the certificate's file")?;
                    let key = PrivateKeyDer::from_pem_slice(key)
                        .map_err(|_| TlsError::Pem("the key's file"))?;
                    let built = builder.with_client_auth_cert(chain, key);
                    built.map_err(refused("the certificate and its key"))?
                }
            };
            Ok(Self(TlsConnector::from(Arc::new(config))))
        }

        pub(crate) async fn connect(
            &self,
            host: String,
            stream: TcpStream,
        ) -> io::Result<TlsStream<TcpStream>> {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            self.0.connect(name, stream).await
        }
    }

    fn certificates(
        pem: &[u8],
        what: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            _ => Err(TlsError::Pem(what)),
        }
    }

    impl fmt::Debug for Tls {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Tls")
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_no_pem_is_named() {
            let error = Tls::new(b"", None).unwrap_err().to_string();
            assert!(error.contains("authorities"), "{error}");
            let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
            assert!(matches!(Tls::new(bad, None), Err(TlsError::Refused { .. })));
        }
    }
}
