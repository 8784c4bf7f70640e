//! The engine's thread: loads the model, then steps as long as there is work.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

use powerinfer::{Event, RequestId, Scheduler};
use tokio::sync::watch;

use super::snapshot::{Snapshots, Watch};
use super::{Engine, LoadError, Queue, QueuePlace, Served, State, Submission, reply, unix_seconds};
use crate::metrics::Metrics;

pub(super) struct Thread {
    pub(super) state: watch::Sender<State>,
    pub(super) queue: Arc<Queue>,
    pub(super) prefill_chunk: Option<usize>,
    pub(super) metrics: Arc<Metrics>,
}

/// Those who wait for an answer.
#[derive(Default)]
struct Clients(HashMap<RequestId, Client>);

struct Client {
    reply: reply::Sender,
    /// None once it has left the queue.
    place: Option<QueuePlace>,
}

impl Thread {
    /// Runs until the engine is closed.
    pub(super) fn run(
        self,
        load: impl FnOnce() -> Result<Served, LoadError>,
    ) -> Result<(), LoadError> {
        let result = self.load_and_serve(load);
        self.state.send_replace(State::Lost);
        result
    }

    fn load_and_serve(
        &self,
        load: impl FnOnce() -> Result<Served, LoadError>,
    ) -> Result<(), LoadError> {
        let Served { model, open, id, template, facts, when_ready } = load()?;
        let mut scheduler = self.scheduler(open(&model)?);
        let template = template.or_else(|| model.chat_template().ok().cloned());
        let (mailbox, submissions) = mpsc::channel();
        let snapshots = Arc::new(Snapshots::default());
        let name = id.clone();
        let engine = Engine {
            id,
            requests: scheduler.requests(),
            template,
            facts,
            created: unix_seconds(),
            snapshots: Arc::clone(&snapshots),
            mailbox: Mutex::new(Some(mailbox)),
            queue: Arc::clone(&self.queue),
        };
        self.state.send_replace(State::Ready(Arc::new(engine)));
        when_ready(&name);
        loop {
            let served = catch_unwind(AssertUnwindSafe(|| {
                self.serve(&mut scheduler, &submissions, &snapshots);
            }));
            if served.is_ok() {
                return Ok(());
            }
            // Its requests have lost their senders, and so been told.
            tracing::error!("the engine panicked: this is a bug; a new session is opened");
            drop(scheduler);
            scheduler = self.scheduler(open(&model)?);
        }
    }

    fn scheduler(&self, session: powerinfer::Session) -> Scheduler {
        let scheduler = Scheduler::new(session);
        match self.prefill_chunk {
            Some(tokens) => scheduler.prefill_chunk(tokens),
            None => scheduler,
        }
    }

    fn serve(
        &self,
        scheduler: &mut Scheduler,
        submissions: &mpsc::Receiver<Submission>,
        snapshots: &Snapshots,
    ) {
        let mut clients = Clients::default();
        let mut watch = Watch::new(scheduler);
        let mut is_busy = false;
        loop {
            if !is_busy {
                // Sleeps until there is work.
                let Ok(submission) = submissions.recv() else { return };
                clients.take(scheduler, submission);
            }
            while let Ok(submission) = submissions.try_recv() {
                clients.take(scheduler, submission);
            }
            is_busy = scheduler.step(&mut |id, event| clients.tell(id, event, self));
            watch.observe(scheduler, !is_busy, snapshots);
        }
    }
}

impl Clients {
    fn take(&mut self, scheduler: &mut Scheduler, submission: Submission) {
        let Submission { request, reply, place } = submission;
        let id = scheduler.submit(request);
        self.0.insert(id, Client { reply, place: Some(place) });
    }

    fn tell(&mut self, id: RequestId, event: Event, thread: &Thread) {
        let Some(client) = self.0.get_mut(&id) else { return };
        let is_last = match &event {
            Event::Started | Event::Piece(_) => false,
            Event::Finished(finished) => {
                thread.metrics.finished(finished);
                true
            }
            _ => true,
        };
        client.place = None;
        client.reply.send(event);
        if is_last {
            self.0.remove(&id);
        }
    }
}
