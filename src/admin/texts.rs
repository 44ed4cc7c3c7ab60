//! The texts of `/metrics`, or of the status page, that somebody is still reading.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Texts that are held at a time. A scraper takes its text at once, and there are a few.
const MOST: usize = 4;

/// SECURITY: a text is as long as there are series, and is in no account of what clients hold. Were each
/// that is asked for written anew, those who read slowly would hold as many as they have connections.
/// So there are only so many, and whoever asks while all of them are being read gets the last of them.
#[derive(Debug, Clone, Default)]
pub struct Texts(Arc<Mutex<Vec<Arc<str>>>>);

impl Texts {
    /// A new text, or where there are too many, the last.
    pub(super) fn take(&self, write: impl FnOnce() -> String) -> Bytes {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|text| Arc::strong_count(text) > 1);
        let text = match held.last() {
            Some(last) if held.len() >= MOST => last.clone(),
            _ => {
                let text: Arc<str> = write().into();
                held.push(text.clone());
                text
            }
        };
        drop(held);
        Bytes::from_owner(Read(text))
    }
}

/// A text that is being read.
struct Read(Arc<str>);

impl AsRef<[u8]> for Read {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slow_readers_hold_a_few_texts_and_who_comes_later_gets_a_new_one() {
        let texts = Texts::default();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number.to_string()
        };
        let slow: Vec<Bytes> = (0..100).map(|_| texts.take(&mut next)).collect();
        let distinct: BTreeSet<_> = slow.iter().collect();
        assert_eq!(distinct.len(), MOST);
        assert_eq!(slow.last().unwrap(), "4");
        // What is left of one that is being sent holds it as well.
        let rest = slow[0].slice(..1);
        drop(slow);
        assert_eq!(texts.take(&mut next), "5");
        assert_eq!(texts.0.lock().unwrap().len(), 2);
        drop(rest);
        assert_eq!(texts.take(&mut next), "6");
        assert_eq!(texts.0.lock().unwrap().len(), 1);
    }
}
