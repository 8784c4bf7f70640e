//! Server-sent events: bytes that come in any portions, as whole events.
//!
//! The format is that of the HTML standard: lines end with CR, LF or both, a line that begins with a
//! colon is a comment, lines of data are joined, an empty line ends an event.

/// No line and no event is longer, in bytes; an endless one would fill the memory.
const MAX_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its kind; `message` where the stream does not say.
    pub event: String,
    /// Its data, without the last line break.
    pub data: String,
}

/// An event or a line is longer than any should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MAX_BYTES} bytes")]
pub struct SseTooLong;

/// Reads events from bytes. What is not UTF-8 becomes U+FFFD.
///
/// # Examples
///
/// ```
/// use powerinfer::engine::SseParser;
///
/// let mut parser = SseParser::default();
/// assert!(parser.push(b": hello\r\ndata: a\r").unwrap().is_empty());
/// let events = parser.push(b"\ndata:b\r\n\r\n").unwrap();
/// assert_eq!(events[0].data, "a\nb");
/// ```
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
    /// The last byte was a CR, so that an LF right after it ends no line.
    after_cr: bool,
    /// A line has ended, so that no byte-order mark can come any more.
    is_started: bool,
}

impl SseParser {
    /// Takes the next bytes and gives the events that they complete.
    ///
    /// # Errors
    ///
    /// [`SseTooLong`]; the parser is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseTooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let completes_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if completes_crlf => {}
                b'\r' | b'\n' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_BYTES {
                return Err(SseTooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let is_first = !std::mem::replace(&mut self.is_started, true);
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| is_first).unwrap_or(&line);
        if line.is_empty() {
            return self.end_event();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.event),
            _ => {} // a comment, an id, a time to reconnect after, or what nobody knows
        }
        None
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        let event = if event.is_empty() { "message".to_owned() } else { event };
        std::mem::take(&mut self.has_data).then_some(SseEvent { event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let events = SseParser::default().push(text.as_bytes()).unwrap();
        events.into_iter().map(|event| (event.event, event.data)).collect()
    }

    fn messages(text: &str) -> Vec<String> {
        parsed(text).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn lines_end_with_cr_lf_or_both() {
        for text in
            ["data: a\n\ndata: b\n\n", "data: a\r\rdata: b\r\r", "data: a\r\n\r\ndata: b\r\n\r\n"]
        {
            assert_eq!(messages(text), ["a", "b"], "{text:?}");
        }
    }

    #[test]
    fn data_is_joined_and_one_space_is_taken_away() {
        assert_eq!(messages("data: a\ndata:b\ndata:  c\n\n"), ["a\nb\n c"]);
        assert_eq!(messages("data\n\n"), [""]);
        assert_eq!(messages("data\ndata\n\n"), ["\n"]);
    }

    #[test]
    fn comments_other_fields_and_ends_without_data_are_no_events() {
        assert!(messages(": ping\n\n\nid: 3\nretry: 9\n\nnonsense\n\n").is_empty());
        assert_eq!(
            parsed("event: error\ndata: x\n\ndata: y\n\n"),
            [("error".to_owned(), "x".to_owned()), ("message".to_owned(), "y".to_owned()),]
        );
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start_and_the_end_may_be_cut() {
        assert_eq!(messages("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n"), ["a"]);
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let mut parser = SseParser::default();
        assert_eq!(parser.push(&vec![b'x'; MAX_BYTES + 1]), Err(SseTooLong));
        let mut parser = SseParser::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; MAX_BYTES / 2], b"\n"].concat();
        assert_eq!(parser.push(&line), Ok(vec![]));
        assert_eq!(parser.push(&line), Err(SseTooLong));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_does_not_matter(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "data: é", "data:", ":", "event: x", "\n", "\r", "\r\n", "\n\n", "ü", "\u{feff}", " ",
                ]),
                0..40,
            ),
            cuts in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let text = parts.concat();
            let whole = SseParser::default().push(text.as_bytes()).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut parser = SseParser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&text.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(events, whole);
        }

        #[test]
        fn what_is_written_is_read(data in prop::collection::vec("[^\r\n]{0,20}", 1..4), end in "\n|\r|\r\n") {
            let mut text = format!(": x{end}");
            for line in &data {
                text.extend(["data: ", line, &end]);
            }
            prop_assert_eq!(messages(&(text + &end)), [data.join("\n")]);
        }
    }
}
