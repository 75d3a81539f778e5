//! By which right, and how securely, the servers are talked to.

use std::fmt;

/// By default: by none, in the clear.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Who asks. With etcd's authentication on, it needs to read and write below the address's root.
    pub user: Option<User>,
    /// Whom to believe.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

/// A user of etcd's. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    password: String,
}

impl User {
    /// Takes a name and a password as they are.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { name: name.into(), password: password.into() }
    }

    pub(crate) fn reveal(&self) -> (&str, &str) {
        (&self.name, &self.password)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let user = Some(User::new("flock", "hunter2"));
        let shown = format!("{:?}", Credentials { user, ..Credentials::default() });
        assert!(shown.contains("flock") && !shown.contains("hunter2"), "{shown}");
    }
}
