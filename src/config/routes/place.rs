//! Whether what a route leads to can be there: folders are looked at, and a server that would ask
//! itself is told from others.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::config::ServerConfig;
use crate::handler::proxy::url::UpstreamUrl;
use crate::sandbox;

/// Whether `root` is a folder that can be read. The error follows the value.
pub(super) fn check_root(root: &Path) -> Result<(), String> {
    // Where it was looked for is the first thing to know of a relative one.
    let absolute = std::path::absolute(root).ok().filter(|_| root.is_relative());
    let place = absolute.map(|path| format!(" (looked for {})", path.display())).unwrap_or_default();
    match fs::metadata(root) {
        Ok(found) if !found.is_dir() => Err(format!("is no folder{place}")),
        Ok(_) => fs::read_dir(root)
            .map(|_| ())
            .map_err(|error| format!("cannot be read: {}{place}", sandbox::explain(root, &error))),
        Err(error) => Err(format!("cannot be read: {error}{place}")),
    }
}

/// Whether `fallback`, a URL path, is a file in `root` that can be read, and not a link out of it.
pub(super) fn check_fallback(root: &Path, fallback: &str) -> Result<(), String> {
    if fallback.contains('%') {
        return Err("is percent-encoded; name it as it is".to_owned());
    }
    let cannot = |error| format!("cannot be read: {error}");
    let file = root.join(fallback.trim_start_matches('/')).canonicalize().map_err(cannot)?;
    if !file.starts_with(root.canonicalize().map_err(cannot)?) {
        return Err("is a link out of the folder".to_owned());
    }
    if !file.is_file() {
        return Err("is no file".to_owned());
    }
    File::open(&file)
        .map(|_| ())
        .map_err(|error| format!("cannot be read: {}", sandbox::explain(&file, &error)))
}

/// Whether `url` leads to the listener of `server`: a request would go round until all that limits
/// requests is spent. A name other than `localhost` is not resolved for this.
pub(super) fn is_this_server(url: &UpstreamUrl, server: &ServerConfig) -> bool {
    if url.port != server.port {
        return false;
    }
    let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let targets = match url.host.parse::<IpAddr>() {
        // A connection to "any address" goes to this machine.
        Ok(IpAddr::V4(any)) if any.is_unspecified() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        Ok(IpAddr::V6(any)) if any.is_unspecified() => localhost.to_vec(),
        Ok(address) => vec![address.to_canonical()],
        Err(_) if url.host.trim_end_matches('.') == "localhost" => localhost.to_vec(),
        Err(_) => return false,
    };
    let listens = server.host.to_canonical();
    targets.into_iter().any(|target| {
        // The IPv6 wildcard takes IPv4 as well.
        let takes_all = listens.is_unspecified() && (listens.is_ipv6() || target.is_ipv4());
        target == listens || (takes_all && target.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_server_that_would_ask_itself_is_known() {
        let mut server = Config::default().server;
        server.port = 3000;
        for (host, url, itself) in [
            ("0.0.0.0", "http://127.0.0.1:3000", true),
            ("0.0.0.0", "http://127.1.2.3:3000", true),
            ("0.0.0.0", "h2c://localhost:3000", true),
            ("0.0.0.0", "http://LOCALHOST.:3000", true),
            ("0.0.0.0", "http://0.0.0.0:3000", true),
            ("0.0.0.0", "http://[::ffff:127.0.0.1]:3000", true),
            ("::", "http://127.0.0.1:3000", true),
            ("::", "http://[::1]:3000", true),
            ("::", "http://[::]:3000", true),
            ("127.0.0.1", "http://localhost:3000", true),
            ("127.0.0.1", "http://127.0.0.1:3000", true),
            ("10.0.0.1", "http://10.0.0.1:3000", true),
            ("0.0.0.0", "http://127.0.0.1:3001", false),
            ("0.0.0.0", "http://[::1]:3000", false),
            ("127.0.0.1", "http://127.0.0.2:3000", false),
            // The application has the loopback address, the server the other one.
            ("10.0.0.1", "http://127.0.0.1:3000", false),
            ("0.0.0.0", "http://app:3000", false),
            ("0.0.0.0", "http://10.0.0.1:3000", false),
        ] {
            server.host = host.parse().unwrap();
            assert_eq!(is_this_server(&url.parse().unwrap(), &server), itself, "{host} {url}");
        }
        server.port = 0;
        assert!(!is_this_server(&"http://127.0.0.1:3000".parse().unwrap(), &server));
    }
}
