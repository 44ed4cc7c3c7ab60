//! The script beside the local bucket, on a real server.

use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value};

use super::*;
use crate::limits::rate::backend::test_server::TestServer;
use crate::limits::rate::bucket::Bucket;
use crate::random;

const SECOND: Duration = Duration::from_secs(1);
const POLICY: Policy = Policy {
    max_requests: 6,
    window: Duration::from_secs(60),
    burst: 3,
    block: Duration::ZERO,
    max_keys: 10,
};

async fn connection(server: &TestServer) -> MultiplexedConnection {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let (info, config) = (RedisConnectionInfo::default(), AsyncConnectionConfig::new());
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await.unwrap();
    let driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(driver);
    tokio::spawn(driver);
    connection
}

async fn send(connection: &mut MultiplexedConnection, command: &Cmd) -> Value {
    let answer = connection.send_packed_command(command).await.and_then(Value::extract_error);
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// With a clock of the test's own, by which Redis does not delete.
fn by_our_clock() -> Script {
    let bucket = BUCKET.replace("'PX', string.format('%.0f', math.ceil(life))", "'PX', 3600000");
    assert_ne!(bucket, BUCKET);
    Script::new(format!("local now = tonumber(ARGV[4])\n{bucket}"))
}

/// What lies ahead of a clock was written by another one, such as that of the server before a failover.
#[tokio::test]
async fn a_clock_that_is_behind_starves_nobody() {
    let Some(server) = TestServer::start(&[]) else { return };
    let (mut connection, script) = (connection(&server).await, by_our_clock());
    let begin = Duration::from_secs(1_790_000_000);
    let fast = Policy { max_requests: 10, window: SECOND, burst: 5, ..POLICY };
    for (policy, wait) in [(fast, SECOND / 10), (Policy { block: SECOND * 5, ..fast }, SECOND * 5)] {
        let ask = Ask::new(format_args!("behind:{}", policy.block.as_secs()), &policy);
        let mut at = async |now: Duration| {
            let mut command = ask.by_text(&script);
            command.arg(u64::try_from(now.as_micros()).unwrap());
            read(&send(&mut connection, &command).await).unwrap()
        };
        for _ in 0..policy.burst {
            assert!(matches!(at(begin).await, Allowance::Granted { .. }));
        }
        assert!(matches!(at(begin).await, Allowance::Refused { .. }));
        let now = begin - SECOND * 3600;
        let Allowance::Refused { retry_after, .. } = at(now).await else { panic!("granted by a step") };
        assert!(retry_after <= wait, "{retry_after:?}");
        let later = at(now + wait + SECOND / 1000).await;
        assert!(matches!(later, Allowance::Granted { .. }), "{later:?}");
    }
}

#[test]
fn no_answer_is_believed_beyond_what_the_policy_can_mean() {
    let huge = Duration::from_secs(1 << 33);
    let block = Policy { block: SECOND, ..POLICY };
    for (policy, blocked, longest) in
        [(POLICY, true, Duration::ZERO), (POLICY, false, SECOND * 10), (block, true, SECOND)]
    {
        let said = Allowance::Refused { retry_after: huge, blocked }.within(&policy);
        assert_eq!(said, Allowance::Refused { retry_after: longest, blocked });
    }
    let said = Allowance::Granted { remaining: 99, reset: huge }.within(&POLICY);
    assert_eq!(said, Allowance::Granted { remaining: 3, reset: SECOND * 30 });
}

/// For the one who asks, there is no difference between a bucket here and one there.
#[tokio::test]
async fn the_script_says_what_the_local_bucket_says() {
    let Some(server) = TestServer::start(&[]) else { return };
    let mut connection = connection(&server).await;
    let script = by_our_clock();
    let policies = [
        POLICY,
        Policy { block: SECOND * 7, ..POLICY },
        // Nothing that divides evenly.
        Policy { max_requests: 7, window: SECOND, burst: 13, ..POLICY },
        Policy { max_requests: 3, window: SECOND, burst: 1, block: Duration::from_millis(1), ..POLICY },
        Policy { max_requests: 900_001, window: SECOND * 3_600, burst: 1_000, ..POLICY },
        Policy { max_requests: 1, window: SECOND * 86_400, burst: 1_000_000, ..POLICY },
    ];
    for (number, policy) in policies.into_iter().enumerate() {
        let ask = Ask::new(format_args!("bucket:{number}"), &policy);
        let mut bucket = Bucket::default();
        // As many microseconds as there are since 1970.
        let mut now = Duration::from_micros(1_790_000_000_000_000 + (random::bits() >> 44));
        let mean = policy.interval().as_secs_f64();
        let mut refused = 0;
        for step in 0..600 {
            let expected = bucket.take(&policy, now);
            let mut command = ask.by_text(&script);
            command.arg(u64::try_from(now.as_micros()).unwrap());
            let said = send(&mut connection, &command).await;
            assert_eq!(read(&said), Some(expected), "{policy:?}, step {step}");
            refused += usize::from(matches!(expected, Allowance::Refused { .. }));
            // Bursts, and time to recover.
            let pause = if step % 50 == 0 { 30.0 } else { random::fraction() };
            now +=
                Duration::from_micros(Duration::from_secs_f64(mean * pause).as_micros().try_into().unwrap());
        }
        assert!(refused > 0 || policy.burst > 600, "{policy:?}: nothing was refused");
    }
}

#[tokio::test]
async fn a_bucket_is_gone_once_it_would_be_full() {
    let Some(server) = TestServer::start(&[]) else { return };
    let mut connection = connection(&server).await;
    let fast = Policy { max_requests: 1_000, window: SECOND, burst: 1_000, ..POLICY };
    let slow = Policy { block: SECOND * 9, burst: 1, ..POLICY };
    let many = Policy { window: SECOND * 60, ..fast };
    for (policy, asks, least, most) in
        [(fast, 1, 0, 1), (many, 60, 2_600, 3_601), (POLICY, 1, 9_000, 10_001), (slow, 2, 9_000, 10_001)]
    {
        send(&mut connection, &redis::cmd("FLUSHALL")).await;
        let ask = Ask::new("bucket", &policy);
        for _ in 0..asks {
            assert!(read(&send(&mut connection, &ask.by_text(&SCRIPT)).await).is_some());
        }
        let Value::Int(left) = send(&mut connection, redis::cmd("PTTL").arg("bucket")).await else {
            panic!()
        };
        assert!((least..=most).contains(&left) || left == -2 && least == 0, "{left} ms left of {policy:?}");
    }
}

/// What somebody else has put there costs one client its past, and nobody an answer.
#[tokio::test]
async fn what_is_no_bucket_is_an_empty_one() {
    let Some(server) = TestServer::start(&[]) else { return };
    let mut connection = connection(&server).await;
    send(&mut connection, redis::cmd("SET").arg("bucket").arg("something else")).await;
    let said = read(&send(&mut connection, &Ask::new("bucket", &POLICY).by_text(&SCRIPT)).await);
    assert!(matches!(said, Some(Allowance::Granted { remaining: 2, .. })), "{said:?}");
    for other in
        [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(3), Value::Int(0), Value::Int(0)])]
    {
        assert_eq!(read(&other), None);
    }
}
