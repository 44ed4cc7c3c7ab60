//! Random numbers that are cheap and that nobody is hurt by guessing: jitter and request ids.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

thread_local! {
    /// Seeded from the system's randomness, by way of the standard library's hash keys.
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
}

/// 64 random bits (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
pub fn bits() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number from 0 up to, not including, 1.
pub fn fraction() -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let numerator = (bits() >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

/// 128 random bits in hexadecimal: 32 characters.
pub fn hex_id() -> [u8; 32] {
    let mut id = [0; 32];
    for (eight, bits) in id.chunks_exact_mut(16).zip([bits(), bits()]) {
        let (low, high) = eight.split_at_mut(8);
        low.copy_from_slice(&hex(bits));
        high.copy_from_slice(&hex(bits >> 32));
    }
    id
}

/// The low 32 bits in hexadecimal, all eight digits at once.
pub fn hex(bits: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A nibble to each byte.
    let bits = bits & 0xffff_ffff;
    let bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    let bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // One in each byte whose nibble is over nine: adding six carries it into the next bit.
    let letters = ((nibbles + 6 * ONES) >> 4) & ONES;
    let digits = nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10);
    digits.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nibble_has_its_digit() {
        for bits in [0, 0x0123_4567, 0x89ab_cdef, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            assert_eq!(hex(bits), *format!("{:08x}", bits & 0xffff_ffff).as_bytes());
        }
    }

    #[test]
    fn numbers_differ_and_stay_in_range() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| hex_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().flatten().all(u8::is_ascii_hexdigit));
        assert!((0..1000).map(|_| fraction()).all(|fraction| (0.0..1.0).contains(&fraction)));
    }
}
