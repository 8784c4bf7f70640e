//! The messages of a chat, and the file they are saved in.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use powerinfer::ChatMessage;
use serde::{Deserialize, Serialize};

use super::super::exit;
use super::super::output::write_file;
use super::super::prompt::read_file;

const SYSTEM: &str = "system";

/// What was said so far; a system message is the first. Its JSON can be the body of a request.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conversation {
    messages: Vec<ChatMessage>,
}

impl Conversation {
    pub(super) fn messages(&self) -> &[ChatMessage] {
        &self.messages
    }

    pub(super) fn push(&mut self, role: &str, text: &str) {
        self.messages.push(ChatMessage::new(role, text));
    }

    pub(super) fn pop(&mut self) {
        self.messages.pop();
    }

    /// Sets the system message; an empty one is none.
    pub(super) fn set_system(&mut self, text: &str) {
        self.messages.retain(|message| message.role != SYSTEM);
        if !text.is_empty() {
            self.messages.insert(0, ChatMessage::new(SYSTEM, text));
        }
    }

    /// Forgets everything but the system message.
    pub(super) fn clear(&mut self) {
        self.messages.retain(|message| message.role == SYSTEM);
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        write_file(path, |file| writeln!(file, "{text}"))
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = read_file(path)?;
        serde_json::from_str(&text).map_err(|error| {
            exit::usage(format!(
                "{}: wanted {{\"messages\": [{{\"role\": ..., \"content\": ...}}, ...]}} with texts, \
                 found something else: {error}",
                path.display()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(conversation: &Conversation) -> Vec<&str> {
        conversation.messages().iter().map(|message| message.role.as_str()).collect()
    }

    #[test]
    fn there_is_one_system_message_and_it_comes_first() {
        let mut conversation = Conversation::default();
        conversation.push("user", "Hi");
        conversation.set_system("a");
        conversation.set_system("b");
        assert_eq!(roles(&conversation), ["system", "user"]);
        assert_eq!(conversation.messages()[0].content, "b");
        conversation.clear();
        assert_eq!(roles(&conversation), ["system"]);
        conversation.set_system("");
        assert!(conversation.messages().is_empty());
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.json");
        let mut conversation = Conversation::default();
        conversation.push("user", "a \"b\"\né");
        conversation.save(&path).unwrap();
        assert_eq!(Conversation::load(&path).unwrap(), conversation);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
        for text in ["[]", "{}", "{\"messages\": [{\"role\": \"user\"}]}", "x"] {
            std::fs::write(&path, text).unwrap();
            let error = Conversation::load(&path).unwrap_err().to_string();
            assert!(error.contains("chat.json: wanted {\"messages\""), "{error}");
        }
    }
}
