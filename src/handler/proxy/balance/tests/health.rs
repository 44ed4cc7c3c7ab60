//! Active health checks.

use std::collections::HashSet;

use tokio::task::JoinHandle;

use super::*;

/// Addresses that fail, or do not answer at all; and every address that was asked.
#[derive(Debug, Default)]
struct World {
    failing: Mutex<HashSet<SocketAddr>>,
    silent: Mutex<HashSet<SocketAddr>>,
    asked: Mutex<Vec<SocketAddr>>,
}

impl World {
    fn set_failing(&self, address: SocketAddr, fails: bool) {
        let mut failing = self.failing.lock().unwrap();
        let _ = if fails { failing.insert(address) } else { failing.remove(&address) };
    }

    fn take_asked(&self) -> Vec<SocketAddr> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

/// A check every 10 s that may take 2 s; 3 to fall and 2 to rise.
fn checked_group(count: usize) -> (Arc<Group<()>>, Arc<Told>, Arc<World>, JoinHandle<()>) {
    let (told, world) = (Arc::new(Told::default()), Arc::new(World::default()));
    let health = HealthOptions {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        fall: 3,
        rise: 2,
    };
    let group: Arc<Group<()>> =
        Group::new(GroupOptions { health: Some(health), ..options(&["app"]) }, told.clone());
    group.set_addresses(0, &(0..count).map(ip).collect::<Vec<_>>());
    told.take();
    let probe = {
        let world = world.clone();
        move |address, upstream| {
            assert_eq!(upstream, 0);
            let world = world.clone();
            async move {
                world.asked.lock().unwrap().push(address);
                let silent = world.silent.lock().unwrap().contains(&address);
                if silent {
                    std::future::pending::<()>().await;
                }
                let failing = world.failing.lock().unwrap().contains(&address);
                if failing { Err("503".to_owned()) } else { Ok(()) }
            }
        }
    };
    let task = tokio::spawn(group.check_health(probe));
    (group, told, world, task)
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_falls_and_rises_after_so_many_results() {
    let (group, told, world, _task) = checked_group(2);
    world.set_failing(at(0), true);
    seconds(1).await;
    assert_eq!(world.take_asked(), [at(0), at(1)], "at once");
    seconds(11).await;
    assert_eq!(world.take_asked(), [at(0), at(1)], "one interval later");
    assert!(endpoint(&group, at(0)).is_available(), "two failures");
    seconds(11).await;
    assert!(!endpoint(&group, at(0)).is_available(), "three");
    for _ in 0..50 {
        assert_eq!(pick(&group).endpoint().address, at(1));
        assert_eq!(group.pick(&[at(1)]).unwrap().endpoint().address, at(1), "not even for a retry");
    }
    assert_eq!(told.take(), [], "the upstream has another one");
    world.set_failing(at(0), false);
    seconds(10).await;
    assert!(!endpoint(&group, at(0)).is_available(), "one success");
    seconds(12).await;
    assert!(endpoint(&group, at(0)).is_available(), "two");
}

#[tokio::test(start_paused = true)]
async fn results_that_come_and_go_change_nothing() {
    let (group, told, world, _task) = checked_group(1);
    let asked = || world.asked.lock().unwrap().len();
    for check in 0..30 {
        // Two failures, then a success, and again.
        world.set_failing(at(0), check % 3 != 2);
        while asked() <= check {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(endpoint(&group, at(0)).is_available());
    }
    assert_eq!(told.take(), []);
}

#[tokio::test(start_paused = true)]
async fn when_every_check_fails_all_is_down_also_what_would_refuse_at_once() {
    let (group, told, world, _task) = checked_group(2);
    eject(&group, at(0), Failure::Fast);
    world.set_failing(at(0), true);
    world.silent.lock().unwrap().insert(at(1));
    seconds(29).await;
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown);
    assert_eq!(told.take(), [(0, "ejected"), (0, "unhealthy")]);
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_a_failure() {
    let (group, told, world, _task) = checked_group(1);
    world.silent.lock().unwrap().insert(at(0));
    // 2 s for each check, and 9 to 11 between them.
    seconds(23).await;
    assert!(endpoint(&group, at(0)).is_available());
    seconds(6).await;
    assert!(!endpoint(&group, at(0)).is_available());
    assert_eq!(told.take(), [(0, "unhealthy")]);
}

#[tokio::test(start_paused = true)]
async fn what_requests_found_out_stands_beside_what_checks_say() {
    let (group, _, world, _task) = checked_group(1);
    seconds(1).await;
    eject(&group, at(0), Failure::Slow);
    seconds(5).await;
    assert_eq!(group.pick(&[]).unwrap_err(), Unavailable::AllDown, "its check passes all the same");
    world.set_failing(at(0), true);
    seconds(60).await;
    assert!(group.pick(&[]).is_err(), "the back-off is over, but its check fails");
    world.set_failing(at(0), false);
    seconds(25).await;
    pick(&group).succeeded();
    assert!(endpoint(&group, at(0)).is_available());
}

#[tokio::test(start_paused = true)]
async fn new_addresses_are_asked_at_once_and_gone_ones_no_more() {
    let (group, _, world, task) = checked_group(2);
    seconds(1).await;
    world.take_asked();
    group.set_addresses(0, &[ip(1), ip(2)]);
    seconds(1).await;
    assert_eq!(world.take_asked(), [at(2)]);
    seconds(100).await;
    let asked = world.take_asked();
    assert!(!asked.contains(&at(0)));
    assert!((18..=24).contains(&asked.len()), "two, every ten seconds: {asked:?}");
    drop(group);
    task.await.unwrap();
    assert_eq!(Arc::strong_count(&world), 1, "every check has ended");
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_every_check_and_without_options_there_is_none() {
    let (_group, _, world, task) = checked_group(5);
    seconds(1).await;
    assert_eq!(world.take_asked().len(), 5);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    seconds(60).await;
    assert_eq!(world.take_asked(), []);
    let (group, _) = group_of(1);
    group.check_health(|_, _| async { Ok(()) }).await;
}
