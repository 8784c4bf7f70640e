//! Chat templates in the styles that models come with.

use std::time::{Duration, UNIX_EPOCH};

use powerinfer::{
    ChatMessage, ChatRequest, ChatTemplate, ChatTemplateError, Tokenizer, TokenizerSpec,
};
use serde_json::json;

const CHATML: &str = "\
{% for message in messages %}
    {% if loop.first and message.role != 'system' %}
<|im_start|>system
Be kind.<|im_end|>
    {% endif %}
<|im_start|>{{ message['role'] }}
{{ message['content'] | trim }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}";

const LLAMA_2: &str = "\
{%- if messages[0]['role'] == 'system' -%}
  {%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}
  {%- set messages = messages[1:] -%}
{%- else -%}
  {%- set system = '' -%}
{%- endif -%}
{%- for message in messages -%}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('Roles must alternate: user, assistant, user, ...') -}}
  {%- endif -%}
  {%- set content = (system if loop.first else '') + message['content'] -%}
  {%- if message['role'] == 'user' -%}
    {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
  {%- else -%}
    {% generation %}{{- ' ' + content.strip() + ' ' + eos_token -}}{% endgeneration %}
  {%- endif -%}
{%- endfor -%}";

const LLAMA_3: &str = "\
{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for m in messages if m.role == 'system' %}
    {%- set ns.system = m.content %}
{%- endfor %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' ~ strftime_now('%d %b %Y') ~ '\\n' }}
{{- ns.system ~ '<|eot_id|>' }}
{%- for m in messages %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}";

const MISTRAL: &str = "\
{{- bos_token }}
{%- if tools is not none %}
    {{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content + eos_token }}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported, not ' ~ message.role) }}
    {%- endif %}
{%- endfor %}";

fn talk(turns: &[(&str, &str)]) -> Vec<ChatMessage> {
    turns.iter().map(|&(role, content)| ChatMessage::new(role, content)).collect()
}

fn fill(template: &str, request: &ChatRequest<'_>) -> Result<String, ChatTemplateError> {
    ChatTemplate::new(template, "<s>", "</s>")?.render(request)
}

#[test]
fn chatml_adds_its_system_message_and_the_prompt() {
    let messages = talk(&[("user", " Hi "), ("assistant", "Hello"), ("user", "Bye")]);
    let request =
        ChatRequest { messages: &messages, add_generation_prompt: true, ..ChatRequest::default() };
    let expected = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
        <|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n\
        <|im_start|>assistant\n";
    assert_eq!(fill(CHATML, &request).unwrap(), expected);
    let closed = ChatRequest { add_generation_prompt: false, ..request };
    assert_eq!(fill(CHATML, &closed).unwrap() + "<|im_start|>assistant\n", expected);
}

#[test]
fn llama_2_wraps_turns_and_marks_what_was_generated() {
    let messages =
        talk(&[("system", "Be brief."), ("user", "Hi"), ("assistant", "Yo"), ("user", "?")]);
    let request = ChatRequest { messages: &messages, ..ChatRequest::default() };
    let expected =
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] ? [/INST]";
    assert_eq!(fill(LLAMA_2, &request).unwrap(), expected);
}

#[test]
fn llama_3_tells_the_date_it_is_given() {
    let messages = talk(&[("system", "Be brief."), ("user", "Hi")]);
    let request = ChatRequest {
        messages: &messages,
        add_generation_prompt: true,
        now: Some(UNIX_EPOCH + Duration::from_secs(951_782_400)),
        ..ChatRequest::default()
    };
    let expected = "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 29 Feb 2000\n\
        Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
        <|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(fill(LLAMA_3, &request).unwrap(), expected);
}

#[test]
fn mistral_lists_tools_in_the_order_they_were_written() {
    let messages = talk(&[("user", "2 < 3 & 'x'?")]);
    let tools = json!([{"type": "function", "function": {"name": "a<b", "args": {}}}]);
    let request = ChatRequest { messages: &messages, ..ChatRequest::default() };
    assert_eq!(fill(MISTRAL, &request).unwrap(), "<s>[INST] 2 < 3 & 'x'?[/INST]");
    let with_tools = ChatRequest { tools: Some(&tools), ..request };
    let expected = "<s>[AVAILABLE_TOOLS] [{\"type\": \"function\", \"function\": \
        {\"name\": \"a<b\", \"args\": {}}}][/AVAILABLE_TOOLS][INST] 2 < 3 & 'x'?[/INST]";
    assert_eq!(fill(MISTRAL, &with_tools).unwrap(), expected);
}

#[test]
fn a_refusal_carries_the_words_of_the_template() {
    let cases = [
        (MISTRAL, talk(&[("tool", "x")]), "Only user and assistant roles are supported, not tool"),
        (LLAMA_2, talk(&[("assistant", "x")]), "Roles must alternate: user, assistant, user, ..."),
    ];
    for (template, messages, expected) in cases {
        let request = ChatRequest { messages: &messages, ..ChatRequest::default() };
        match fill(template, &request) {
            Err(ChatTemplateError::Raised { message }) => assert_eq!(message, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = ChatTemplate::new("a\nb\n{% if %}\n", "", "").unwrap_err();
    assert!(matches!(error, ChatTemplateError::Syntax { line: 3, .. }), "{error:?}");
    let error = ChatTemplate::new("{% generation %}\n{{ x }}", "", "").unwrap_err();
    assert!(matches!(error, ChatTemplateError::Syntax { .. }), "{error:?}");
}

#[test]
fn a_failure_names_its_line_and_cause() {
    let cases = [
        ("\n{{ messages[7].role.x }}", 2, "undefined"),
        ("{{ no_such_function() }}", 1, "no_such_function"),
        ("\n\n{{ strftime_now('%Q') }}", 3, "%Q"),
    ];
    for (template, expected_line, cause) in cases {
        let error = fill(template, &ChatRequest::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(cause), "{template:?}: {message}");
        match error {
            ChatTemplateError::Render { line, .. } => assert_eq!(line, expected_line, "{message}"),
            other => panic!("{template:?}: {other:?}"),
        }
    }
}

#[test]
fn an_endless_template_is_stopped() {
    let template = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
    let error = fill(template, &ChatRequest::default()).unwrap_err();
    assert!(matches!(error, ChatTemplateError::TooLong { .. }), "{error:?}");
}

#[test]
fn further_variables_reach_the_template_but_cannot_shadow_its_own() {
    let variables = json!({"enable_thinking": false});
    let request = ChatRequest { variables: variables.as_object(), ..ChatRequest::default() };
    let template = "{% if enable_thinking is defined and enable_thinking is false %}off{% endif %}";
    assert_eq!(fill(template, &request).unwrap(), "off");
    assert_eq!(fill(template, &ChatRequest::default()).unwrap(), "");
    let variables = json!({"bos_token": "x"});
    let request = ChatRequest { variables: variables.as_object(), ..request };
    let error = fill(template, &request).unwrap_err();
    assert!(matches!(error, ChatTemplateError::ReservedVariable { .. }), "{error:?}");
}

#[test]
fn a_given_template_goes_before_the_one_in_the_file() {
    let spec = TokenizerSpec {
        model: "llama".to_owned(),
        tokens: ["<unk>", "<s>", "</s>", "a"].map(|text| text.as_bytes().to_vec()).into(),
        ..TokenizerSpec::default()
    };
    let tokenizer = Tokenizer::new(&spec).unwrap();
    let fill = |given, in_file| {
        ChatTemplate::for_model(given, in_file, &tokenizer)?.render(&ChatRequest::default())
    };
    assert_eq!(fill(None, Some("{{ bos_token }}file{{ eos_token }}")).unwrap(), "<s>file</s>");
    assert_eq!(fill(Some("given"), Some("file")).unwrap(), "given");
    let error = fill(None, None).unwrap_err();
    assert!(matches!(error, ChatTemplateError::Missing), "{error:?}");
    assert!(error.to_string().contains("pass one"), "{error}");
}
