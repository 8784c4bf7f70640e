//! The known name that a misspelt one resembles.

/// The known key that takes the fewest edits, if these are few for the key's length.
pub(crate) fn nearest(key: &str, known: &[&str]) -> Option<String> {
    let limit = (key.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|name| (edits(key, name), *name))
        .filter(|&(edits, _)| edits <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Insertions, deletions and replacements of characters that turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_changes() {
        for (a, b, wanted) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("é", "e", 1)]
        {
            assert_eq!(edits(a, b), wanted, "{a} {b}");
            assert_eq!(edits(b, a), wanted, "{b} {a}");
        }
    }

    #[test]
    fn only_few_edits_are_a_resemblance() {
        let known = ["temperature", "top_k", "top_p"];
        for (key, wanted) in [
            ("temprature", Some("temperature")),
            ("topk", Some("top_k")),
            ("top-p", Some("top_p")),
            ("max_tokens", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known).as_deref(), wanted, "{key}");
        }
    }
}
