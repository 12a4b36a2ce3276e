//! Suggestions for misspelt words.

/// The maximum number of characters that are compared.
const MAX_CHARS: usize = 64;

/// The candidate that is nearest to a word, if one is near enough to be meant: a third of its letters may differ.
///
/// Letter case does not count, and swapped neighbours count as one difference.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.chars().take(MAX_CHARS).collect::<String>().to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(word.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        let words = ["tunnels", "sessions", "requestsPerSecond"];
        assert_eq!(nearest("tunels", words), Some("tunnels"));
        assert_eq!(nearest("Tunnels", words), Some("tunnels"));
        assert_eq!(nearest("sesisons", words), Some("sessions"));
        assert_eq!(nearest("requests_per_second", words), Some("requestsPerSecond"));
        assert_eq!(nearest("domain", words), None);
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
        assert_eq!(nearest("", words), None);
    }
}
