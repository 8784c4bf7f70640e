//! Stop strings in a stream of text, wherever the tokens happen to be cut.

/// A stop string is empty: it would end every text before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stop string {index} is empty: leave it out")]
pub struct EmptyStopString {
    /// Its place in the list.
    pub index: usize,
}

/// Watches a stream of text for the first stop string.
///
/// Text that may turn out to begin a stop string is held back until that is decided. Of several
/// stop strings the one that is complete first counts, and of those complete at one place the
/// longest; so the result does not depend on how the text is cut into pieces.
///
/// # Examples
///
/// ```
/// # use powerinfer::StopMatcher;
/// let mut matcher = StopMatcher::new(["\nUser:"])?;
/// assert_eq!(matcher.push("Hello.\nUs").text, "Hello.");
/// let step = matcher.push("er: And");
/// assert_eq!((step.text, step.stop), ("", Some(0)));
/// # Ok::<(), powerinfer::EmptyStopString>(())
/// ```
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text held back: a beginning of a stop string, but none whole.
    held: String,
    /// The text of the last call.
    released: String,
    /// The stop string that was found.
    found: Option<usize>,
}

/// What a piece of text led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopStep<'a> {
    /// Text that is part of no stop string, to be passed on.
    pub text: &'a str,
    /// The stop string that is complete now, by its place in the list.
    pub stop: Option<usize>,
}

impl StopMatcher {
    /// Watches for any of `stops`; with none, all text passes.
    ///
    /// # Errors
    ///
    /// [`EmptyStopString`] if one of them is empty.
    pub fn new(
        stops: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, EmptyStopString> {
        let stops: Vec<String> = stops.into_iter().map(Into::into).collect();
        if let Some(index) = stops.iter().position(String::is_empty) {
            return Err(EmptyStopString { index });
        }
        Ok(Self { stops, held: String::new(), released: String::new(), found: None })
    }

    /// Takes the next piece of text. After a stop string was found, text is dropped.
    pub fn push(&mut self, piece: &str) -> StopStep<'_> {
        self.released.clear();
        if self.found.is_none() {
            let n_seen = self.held.len();
            self.held.push_str(piece);
            let (end, found) = match self.first_match(n_seen) {
                Some((start, index)) => (start, Some(index)),
                None => (self.start_of_held(), None),
            };
            self.released.push_str(&self.held[..end]);
            self.held.drain(..end);
            self.found = found;
        }
        StopStep { text: &self.released, stop: self.found }
    }

    /// Ends the text: gives what was held back, which is nothing after a stop string was found.
    #[must_use = "this is the end of the text"]
    pub fn flush(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        if self.found.is_some() { String::new() } else { held }
    }

    /// Finds the stop string that ends first, after the first `n_seen` bytes; gives its start.
    fn first_match(&self, n_seen: usize) -> Option<(usize, usize)> {
        let bytes = self.held.as_bytes();
        (n_seen + 1..=bytes.len()).find_map(|end| {
            let stops = self.stops.iter().enumerate();
            let matches = stops.filter(|(_, stop)| bytes[..end].ends_with(stop.as_bytes()));
            matches.map(|(index, stop)| (end - stop.len(), index)).min()
        })
    }

    /// Where the longest end of the text starts that begins a stop string.
    fn start_of_held(&self) -> usize {
        let text = &self.held;
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = text.len().saturating_sub(longest);
        let begins_a_stop = |&at: &usize| {
            text.get(at..).is_some_and(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
        };
        (from..text.len()).find(begins_a_stop).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Passes the pieces through a matcher: all text that came out, and what stopped it.
    fn stream(stops: &[String], pieces: &[String]) -> (String, Option<usize>) {
        let mut matcher = StopMatcher::new(stops).unwrap();
        let (mut text, mut found) = (String::new(), None);
        for piece in pieces {
            let step = matcher.push(piece);
            assert!(found.is_none() || (step.text.is_empty() && step.stop == found));
            text.push_str(step.text);
            found = step.stop;
        }
        text.push_str(&matcher.flush());
        (text, found)
    }

    /// The definition: grow the text by a character until it ends in a stop string.
    fn search(stops: &[String], text: &str) -> (String, Option<usize>) {
        for (at, c) in text.char_indices() {
            let seen = &text[..at + c.len_utf8()];
            let ending = stops.iter().enumerate().filter(|(_, stop)| seen.ends_with(*stop));
            if let Some((index, stop)) = ending.rev().max_by_key(|(_, stop)| stop.len()) {
                return (seen[..seen.len() - stop.len()].to_owned(), Some(index));
            }
        }
        (text.to_owned(), None)
    }

    proptest! {
        #[test]
        fn streaming_finds_what_a_search_finds(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            pieces in prop::collection::vec("[abcé]{0,5}", 0..8),
        ) {
            prop_assert_eq!(stream(&stops, &pieces), search(&stops, &pieces.concat()));
        }

        #[test]
        fn only_beginnings_of_stop_strings_are_held_back(
            stops in prop::collection::vec("[ab]{1,4}", 1..4),
            pieces in prop::collection::vec("[abc]{0,5}", 0..8),
        ) {
            let mut matcher = StopMatcher::new(&stops).unwrap();
            for piece in &pieces {
                if matcher.push(piece).stop.is_some() {
                    break;
                }
                let held = matcher.held.as_str();
                prop_assert!(stops.iter().any(|stop| stop.starts_with(held)), "{}", held);
            }
        }
    }

    #[test]
    fn a_stop_string_may_span_pieces() {
        let mut matcher = StopMatcher::new(["\nUser:", "###"]).unwrap();
        assert_eq!(matcher.push("Hi\nUs"), StopStep { text: "Hi", stop: None });
        assert_eq!(matcher.push("ual #"), StopStep { text: "\nUsual ", stop: None });
        assert_eq!(matcher.push("##more"), StopStep { text: "", stop: Some(1) });
        assert_eq!(matcher.push("late"), StopStep { text: "", stop: Some(1) });
        assert_eq!(matcher.flush(), "");
    }

    #[test]
    fn text_held_back_comes_out_at_the_end() {
        let mut matcher = StopMatcher::new(["###"]).unwrap();
        assert_eq!(matcher.push("a##").text, "a");
        assert_eq!(matcher.flush(), "##");
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopMatcher::new(["a", ""]).unwrap_err();
        assert_eq!(error.to_string(), "stop string 1 is empty: leave it out");
    }
}
