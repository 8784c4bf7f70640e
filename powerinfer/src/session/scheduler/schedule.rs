//! Many requests in one context: who runs, who waits, and what the next batch is made of.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::super::generate_options::FinishReason;
use super::super::{Part, Session, core_index, to_usize};
use super::event::{Event, RequestId};
use super::job::{Due, Job};
use super::request::Request;
use super::room::{self, Claim};
use super::slots::{Place, Slots, common_prefix};
use crate::batch::Batch;
use crate::error::Error;

/// Receives the events of a step.
pub(in super::super) type Sink<'a> = &'a mut dyn FnMut(RequestId, Event);

/// Two prompts that share so many tokens more than the cache has yet are not computed beside each
/// other: the later one waits until it can take over what they share.
const WORTH_WAITING: usize = 32;

/// The requests of a session.
pub(in super::super) struct Schedule {
    slots: Slots,
    /// In the order in which they were admitted.
    running: Vec<Running>,
    waiting: VecDeque<Job>,
    /// Someone was sent back for lack of room: nobody enters until a job has ended.
    is_crowded: bool,
    /// Tokens of prompts that a step computes at most while texts are running.
    prefill_chunk: usize,
    batch: Batch,
    next_id: u64,
}

struct Running {
    job: Job,
    sequence: u32,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// Something was computed or decided.
    Done,
    /// There was nothing to do.
    Idle,
    /// A cancel stopped the step; nothing was computed.
    Interrupted,
    /// The engine failed, and with it all that were running.
    Failed,
}

impl Schedule {
    pub(in super::super) fn new(n_sequences: usize, prefill_chunk: usize) -> Self {
        Self {
            slots: Slots::new(n_sequences),
            running: Vec::new(),
            waiting: VecDeque::new(),
            is_crowded: false,
            prefill_chunk: prefill_chunk.max(1),
            batch: Batch::new(),
            next_id: 0,
        }
    }

    pub(in super::super) fn submit(&mut self, session: &Session, request: Request) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.waiting.push_back(Job::new(id, request, session));
        id
    }

    pub(super) fn set_prefill_chunk(&mut self, tokens: usize) {
        self.prefill_chunk = tokens.max(1);
    }

    /// Whether any request is running or waiting.
    pub(in super::super) fn has_work(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    pub(super) fn n_running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Computes one batch: a token for every running text, and pieces of the prompts.
    pub(in super::super) fn step(&mut self, session: &mut Session, sink: Sink<'_>) -> Step {
        self.end_due(session, sink);
        self.admit(session, sink);
        let start = Instant::now();
        let parts = self.fill_batch(session);
        if parts.is_empty() {
            return if self.waiting.is_empty() { Step::Idle } else { Step::Done };
        }
        let result = session.decode(&self.batch);
        for running in &self.running {
            running.job.handle.set_in_prompt(false);
        }
        match result {
            Ok(()) => {}
            Err(Error::Cancelled) => return Step::Interrupted,
            Err(error @ Error::ContextFull { .. }) => {
                self.make_room(session, error, sink);
                return Step::Done;
            }
            Err(error) => {
                self.fail_all(session, error, sink);
                return Step::Failed;
            }
        }
        self.read(session, parts, start, sink);
        Step::Done
    }

    /// Ends all requests where they are.
    pub(in super::super) fn cancel_all(&mut self, session: &Session, sink: Sink<'_>) {
        for index in (0..self.running.len()).rev() {
            self.finish(index, Some(FinishReason::Cancelled), session, sink);
        }
        for job in std::mem::take(&mut self.waiting) {
            finish_waiting(job, session, sink);
        }
    }

    /// Ends those that were cancelled or are late.
    fn end_due(&mut self, session: &Session, sink: Sink<'_>) {
        let now = Instant::now();
        for index in (0..self.running.len()).rev() {
            match self.running[index].job.is_due(now) {
                None => {}
                Some(Due::Cancelled) => {
                    self.finish(index, Some(FinishReason::Cancelled), session, sink);
                }
                Some(Due::Late(limit)) => {
                    self.fail(index, Arc::new(Error::Timeout { limit }), session, sink);
                }
            }
        }
        for index in (0..self.waiting.len()).rev() {
            let due = self.waiting[index].is_due(now);
            let Some((job, due)) = due.and_then(|due| Some((self.waiting.remove(index)?, due)))
            else {
                continue;
            };
            match due {
                Due::Cancelled => finish_waiting(job, session, sink),
                Due::Late(limit) => {
                    let (id, event) = job.fail(session, Arc::new(Error::Timeout { limit }));
                    sink(id, event);
                }
            }
        }
    }

    /// Lets waiting requests in, in their order, while there is a sequence and room for them.
    fn admit(&mut self, session: &mut Session, sink: Sink<'_>) {
        let mut index = 0;
        while let (false, Some(job)) = (self.is_crowded, self.waiting.get(index)) {
            let Some(place) = self.slots.place(job.cacheable(), &session.histories) else { return };
            if self.is_worth_waiting(job, place.kept) {
                index += 1;
                continue;
            }
            let Some(dropped) = self.room_for(session, job, place) else { return };
            let Some(mut job) = self.waiting.remove(index) else { return };
            match enter(session, place, &dropped) {
                Ok(()) => {
                    self.slots.take(place.sequence);
                    job.admit(place.kept);
                    sink(job.id, Event::Started);
                    self.running.push(Running { job, sequence: core_index(place.sequence) });
                }
                Err(error) => {
                    let (id, event) = job.fail(session, Arc::new(error));
                    sink(id, event);
                }
            }
        }
    }

    /// Whether a running prompt will soon have computed much of what this one begins with.
    fn is_worth_waiting(&self, job: &Job, kept: usize) -> bool {
        let shares = |running: &Running| {
            // Those that have a text already have computed their prompt.
            !running.job.has_completion()
                && common_prefix(running.job.window(), job.cacheable())
                    >= kept.saturating_add(WORTH_WAITING)
        };
        self.running.iter().any(shares)
    }

    /// Which of the sequences left behind have to go so that a text can enter; none if that is not
    /// enough. What it takes over goes last. Without any other text it may try.
    fn room_for(&self, session: &Session, job: &Job, place: Place) -> Option<Vec<usize>> {
        let claim = |running: &Running| Claim {
            sequence: to_usize(running.sequence),
            tokens: running.job.window().len(),
        };
        let promised: Vec<Claim> = self.running.iter().map(claim).collect();
        let mut kept = self.slots.kept(&session.histories);
        kept.retain(|&sequence| sequence != place.sequence);
        kept.sort_by_key(|&sequence| Some(sequence) == place.source); // stable
        let n = room::make(&session.pages, &promised, place, job.window().len(), &kept);
        let n = n.or_else(|| promised.is_empty().then_some(kept.len()))?;
        kept.truncate(n);
        Some(kept)
    }

    /// Collects the next batch: first the texts, each with one token, then the prompts, which
    /// share what is left of the step.
    fn fill_batch(&mut self, session: &Session) -> Vec<Option<Part>> {
        self.batch.clear();
        let mut parts: Vec<Option<Part>> = self.running.iter().map(|_| None).collect();
        let rest: Vec<usize> = self.running.iter().map(|r| remaining(session, r)).collect();
        let is_text = |i: usize| rest[i] == 1 && self.running[i].job.has_completion();
        let mut budget = to_usize(session.options.batch).max(1);
        for i in (0..rest.len()).filter(|&i| is_text(i)) {
            let Running { job, sequence } = &self.running[i];
            parts[i] = Some(job.extend(&mut self.batch, session, *sequence, 1));
        }
        if !self.batch.is_empty() {
            budget = budget.saturating_sub(self.batch.len()).min(self.prefill_chunk).max(1);
        }
        // The shortest first, so that what they leave of their share goes to the longer ones.
        let mut prompts: Vec<usize> = (0..rest.len()).filter(|&i| !is_text(i)).collect();
        prompts.sort_by_key(|&i| rest[i]);
        let mut n_left = prompts.len();
        for i in prompts {
            let share = rest[i].min(budget.div_ceil(n_left)).min(budget);
            n_left -= 1;
            budget -= share;
            if share > 0 {
                let Running { job, sequence } = &self.running[i];
                job.handle.set_in_prompt(true);
                parts[i] = Some(job.extend(&mut self.batch, session, *sequence, share));
            }
        }
        if self.batch.is_empty() { Vec::new() } else { parts }
    }

    /// Gives the requests what was computed for them, and lets go of those that are over.
    fn read(
        &mut self,
        session: &mut Session,
        parts: Vec<Option<Part>>,
        start: Instant,
        sink: Sink<'_>,
    ) {
        let elapsed = start.elapsed();
        // From the last to the first, as those that are over leave the list.
        for (index, part) in parts.into_iter().enumerate().rev() {
            let Some(part) = part else { continue };
            let Running { job, sequence } = &mut self.running[index];
            let sequence = *sequence;
            // Whatever goes wrong with one text must not reach the others.
            let advanced = catch_unwind(AssertUnwindSafe(|| job.advance(session, &part)));
            match advanced.unwrap_or_else(|_| Err(Error::Panicked)) {
                Ok(()) => {}
                Err(error) => {
                    self.fail(index, Arc::new(error), session, sink);
                    continue;
                }
            }
            job.measure_step(session, elapsed);
            if job.is_over(&part) {
                self.finish(index, None, session, sink);
                continue;
            }
            if let Some(piece) = job.take_piece() {
                sink(job.id, piece);
            }
            // A context that was shifted begins otherwise than what the cache holds.
            if let Err(error) = session.keep_common_prefix(sequence, job.window()) {
                self.fail(index, Arc::new(error), session, sink);
            }
        }
    }

    /// Makes room where a step found none: those left behind go first, then the last one admitted
    /// goes back to the queue; one that is alone has reached its end.
    fn make_room(&mut self, session: &mut Session, error: Error, sink: Sink<'_>) {
        if let Some(&oldest) = self.slots.kept(&session.histories).first() {
            if let Err(error) = session.truncate(core_index(oldest), 0) {
                self.fail_all(session, error, sink);
            }
            return;
        }
        if self.running.len() > 1 {
            let Some(Running { job, sequence }) = self.running.pop() else { return };
            self.slots.release(to_usize(sequence));
            self.is_crowded = true;
            self.waiting.push_front(job);
            if let Err(error) = session.truncate(sequence, 0) {
                self.fail_all(session, error, sink);
            }
            return;
        }
        if self.running.first().is_some_and(|running| running.job.has_completion()) {
            self.finish(0, Some(FinishReason::ContextFull), session, sink);
        } else {
            self.fail_all(session, error, sink);
        }
    }

    fn fail_all(&mut self, session: &mut Session, error: Error, sink: Sink<'_>) {
        let error = Arc::new(error);
        for index in (0..self.running.len()).rev() {
            let sequence = self.running[index].sequence;
            self.fail(index, Arc::clone(&error), session, sink);
            // What it holds is not to be trusted; that it cannot be emptied changes nothing here.
            let _ = session.truncate(sequence, 0);
        }
    }

    fn finish(
        &mut self,
        index: usize,
        reason: Option<FinishReason>,
        session: &Session,
        sink: Sink<'_>,
    ) {
        let mut job = self.leave(index);
        if let Some(reason) = reason {
            job.end(reason);
        }
        let (id, events) = job.finish(session);
        events.into_iter().flatten().for_each(|event| sink(id, event));
    }

    fn fail(&mut self, index: usize, error: Arc<Error>, session: &Session, sink: Sink<'_>) {
        let (id, event) = self.leave(index).fail(session, error);
        sink(id, event);
    }

    fn leave(&mut self, index: usize) -> Job {
        let Running { job, sequence } = self.running.remove(index);
        self.slots.release(to_usize(sequence));
        self.is_crowded = false;
        job.handle.set_in_prompt(false);
        job
    }
}

/// Ends a request that never ran, or was sent back.
fn finish_waiting(mut job: Job, session: &Session, sink: Sink<'_>) {
    job.end(FinishReason::Cancelled);
    let (id, events) = job.finish(session);
    events.into_iter().flatten().for_each(|event| sink(id, event));
}

/// Tokens that a running text still has to compute.
fn remaining(session: &Session, running: &Running) -> usize {
    running.job.window().len() - session.histories[to_usize(running.sequence)].len()
}

/// Leaves in a sequence what a text begins with, and nothing in those that are dropped for it.
fn enter(session: &mut Session, place: Place, dropped: &[usize]) -> Result<(), Error> {
    let sequence = core_index(place.sequence);
    match place.source {
        None => session.truncate(sequence, core_index(place.kept))?,
        Some(source) => {
            session.truncate(sequence, 0)?;
            session.fork(core_index(source), sequence, core_index(place.kept))?;
        }
    }
    dropped.iter().try_for_each(|&dropped| session.truncate(core_index(dropped), 0))
}
