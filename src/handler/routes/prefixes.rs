//! The longest prefix of a path among many, found without a look at the others.

use std::collections::HashMap;

/// Prefixes of paths on segment borders, as a tree of segments.
///
/// SECURITY: paths are the clients' own. Of one, no more segments are looked at than some prefix has in
/// common with it, each once and by a hash with a random key, so that what it costs is bounded by its
/// length, and nobody can choose segments that fall together. Nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    /// The first is where all begin. Side by side rather than one within the other: a prefix of
    /// thousands of segments would overflow the stack on which it is dropped.
    nodes: Vec<Node>,
}

/// Where a prefix ends, or another goes on.
#[derive(Debug, Default)]
struct Node {
    /// The place of the prefix that ends here.
    ends: Option<usize>,
    /// The nodes one segment further.
    below: HashMap<Box<str>, usize>,
}

impl Prefixes {
    /// Adds a prefix, which is empty or begins with a slash, as the one at `place`; of the same prefix
    /// twice the first counts.
    pub(crate) fn add(&mut self, prefix: &str, place: usize) {
        let mut at = 0;
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        for segment in segments(prefix).into_iter().flatten() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match node.below.get(segment) {
                Some(known) => *known,
                None => {
                    node.below.insert(segment.into(), next);
                    self.nodes.push(Node::default());
                    next
                }
            };
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.get_or_insert(place);
        }
    }

    /// The place of the longest prefix that `path` is, or is below.
    pub(crate) fn longest(&self, path: &str) -> Option<usize> {
        let mut node = self.nodes.first()?;
        let Some(segments) = segments(path) else {
            return node.ends.filter(|_| path.is_empty());
        };
        let mut found = node.ends;
        for segment in segments {
            let Some(next) = node.below.get(segment).and_then(|next| self.nodes.get(*next)) else { break };
            node = next;
            found = node.ends.or(found);
        }
        found
    }
}

/// The segments of a path that begins with a slash.
fn segments(path: &str) -> Option<std::str::Split<'_, char>> {
    path.strip_prefix('/').map(|rest| rest.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_found_on_segment_borders() {
        let mut prefixes = Prefixes::default();
        assert_eq!(prefixes.longest("/"), None);
        for (place, prefix) in ["/a/b/c", "/a", "/ab", "/a"].into_iter().enumerate() {
            prefixes.add(prefix, place);
        }
        for (path, place) in [
            ("", None),
            ("/", None),
            ("*", None),
            ("a", None),
            ("/a", Some(1)),
            ("/a/", Some(1)),
            ("/a/b", Some(1)),
            ("/a/b/c", Some(0)),
            ("/a/b/c/d", Some(0)),
            ("/a/b/cd", Some(1)),
            ("/ab", Some(2)),
            ("/abc", None),
        ] {
            assert_eq!(prefixes.longest(path), place, "{path}");
        }
        prefixes.add("", 9);
        assert_eq!(["", "/", "/x", "/ab/x"].map(|path| prefixes.longest(path)), [9, 9, 9, 2].map(Some));
        assert_eq!(prefixes.longest("*"), None);
    }

    #[test]
    fn a_prefix_of_very_many_segments_costs_no_stack() {
        let long = "/a".repeat(100_000);
        let mut prefixes = Prefixes::default();
        prefixes.add(&long, 7);
        prefixes.add("/a", 1);
        assert_eq!((prefixes.longest(&long), prefixes.longest("/a/a/b")), (Some(7), Some(1)));
    }
}
