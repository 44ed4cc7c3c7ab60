//! Frames of a WebSocket (RFC 6455 section 5.2), whole and without extensions.

use super::wire::Wire;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub(crate) opcode: u8,
    /// Its payload, unmasked.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A binary message.
    pub(crate) fn binary(payload: Vec<u8>) -> Self {
        Self { opcode: 2, payload }
    }

    /// The end, with status 1000.
    pub(crate) fn close() -> Self {
        Self { opcode: 8, payload: 1000u16.to_be_bytes().to_vec() }
    }

    /// Whether this ends the conversation.
    pub(crate) fn is_close(&self) -> bool {
        self.opcode == 8
    }

    /// As it goes over the wire; a client masks.
    pub(crate) fn bytes(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | self.opcode];
        match self.payload.len() {
            length @ 0..=125 => bytes.push(masked | length as u8),
            length @ 126..=0xffff => {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask.as_slice()));
        let mask = mask.unwrap_or_default();
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// The next frame; nothing where the connection ended.
    pub(crate) fn read(wire: &mut Wire) -> Option<Self> {
        let head = wire.bytes(2)?;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(wire.bytes(2)?.try_into().ok()?)),
            127 => u64::from_be_bytes(wire.bytes(8)?.try_into().ok()?),
            length => u64::from(length),
        };
        let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { wire.bytes(4)? };
        let payload = wire.bytes(length)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        Some(Self { opcode: head[0] & 0x0f, payload })
    }
}
