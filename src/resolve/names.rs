//! One reading of the system's files: the hosts they list, the servers to ask, the domains to try.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;

use super::{Addresses, Failure};

/// Nobody tells when a file is about to change, and looking is cheap.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// A TTL of 0 means "do not keep", which is no way to hold connections.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// Patience with one question, so that a second try fits into the deadline.
const PATIENCE: Duration = Duration::from_secs(2);
/// Servers asked at once: as many as `resolv.conf` may name, so that a dead one costs nothing.
const SERVERS_AT_ONCE: usize = 3;

/// What the files said.
pub(super) struct Names {
    hosts: HashMap<String, Vec<IpAddr>>,
    dns: Option<Dns>,
}

struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

impl Names {
    /// From the text of `/etc/resolv.conf` and `/etc/hosts`.
    pub(super) fn parse(resolv_conf: &[u8], hosts: &[u8]) -> Self {
        let dns = parse_resolv_conf(resolv_conf).ok().and_then(|(config, options)| Dns::new(config, options));
        Self { hosts: parse_hosts(hosts), dns }
    }

    /// One server, and nothing else.
    pub(super) fn of_server(server: SocketAddr) -> Self {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_name_servers(vec![server]);
        Self { hosts: HashMap::new(), dns: Dns::new(config, ResolverOpts::default()) }
    }

    /// Tries these domains, as `search` and `options ndots` of `resolv.conf` say.
    #[cfg(test)]
    pub(super) fn searching(mut self, search: &[&str], ndots: usize) -> Self {
        let dns = self.dns.as_mut().unwrap();
        dns.search = search.iter().map(|domain| Name::from_ascii(domain).unwrap()).collect();
        dns.ndots = ndots;
        self
    }

    pub(super) async fn lookup(&self, host: &str) -> Result<Addresses, Failure> {
        let bare = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Some(addresses) = self.hosts.get(&bare) {
            return Ok(Addresses { addresses: preferred(addresses.clone()), ttl: HOSTS_TTL });
        }
        // RFC 6761 section 6.3: never a question to a server, which might say anything.
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(Addresses { addresses: vec![IpAddr::from([127, 0, 0, 1])], ttl: HOSTS_TTL });
        }
        self.dns.as_ref().ok_or(Failure::NoServers)?.lookup(host).await
    }

    #[cfg(test)]
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        let candidates = self.dns.as_ref().unwrap().candidates(host).unwrap();
        candidates.iter().map(Name::to_string).collect()
    }
}

/// IPv4, and IPv6 only where there is no IPv4. Many containers have an IPv6 address on their
/// interface and no route behind it: each connection to an AAAA would hang until its time-out.
fn preferred(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    if addresses.iter().any(IpAddr::is_ipv4) {
        addresses.retain(IpAddr::is_ipv4);
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn parse_hosts(text: &[u8]) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts = HashMap::<String, Vec<IpAddr>>::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            hosts.entry(name).or_default().push(address);
        }
    }
    hosts
}

impl Dns {
    fn new(config: ResolverConfig, mut options: ResolverOpts) -> Option<Self> {
        let (domain, search, servers) = config.into_parts();
        let ndots = options.ndots;
        // Without `search` and `domain`, the domain of the host's own name, as in resolv.conf(5).
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        options.timeout = options.timeout.min(PATIENCE);
        options.num_concurrent_reqs = SERVERS_AT_ONCE;
        // Hosts, search domains and TTLs are ours.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let config = ResolverConfig::from_name_servers(servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().ok()?;
        Some(Self { resolver, search, ndots })
    }

    /// The full names to try, in order. hickory has the same, but reads its hosts file for each of
    /// them in turn, and takes the silence of one domain for the absence of the name.
    fn candidates(&self, host: &str) -> Result<Vec<Name>, Failure> {
        let mut given = Name::from_ascii(host).map_err(|_| Failure::InvalidName)?;
        if given.num_labels() == 0 {
            return Err(Failure::InvalidName);
        }
        if given.is_fqdn() {
            return Ok(vec![given]);
        }
        let mut candidates = Vec::with_capacity(self.search.len() + 1);
        // A name that is too long with a domain is left to be tried without it.
        candidates.extend(self.search.iter().filter_map(|domain| given.clone().append_domain(domain).ok()));
        let dots = usize::from(given.num_labels()).saturating_sub(1);
        given.set_fqdn(true);
        let at = if dots >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(at, given);
        Ok(candidates)
    }

    async fn lookup(&self, host: &str) -> Result<Addresses, Failure> {
        let mut worst = Failure::NoSuchName;
        for name in self.candidates(host)? {
            match self.ask_both(name).await {
                Ok(found) => return Ok(found),
                Err(Failure::NoSuchName) => {}
                // The next domain may know; but if none does, this is not a name that does not exist.
                Err(failure) => worst = failure,
            }
        }
        Err(worst)
    }

    async fn ask_both(&self, name: Name) -> Result<Addresses, Failure> {
        match self.ask(name.clone(), RecordType::A).await {
            Err(Failure::NoAddress) => self.ask(name, RecordType::AAAA).await,
            // Silence about IPv4 is no reason to change over to IPv6.
            answered => answered,
        }
    }

    async fn ask(&self, name: Name, kind: RecordType) -> Result<Addresses, Failure> {
        let answer = self.resolver.lookup(name, kind).await.map_err(|error| failure(&error))?;
        let records = answer.answers();
        let addresses = preferred(records.iter().filter_map(|record| record.data.ip_addr()).collect());
        if addresses.is_empty() {
            return Err(Failure::NoAddress);
        }
        // All of them: an alias on the way may be the first to change.
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        Ok(Addresses { addresses, ttl: Duration::from_secs(ttl.into()).max(SHORTEST_TTL) })
    }
}

fn failure(error: &NetError) -> Failure {
    match error {
        error if error.is_nx_domain() => Failure::NoSuchName,
        error if error.is_no_records_found() => Failure::NoAddress,
        NetError::Dns(DnsError::ResponseCode(_)) => Failure::ServersFailed,
        _ => Failure::NoAnswer,
    }
}
