//! Requests that come and go get what they would get alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use powerinfer::{
    EmbedOptions, Error, Event, FinishReason, Finished, GenerateOptions, Piece, Pooling, Request,
    RequestId, Sampling, Scheduler, SessionOptions,
};
use proptest::prelude::*;

use crate::support::{PROMPT, fresh, greedy, session};

/// What has come of a request so far.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    text: String,
    details: Vec<powerinfer::TokenDetail>,
    pub(crate) started: usize,
    finished: Option<Finished>,
    pub(crate) failed: Option<Arc<Error>>,
    vector: Option<Vec<f32>>,
}

impl Reply {
    pub(crate) fn is_over(&self) -> bool {
        self.finished.is_some() || self.failed.is_some() || self.vector.is_some()
    }

    fn take(&mut self, event: Event) {
        assert!(!self.is_over(), "{event:?} after the end");
        match event {
            Event::Started => self.started += 1,
            Event::Piece(Piece { text, tokens, .. }) => {
                self.text.push_str(&text);
                self.details.extend(tokens);
            }
            Event::Finished(finished) => self.finished = Some(*finished),
            Event::Failed(error) => self.failed = Some(error),
            Event::Embedded { vector, .. } => self.vector = Some(vector),
            other => panic!("{other:?}"),
        }
    }

    fn finished(&self) -> &Finished {
        self.finished.as_ref().unwrap_or_else(|| panic!("{self:?}"))
    }
}

#[derive(Default)]
pub(crate) struct Replies(pub(crate) HashMap<RequestId, Reply>);

impl Replies {
    pub(crate) fn step(&mut self, scheduler: &mut Scheduler) -> bool {
        scheduler.step(&mut |id, event| self.0.entry(id).or_default().take(event))
    }

    pub(crate) fn run(&mut self, scheduler: &mut Scheduler) {
        for _ in 0..10_000 {
            if !self.step(scheduler) {
                return;
            }
        }
        panic!("the scheduler does not come to an end: {scheduler:?}");
    }
}

pub(crate) fn scheduler(sequences: u32, context: u32) -> Scheduler {
    let options = SessionOptions::default().sequences(sequences).context(context);
    Scheduler::new(session(options))
}

const PROMPTS: [&str; 6] = [
    "Once upon a time",
    "The dog",
    "A girl named Lily went to the park",
    "One day",
    "Once upon a time there was a little girl",
    "Tom was sad.",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whenever they come, whoever is beside them, however prompts are cut and however little room
    /// there is, and whatever texts before them left in the cache.
    #[test]
    fn every_text_is_what_it_is_alone(
        sequences in 1u32..4,
        context in prop::sample::select(vec![96u32, 256, 1024]),
        chunk in 1usize..20,
        jobs in prop::collection::vec((0usize..6, 1u32..24, 0u64..3, 0usize..6), 1..10),
    ) {
        let mut scheduler = scheduler(sequences, context).prefill_chunk(chunk);
        let mut replies = Replies::default();
        let mut submitted = Vec::new();
        for (prompt, max_tokens, seed, steps) in jobs {
            let sampling =
                if seed == 0 { Sampling::greedy() } else { Sampling::default().seed(seed) };
            let options = GenerateOptions::from(sampling).max_tokens(max_tokens);
            let request = scheduler.requests().text(PROMPTS[prompt], options.clone()).unwrap();
            submitted.push((scheduler.submit(request), PROMPTS[prompt], options));
            for _ in 0..steps {
                replies.step(&mut scheduler);
            }
        }
        replies.run(&mut scheduler);
        for (id, prompt, options) in submitted {
            let wanted = fresh(prompt, options);
            let got = &replies.0[&id];
            prop_assert_eq!(&got.text, &wanted.text);
            prop_assert_eq!(&got.finished().tokens, &wanted.tokens);
            prop_assert_eq!(&got.finished().finish_reason, &wanted.finish_reason);
        }
        prop_assert_eq!(scheduler.load().running + scheduler.load().waiting, 0);
    }
}

#[test]
fn a_prompt_takes_over_what_others_computed() {
    let mut scheduler = scheduler(3, 1024);
    let mut replies = Replies::default();
    let long = "Once upon a time there was a cat. The cat had a red ball. ".repeat(4);
    let submit = |scheduler: &mut Scheduler, text: &str| {
        let request = scheduler.requests().text(text, greedy(8)).unwrap();
        scheduler.submit(request)
    };
    // Two at once: the second waits for the first one's prompt.
    let first = submit(&mut scheduler, &long);
    let twin = submit(&mut scheduler, &format!("{long}The cat"));
    replies.run(&mut scheduler);
    // A later one, of a text that is over.
    let later = submit(&mut scheduler, &format!("{long}The ball"));
    replies.run(&mut scheduler);
    let metrics = |id| &replies.0[&id].finished().metrics;
    assert_eq!(metrics(first).cached_tokens, 0);
    for id in [twin, later] {
        let (cached, prompt) = (metrics(id).cached_tokens, metrics(id).prompt_tokens);
        assert!(cached + 5 > prompt, "{cached} of {prompt}");
    }
    assert_eq!(replies.0[&twin].text, fresh(&format!("{long}The cat"), greedy(8)).text);
    assert_eq!(replies.0[&later].text, fresh(&format!("{long}The ball"), greedy(8)).text);
}

#[test]
fn texts_go_on_while_a_long_prompt_is_computed() {
    let mut scheduler = scheduler(2, 1024).prefill_chunk(8);
    let mut replies = Replies::default();
    let short = scheduler.requests().text("The dog", greedy(100)).unwrap();
    let short = scheduler.submit(short);
    replies.step(&mut scheduler);
    let long = scheduler.requests().text(&"the cat sat. ".repeat(30), greedy(4)).unwrap();
    let n_prompt = long.prompt_tokens();
    assert!(n_prompt > 80, "{n_prompt}");
    let long = scheduler.submit(long);
    let before = scheduler.session().stats().n_tokens;
    replies.step(&mut scheduler);
    let computed = scheduler.session().stats().n_tokens - before;
    assert_eq!(computed, 1 + 8, "one token of the text, a chunk of the prompt");
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&short].text, fresh("The dog", greedy(100)).text);
    assert!(replies.0[&long].finished.is_some());
}

#[test]
fn cancelled_in_the_queue_in_the_prompt_and_in_the_text() {
    let mut scheduler = scheduler(2, 1024).prefill_chunk(4);
    let mut replies = Replies::default();
    let requests = scheduler.requests();
    let submit = |scheduler: &mut Scheduler, request: Request| {
        let handle = request.handle();
        (scheduler.submit(request), handle)
    };
    let (text, stop_text) = submit(&mut scheduler, requests.text(PROMPT, greedy(200)).unwrap());
    for _ in 0..5 {
        replies.step(&mut scheduler);
    }
    let long = requests.text(&"the cat sat. ".repeat(20), greedy(4)).unwrap();
    let (prompt, stop_prompt) = submit(&mut scheduler, long);
    let (queued, stop_queued) =
        submit(&mut scheduler, requests.text("One day", greedy(4)).unwrap());
    replies.step(&mut scheduler);
    assert_eq!((scheduler.load().running, scheduler.load().waiting), (2, 1));
    for handle in [stop_text, stop_prompt, stop_queued] {
        handle.cancel();
    }
    let (after, _) = submit(&mut scheduler, requests.text("The dog", greedy(8)).unwrap());
    replies.run(&mut scheduler);
    for id in [text, prompt, queued] {
        assert_eq!(replies.0[&id].finished().finish_reason, FinishReason::Cancelled);
    }
    assert!(!replies.0[&text].text.is_empty());
    assert_eq!(replies.0[&prompt].text, "");
    assert_eq!(replies.0[&queued].started, 0);
    assert_eq!(replies.0[&after].text, fresh("The dog", greedy(8)).text);
}

#[test]
fn a_cancel_from_another_thread_stops_a_long_prompt_at_once() {
    let mut scheduler = scheduler(1, 1024);
    let request = scheduler.requests().text(&"the cat sat. ".repeat(70), greedy(4)).unwrap();
    let handle = request.handle();
    let id = scheduler.submit(request);
    let mut replies = Replies::default();
    let canceller = std::thread::spawn(move || handle.cancel());
    replies.run(&mut scheduler);
    canceller.join().unwrap();
    // It came before, during or after the prompt; whichever, the scheduler goes on.
    assert!(replies.0[&id].finished.is_some());
    let request = scheduler.requests().text("The dog", greedy(8)).unwrap();
    let id = scheduler.submit(request);
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&id].text, fresh("The dog", greedy(8)).text);
}

#[test]
fn time_limits_count_the_queue() {
    let mut scheduler = scheduler(1, 1024);
    let mut replies = Replies::default();
    let requests = scheduler.requests();
    let first = requests.text("The dog", greedy(20)).unwrap();
    let first = scheduler.submit(first);
    let late = requests.text("One day", greedy(4)).unwrap().time_limit(Duration::ZERO);
    let late = scheduler.submit(late);
    replies.run(&mut scheduler);
    assert!(replies.0[&first].finished.is_some());
    assert!(matches!(*replies.0[&late].failed.clone().unwrap(), Error::Timeout { .. }));
}

#[test]
fn who_is_late_in_the_queue_is_told_then_and_not_at_its_turn() {
    let mut scheduler = scheduler(1, 1024);
    let mut replies = Replies::default();
    let requests = scheduler.requests();
    let first = requests.text("The dog", greedy(100)).unwrap();
    let first = scheduler.submit(first);
    replies.step(&mut scheduler);
    let patient =
        requests.text("One day", greedy(4)).unwrap().time_limit(Duration::from_secs(3600));
    let patient = scheduler.submit(patient);
    let late = requests.text("One day", greedy(4)).unwrap().time_limit(Duration::ZERO);
    let late = scheduler.submit(late);
    replies.step(&mut scheduler);
    let reply = &replies.0[&late];
    assert!(matches!(**reply.failed.as_ref().unwrap(), Error::Timeout { .. }), "{reply:?}");
    assert_eq!(reply.started, 0, "it never had a sequence: {reply:?}");
    assert!(!replies.0[&first].is_over(), "who runs goes on");
    assert!(!replies.0.contains_key(&patient), "who may still wait does");
    replies.run(&mut scheduler);
    assert!(replies.0[&patient].finished.is_some() && replies.0[&first].finished.is_some());
}

#[test]
fn prompts_share_a_step_and_the_shortest_gets_what_is_over() {
    // The share of each of three prompts in a step of so many tokens, the shortest first.
    for (chunk, shares) in [(2, [1, 1, 0]), (8, [3, 3, 2]), (9, [3, 3, 3]), (30, [8, 11, 11])] {
        let mut scheduler = scheduler(4, 1024).prefill_chunk(chunk);
        let mut replies = Replies::default();
        let requests = scheduler.requests();
        let beside = requests.text("The dog", greedy(100)).unwrap();
        scheduler.submit(beside);
        replies.step(&mut scheduler);
        // Each is of other tokens, and the shortest comes neither first nor last.
        for (token, n) in [(400, 20), (500, 8), (600, 40)] {
            let prompt = requests.tokens(&vec![token; n], greedy(1)).unwrap();
            scheduler.submit(prompt);
        }
        replies.step(&mut scheduler);
        let shared = [2, 1, 3].map(|sequence| scheduler.session().sequence_len(sequence).unwrap());
        assert_eq!(shared, shares, "of {chunk}");
    }
}

#[test]
fn embeddings_are_what_a_session_gives() {
    let text = "A girl named Lily went to the park. She had a red ball.";
    for pooling in [Pooling::Mean, Pooling::Last] {
        let options = EmbedOptions::default().pooling(pooling);
        let wanted = session(SessionOptions::default()).embed(text, options).unwrap();
        let mut scheduler = scheduler(2, 512).prefill_chunk(3);
        let mut replies = Replies::default();
        let beside = scheduler.requests().text(PROMPT, greedy(30)).unwrap();
        scheduler.submit(beside);
        replies.step(&mut scheduler);
        let ids = [(); 2].map(|()| {
            let request = scheduler.requests().embedding(text, options).unwrap();
            scheduler.submit(request)
        });
        replies.run(&mut scheduler);
        for id in ids {
            assert_eq!(replies.0[&id].vector.as_ref(), Some(&wanted), "{pooling:?}");
        }
    }
}

#[test]
fn logprobs_are_the_models_and_belong_to_the_text() {
    let options = greedy(12).logprobs(3);
    let alone = fresh(PROMPT, options.clone());
    assert_eq!(alone.details.len(), alone.tokens.len());
    for (detail, &token) in alone.details.iter().zip(&alone.tokens) {
        assert_eq!(detail.token, token);
        assert_eq!(detail.top.len(), 3);
        // Greedy: the drawn token is the most likely one.
        assert_eq!((detail.top[0].token, Some(detail.top[0].logprob)), (token, detail.logprob));
        assert!(detail.logprob.unwrap() <= 0.0);
    }
    let offsets: Vec<usize> = alone.details.iter().map(|detail| detail.offset).collect();
    assert!(offsets.is_sorted() && offsets[0] == 0, "{offsets:?}");
    let mut scheduler = scheduler(1, 256);
    let request = scheduler.requests().text(PROMPT, options).unwrap();
    let id = scheduler.submit(request);
    let mut replies = Replies::default();
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&id].details, alone.details);
}

#[test]
fn a_stop_string_takes_its_tokens_with_it() {
    let whole = fresh(PROMPT, greedy(30).logprobs(0));
    let at = whole.text.find('.').expect("a sentence ends");
    let cut = fresh(PROMPT, greedy(30).logprobs(0).stop(["."]));
    assert_eq!(cut.text, whole.text[..at]);
    let wanted: Vec<_> = whole.details.iter().filter(|detail| detail.offset < at).collect();
    assert_eq!(cut.details.iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn an_echoed_prompt_tells_its_own_tokens() {
    // What the model says of a text it made itself is what it said when it made it.
    let made = fresh(PROMPT, greedy(10).logprobs(2));
    let text = format!("{PROMPT}{}", made.text);
    let mut session = session(SessionOptions::default());
    for round in 0..2 {
        let options = greedy(1).logprobs(2).echo(true);
        let read = session.generate(&text, options).unwrap().complete().unwrap();
        assert!(read.text.starts_with(&text), "{}", read.text);
        assert_eq!(read.details[0].logprob, None);
        let n_prompt = usize::try_from(read.metrics.prompt_tokens).unwrap();
        assert_eq!(read.details.len(), n_prompt + 1);
        for (got, wanted) in read.details[n_prompt - 10..n_prompt].iter().zip(&made.details) {
            assert_eq!((got.token, &got.top), (wanted.token, &wanted.top), "round {round}");
            assert_eq!(got.offset, wanted.offset + PROMPT.len());
        }
    }
}

#[test]
fn a_shifted_context_goes_on() {
    let options = GenerateOptions::from(Sampling::greedy()).ignore_end(true).max_tokens(150);
    let mut session = session(SessionOptions::default().context(64));
    let ended = session.generate(PROMPT, options.clone()).unwrap().complete().unwrap();
    assert_eq!(ended.finish_reason, FinishReason::ContextFull);
    let options = options.context_shift(true);
    let alone = session.generate(PROMPT, options.clone()).unwrap().complete().unwrap();
    assert_eq!(alone.finish_reason, FinishReason::MaxTokens);
    assert_eq!(alone.tokens.len(), 150);
    assert!(alone.text.starts_with(&ended.text));
    let mut scheduler = scheduler(2, 64);
    let first = scheduler.requests().text(PROMPT, options).unwrap();
    let first = scheduler.submit(first);
    let mut replies = Replies::default();
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&first].finished().tokens, alone.tokens);
}

#[test]
fn a_prompt_that_is_too_long_is_shifted_as_if_it_had_been_made() {
    let options = |n| greedy(n).ignore_end(true).context_shift(true);
    let mut session = session(SessionOptions::default().context(64));
    let generation = session.generate(PROMPT, options(150)).unwrap();
    let prompt = generation.prompt_tokens().to_vec();
    let made = generation.complete().unwrap();
    let (before, wanted) = made.tokens.split_at(100);
    let text = [&prompt, before].concat();
    let rest = session.generate_tokens(&text, options(50)).unwrap().complete().unwrap();
    assert_eq!(rest.tokens, wanted);
    assert_eq!(rest.metrics.prompt_tokens, text.len() as u64);
    let mut scheduler = scheduler(2, 64);
    let asked = scheduler.requests().tokens(&text, options(50)).unwrap();
    let asked = scheduler.submit(asked);
    let mut replies = Replies::default();
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&asked].finished().tokens, wanted);
    for options in [greedy(1), options(1).echo(true).logprobs(0)] {
        let error = session.generate_tokens(&text, options).map(drop).unwrap_err();
        assert!(matches!(error, Error::ContextFull { .. }), "{error:?}");
    }
}

#[test]
fn a_prompt_that_starts_over_tells_its_tokens_once() {
    let long = "The cat sat by the red ball. ".repeat(6);
    let options = greedy(4).logprobs(1).echo(true);
    let wanted = fresh(&long, options.clone());
    let mut scheduler = scheduler(2, 96).prefill_chunk(1);
    let mut replies = Replies::default();
    let first = GenerateOptions::from(Sampling::greedy()).ignore_end(true).max_tokens(90);
    let first = scheduler.requests().text("One day", first).unwrap();
    scheduler.submit(first);
    for _ in 0..30 {
        replies.step(&mut scheduler);
    }
    let second = scheduler.requests().text(&long, options).unwrap();
    let second = scheduler.submit(second);
    replies.run(&mut scheduler);
    let reply = &replies.0[&second];
    assert_eq!(reply.started, 2, "sent back, and in again when there was room: {reply:?}");
    assert_eq!(reply.text, wanted.text);
    assert_eq!(reply.details, wanted.details);
}

#[test]
fn prompts_wait_for_the_room_that_others_will_take() {
    let prompts =
        ["cat", "dog", "boy"].map(|who| format!("The {who} sat by the red ball. ").repeat(6));
    let mut scheduler = scheduler(3, 64).prefill_chunk(8);
    let mut replies = Replies::default();
    let ids = prompts.each_ref().map(|prompt| {
        let request = scheduler.requests().text(prompt, greedy(4)).unwrap();
        scheduler.submit(request)
    });
    replies.run(&mut scheduler);
    for (id, prompt) in ids.iter().zip(&prompts) {
        let reply = &replies.0[id];
        assert_eq!(reply.started, 1, "{reply:?}");
        assert_eq!(reply.text, fresh(prompt, greedy(4)).text);
    }
}

#[test]
fn who_was_sent_back_does_not_take_the_room_again() {
    let mut scheduler = scheduler(3, 96);
    let mut replies = Replies::default();
    let endless = |n| GenerateOptions::from(Sampling::greedy()).ignore_end(true).max_tokens(n);
    let submit = |scheduler: &mut Scheduler, prompt, n| {
        let request = scheduler.requests().text(prompt, endless(n)).unwrap();
        (scheduler.submit(request), prompt, n)
    };
    let mut all =
        vec![submit(&mut scheduler, "One day", 80), submit(&mut scheduler, "The dog", 80)];
    for _ in 0..50 {
        replies.step(&mut scheduler);
    }
    all.push(submit(&mut scheduler, "Tom was sad.", 30));
    replies.run(&mut scheduler);
    assert_eq!(replies.0[&all[2].0].started, 2);
    for (id, prompt, n) in all {
        assert_eq!(replies.0[&id].text, fresh(prompt, endless(n)).text, "{prompt}");
    }
}

#[test]
fn what_a_request_will_take_over_is_not_dropped_for_it() {
    let prompt = "The cat sat by the red ball. ".repeat(6);
    let mut scheduler = scheduler(2, 64);
    let mut replies = Replies::default();
    let first = scheduler.requests().text(&prompt, greedy(4)).unwrap();
    scheduler.submit(first);
    replies.run(&mut scheduler);
    let beside = GenerateOptions::from(Sampling::greedy()).ignore_end(true).max_tokens(24);
    let beside = scheduler.requests().text("One day", beside).unwrap();
    scheduler.submit(beside);
    replies.step(&mut scheduler);
    let again = scheduler.requests().text(&prompt, greedy(4)).unwrap();
    let again = scheduler.submit(again);
    replies.run(&mut scheduler);
    let finished = replies.0[&again].finished();
    assert_eq!(finished.metrics.cached_tokens, finished.metrics.prompt_tokens - 1);
    assert_eq!(replies.0[&again].text, fresh(&prompt, greedy(4)).text);
}
