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

/// For the one who asks, there is no difference between a bucket here and one there.
#[tokio::test]
async fn the_script_says_what_the_local_bucket_says() {
    let Some(server) = TestServer::start(&[]) else { return };
    let mut connection = connection(&server).await;
    // A clock of the test's own, by which Redis does not delete.
    let bucket = BUCKET.replace("'PX', string.format('%.0f', math.ceil(life))", "'PX', 3600000");
    assert_ne!(bucket, BUCKET);
    let script = Script::new(format!("local now = tonumber(ARGV[4])\n{bucket}"));
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
    for (policy, asks, least, most) in
        [(fast, 1, 0, 1), (fast, 60, 1, 61), (POLICY, 1, 9_000, 10_001), (slow, 2, 9_000, 10_001)]
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
