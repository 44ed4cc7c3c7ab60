//! What is picked when nothing is as it should be.

use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn all_down_by_time_outs_or_nonsense_is_said_at_once() {
    for failure in [Failure::Slow, Failure::Invalid] {
        let (group, told) = group_of(2);
        eject(&group, at(0), failure);
        assert_eq!(told.take(), [(0, "ejected")], "the other one is there");
        eject(&group, at(1), failure);
        assert_eq!(told.take(), [(0, "ejected"), (0, "unhealthy")]);
        assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown);
        assert_eq!(group.pick(&[at(0)]).unwrap_err(), Unavailable::AllDown);
    }
}

#[tokio::test(start_paused = true)]
async fn what_refuses_at_once_is_asked_when_all_is_out_and_serves_the_moment_it_is_back() {
    let (group, told) = group_of(2);
    eject(&group, at(0), Failure::Slow);
    eject(&group, at(1), Failure::Fast);
    told.take();
    for _ in 0..10 {
        let lease = pick(&group);
        assert_eq!(lease.endpoint().address, at(1));
        lease.failed(Failure::Fast);
    }
    assert_eq!(told.take(), [], "it is out already");
    // Restarted: the first answer brings it back for all.
    let (first, second) = (pick(&group), pick(&group));
    second.succeeded();
    assert_eq!(told.take(), [(0, "healthy")]);
    assert!(endpoint(&group, at(1)).is_available());
    first.failed(Failure::Fast);
    assert!(endpoint(&group, at(1)).is_available());
}

#[tokio::test(start_paused = true)]
async fn what_refused_and_then_times_out_is_no_longer_asked() {
    let (group, _) = group_of(1);
    eject(&group, at(0), Failure::Fast);
    pick(&group).failed(Failure::Slow);
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown);
    let (time, _) = until_picked(&group).await;
    assert_about(time, 10.0);
}

#[tokio::test(start_paused = true)]
async fn what_refuses_is_not_asked_while_another_is_there() {
    let (group, _) = group_of(3);
    eject(&group, at(0), Failure::Fast);
    eject(&group, at(1), Failure::Fast);
    for _ in 0..50 {
        assert_eq!(pick(&group).endpoint().address, at(2));
        // Where one is replaced behind the other, that one is back, and this one is not there yet.
        assert_ne!(group.pick(&[at(2)]).unwrap().endpoint().address, at(2), "it has just failed");
        assert_eq!(group.pick(&[at(0), at(1), at(2)]).unwrap().endpoint().address, at(2), "tried, but there");
    }
    eject(&group, at(2), Failure::Fast);
    for _ in 0..50 {
        assert_ne!(group.pick(&[at(2)]).unwrap().endpoint().address, at(2), "one that was not tried first");
    }
    assert!(group.pick(&[at(0), at(1), at(2)]).is_ok());
}

/// While one request tries it, others are not turned away by an address that refuses at once.
#[tokio::test(start_paused = true)]
async fn a_trial_of_what_refuses_does_not_keep_others_waiting() {
    let (group, _) = group_of(1);
    eject(&group, at(0), Failure::Fast);
    advance(Duration::from_secs(13)).await;
    let trial = pick(&group);
    let other = pick(&group);
    other.succeeded();
    assert!(endpoint(&group, at(0)).is_available());
    // The trial fails after all, but the address answered since.
    trial.failed(Failure::Fast);
    assert!(endpoint(&group, at(0)).is_available());
}
