//! The commands of a chat: lines that begin with a slash.

use super::super::exit;

/// What a command asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Clear,
    System(String),
    Save(String),
    Load(String),
    Stats,
    ShowOptions,
    Set { key: String, value: String },
    Exit,
}

/// How each command is written, and what it does.
const TABLE: [(&str, &str); 9] = [
    ("/help", "lists the commands"),
    ("/clear", "forgets the conversation, but for the system message"),
    ("/system TEXT", "sets the system message; without a text there is none"),
    ("/save FILE", "writes the conversation as JSON, messages in the form of OpenAI"),
    ("/load FILE", "goes on with a conversation that was saved"),
    ("/stats", "tells what the last reply cost"),
    ("/set KEY VALUE", "sets an option of the replies, named and written as in a policy"),
    ("/set", "lists what is set, and what can be"),
    ("/exit", "ends the chat"),
];

/// The commands for people.
pub(super) fn help() -> String {
    let lines = TABLE.map(|(usage, meaning)| format!("{usage:<15} {meaning}\n"));
    format!(
        "{}\nA backslash at the end of a line continues it; a text between \"\"\" and \"\"\" may have many \
         lines.\nA text that begins with // is sent with one slash. Ctrl-C stops a reply.",
        lines.concat()
    )
}

impl Command {
    /// Reads a command; none where the text is no command.
    pub(super) fn parse(text: &str) -> Option<anyhow::Result<Self>> {
        if !text.starts_with('/') || text.starts_with("//") {
            return None;
        }
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Some(Self::of(name, rest.trim()))
    }

    fn of(name: &str, rest: &str) -> anyhow::Result<Self> {
        let command = match (name, rest) {
            ("/help", "") => Self::Help,
            ("/clear", "") => Self::Clear,
            ("/stats", "") => Self::Stats,
            ("/exit", "") => Self::Exit,
            ("/set", "") => Self::ShowOptions,
            ("/system", text) => Self::System(text.to_owned()),
            ("/save" | "/load", "") => return Err(usage(name, "wanted the name of a file")),
            ("/save", path) => Self::Save(path.to_owned()),
            ("/load", path) => Self::Load(path.to_owned()),
            ("/set", pair) => {
                let (key, value) = pair
                    .split_once(char::is_whitespace)
                    .ok_or_else(|| usage(name, "wanted a key and a value"))?;
                Self::Set { key: key.to_owned(), value: value.trim().to_owned() }
            }
            ("/help" | "/clear" | "/stats" | "/exit", _) => {
                return Err(usage(name, "wanted nothing after it"));
            }
            _ => {
                return Err(usage(
                    name,
                    "no such command: see /help; begin with // to send the text",
                ));
            }
        };
        Ok(command)
    }
}

fn usage(name: &str, message: &str) -> anyhow::Error {
    exit::usage(format!("{name}: {message}"))
}

/// What is sent of a text: two slashes at its start are one.
pub(super) fn unescaped(text: &str) -> &str {
    if text.starts_with("//") { &text[1..] } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let set = |key: &str, value: &str| Command::Set { key: key.into(), value: value.into() };
        for (text, wanted) in [
            ("/help", Command::Help),
            ("/exit ", Command::Exit),
            ("/set", Command::ShowOptions),
            ("/set temperature 0.5", set("temperature", "0.5")),
            ("/set  stop  [a, b]", set("stop", "[a, b]")),
            ("/system You are\na bear", Command::System("You are\na bear".into())),
            ("/system", Command::System(String::new())),
            ("/save my file.json", Command::Save("my file.json".into())),
        ] {
            assert_eq!(Command::parse(text).unwrap().unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_text_or_refused() {
        for text in ["hello /help", "//help", " /help", ""] {
            assert!(Command::parse(text).is_none(), "{text}");
        }
        assert_eq!((unescaped("//help"), unescaped("a//")), ("/help", "a//"));
        for (text, wanted) in [
            ("/hlep", "see /help"),
            ("/save", "name of a file"),
            ("/set temperature", "a key and a value"),
            ("/clear all", "nothing after it"),
        ] {
            let error = Command::parse(text).unwrap().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_help_knows_every_command() {
        let help = help();
        for (usage, _) in TABLE {
            let name = usage.split(' ').next().unwrap();
            let result = Command::parse(&format!("{name} x y")).unwrap();
            let is_known = result.is_ok_and(|_| true)
                || !Command::parse(name).unwrap().is_err_and(|e| e.to_string().contains("no such"));
            assert!(is_known && help.contains(usage), "{usage}");
        }
    }
}
