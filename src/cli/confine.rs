//! `server.sandbox`: what a configuration needs, given up but for that.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Probe, RateLimitBackend, SandboxMode, Sources, Target};
use crate::evidence::cold::Place;
use crate::resolve;
use crate::sandbox::{self, Held, Notify, Rules};
use crate::tls::client::ClientOptions;

/// The port of name servers, which are asked by TCP where an answer is too long for a datagram.
const DNS: u16 = 53;
/// Where a service manager is told of the state: `sd_notify(3)`.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Enters the sandbox, if there is to be one. The sockets have to be bound.
pub(super) fn confine(sources: &Sources, config: &Config) -> Result<Option<&'static Held>, String> {
    if config.server.sandbox == SandboxMode::Off {
        return Ok(None);
    }
    make_folder(config);
    let held = sandbox::enter(rules(sources, config)).map_err(|error| format!("server.sandbox: {error}"))?;
    if config.server.sandbox == SandboxMode::Required && !held.suffices() {
        return Err(format!(
            "server.sandbox = required, and this kernel does not enforce it: {}",
            held.lacks()
        ));
    }
    Ok(Some(held))
}

/// The folder of evidence is made now, or never: in the sandbox none is. What stands in the way of that is told
/// by whoever writes there.
fn make_folder(config: &Config) {
    if let Ok(Some(Place::Folder(folder))) = config.evidence.place() {
        let _ = std::fs::create_dir_all(folder.path);
    }
}

/// What `check` says of it.
pub(super) fn foresee(sources: &Sources, config: &Config) -> String {
    let mode = config.server.sandbox;
    let lines = match sandbox::rehearse(rules(sources, config)) {
        Ok(held) => held.to_string().lines().map(|line| format!("  {line}\n")).collect(),
        Err(error) => format!("  cannot be tried: {error}\n"),
    };
    match mode {
        SandboxMode::Off => format!("  server.sandbox = off; on, it would be\n{lines}"),
        SandboxMode::On | SandboxMode::Required => lines,
    }
}

/// Says in the log what holds, in a line, and in another what does not.
pub(super) fn tell(held: Option<&Held>) {
    let Some(held) = held else { return };
    tracing::info!("sandbox: {}", held.summary());
    let lacks = held.lacks();
    if !lacks.is_empty() {
        tracing::warn!("the sandbox is not complete: {lacks}");
    }
}

/// What serving this configuration needs.
fn rules(sources: &Sources, config: &Config) -> Rules {
    let files = sources.files();
    let mut read = vec![PathBuf::from("/dev/null")];
    for file in &files {
        read.extend(beside(file));
    }
    if let Some(tls) = config.tls.options(false) {
        read.extend(tls.files().flat_map(certificate_file));
    }
    let mut asked = Vec::new();
    for route in &config.routes {
        read.extend(route.upstream.tls().iter().flat_map(ClientOptions::files).flat_map(|file| beside(file)));
        match &route.target {
            Target::Upstream(urls) => asked.extend(urls.iter().map(|url| (url.host.as_str(), url.port))),
            Target::Files(root) => read.extend(root_of(root)),
            Target::Redirect { .. } | Target::Respond { .. } => {}
        }
    }
    asked.extend(config.checks.iter().map(|check| match &check.probe {
        Probe::Tcp { host, port }
        | Probe::Http { host, port, .. }
        | Probe::Https { host, port, .. }
        | Probe::Redis { host, port }
        | Probe::Postgres { host, port } => (host.as_str(), *port),
    }));
    let own = config.checks.iter().filter_map(|check| match &check.probe {
        Probe::Https { ca, .. } => ca.as_deref(),
        _ => None,
    });
    read.extend(own.flat_map(beside));
    let shared = &config.shared_limit;
    if let (RateLimitBackend::Redis, Some(url)) = (shared.backend, &shared.redis_url) {
        asked.push((url.host.as_str(), url.port));
        read.extend(shared.redis_ca.iter().flat_map(|file| beside(file)));
    }
    let mut write = Vec::new();
    let mut evidence = None;
    match config.evidence.place() {
        Ok(Some(Place::Folder(folder))) => write.push(folder.path),
        Ok(Some(Place::Bucket(bucket))) => {
            read.extend(bucket.ca.clone());
            evidence = Some(bucket.server());
        }
        Ok(None) | Err(_) => {}
    }
    asked.extend(evidence.as_ref().map(|server| (server.host.trim_matches(['[', ']']), server.port)));
    let collector = config.tracing.is_on().then(|| config.tracing.collector());
    asked.extend(collector.iter().map(|url| (url.host.as_str(), url.port)));
    read.extend(config.tracing.files().flat_map(beside));
    // A file can bring other upstreams with the next SIGHUP; flags and environment are of the start.
    let may_change = !files.is_empty();
    let names = asked.iter().any(|(host, _)| host.parse::<IpAddr>().is_err());
    if names || may_change {
        read.extend(resolve::FILES.iter().flat_map(|file| system_file(Path::new(file))));
    }
    let mut ports: Vec<u16> = asked.iter().map(|(_, port)| *port).chain(names.then_some(DNS)).collect();
    ports.sort_unstable();
    ports.dedup();
    read.sort_unstable();
    read.dedup();
    Rules {
        read,
        write,
        connect: (!may_change).then_some(ports),
        udp: names || may_change,
        notify: match sources.variable(NOTIFY_SOCKET) {
            None => Notify::Nowhere,
            Some(name) if name.as_encoded_bytes().starts_with(b"@") => Notify::Abstract,
            Some(_) => Notify::Path,
        },
    }
}

/// The folder of a file that is to be read again: whoever writes it puts another in its place, and so
/// does Kubernetes with the folder behind a symlink. In the root of all, the file alone.
fn beside(file: &Path) -> Vec<PathBuf> {
    let folder = |file: &Path| match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) if folder.parent().is_some() => folder.to_owned(),
        _ => file.to_owned(),
    };
    let behind = file.canonicalize().ok();
    std::iter::once(file).chain(behind.as_deref()).map(folder).collect()
}

/// The folders that lead to a file which is replaced while it is in use: its own, the one that it is in behind
/// symlinks, and where that is one of Kubernetes' (`..data`, which is put in place anew with each change), the one
/// that holds them all.
fn certificate_file(file: &Path) -> Vec<PathBuf> {
    let mut folders = beside(file);
    let volume = file.canonicalize().ok().and_then(|behind| {
        let folder = behind.parent()?;
        let is_version = folder.file_name()?.as_encoded_bytes().starts_with(b"..");
        Some(folder.parent().filter(|volume| is_version && volume.parent().is_some())?.to_owned())
    });
    folders.extend(volume);
    folders
}

/// A root, and behind a symlink the folder of what it leads to: a release is replaced by another
/// beside it, and the symlink by one that leads there.
fn root_of(root: &Path) -> Vec<PathBuf> {
    let is_link = root.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let releases = is_link.then(|| root.canonicalize().ok()).flatten().and_then(|target| {
        let parent = target.parent()?;
        parent.parent().is_some().then(|| parent.to_owned())
    });
    std::iter::once(root.to_owned()).chain(releases).collect()
}

/// A file of the system, and where it is a symlink into a folder of its own, as under
/// systemd-resolved, that folder.
fn system_file(file: &Path) -> Vec<PathBuf> {
    let behind = file.canonicalize().ok().filter(|behind| behind != file);
    let folder = behind.and_then(|behind| Some(behind.parent()?.to_owned()));
    let folder = folder.filter(|folder| folder.parent().is_some() && file.parent() != Some(folder));
    std::iter::once(file.to_owned()).chain(folder).collect()
}
