//! Who is admitted finds the room that it was promised.

use powerinfer::{EmbedOptions, Pooling, Request, RequestId, Scheduler, Token};
use proptest::prelude::*;

use crate::scheduler::{Replies, scheduler};
use crate::support::greedy;

/// A request that says at most one token, so that its room is known when it comes.
#[derive(Debug, Clone)]
struct Job {
    /// Which of the beginnings that several have, and how much of it.
    beginning: u32,
    shared: usize,
    own: usize,
    embeds: bool,
    /// Steps that are done before the next one comes.
    steps: usize,
}

impl Job {
    fn request(&self, scheduler: &Scheduler, number: u32) -> Request {
        let of = |n: usize, token: u32| std::iter::repeat_n(token, n);
        let tokens: Vec<Token> =
            of(self.shared, 400 + self.beginning).chain(of(self.own, 500 + number)).collect();
        if self.embeds {
            let options = EmbedOptions::default().pooling(Pooling::Last);
            scheduler.requests().token_embedding(&tokens, options).unwrap()
        } else {
            scheduler.requests().tokens(&tokens, greedy(1)).unwrap()
        }
    }
}

fn job(context: usize) -> impl Strategy<Value = Job> {
    let (shared, own) = (0..=context / 2, 1..context / 2);
    (0..2_u32, shared, own, prop::bool::weighted(0.2), 0..4_usize).prop_map(
        |(beginning, shared, own, embeds, steps)| Job { beginning, shared, own, embeds, steps },
    )
}

fn arrivals() -> impl Strategy<Value = (usize, Vec<Job>)> {
    let contexts = prop::sample::select(vec![64_usize, 96, 130, 160]);
    contexts.prop_flat_map(|context| (Just(context), prop::collection::vec(job(context), 2..12)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whenever they come, whatever they share, however prompts are cut, and whatever others left in
    /// the cache: nobody who was admitted is sent back.
    #[test]
    fn nobody_is_sent_back_for_lack_of_room_that_was_known(
        sequences in 2u32..6,
        chunk in 1usize..40,
        (context, jobs) in arrivals(),
    ) {
        let context = u32::try_from(context).unwrap();
        let mut scheduler = scheduler(sequences, context).prefill_chunk(chunk);
        let mut replies = Replies::default();
        let mut submitted: Vec<RequestId> = Vec::new();
        for (job, number) in jobs.iter().zip(0..) {
            let request = job.request(&scheduler, number);
            submitted.push(scheduler.submit(request));
            for _ in 0..job.steps {
                replies.step(&mut scheduler);
            }
        }
        replies.run(&mut scheduler);
        for id in submitted {
            let reply = &replies.0[&id];
            prop_assert_eq!(reply.started, 1, "{:?}", reply);
            prop_assert!(reply.is_over() && reply.failed.is_none(), "{:?}", reply);
        }
    }
}

#[test]
fn what_cannot_enter_drops_nothing() {
    let mut scheduler = scheduler(4, 96);
    let mut replies = Replies::default();
    let submit = |scheduler: &mut Scheduler, token: Token, n: usize, max_tokens: u32| {
        let request = scheduler.requests().tokens(&vec![token; n], greedy(max_tokens)).unwrap();
        scheduler.submit(request)
    };
    // Of six pages one stays behind, and a text holds another.
    submit(&mut scheduler, 400, 20, 1);
    replies.run(&mut scheduler);
    let long = scheduler.requests();
    let long = long.tokens(&[500; 10], greedy(20).ignore_end(true)).unwrap();
    let long = scheduler.submit(long);
    replies.step(&mut scheduler);
    // Two requests that take three pages each: the second does not fit, with or without that page.
    submit(&mut scheduler, 600, 70, 1);
    let waits = submit(&mut scheduler, 700, 70, 1);
    replies.step(&mut scheduler);
    assert_eq!((scheduler.load().running, scheduler.load().waiting), (2, 1));
    assert_eq!(scheduler.session().sequence_len(0).unwrap(), 20, "what is left behind stays");
    replies.run(&mut scheduler);
    assert_eq!((replies.0[&waits].started, replies.0[&long].started), (1, 1));
}
