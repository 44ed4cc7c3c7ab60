//! Whether PostgreSQL, or a pooler before it, takes part in its start-up handshake.

use tokio::io::AsyncWriteExt;

use super::{broken, connect, quoted, read_exact};
use crate::resolve::Resolver;

/// Protocol 3.0, and whom we claim to be. No such user need exist.
///
/// Sent without asking for TLS first: a server that insists on it says so in an error, which
/// tells as much, while one that agrees would have to be asked again on another connection.
const START_UP: &[u8] = b"\x00\x03\x00\x00user\0nessen\0database\0postgres\0application_name\0nessen\0\0";
/// Bytes of a first answer, its length included.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=8192;
/// The server is starting up, shutting down or recovering.
const CANNOT_CONNECT_NOW: &[u8] = b"57P03";

/// Whether PostgreSQL on `host` and `port` is up: it asks for a password, lets us in, or refuses
/// for any reason but that it cannot take connections now.
///
/// # Errors
/// It is not, or what answers is not PostgreSQL.
pub async fn postgres(resolver: &Resolver, host: &str, port: u16) -> Result<(), String> {
    let mut stream = connect(resolver, host, port).await?;
    let length = u32::try_from(START_UP.len() + 4).unwrap_or(0);
    let message = [&length.to_be_bytes()[..], START_UP].concat();
    stream.write_all(&message).await.map_err(|error| broken(&error))?;
    let foreign = || "the answer is not PostgreSQL's".to_owned();

    let mut kind = [0];
    read_exact(&mut stream, &mut kind).await?;
    // Known by the first byte, whatever follows, and however slowly.
    if !matches!(&kind, b"R" | b"E") {
        return Err(foreign());
    }
    let mut length = [0; 4];
    read_exact(&mut stream, &mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !LENGTHS.contains(&length) {
        return Err(foreign());
    }
    if &kind == b"R" {
        return Ok(());
    }
    let mut fields = vec![0; length - 4];
    read_exact(&mut stream, &mut fields).await?;
    match field(&fields, b'C') {
        None => Err(foreign()),
        Some(CANNOT_CONNECT_NOW) => {
            let why = field(&fields, b'M').unwrap_or(CANNOT_CONNECT_NOW);
            Err(format!("answered {}", quoted(why)))
        }
        Some(_) => Ok(()),
    }
}

/// The field of an error that begins with this letter; each ends with a NUL.
fn field(fields: &[u8], letter: u8) -> Option<&[u8]> {
    fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[letter]))
}
