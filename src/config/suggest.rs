//! "Did you mean": the known name that a near miss most likely stands for.

/// Bytes of the longest name that is compared.
const LONGEST: usize = 128;

/// The candidate nearest to `name`, if it is near enough to be meant.
pub(super) fn nearest(name: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    // Nothing known is near to what is so long, and to find that out takes long too.
    if name.len() > LONGEST {
        return None;
    }
    let letters = name.chars().count();
    let allowance = (letters / 4).clamp(1, 4);
    candidates
        .into_iter()
        // As many edits as one is longer than the other are the least there can be.
        .filter(|candidate| candidate.chars().count().abs_diff(letters) <= allowance)
        .map(|candidate| (distance(name, &candidate), candidate))
        .filter(|(distance, _)| *distance <= allowance)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits from `a` to `b`: insert, delete, replace, or swap neighbours.
#[expect(clippy::indexing_slicing, reason = "every index is under the lengths that the rows are made of")]
fn distance(a: &str, b: &str) -> usize {
    // What both begin with takes no edit.
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let a: Vec<char> = a.chars().skip(same).collect();
    let b: Vec<char> = b.chars().skip(same).collect();
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_taken_and_a_far_one_is_not() {
        let names = || ["limits.max_body_size", "limits.body_timeout", "server.port"].map(str::to_owned);
        assert_eq!(nearest("limits.max_bdoy_size", names()).as_deref(), Some("limits.max_body_size"));
        assert_eq!(nearest("server.prot", names()).as_deref(), Some("server.port"));
        assert_eq!(nearest("limits.max_bodysize", names()).as_deref(), Some("limits.max_body_size"));
        assert_eq!(nearest("tls.certificate", names()), None);
    }

    #[test]
    fn a_swap_is_one_edit() {
        assert_eq!(distance("prot", "port"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
