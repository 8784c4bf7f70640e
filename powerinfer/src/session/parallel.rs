//! Several texts at a time: all of them in every batch, the next prompt as soon as one ends.

use std::collections::VecDeque;
use std::time::Instant;

use super::Session;
use super::generate_options::{FinishReason, GenerateOptions};
use super::generation::Completion;
use super::meter::{Meter, TokenCounts};
use super::run::Run;
use crate::batch::Batch;
use crate::error::Error;
use crate::report;

/// One text and its measurements.
struct Job {
    run: Run,
    meter: Meter,
    text: String,
    completion: Option<Completion>,
}

/// Which job runs in which sequence, and which ones wait.
struct Schedule {
    /// Job by sequence.
    slots: Vec<Option<usize>>,
    /// Running jobs, the last admitted last.
    order: Vec<usize>,
    waiting: VecDeque<usize>,
    /// Someone was sent back for lack of room: nobody enters until a job has ended.
    is_crowded: bool,
}

impl Session {
    /// Continues several texts together, which is faster than one after the other: each weight is
    /// read once for all of them.
    ///
    /// Every text is what [`generate`](Self::generate) would give for it alone. As many run at a
    /// time as the session has sequences, all of which are taken over and left empty. A text that
    /// finds the context crowded waits.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate), for any of the prompts; then nothing is computed. A
    /// timeout loses all texts. A cancel does not: those unfinished end there.
    pub fn generate_batch<P: AsRef<str>>(
        &mut self,
        prompts: &[P],
        options: impl Into<GenerateOptions>,
    ) -> Result<Vec<Completion>, Error> {
        let options = options.into().or(&self.defaults);
        let mut jobs = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let prompt = prompt.as_ref();
            let tokens = self.encode(prompt, &options)?;
            let run = Run::new(&self.model, self.capacity, options.clone(), prompt, tokens)?;
            let meter = Meter::new(self.model.load_time());
            jobs.push(Job { run, meter, text: String::new(), completion: None });
        }
        let span = tracing::info_span!(
            "generation_batch",
            model = self.identity.model,
            prompts = jobs.len()
        );
        let _entered = span.enter();
        self.begin_run(Instant::now())?;
        let result = self.run_jobs(&mut jobs);
        self.end_run();
        if let Err(error) = &result {
            let error = report::chain(error);
            for job in jobs.iter().filter(|job| job.completion.is_none()) {
                let metrics = job.measure(self);
                report::generation(&self.identity, &metrics, Err(&error));
            }
        }
        result?;
        Ok(jobs.into_iter().filter_map(|job| job.completion).collect())
    }

    fn run_jobs(&mut self, jobs: &mut [Job]) -> Result<(), Error> {
        for sequence in 0..self.options.sequences {
            self.truncate(sequence, 0)?;
        }
        let mut schedule = Schedule::new(self.histories.len(), jobs.len());
        let mut batch = Batch::new();
        loop {
            schedule.admit(jobs, self.room());
            if schedule.order.is_empty() {
                return Ok(());
            }
            let result = self.step_jobs(jobs, &mut schedule, &mut batch);
            if result.is_err() {
                for sequence in 0..self.options.sequences {
                    self.truncate(sequence, 0)?;
                }
            }
            result?;
        }
    }

    /// Computes one batch and draws a token for every running job.
    fn step_jobs(
        &mut self,
        jobs: &mut [Job],
        schedule: &mut Schedule,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let start = Instant::now();
        batch.clear();
        let mut rows = Vec::with_capacity(schedule.slots.len());
        for (sequence, job) in schedule.running() {
            self.extend_batch(batch, sequence, jobs[job].run.tokens());
            rows.push((batch.len() - 1, sequence, job));
        }
        match self.decode(batch) {
            Ok(()) => {}
            Err(Error::Cancelled) => return self.end_all(jobs, schedule),
            Err(Error::ContextFull { .. }) if schedule.order.len() > 1 => {
                return self.send_back(schedule);
            }
            Err(Error::ContextFull { .. }) if !jobs[rows[0].2].run.completion().is_empty() => {
                let (_, sequence, job) = rows[0];
                jobs[job].run.end(FinishReason::ContextFull);
                return self.finish(&mut jobs[job], schedule, sequence);
            }
            Err(error) => return Err(error),
        }
        for &(row, _, job) in &rows {
            let row = u32::try_from(row).expect("a batch is no longer than its context");
            jobs[job].run.advance(self.logits(row)?)?;
        }
        let (elapsed, stats) = (start.elapsed(), self.stats());
        for &(_, sequence, job) in &rows {
            let job = &mut jobs[job];
            job.meter.step(elapsed, !job.run.completion().is_empty(), &stats);
            job.text.extend(job.run.take_text());
            if job.run.finish_reason().is_some() {
                self.finish(job, schedule, sequence)?;
            }
        }
        Ok(())
    }

    /// Takes the last admitted job out; it starts over, with its tokens so far, when there is room.
    fn send_back(&mut self, schedule: &mut Schedule) -> Result<(), Error> {
        let sequence = schedule.send_last_back();
        self.truncate(sequence, 0)
    }

    fn end_all(&mut self, jobs: &mut [Job], schedule: &mut Schedule) -> Result<(), Error> {
        let running: Vec<_> = schedule.running().collect();
        for (sequence, job) in running {
            jobs[job].run.end(FinishReason::Cancelled);
            self.finish(&mut jobs[job], schedule, sequence)?;
        }
        for job in std::mem::take(&mut schedule.waiting) {
            jobs[job].run.end(FinishReason::Cancelled);
            jobs[job].complete(self);
        }
        Ok(())
    }

    fn finish(
        &mut self,
        job: &mut Job,
        schedule: &mut Schedule,
        sequence: u32,
    ) -> Result<(), Error> {
        schedule.release(sequence);
        job.complete(self);
        self.truncate(sequence, 0)
    }
}

impl Job {
    fn measure(&self, session: &Session) -> crate::Metrics {
        let counts = TokenCounts {
            prompt: self.run.prompt().len(),
            cached: 0,
            completion: self.run.completion().len(),
        };
        self.meter.finish(counts, &session.stats(), &session.model.info().gpu)
    }

    /// Turns a run that has a finish reason into a completion and reports it.
    fn complete(&mut self, session: &Session) {
        let Some(finish_reason) = self.run.finish_reason().cloned() else { return };
        self.text.extend(self.run.take_text());
        let metrics = self.measure(session);
        report::generation(&session.identity, &metrics, Ok(&finish_reason.to_string()));
        self.completion = Some(Completion {
            text: std::mem::take(&mut self.text),
            tokens: self.run.completion().to_vec(),
            finish_reason,
            metrics,
        });
    }
}

impl Schedule {
    fn new(n_sequences: usize, n_jobs: usize) -> Self {
        Self {
            slots: vec![None; n_sequences],
            order: Vec::new(),
            waiting: (0..n_jobs).collect(),
            is_crowded: false,
        }
    }

    /// Running jobs by sequence.
    fn running(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        (0u32..).zip(&self.slots).filter_map(|(sequence, job)| Some((sequence, (*job)?)))
    }

    /// Lets waiting jobs in while there is a sequence and room for what they have so far.
    fn admit(&mut self, jobs: &[Job], mut room: usize) {
        while !self.is_crowded {
            let free = self.slots.iter().position(Option::is_none);
            let (Some(slot), Some(&job)) = (free, self.waiting.front()) else { return };
            let wanted = jobs[job].run.tokens().len();
            if wanted > room && !self.order.is_empty() {
                return;
            }
            room = room.saturating_sub(wanted);
            self.waiting.pop_front();
            self.slots[slot] = Some(job);
            self.order.push(job);
        }
    }

    /// Frees the sequence of a job that has ended.
    fn release(&mut self, sequence: u32) {
        let job = self.slots[super::to_usize(sequence)].take();
        self.order.retain(|&running| Some(running) != job);
        self.is_crowded = false;
    }

    /// Moves the last admitted job to the front of those that wait; returns its sequence.
    fn send_last_back(&mut self) -> u32 {
        let job = self.order.pop();
        let sequence = self.running().find(|&(_, running)| Some(running) == job);
        let (sequence, job) = sequence.expect("a running job has a sequence");
        self.slots[super::to_usize(sequence)] = None;
        self.waiting.push_front(job);
        self.is_crowded = true;
        sequence
    }
}
