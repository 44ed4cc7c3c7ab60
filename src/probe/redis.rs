//! Whether Redis, or what speaks its protocol, answers PING.

use tokio::io::AsyncWriteExt;

use super::{broken, connect, quoted, read_exact};
use crate::resolve::Resolver;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// Bytes of an answer; PONG has five.
const LONGEST_LINE: usize = 512;
/// The server is well and wants a password, which a probe has no business to know.
const WELL: [&[u8]; 3] = [b"-NOAUTH", b"-WRONGPASS", b"-NOPERM"];

/// Whether Redis on `host` and `port` is up. One that asks for a password is; one that is still
/// loading its data is not, nor one that has no room for another client.
///
/// # Errors
/// It is not, or what answers is not Redis.
pub async fn redis(resolver: &Resolver, host: &str, port: u16) -> Result<(), String> {
    let mut stream = connect(resolver, host, port).await?;
    stream.write_all(PING).await.map_err(|error| broken(&error))?;
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" && line.len() < LONGEST_LINE {
        read_exact(&mut stream, &mut byte).await?;
        line.extend_from_slice(&byte);
        // Known by the first byte, whatever follows, and however slowly.
        if !matches!(line.first(), Some(b'+' | b'-')) {
            return Err("the answer is not Redis's".into());
        }
    }
    let line = line.trim_ascii_end();
    match line.split(|byte| *byte == b' ').next() {
        Some(b"+PONG") => Ok(()),
        Some(word) if WELL.contains(&word) => Ok(()),
        _ => Err(format!("answered {}", quoted(line.get(1..).unwrap_or_default()))),
    }
}
