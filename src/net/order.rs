//! The orders that a connection is given.

/// What a connection can be told to do. Orders add up and are never taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Tell the client that no further request is wanted: GOAWAY, or the end of an upgrade.
    GoAway = 1,
    /// Close once nothing is in flight and nothing is on its way.
    CloseIdle = 2,
    /// Close now.
    Abort = 4,
    /// Make room for another: what has come already is answered, and nothing is waited for.
    MakeRoom = 8,
}
