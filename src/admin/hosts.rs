//! `admin.allowed_hosts`: by which names the admin port is read.
//!
//! SECURITY: a page of a stranger can have its own name resolve to the address of this server once the
//! browser has loaded it (DNS rebinding), and then reads what is served here as its own. What it cannot
//! have is another name in `Host` than its own. So who asks by an address, or by a name that nobody can
//! register, is a person or a program of the house; any other name has to be allowed.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Request;

use super::Endpoint;
use crate::check::Check;
use crate::host::{host_of, matches};
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// Ends of names that are nobody's to register.
const OURS: [&str; 4] = ["*.localhost", "*.internal", "*.svc", "*.cluster.local"];

/// Who asks for anything but the endpoints of probes and scrapers must use one of these names.
#[derive(Debug, Clone, Default)]
pub struct AdminHosts {
    named: Vec<String>,
    any: bool,
}

impl AdminHosts {
    /// Allows `named` besides what is harmless; an empty list allows any.
    pub fn new(named: Option<Vec<String>>) -> Self {
        let any = named.as_ref().is_some_and(Vec::is_empty);
        Self { named: named.unwrap_or_default(), any }
    }

    fn allows(&self, host: &str) -> bool {
        let address = host.parse::<Ipv4Addr>().is_ok()
            || host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok());
        address
            || !host.contains(['.', ':', '['])
            || OURS.iter().any(|pattern| matches(pattern, host))
            || self.named.iter().any(|pattern| matches(pattern, host))
    }
}

impl Check for AdminHosts {
    fn check<B>(&self, request: &Request<B>, _: Shared<'_>) -> Result<(), Refusal> {
        // Counts and versions, for programs that use whatever name they were given.
        if self.any || Endpoint::of(request.uri().path()).is_some() {
            return Ok(());
        }
        if host_of(request).is_none_or(|host| self.allows(host)) {
            return Ok(());
        }
        let detail = "the admin port is not read by this name; use an address, or allow the name";
        Err(Refusal::new(Reason::HostNotAllowed, detail).limit("admin.allowed_hosts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(hosts: &AdminHosts, host: &str, path: &str) -> bool {
        hosts.check(&Request::get(path).header("host", host).body(()).unwrap(), None).is_ok()
    }

    #[test]
    fn a_name_that_a_stranger_can_register_is_not_read_by() {
        let hosts = AdminHosts::new(None);
        for host in [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "[fd00::7]",
            "localhost:9090",
            "LOCALHOST",
            "a.localhost",
            "nessen:9090",
            "nessen-admin.shop.svc:9090",
            "nessen-admin.shop.svc.cluster.local.",
            "ops.internal",
        ] {
            assert!(asks(&hosts, host, "/"), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:9090",
            "internal.example",
            "svc.example.com",
            "127.0.0.1.nip.io:9090",
            "[evil.example]",
            "1.2.3.4.5",
        ] {
            assert!(!asks(&hosts, host, "/"), "{host}");
            assert!(!asks(&hosts, host, "/events"), "{host}");
            assert!(asks(&hosts, host, "/metrics"), "{host}: a scraper uses what name it likes");
        }
    }

    #[test]
    fn names_can_be_allowed_one_by_one_or_all() {
        let hosts = AdminHosts::new(Some(vec!["status.example.com".into(), "*.ops.example.com".into()]));
        assert!(asks(&hosts, "status.example.com:9090", "/") && asks(&hosts, "a.ops.example.com", "/"));
        assert!(asks(&hosts, "127.0.0.1", "/") && !asks(&hosts, "example.com", "/"));
        assert!(asks(&AdminHosts::new(Some(vec![])), "evil.example", "/"));
    }
}
