//! When an address is put aside, for how long, and how it comes back.

use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn failures_within_the_window_put_an_address_aside_and_older_ones_do_not_count() {
    for (pause, ejected) in [(4 * SECOND, &[(0, "ejected")][..]), (6 * SECOND, &[])] {
        let (group, told) = group_of(2);
        for _ in 0..2 {
            fail_and_expect(&group, &told, &[]);
            pick_at(&group, at(0)).succeeded();
            advance(pause).await;
        }
        fail_and_expect(&group, &told, ejected);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_put_an_address_aside_however_far_apart_they_are() {
    let (group, told) = group_of(2);
    for _ in 0..2 {
        fail_and_expect(&group, &told, &[]);
        advance(3600 * SECOND).await;
    }
    fail_and_expect(&group, &told, &[(0, "ejected")]);
}

fn fail_and_expect(group: &Group<()>, told: &Told, expected: &[(usize, &'static str)]) {
    pick_at(group, at(0)).failed(Failure::Fast);
    assert_eq!(told.take(), expected);
    assert_eq!(endpoint(group, at(0)).is_available(), expected.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_time_in_a_row_is_twice_as_long_up_to_the_longest() {
    let (group, told) = group_of(1);
    eject(&group, at(0), Failure::Slow);
    for seconds in [10.0, 20.0, 40.0] {
        let (time, trial) = until_picked(&group).await;
        assert_about(time, seconds);
        trial.failed(Failure::Slow);
    }
    let mut shorter = 0;
    for _ in 0..40 {
        let (time, trial) = until_picked(&group).await;
        assert!((47.9..60.2).contains(&time.as_secs_f64()), "{time:?}");
        shorter += usize::from(time < 59 * SECOND);
        trial.failed(Failure::Slow);
    }
    assert!(shorter > 0, "the longest differs too");
    let told = told.take();
    assert_eq!(told.iter().filter(|event| event.1 == "ejected").count(), 44);
    assert_eq!(told.iter().filter(|event| event.1 == "unhealthy").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn times_differ_so_that_addresses_do_not_come_back_together() {
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (group, _) = group_of(1);
        eject(&group, at(0), Failure::Slow);
        times.insert(until_picked(&group).await.0);
    }
    assert!(times.len() > 5, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_back_off_is_forgotten_step_by_step_while_it_serves() {
    let (group, _) = group_of(1);
    eject(&group, at(0), Failure::Slow);
    for seconds in [10.0, 20.0] {
        let (time, trial) = until_picked(&group).await;
        assert_about(time, seconds);
        trial.failed(Failure::Slow);
    }
    let (time, trial) = until_picked(&group).await;
    assert_about(time, 40.0);
    trial.succeeded();
    assert!(endpoint(&group, at(0)).is_available());
    // Three in a row, two of them forgotten after 25 s.
    advance(25 * SECOND).await;
    eject(&group, at(0), Failure::Slow);
    let (time, trial) = until_picked(&group).await;
    assert_about(time, 20.0);
    // And none forgotten by one that fails again at once.
    trial.succeeded();
    eject(&group, at(0), Failure::Slow);
    assert_about(until_picked(&group).await.0, 40.0);
    // All of them, however few there were.
    let (_, trial) = until_picked(&group).await;
    trial.succeeded();
    advance(3600 * SECOND).await;
    eject(&group, at(0), Failure::Slow);
    let (time, trial) = until_picked(&group).await;
    assert_about(time, 10.0);
    // Once it is out again, no service is left that would count.
    trial.failed(Failure::Slow);
    assert_about(until_picked(&group).await.0, 20.0);
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_tries_an_address_until_one_succeeds() {
    let (group, told) = group_of(1);
    eject(&group, at(0), Failure::Slow);
    let (_, trial) = until_picked(&group).await;
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown);
    // The client went away: that says nothing, and the next one may try.
    drop(trial);
    let trial = pick(&group);
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown);
    told.take();
    trial.succeeded();
    assert_eq!(told.take(), [(0, "healthy")]);
    let more: Vec<_> = (0..10).map(|_| pick(&group)).collect();
    assert_eq!(endpoint(&group, at(0)).in_flight(), 11);
    drop((more, trial));
    assert_eq!(endpoint(&group, at(0)).in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_one_request_a_back_off() {
    let (group, _) = group_of(2);
    let (mut hole, mut held) = (0, Vec::new());
    for _ in 0..6000 {
        let lease = pick(&group);
        if lease.endpoint().address == at(1) {
            hole += 1;
            held.push((tokio::time::Instant::now(), lease));
        }
        // Each request to it times out after five seconds.
        held.retain(|(since, lease)| {
            let waits = since.elapsed() < 5 * SECOND;
            if !waits {
                lease.failed(Failure::Slow);
            }
            waits
        });
        advance(Duration::from_millis(100)).await;
    }
    // Ten minutes: three until it was found out, then one trial after 10, 20, 40 and every 60 seconds, a
    // little more or less, and 5 s more for each.
    assert!((10..=17).contains(&hole), "{hole} of 6000 requests");
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_preferred_however_much_the_address_still_serves() {
    let (group, _) = group_of(2);
    let streams: Vec<_> = (0..50).map(|_| pick_at(&group, at(1))).collect();
    eject(&group, at(1), Failure::Slow);
    advance(12 * SECOND).await;
    // A retry is not what tests it while another address is there.
    for _ in 0..20 {
        assert_eq!(group.pick(&[at(7)]).unwrap().endpoint().address, at(0));
    }
    let trial = pick(&group);
    assert_eq!(trial.endpoint().address, at(1));
    for _ in 0..20 {
        assert_eq!(pick(&group).endpoint().address, at(0), "the one place is taken");
    }
    drop(streams);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_says_nothing_for_long_no_longer_keeps_others_out() {
    for fails in [true, false] {
        let (group, told) = group_of(1);
        eject(&group, at(0), Failure::Slow);
        let (_, upload) = until_picked(&group).await;
        let (time, second) = until_picked(&group).await;
        assert!((60.0..60.2).contains(&time.as_secs_f64()), "{time:?}");
        told.take();
        // A failure is old news, and the place that it gives back is no longer its own.
        if fails {
            upload.failed(Failure::Slow);
        }
        drop(upload);
        assert!(group.pick(&[]).is_err());
        second.succeeded();
        assert!(group.pick(&[]).is_ok());
        assert_eq!(told.take(), [(0, "healthy")]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_from_before_do_not_put_an_address_aside_again() {
    let (group, told) = group_of(1);
    let hanging: Vec<_> = (0..20).map(|_| pick(&group)).collect();
    hanging.iter().take(10).for_each(|lease| lease.failed(Failure::Slow));
    let (time, trial) = until_picked(&group).await;
    assert_about(time, 10.0);
    // While it is out, late failures do not prolong that; once it is back, they are no news.
    trial.succeeded();
    told.take();
    hanging.iter().for_each(|lease| lease.failed(Failure::Slow));
    assert!(endpoint(&group, at(0)).is_available());
    assert_eq!(told.take(), []);
}

#[tokio::test(start_paused = true)]
async fn only_the_first_verdict_counts_and_a_client_that_goes_away_gives_none() {
    let (group, told) = group_of(1);
    let (first, second) = (pick(&group), pick(&group));
    (0..10).for_each(|_| first.failed(Failure::Fast));
    second.succeeded();
    (0..10).for_each(|_| second.failed(Failure::Fast));
    (0..100).for_each(|_| drop(pick(&group)));
    assert_eq!(told.take(), []);
    (0..2).for_each(|_| pick(&group).failed(Failure::Fast));
    assert_eq!(told.take(), [(0, "ejected"), (0, "unhealthy")]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_aside_where_that_is_off_and_absurd_times_do_no_harm() {
    let told = Arc::new(Told::default());
    let group: Arc<Group<()>> =
        Group::new(GroupOptions { eject_after: None, ..options(&["10.0.0.0"]) }, told.clone());
    (0..1000).for_each(|_| pick(&group).failed(Failure::Slow));
    assert_eq!(told.take(), [(0, "healthy")]);
    let absurd = GroupOptions {
        eject_after: Some(0),
        eject_time: Duration::MAX,
        max_eject_time: Duration::MAX,
        eject_window: Duration::MAX,
        ..options(&["10.0.0.0"])
    };
    let group: Arc<Group<()>> = Group::new(absurd, told.clone());
    (0..3).for_each(|_| drop(group.pick(&[]).map(|lease| lease.failed(Failure::Slow))));
    let none = GroupOptions { eject_time: Duration::ZERO, ..options(&["10.0.0.0"]) };
    let group: Arc<Group<()>> = Group::new(none, told);
    (0..100).for_each(|_| drop(group.pick(&[]).map(|lease| lease.failed(Failure::Slow))));
    assert!(group.pick(&[]).is_ok(), "put aside for no time, it may be tried at once");
}
