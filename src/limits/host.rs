//! `limits.allowed_hosts`: a request for somebody else is misdirected, 421
//! ([RFC 9110 section 15.5.20](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20)).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::Request;

use crate::check::Check;
use crate::host::{host_of, matches};
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// The hosts served. Clones share one list, which [`AllowedHosts::replace`] changes while running.
#[derive(Debug, Clone)]
pub struct AllowedHosts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: ArcSwap<Vec<String>>,
    /// Whether there is a list at all; told apart so that most servers load nothing.
    any: AtomicBool,
}

impl AllowedHosts {
    /// Serves `hosts`: lower case, without port; `*.example.com` stands for every name below it.
    /// An empty list serves any.
    pub fn new(hosts: Vec<String>) -> Self {
        let any = AtomicBool::new(hosts.is_empty());
        Self(Arc::new(Inner { hosts: ArcSwap::from_pointee(hosts), any }))
    }

    /// Serves `hosts` from now on.
    pub fn replace(&self, hosts: Vec<String>) {
        let any = hosts.is_empty();
        self.0.hosts.store(Arc::new(hosts));
        self.0.any.store(any, Ordering::Release);
    }
}

impl Check for AllowedHosts {
    fn check<B>(&self, request: &Request<B>, _: Shared<'_>) -> Result<(), Refusal> {
        if self.0.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let hosts = self.0.hosts.load();
        let host = host_of(request);
        if host.is_some_and(|host| hosts.iter().any(|pattern| matches(pattern, host))) {
            return Ok(());
        }
        Err(Refusal::new(Reason::HostNotAllowed, "this host is not served here")
            .limit("limits.allowed_hosts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_whole_and_without_case_or_port() {
        let check = AllowedHosts::new(vec!["example.com".into(), "*.example.org".into(), "[::1]".into()]);
        let allowed = |host: &str| {
            check.check(&Request::builder().uri("/").header("host", host).body(()).unwrap(), None).is_ok()
        };
        for host in [
            "example.com",
            "EXAMPLE.com:8080",
            "example.com.",
            "a.example.org",
            "a.b.example.org",
            "[::1]:80",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in ["example.com.evil", "evilexample.com", "example.org", ".example.org.x", "127.0.0.1"] {
            assert!(!allowed(host), "{host}");
        }
        assert!(check.check(&Request::builder().uri("/").body(()).unwrap(), None).is_err(), "no host at all");
        check.replace(vec![]);
        assert!(allowed("anything"));
    }
}
