//! Addresses that come and go.

use tokio::sync::mpsc;

use super::super::AddressSource;
use super::*;

#[test]
fn addresses_that_stay_keep_their_state_and_those_that_return_begin_anew() {
    let (group, _) = group_of(3);
    let leases = [pick_at(&group, at(0)), pick_at(&group, at(1))];
    eject(&group, at(0), Failure::Slow);
    let before = endpoint(&group, at(0));
    group.set_addresses(0, &[ip(3), ip(0), ip(0)]);
    assert_eq!(group.endpoints().len(), 2, "twice in the answer is once");
    assert!(Arc::ptr_eq(&before, &endpoint(&group, at(0))));
    assert!(!before.is_available());
    assert_eq!(before.in_flight(), 1);
    let gone = leases[1].endpoint().clone();
    for _ in 0..50 {
        assert_eq!(pick(&group).endpoint().address, at(3), "neither gone nor out");
    }
    // What it serves goes on, and is still counted there.
    assert_eq!(gone.in_flight(), 1);
    leases[1].failed(Failure::Slow);
    group.set_addresses(0, &[ip(1)]);
    group.set_addresses(0, &[ip(0), ip(1)]);
    assert!(!Arc::ptr_eq(&gone, &endpoint(&group, at(1))));
    let back = endpoint(&group, at(0));
    assert!(!Arc::ptr_eq(&before, &back));
    assert!(back.is_available());
    drop(leases);
    assert_eq!((gone.in_flight(), before.in_flight(), back.in_flight()), (0, 0, 0));
}

#[test]
fn upstreams_do_not_touch_each_others_addresses() {
    let told = Arc::new(Told::default());
    let group: Arc<Group<()>> = Group::new(options(&["one", "[::1]", "10.0.0.9"]), told.clone());
    assert_eq!(told.take(), [(1, "healthy"), (2, "healthy")]);
    assert_eq!(group.names(), [(0, "one".to_owned())]);
    assert!(!group.is_resolved());
    group.set_addresses(0, &[ip(0), ip(9)]);
    assert!(group.is_resolved());
    assert_eq!(told.take(), [(0, "healthy")]);
    assert_eq!(group.endpoints().len(), 4, "the same address by two upstreams is two");
    group.set_addresses(0, &[]);
    assert_eq!(told.take(), [(0, "unhealthy")]);
    let left: Vec<_> = group.endpoints().iter().map(|endpoint| endpoint.upstream).collect();
    assert_eq!(left, [1, 2]);
    group.set_addresses(7, &[ip(1)]);
    group.set_unresolved(7, "no such upstream".into());
    assert_eq!(group.endpoints().len(), 2);
}

#[test]
fn no_more_addresses_are_taken_than_can_be_kept() {
    let (group, _) = group_of(1000);
    assert_eq!(group.endpoints().len(), 256);
    assert!(group.endpoints().iter().all(|endpoint| endpoint.address < at(256)), "the first ones");
}

#[test]
fn why_there_is_no_address_is_said() {
    let group: Arc<Group<()>> = Group::new(options(&["one", "two"]), Arc::new(Told::default()));
    group.set_unresolved(0, "no such name".into());
    let expected = "http://one:80: no such name; http://two:80: the name is not resolved yet";
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::NoAddress(expected.into()));
    group.set_addresses(1, &[]);
    let expected = "http://one:80: no such name; http://two:80: the name has no address";
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::NoAddress(expected.into()));
    // Addresses that were known are kept while the name service fails.
    group.set_addresses(0, &[ip(0)]);
    group.set_unresolved(0, "no answer".into());
    assert_eq!(pick(&group).endpoint().address, at(0));
}

#[tokio::test(start_paused = true)]
async fn the_first_request_can_wait_until_every_name_was_asked() {
    let group: Arc<Group<()>> = Group::new(options(&["one", "two", "10.0.0.9"]), Arc::new(Told::default()));
    let waits = tokio::spawn({
        let group = group.clone();
        async move { group.resolved().await }
    });
    group.set_addresses(0, &[ip(0)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    group.set_unresolved(1, "no such name".into());
    waits.await.unwrap();
    group.resolved().await;
}

/// Answers that a test sends; and a word when it is asked to ask again.
struct Script(mpsc::Receiver<Result<Vec<IpAddr>, String>>, mpsc::Sender<()>);

impl AddressSource for Script {
    async fn next(&mut self) -> Result<Vec<IpAddr>, String> {
        match self.0.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn refresh(&mut self) {
        self.1.try_send(()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_follows_a_name_asks_again_on_failure_and_ends_with_the_group() {
    let group: Arc<Group<()>> = Group::new(options(&["app"]), Arc::new(Told::default()));
    let (answers, script) = mpsc::channel(1);
    let (refreshes, mut refreshed) = mpsc::channel(8);
    let task = tokio::spawn(group.discover(0, Script(script, refreshes)));
    let mut changes = group.changes();
    answers.send(Err("not yet".into())).await.unwrap();
    group.resolved().await;
    assert!(group.pick(&[]).is_err());
    changes.mark_unchanged();
    answers.send(Ok(vec![ip(0)])).await.unwrap();
    changes.changed().await.unwrap();
    assert!(refreshed.try_recv().is_err());
    eject(&group, at(0), Failure::Slow);
    refreshed.recv().await.unwrap();
    answers.send(Ok(vec![ip(1)])).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(pick(&group).endpoint().address, at(1));
    assert!(!task.is_finished());
    let lease = pick(&group);
    drop(group);
    task.await.unwrap();
    // A request that outlives its group.
    lease.failed(Failure::Slow);
    drop(lease);
}
