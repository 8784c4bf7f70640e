//! Tools: what templates are told, and replies that have to be calls.

use powerinfer::{ChatMessage, ChatRequest, ChatTemplate, ToolCall, ToolError, ToolFormat, Tools};
use serde_json::{Value, json};

const HERMES: &str = "\
{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- ' answer with <tool_call>{\"name\": .., \"arguments\": ..}</tool_call><|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role }}
    {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
    {%- for call in message.tool_calls %}
        {{- '\\n<tool_call>\\n{\"name\": \"' + call.function.name + '\", \"arguments\": ' }}
        {{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}";
const LLAMA_3: &str = "\
{%- if tools is not none %}{{ tools | tojson }} {\"name\": .., \"parameters\": ..}{%- endif %}
{%- for message in messages %}{{- message.content }}{%- endfor %}<|python_tag|>";
const MISTRAL: &str = "\
{%- if tools is not none %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{%- endif %}
{%- for message in messages %}
    {%- if message.tool_calls is defined %}[TOOL_CALLS]{{ message.tool_calls | tojson }}
    {%- elif message.role == 'tool' %}{{ message.tool_call_id }}={{ message.content }}
    {%- else %}{{ message.content }}{%- endif %}
{%- endfor %}";
const PLAIN: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

fn template(text: &str) -> ChatTemplate {
    ChatTemplate::new(text, "<s>", "</s>").unwrap()
}

fn functions(names: &[&str]) -> Value {
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": false,
        "$defs": {"city": {"enum": ["Oslo", "Rome"]}},
    });
    let function = |name: &&str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    names.iter().map(function).collect()
}

#[test]
fn a_template_tells_how_its_model_spells_calls() {
    let cases = [
        (HERMES, Some(ToolFormat::Hermes)),
        (LLAMA_3, Some(ToolFormat::Llama3)),
        (MISTRAL, Some(ToolFormat::Mistral)),
        (PLAIN, None),
        // Speaks of calls, but never of the tools.
        ("<tool_call>{{ messages[0].content }}", None),
        ("{{ tools }}{{ raise_exception('no') }}<tool_call>", None),
    ];
    for (text, wanted) in cases {
        assert_eq!(ToolFormat::of(&template(text)), wanted, "{text}");
    }
    let error = Tools::new(&template(PLAIN), functions(&["f"])).unwrap_err();
    assert!(matches!(error, ToolError::Unsupported), "{error}");
}

#[test]
fn templates_see_calls_and_results() {
    let call = ToolCall::new("weather", "{\"city\": \"Oslo\"}").id("abcdefghi");
    let messages = [
        ChatMessage::new("user", "Hi"),
        ChatMessage::new("assistant", "").tool_calls(vec![call]),
        ChatMessage::new("tool", "rain").tool_call_id("abcdefghi").name("weather"),
    ];
    let request = ChatRequest { messages: &messages, ..ChatRequest::default() };
    let hermes = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \
                  \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call><|im_end|>\n\
                  <|im_start|>tool\nrain<|im_end|>\n";
    assert_eq!(template(HERMES).render(&request).unwrap(), hermes);
    let mistral = "Hi[TOOL_CALLS][{\"id\": \"abcdefghi\", \"type\": \"function\", \"function\": \
                   {\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}}]abcdefghi=rain";
    let rendered = template(MISTRAL).render(&request).unwrap();
    assert_eq!(rendered.replace('\n', ""), mistral);
}

#[test]
fn messages_are_read_as_the_api_has_them() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let form = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let message: ChatMessage = serde_json::from_value(form).unwrap();
    assert_eq!((message.content.as_str(), message.tool_calls[0].name.as_str()), ("", "f"));
    let written = serde_json::to_value(&message).unwrap();
    assert_eq!(written["content"], Value::Null);
    let plain = serde_json::to_value(ChatMessage::new("user", "")).unwrap();
    assert_eq!(plain, json!({"role": "user", "content": ""}));
}

#[test]
fn tools_that_cannot_be_read_are_refused() {
    let read = |tools: Value| Tools::new(&template(HERMES), tools).unwrap_err();
    assert!(matches!(read(json!({})), ToolError::Malformed { .. }));
    assert!(matches!(read(json!([{"type": "function"}])), ToolError::Malformed { .. }));
    let web = json!([{"type": "web_search", "function": {"name": "f"}}]);
    assert!(matches!(read(web), ToolError::Malformed { .. }));
    assert!(matches!(read(functions(&["a b"])), ToolError::Name { .. }));
    assert!(matches!(read(functions(&["f", "f"])), ToolError::Duplicate { .. }));
    let parameters = json!([{"type": "function", "function": {"name": "f", "parameters": 3}}]);
    assert!(matches!(read(parameters), ToolError::Malformed { .. }));
}

#[cfg(feature = "grammar")]
mod choice {
    use powerinfer::{GenerateOptions, Sampling, SessionOptions, ToolChoice};

    use super::*;
    use crate::support::{PROMPT, demo, fresh, session};

    fn reply(tools: &Tools, choice: &ToolChoice, seed: u64) -> String {
        let model = demo();
        let grammar = tools.grammar(choice, model.tokenizer().unwrap()).unwrap().unwrap();
        let options = GenerateOptions::from(Sampling::default().seed(seed))
            .max_tokens(300)
            .visible(tools.visible())
            .grammar(grammar);
        fresh(PROMPT, options).text
    }

    #[test]
    fn a_required_call_is_made_whatever_the_model_is() {
        for text in [HERMES, LLAMA_3, MISTRAL] {
            let tools = Tools::new(&template(text), functions(&["weather", "news"])).unwrap();
            for seed in 0..6 {
                let reply = reply(&tools, &ToolChoice::Required, seed);
                let mut parser = tools.parser();
                let mut step = parser.push(&reply);
                let rest = parser.flush();
                step.calls.extend(rest.calls);
                assert_eq!(
                    (step.text + &rest.text, step.calls.len()),
                    (String::new(), 1),
                    "{reply}"
                );
                let arguments: Value = serde_json::from_str(&step.calls[0].arguments).unwrap();
                let schema = &tools.definitions()[0]["function"]["parameters"];
                assert!(jsonschema::is_valid(schema, &arguments), "{reply}");
            }
        }
    }

    #[test]
    fn a_named_function_is_called() {
        let tools = Tools::new(&template(HERMES), functions(&["weather", "news"])).unwrap();
        let choice = ToolChoice::Function("news".to_owned());
        let step = tools.parser().push(&reply(&tools, &choice, 3));
        assert_eq!(step.calls[0].name, "news");
    }

    #[test]
    fn choices_that_cannot_be_are_refused() {
        let model = demo();
        let tokenizer = model.tokenizer().unwrap();
        let tools = Tools::new(&template(HERMES), functions(&["weather"])).unwrap();
        assert_eq!(tools.grammar(&ToolChoice::Auto, tokenizer).unwrap(), None);
        let choice = ToolChoice::Function("news".to_owned());
        let error = tools.grammar(&choice, tokenizer).unwrap_err();
        assert!(error.to_string().contains("there are weather"), "{error}");
        let none = Tools::new(&template(HERMES), json!([])).unwrap();
        let error = none.grammar(&ToolChoice::Required, tokenizer).unwrap_err();
        assert!(matches!(error, ToolError::Empty), "{error}");
        let parameters = json!({"$ref": "#"});
        let loops =
            json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]);
        let tools = Tools::new(&template(HERMES), loops).unwrap();
        let grammar = tools.grammar(&ToolChoice::Required, tokenizer).unwrap().unwrap();
        let options = GenerateOptions::default().grammar(grammar);
        let mut session = session(SessionOptions::default());
        assert!(session.generate(PROMPT, options).unwrap_err().to_string().contains("grammar"));
    }
}
