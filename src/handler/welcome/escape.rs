//! Text in HTML and XML, where it can be nothing but text.

use std::fmt;

/// Shows text with everything escaped that has a meaning in HTML or XML, in elements and in
/// quoted attributes alike.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, from) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = from.chars();
            f.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                _ => "&#39;",
            })?;
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_with_a_meaning_is_left() {
        assert_eq!(
            Escaped("<a href=\"x\">'é' & b</a>").to_string(),
            "&lt;a href=&quot;x&quot;&gt;&#39;é&#39; &amp; b&lt;/a&gt;"
        );
    }
}
