//! Which of the available addresses is picked, and what is in flight.

use super::*;

#[test]
fn idle_addresses_are_picked_evenly() {
    let (group, _) = group_of(10);
    let counts = spread(&group, 10_000);
    // Seven standard deviations.
    assert!((0..10).all(|last| (790..1210).contains(&counts[&at(last)])), "{counts:?}");
}

#[test]
fn the_busier_of_two_is_not_picked() {
    let (group, _) = group_of(2);
    let busy = pick(&group);
    let idle = pick(&group);
    assert_ne!(busy.endpoint().address, idle.endpoint().address);
    let second = pick_at(&group, busy.endpoint().address);
    for _ in 0..100 {
        assert_eq!(pick(&group).endpoint().address, idle.endpoint().address);
    }
    drop((busy, second));
    assert_eq!(pick(&group).endpoint().in_flight(), 1, "the idle one, and this request");
}

#[test]
fn the_busiest_of_many_is_not_picked() {
    let (group, _) = group_of(10);
    let busy = pick_at(&group, at(7));
    assert_eq!(spread(&group, 1000).get(&at(7)), None, "two different ones are drawn");
    drop(busy);
}

/// By single draws the fullest of ten would have 115 or so.
#[test]
fn requests_that_stay_are_spread_far_more_evenly_than_by_chance() {
    let (group, _) = group_of(10);
    let leases: Vec<_> = (0..1000).map(|_| pick(&group)).collect();
    let loads: Vec<_> = group.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect();
    assert_eq!(loads.iter().sum::<usize>(), 1000);
    assert!(loads.iter().all(|load| (90..=105).contains(load)), "{loads:?}");
    drop(leases);
    assert!(group.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn what_is_left_is_picked_evenly_and_by_load_when_others_are_down() {
    let (group, _) = group_of(10);
    (3..10).for_each(|last| eject(&group, at(last), Failure::Slow));
    let counts = spread(&group, 3000);
    assert_eq!(counts.values().sum::<usize>(), 3000);
    assert!((0..3).all(|last| (800..1200).contains(&counts[&at(last)])), "{counts:?}");
    let leases: Vec<_> = (0..300).map(|_| pick(&group)).collect();
    let loads: Vec<_> = (0..3).map(|last| endpoint(&group, at(last)).in_flight()).collect();
    assert!(loads.iter().all(|load| (90..=105).contains(load)), "{loads:?}");
    drop(leases);
}

#[test]
fn a_retry_goes_elsewhere_and_to_the_same_only_when_all_were_tried() {
    let (group, _) = group_of(3);
    for _ in 0..100 {
        assert_eq!(group.pick(&[at(0), at(2)]).unwrap().endpoint().address, at(1));
        assert_ne!(group.pick(&[at(2)]).unwrap().endpoint().address, at(2));
    }
    assert!(group.pick(&[at(0), at(1), at(2)]).is_ok());
    let (alone, _) = group_of(1);
    assert_eq!(alone.pick(&[at(0)]).unwrap().endpoint().address, at(0));
}

#[test]
fn first_requests_earn_retries_and_retries_do_not() {
    let (group, _) = group_of(2);
    assert_eq!((0..20).filter(|_| group.take_retry()).count(), 10);
    (0..10).for_each(|_| drop(pick_at(&group, at(0))));
    assert!(!group.take_retry());
    (0..10).for_each(|_| drop(pick(&group)));
    assert_eq!((0..20).filter(|_| group.take_retry()).count(), 2);
}

#[test]
fn without_upstreams_there_is_no_address() {
    let group: Arc<Group<()>> = Group::new(options(&[]), Arc::new(Told::default()));
    assert!(matches!(group.pick(&[]), Err(Unavailable::NoAddress(_))));
    assert!(group.is_resolved());
}

/// Picks, verdicts and changes of the addresses from four threads: afterwards nothing is in flight, and
/// no trial is left open.
#[test]
fn every_request_is_accounted_for_across_threads() {
    let mut options = options(&["app"]);
    options.eject_time = Duration::from_micros(50);
    options.max_eject_time = Duration::from_micros(200);
    let told = Arc::new(Told::default());
    let group: Arc<Group<()>> = Group::new(options, told.clone());
    let all: Vec<_> = (0..5).map(ip).collect();
    group.set_addresses(0, &all);
    let mut seen = group.endpoints();
    let work = |thread: usize| {
        let mut kept = std::collections::VecDeque::new();
        for round in 0..5000 {
            let tried = [at(round % 5)];
            let Ok(lease) = group.pick(if round % 3 == 0 { &tried } else { &[] }) else { continue };
            match (round + thread) % 7 {
                0 => {}
                1 | 2 => lease.failed(Failure::Slow),
                3 => lease.failed(Failure::Fast),
                _ => lease.succeeded(),
            }
            kept.push_back(lease);
            if kept.len() > 20 {
                kept.pop_front();
            }
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))));
        for round in 0..200 {
            group.set_addresses(0, &all[round % 3..]);
            seen.extend(group.endpoints());
        }
    });
    assert!(seen.iter().all(|endpoint| endpoint.in_flight() == 0), "{seen:?}");
    assert!(told.take().contains(&(0, "ejected")), "the test does not test what it should");
    // Each is out or in, but none is stuck: a success brings it in.
    group.set_addresses(0, &all);
    for address in (0..5).map(at) {
        while !endpoint(&group, address).is_available() {
            let others: Vec<_> = (0..5).map(at).filter(|other| *other != address).collect();
            match group.pick(&others) {
                Ok(lease) if lease.endpoint().address == address => lease.succeeded(),
                _ => std::thread::yield_now(),
            }
        }
    }
}
