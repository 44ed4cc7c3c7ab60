//! What the balancer does, with addresses made up and a clock that waits for nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{
    Endpoint, Events, Failure, Group, GroupOptions, HealthOptions, Lease, Unavailable, UpstreamSpec,
};

mod addresses;
mod ejecting;
mod health;
mod picking;
mod standing;

/// What metrics were told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(usize, &'static str)>>);

impl Events for Told {
    fn healthy(&self, upstream: usize, healthy: bool) {
        self.0.lock().unwrap().push((upstream, if healthy { "healthy" } else { "unhealthy" }));
    }

    fn ejected(&self, upstream: usize) {
        self.0.lock().unwrap().push((upstream, "ejected"));
    }
}

impl Told {
    fn take(&self) -> Vec<(usize, &'static str)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Three failures within 10 s put aside for 10 s, at most a minute.
fn options(hosts: &[&str]) -> GroupOptions {
    let spec =
        |host: &&str| UpstreamSpec { label: format!("http://{host}:80"), host: (*host).into(), port: 80 };
    GroupOptions {
        upstreams: hosts.iter().map(spec).collect(),
        eject_after: Some(3),
        eject_window: Duration::from_secs(10),
        eject_time: Duration::from_secs(10),
        max_eject_time: Duration::from_secs(60),
        health: None,
        retry_budget: 20,
        longest_resolve: Duration::from_secs(30),
    }
}

fn ip(last: usize) -> IpAddr {
    let last = u32::try_from(last).unwrap();
    Ipv4Addr::from_bits(0x0a00_0000 + last).into()
}

fn at(last: usize) -> SocketAddr {
    SocketAddr::new(ip(last), 80)
}

/// A group of one name that has so many addresses: `at(0)` and on.
fn group_of(count: usize) -> (Arc<Group<()>>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let group = Group::new(options(&["app"]), told.clone());
    group.set_addresses(0, &(0..count).map(ip).collect::<Vec<_>>());
    told.take();
    (group, told)
}

fn pick(group: &Group<()>) -> Lease<()> {
    group.pick(&[]).unwrap()
}

fn endpoint(group: &Group<()>, address: SocketAddr) -> Arc<Endpoint<()>> {
    group.endpoints().into_iter().find(|endpoint| endpoint.address == address).unwrap()
}

/// A lease on that address, by having tried all others.
fn pick_at(group: &Group<()>, address: SocketAddr) -> Lease<()> {
    let all = group.endpoints();
    let others: Vec<_> = all.iter().map(|known| known.address).filter(|known| *known != address).collect();
    let lease = group.pick(&others).unwrap();
    assert_eq!(lease.endpoint().address, address);
    lease
}

/// Three failures of that address.
fn eject(group: &Group<()>, address: SocketAddr, failure: Failure) {
    (0..3).for_each(|_| pick_at(group, address).failed(failure));
    assert!(!endpoint(group, address).is_available());
}

/// How many of so many requests, one after the other, go where.
fn spread(group: &Group<()>, requests: usize) -> HashMap<SocketAddr, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        *counts.entry(pick(group).endpoint().address).or_default() += 1;
    }
    counts
}

/// Waits until the only address is picked; the time it took, to a tenth of a second.
async fn until_picked(group: &Group<()>) -> (Duration, Lease<()>) {
    let step = Duration::from_millis(100);
    for steps in 0..10_000 {
        match group.pick(&[]) {
            Ok(lease) => return (step * steps, lease),
            Err(why) => assert_eq!(why, Unavailable::AllDown),
        }
        tokio::time::advance(step).await;
    }
    panic!("never picked again");
}

/// A fifth more or less, and a step.
fn assert_about(time: Duration, seconds: f64) {
    let seconds = seconds * 0.79..seconds * 1.21 + 0.1;
    assert!(seconds.contains(&time.as_secs_f64()), "{time:?} is not within {seconds:?}");
}
