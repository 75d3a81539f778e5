//! By which right, and how securely, the servers are talked to.

use crate::Login;
#[cfg(feature = "tls")]
use std::fmt;

/// By default: by none, in the clear.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Who asks. With etcd's authentication on, it needs to read and write below the address's root.
    pub user: Option<Login>,
    /// Whom to believe.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl Credentials {
    /// A user's, in the clear.
    #[must_use]
    pub fn of(user: Option<Login>) -> Self {
        Self {
            user,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Connections under TLS: whose servers' certificates are believed, and who we are.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub struct Tls {
    /// Certificates of those who vouch for the servers, as PEM.
    pub roots: String,
    /// Our certificate and its key, as PEM, where the servers ask for one.
    pub identity: Option<(String, String)>,
}

#[cfg(feature = "tls")]
impl Tls {
    pub(crate) fn config(&self) -> tonic::transport::ClientTlsConfig {
        use tonic::transport::{Certificate, ClientTlsConfig, Identity};
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.roots));
        match &self.identity {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }
}

#[cfg(feature = "tls")]
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}
