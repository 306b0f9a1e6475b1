//! Small questions over HTTP that block: whether a key is taken, whether an address answers.

use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};

/// Trusts what the machine trusts, takes every status for an answer, and follows no redirect: it would carry a key to
/// wherever that points.
pub(crate) fn http_agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build()
        .new_agent()
}
