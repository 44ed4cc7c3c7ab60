//! Who is reset, and who only waits for a turn.

use super::*;
use crate::memory::MemoryAccount;
use crate::units::Rate;

const RATE: u64 = 500;

fn streams() -> Arc<Streams> {
    let rate = Rate { bytes_per_second: RATE, grace: Duration::from_secs(5) };
    Arc::new(Streams::new(SendLimits { timeout: Duration::from_secs(30), min_rate: Some(rate) }))
}

fn open(streams: &Arc<Streams>, count: usize) -> Vec<(Arc<OutStream>, OutBuf)> {
    let answer = || Bytes::from(vec![b'a'; 1 << 20]);
    (0..count)
        .map(|_| streams.open(MemoryAccount::new(u64::MAX).open(None)))
        .map(|stream| (stream.clone(), OutBuf::new(answer(), Some(&stream))))
        .collect()
}

/// Looks twice a second, after `take` was taken, until one is reset or a minute is over.
async fn first_reset(streams: &Streams, mut take: impl FnMut(u64)) -> Option<(Duration, usize)> {
    let began = Instant::now();
    for tick in 0..120 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        take(tick);
        match streams.judge() {
            0 => {}
            resets => return Some((began.elapsed(), resets)),
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_window_that_opens_by_drops_ends_with_the_grace() {
    let streams = streams();
    let mut all = open(&streams, 1);
    let (took, _) = first_reset(&streams, |_| all[0].1.advance(1)).await.unwrap();
    assert!(took <= Duration::from_millis(5500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn many_windows_that_open_by_drops_together_all_end_with_the_grace() {
    let streams = streams();
    let mut all = open(&streams, 100);
    let drip = |_| all.iter_mut().for_each(|(_, buffer)| buffer.advance(1));
    let (took, resets) = first_reset(&streams, drip).await.unwrap();
    assert!(took <= Duration::from_millis(5500) && resets == 100, "{resets} after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn streams_that_wait_for_their_turn_are_not_read_slowly() {
    let streams = streams();
    let mut all = open(&streams, 50);
    // 32 KiB every half second, to one after the other: each waits 25 s for its turn.
    let turns = |tick: u64| all[(tick % 50) as usize].1.advance(32 << 10);
    assert_eq!(first_reset(&streams, turns).await, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_read_does_not_pay_for_many_that_are_not() {
    let streams = streams();
    let mut all = open(&streams, 50);
    // Ten times the pace for one, and the fifth part of it for all.
    let one = |_| all[0].1.advance(5 * 500);
    let (took, resets) = first_reset(&streams, one).await.unwrap();
    assert!(took <= Duration::from_millis(5500) && resets == 49, "{resets} after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_pays_for_no_drip() {
    let streams = streams();
    let mut all = open(&streams, 2);
    let (_, mut read) = all.remove(0);
    read.advance(1 << 20);
    let (took, _) = first_reset(&streams, |_| all[0].1.advance(1)).await.unwrap();
    assert!(took <= Duration::from_millis(6000), "{took:?}");
}
