//! As much of HPACK (RFC 7541) as an attacker needs: literals to send, and `:status` to read.

/// A field, literal and never indexed.
pub(in crate::audit) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    literal(0x10, name.as_ref(), value.as_ref())
}

/// A field, literal and put into the dynamic table.
pub(in crate::audit) fn indexed_field(name: &str, value: &str) -> Vec<u8> {
    literal(0x40, name.as_bytes(), value.as_bytes())
}

fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    for text in [name, value] {
        bytes.extend(integer(0, 7, text.len()));
        bytes.extend_from_slice(text);
    }
    bytes
}

/// An integer behind the high bits of `first` (RFC 7541 section 5.1).
pub(in crate::audit) fn integer(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1usize << bits) - 1;
    let low = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
    if value < most {
        return vec![first | low(value)];
    }
    let mut bytes = vec![first | low(most)];
    let mut left = value - most;
    while left >= 128 {
        bytes.push(low(left % 128) | 0x80);
        left /= 128;
    }
    bytes.push(low(left));
    bytes
}

/// Reads an integer of `bits` bits; what is left behind it.
fn read_integer(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let most = (1usize << bits) - 1;
    let (first, mut rest) = bytes.split_first()?;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    for shift in (0..28).step_by(7) {
        let (byte, after) = rest.split_first()?;
        rest = after;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// Reads a string as digits, where it is one of digits.
fn read_string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let coded = bytes.first()? & 0x80 != 0;
    let (length, rest) = read_integer(bytes, 7)?;
    let (text, rest) = rest.split_at_checked(length)?;
    let text = if coded { huffman_digits(text) } else { String::from_utf8_lossy(text).into_owned() };
    Some((text, rest))
}

/// `:status` of a field block whose first field it is (RFC 9113 section 8.3.2), of a server that was told
/// that our dynamic table has no room.
pub(in crate::audit) fn status(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // The size of the dynamic table may be told first.
    while block.first()? & 0xe0 == 0x20 {
        (_, block) = read_integer(block, 5)?;
    }
    let first = *block.first()?;
    if first & 0x80 != 0 {
        let (index, _) = read_integer(block, 7)?;
        return [200, 204, 206, 304, 400, 404, 500].get(index.checked_sub(8)?).copied();
    }
    let bits = if first & 0x40 == 0 { 4 } else { 6 };
    let (name, rest) = read_integer(block, bits)?;
    let rest = match name {
        8..=14 => rest,
        // No other field may come first, also where its name is Huffman-coded and not read here.
        0 => read_string(rest)?.1,
        _ => return None,
    };
    read_string(rest)?.0.parse().ok().filter(|status| (100..1000).contains(status))
}

/// The digits that a Huffman-coded string begins with (RFC 7541 appendix B).
fn huffman_digits(text: &[u8]) -> String {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let mut digits = String::new();
    loop {
        let mut code = 0;
        for _ in 0..5 {
            let Some(bit) = bits.next() else { return digits };
            code = code << 1 | bit;
        }
        let digit = match code {
            // 0, 1 and 2 have five bits, the others six.
            0..=2 => code,
            0b01100..=0b01111 => match bits.next() {
                Some(bit) => match (code << 1 | bit).checked_sub(0b01_1001) {
                    Some(above) => above + 3,
                    None => return digits,
                },
                None => return digits,
            },
            _ => return digits,
        };
        digits.extend(char::from_digit(digit, 10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_the_standard() {
        // RFC 7541 appendix C.1.
        assert_eq!(integer(0, 5, 10), [0x0a]);
        assert_eq!(integer(0, 5, 1337), [0x1f, 0x9a, 0x0a]);
        assert_eq!(read_integer(&[0x1f, 0x9a, 0x0a, 7], 5), Some((1337, &[7][..])));
        assert_eq!(read_integer(&[0x1f, 0x9a], 5), None);
        for value in [0, 1, 126, 127, 128, 254, 255, 16_384, 1 << 20] {
            assert_eq!(read_integer(&integer(0x80, 7, value), 7), Some((value, &[][..])), "{value}");
        }
    }

    #[test]
    fn every_form_of_a_status_is_read() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x3f, 0xe1, 0x1f, 0x8d, 0x10]), Some(404));
        // RFC 7541 appendix C.5.1 and C.6.1: 302, plain and Huffman-coded.
        assert_eq!(status(&[0x48, 0x03, 0x33, 0x30, 0x32]), Some(302));
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        // C.6.2: 307.
        assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), Some(307));
        assert_eq!(status(&[0x08, 0x03, 0x34, 0x31, 0x33]), Some(413));
        assert_eq!(status(&field(":status", "431")), Some(431));
        for block in [&[][..], &[0x48], &[0x48, 0x05, 0x33], &[0x82], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(status(block), None, "{block:?}");
        }
    }
}
