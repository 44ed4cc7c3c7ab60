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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
    let mut id = [b'0'; 32];
    let words = [bits().to_le_bytes(), bits().to_le_bytes()];
    for (place, byte) in id.chunks_exact_mut(2).zip(words.as_flattened()) {
        place.copy_from_slice(&[digit(byte >> 4), digit(*byte)]);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_stay_in_range() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| hex_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().flatten().all(u8::is_ascii_hexdigit));
        assert!((0..1000).map(|_| fraction()).all(|fraction| (0.0..1.0).contains(&fraction)));
    }
}
