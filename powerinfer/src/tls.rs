//! Which certificates are trusted: those that the system trusts, a company's own among them.

use ureq::tls::{RootCerts, TlsConfig};

pub(crate) fn config() -> TlsConfig {
    TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build()
}
