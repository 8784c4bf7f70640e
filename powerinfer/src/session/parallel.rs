//! Several texts at a time, given at once.

use std::sync::Arc;
use std::time::Instant;

use super::Session;
use super::generate_options::GenerateOptions;
use super::generation::Completion;
use super::scheduler::{Event, Requests, Schedule, Step};
use super::token_detail::TokenDetail;
use crate::error::Error;

/// What has come of a text so far.
#[derive(Default)]
struct Text {
    so_far: String,
    details: Vec<TokenDetail>,
    completion: Option<Completion>,
}

impl Session {
    /// Continues several texts together, which is faster than one after the other: each weight is
    /// read once for all of them.
    ///
    /// Every text is what [`generate`](Self::generate) would give for it alone. As many run at a
    /// time as the session has sequences, all of which are taken over and left empty. A text that
    /// finds the context crowded waits. Texts that are not known beforehand are served by a
    /// [`Scheduler`](crate::Scheduler).
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
        let options = options.into();
        let requests = Requests::of(self);
        let mut schedule = Schedule::new(self.histories.len(), usize::MAX);
        let prepared = prompts.iter().map(|p| requests.text(p.as_ref(), options.clone()));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let span = tracing::info_span!(
            "generation_batch",
            model = self.model.identity().model,
            prompts = prompts.len()
        );
        let _entered = span.enter();
        self.begin_run(Instant::now())?;
        self.empty_sequences()?;
        // Numbers count from 0 in the order of submission.
        let mut texts: Vec<Text> = prepared.iter().map(|_| Text::default()).collect();
        for request in prepared {
            schedule.submit(self, request);
        }
        let result = self.run_schedule(&mut schedule, &mut texts);
        self.end_run();
        self.empty_sequences()?;
        result?;
        Ok(texts.into_iter().filter_map(|text| text.completion).collect())
    }

    fn run_schedule(&mut self, schedule: &mut Schedule, texts: &mut [Text]) -> Result<(), Error> {
        let mut failure = None;
        let mut sink = |id: super::RequestId, event| {
            let text = &mut texts[id.index()];
            match event {
                Event::Piece(piece) => {
                    text.so_far.push_str(&piece.text);
                    text.details.extend(piece.tokens);
                }
                Event::Finished(finished) => {
                    text.completion = Some(Completion {
                        text: std::mem::take(&mut text.so_far),
                        tokens: finished.tokens,
                        details: std::mem::take(&mut text.details),
                        finish_reason: finished.finish_reason,
                        metrics: finished.metrics,
                    });
                }
                Event::Failed(error) => _ = failure.get_or_insert(error),
                Event::Started | Event::Embedded { .. } => {}
            }
        };
        while schedule.has_work() {
            match schedule.step(self, &mut sink) {
                Step::Done | Step::Idle => {}
                Step::Interrupted | Step::Failed => schedule.cancel_all(self, &mut sink),
            }
        }
        // The others that failed with it have let go of it.
        failure.and_then(Arc::into_inner).map_or(Ok(()), Err)
    }

    fn empty_sequences(&mut self) -> Result<(), Error> {
        (0..self.options.sequences).try_for_each(|sequence| self.truncate(sequence, 0))
    }
}
