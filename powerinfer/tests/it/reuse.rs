//! A session reuses what its cache holds, and nobody can tell from the text.

use powerinfer::{ChatMessage, ChatTemplate, SessionOptions};

use crate::support::{PROMPT, fresh, greedy, session};

#[test]
fn a_longer_prompt_computes_only_its_end() {
    let mut session = session(SessionOptions::default());
    let first = session.generate(PROMPT, greedy(20)).unwrap().complete().unwrap();
    let longer = format!("{PROMPT}{} And then", first.text);
    let second = session.generate(&longer, greedy(20)).unwrap().complete().unwrap();
    assert!(second.metrics.cached_tokens >= first.metrics.prompt_tokens, "{:?}", second.metrics);
    assert_eq!(second.tokens, fresh(&longer, greedy(20)).tokens);
}

#[test]
fn the_same_prompt_computes_one_token_again() {
    let mut session = session(SessionOptions::default());
    let texts = [(); 2].map(|()| session.generate(PROMPT, greedy(20)).unwrap().complete().unwrap());
    assert_eq!(texts[0].tokens, texts[1].tokens);
    assert_eq!(texts[1].metrics.cached_tokens, texts[1].metrics.prompt_tokens - 1);
}

#[test]
fn turns_of_a_chat_are_what_a_fresh_session_says() {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}story:";
    let template = ChatTemplate::new(template, "", "").unwrap();
    let mut chat = session(SessionOptions::default());
    let mut messages = Vec::new();
    for (turn, text) in ["Tell me of a cat.", "And the dog?", "How does it end?"].iter().enumerate()
    {
        messages.push(ChatMessage::new("user", *text));
        let mut alone = session(SessionOptions::default());
        let wanted = alone.generate_chat_with(&template, &messages, greedy(12)).unwrap();
        let wanted = wanted.complete().unwrap();
        let got = chat.generate_chat_with(&template, &messages, greedy(12)).unwrap();
        let got = got.complete().unwrap();
        assert_eq!(got.tokens, wanted.tokens, "turn {turn}");
        assert_eq!(got.metrics.cached_tokens > 8, turn > 0, "turn {turn}: {:?}", got.metrics);
        messages.push(ChatMessage::new("story", got.text.trim()));
    }
}
