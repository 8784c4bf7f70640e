//! Calls of tools in a stream of text, wherever the tokens happen to be cut.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::ToolCall;
use super::format::ToolFormat;

/// Finds the calls in a reply.
///
/// Text that may turn out to begin a call is held back until that is decided, a call until it is
/// whole; so the result does not depend on how the text is cut into pieces. White space around calls
/// is dropped. What looks like a call and is none, because its JSON is not valid, has no name or does
/// not end, is text.
///
/// # Examples
///
/// ```
/// # use powerinfer::{ToolCall, ToolCallParser, ToolFormat};
/// let mut parser = ToolCallParser::new(ToolFormat::Hermes);
/// assert_eq!(parser.push("Let me see. <tool").text, "Let me see.");
/// let step = parser.push("_call>{\"name\": \"time\", \"arguments\": {\"zone\": \"UTC\"}}");
/// assert_eq!(step.calls, [ToolCall::new("time", "{\"zone\": \"UTC\"}")]);
/// assert_eq!(parser.push("</tool_call>").text, "");
/// assert_eq!(parser.flush().text, "");
/// ```
#[derive(Clone, Debug)]
pub struct ToolCallParser {
    format: ToolFormat,
    /// Text that is not decided yet.
    held: String,
    state: State,
}

/// What a piece of text led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolStep {
    /// Text that is part of no call, to be passed on.
    pub text: String,
    /// Calls that are complete now.
    pub calls: Vec<ToolCall>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing but white space since the beginning.
    Start,
    /// In text.
    Text,
    /// Behind a call, whose closing words may come.
    Behind,
    /// In the JSON that may be a call.
    Body(Brackets),
}

/// What is to be done with the beginning of what is held.
enum Action {
    /// It is text.
    Pass(usize, State),
    /// It is nothing.
    Drop(usize, State),
    /// JSON that may be calls begins at this place.
    Enter(usize),
    /// It is JSON that may be calls, from one place to another.
    Read(usize, usize),
    /// Its meaning depends on what comes.
    Wait,
}

impl ToolCallParser {
    /// Looks for calls of one format.
    pub fn new(format: ToolFormat) -> Self {
        Self { format, held: String::new(), state: State::Start }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> ToolStep {
        self.held.push_str(piece);
        self.advance(false)
    }

    /// Ends the text: gives what was held back.
    #[must_use = "this is the end of the text"]
    pub fn flush(&mut self) -> ToolStep {
        let step = self.advance(true);
        self.state = State::Start;
        step
    }

    fn advance(&mut self, is_end: bool) -> ToolStep {
        let mut step = ToolStep::default();
        while !self.held.is_empty() {
            match self.decide(is_end) {
                Action::Pass(end, state) => {
                    step.text.push_str(&self.held[..end]);
                    self.skip(end, state);
                }
                Action::Drop(end, state) => self.skip(end, state),
                Action::Enter(start) => self.state = State::Body(Brackets::from(start)),
                Action::Read(start, end) => {
                    if let Some(calls) = read(&self.held[start..end]) {
                        step.calls.extend(calls);
                        self.skip(end, State::Behind);
                    } else {
                        step.text.push_str(&self.held[..end]);
                        self.skip(end, State::Text);
                    }
                }
                Action::Wait => break,
            }
        }
        step
    }

    fn skip(&mut self, end: usize, state: State) {
        self.held.drain(..end);
        self.state = state;
    }

    /// What to do with the beginning of what is held, which is not empty.
    fn decide(&mut self, is_end: bool) -> Action {
        let held = self.held.as_str();
        match &mut self.state {
            State::Body(brackets) => match brackets.end(held) {
                Some(end) => Action::Read(brackets.start, end),
                None if is_end => Action::Pass(held.len(), State::Text),
                None => Action::Wait,
            },
            State::Start | State::Text => self.find_call(is_end),
            State::Behind => self.find_end(is_end),
        }
    }

    /// In text: passes what is certain, up to the white space before what may be a call.
    fn find_call(&self, is_end: bool) -> Action {
        let held = self.held.as_str();
        let (space, rest) = split_space(held);
        if self.format == ToolFormat::Llama3 && matches!(self.state, State::Start) {
            if rest.starts_with('{') {
                return Action::Enter(space);
            }
            if rest.is_empty() && !is_end {
                return Action::Wait;
            }
        }
        let opener = self.format.opener();
        let (text, is_found) = match held.find(opener) {
            Some(at) => (&held[..at], true),
            None if is_end => return Action::Pass(held.len(), State::Text),
            None => (&held[..held.len() - overlap(held, opener)], false),
        };
        let certain = text.trim_end().len();
        if certain > 0 {
            return Action::Pass(certain, State::Text);
        }
        if !is_found {
            return Action::Wait;
        }
        let after = text.len() + opener.len();
        let (space, rest) = split_space(&held[after..]);
        if rest.starts_with(self.format.bracket()) {
            Action::Enter(after + space)
        } else if rest.is_empty() && !is_end {
            Action::Wait
        } else {
            Action::Pass(after, State::Text)
        }
    }

    /// Behind a call: drops white space and the closing words.
    fn find_end(&self, is_end: bool) -> Action {
        let closer = self.format.closer();
        let (space, rest) = split_space(&self.held);
        if rest.is_empty() {
            return Action::Drop(space, State::Behind);
        }
        if !closer.is_empty() && rest.starts_with(closer) {
            return Action::Drop(space + closer.len(), State::Behind);
        }
        if closer.starts_with(rest) && !is_end {
            return Action::Wait;
        }
        Action::Drop(space, State::Start)
    }
}

/// Where a JSON array or object ends that begins at `start`, found piece by piece.
#[derive(Clone, Copy, Debug)]
struct Brackets {
    start: usize,
    /// What was looked at already.
    seen: usize,
    depth: usize,
    is_string: bool,
    is_escaped: bool,
}

impl Brackets {
    fn from(start: usize) -> Self {
        Self { start, seen: start, depth: 0, is_string: false, is_escaped: false }
    }

    fn end(&mut self, text: &str) -> Option<usize> {
        for (at, byte) in text.bytes().enumerate().skip(self.seen) {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_string => self.is_escaped = true,
                b'"' => self.is_string = !self.is_string,
                b'{' | b'[' if !self.is_string => self.depth += 1,
                b'}' | b']' if !self.is_string => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        self.seen = text.len();
        None
    }
}

/// A call as models spell it.
#[derive(Deserialize)]
struct Spelled<'a> {
    name: String,
    #[serde(borrow, alias = "parameters")]
    arguments: Option<&'a RawValue>,
    id: Option<String>,
}

/// The calls that JSON spells; `None` if it spells none.
fn read(json: &str) -> Option<Vec<ToolCall>> {
    let spelled: Vec<Spelled<'_>> = if json.starts_with('[') {
        serde_json::from_str(json).ok()?
    } else {
        vec![serde_json::from_str(json).ok()?]
    };
    let calls: Vec<ToolCall> = spelled.into_iter().filter_map(Spelled::into_call).collect();
    (!calls.is_empty()).then_some(calls)
}

impl Spelled<'_> {
    fn into_call(self) -> Option<ToolCall> {
        let arguments = match self.arguments.map(RawValue::get) {
            None | Some("null") => "{}".to_owned(),
            // Some models write the JSON of the arguments as a string.
            Some(text) if text.starts_with('"') => serde_json::from_str(text).ok()?,
            Some(text) => text.to_owned(),
        };
        let call = ToolCall { id: self.id, name: self.name, arguments };
        (!call.name.is_empty()).then_some(call)
    }
}

/// Length of the longest end of `text` that begins `word` without being all of it.
fn overlap(text: &str, word: &str) -> usize {
    let longest = text.len().min(word.len() - 1);
    (0..=longest).rev().find(|&n| text.as_bytes().ends_with(&word.as_bytes()[..n])).unwrap_or(0)
}

/// Length of the white space that a text begins with, and what follows it.
fn split_space(text: &str) -> (usize, &str) {
    let rest = text.trim_start();
    (text.len() - rest.len(), rest)
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
