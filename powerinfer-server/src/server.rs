//! The server: an address first, then a model, then requests until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection;
use crate::engine::{self, LoadError, Served};
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::routes;
use crate::state::App;

/// A server that has an address, but serves nothing yet.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    listener: TcpListener,
}

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Nobody can listen there.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The model cannot be loaded, or its session was lost and cannot be opened again.
    #[error("the model cannot be served")]
    Engine(#[source] LoadError),
    /// The engine's thread cannot be started, or ended by a bug.
    #[error("the engine's thread cannot run")]
    Thread(#[source] io::Error),
}

impl Server {
    /// Takes the address. From now on clients can connect; they wait for [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`ServerError::Bind`].
    pub async fn bind(mut options: ServerOptions) -> Result<Self, ServerError> {
        let wanted = options.address;
        let failed = |source| ServerError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        options.address = address;
        if !address.ip().is_loopback() && options.keys.is_empty() {
            tracing::warn!(
                "{address} can be reached from other machines, and no API key is asked for"
            );
        }
        Ok(Self { options, listener })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.options.address
    }

    /// Loads the model and serves it until `stop` is ready. Requests accepted by then are
    /// finished, as far as the drain time allows.
    ///
    /// # Errors
    ///
    /// [`ServerError::Engine`] if the model cannot be loaded.
    pub async fn run(
        self,
        load: impl FnOnce() -> Result<Served, LoadError> + Send + 'static,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let Self { options, listener } = self;
        let metrics = Arc::new(Metrics::new());
        let engine::Started { state: engine, failure, thread } =
            engine::start(load, options.queue, options.prefill_chunk, Arc::clone(&metrics))
                .map_err(ServerError::Thread)?;
        let limits = Limits::of(&options);
        let app = App::new(options, engine, metrics);
        let router = routes::router(&app);
        let (stopping, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                while connections.try_join_next().is_some() {}
                let Ok(permit) = Arc::clone(&limits.connections).acquire_owned().await else {
                    return;
                };
                let stream = accept(&listener).await;
                let served =
                    connection::serve(stream, router.clone(), limits.receive, stopped.clone());
                connections.spawn(async move {
                    if let Err(error) = served.await {
                        tracing::debug!("connection: {error}");
                    }
                    drop(permit);
                });
            }
        };
        let result = tokio::select! {
            () = accept => Ok(()),
            () = stop => Ok(()),
            failed = failure => Err(match failed {
                Ok(error) => ServerError::Engine(error),
                Err(_) => ServerError::Thread(io::Error::other("it ended without a word")),
            }),
        };
        app.stop();
        stopping.send_replace(true);
        drop(listener);
        if result.is_ok() {
            drain(&mut connections, limits.drain).await;
        }
        connections.shutdown().await;
        if let Ok(engine) = app.loaded() {
            engine.close();
            let _ = tokio::task::spawn_blocking(|| thread.join()).await; // its panics were logged
        }
        result
    }
}

struct Limits {
    connections: Arc<Semaphore>,
    receive: Duration,
    drain: Duration,
}

impl Limits {
    fn of(options: &ServerOptions) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(options.connections)),
            receive: options.receive_timeout,
            drain: options.drain_timeout,
        }
    }
}

/// The next connection. Errors of accepting pass: a client that went away, too many open files.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn drain(connections: &mut JoinSet<()>, limit: Duration) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        let left = connections.len();
        tracing::warn!(
            "{left} connections were not done after {} s and are cut",
            limit.as_secs_f64()
        );
    }
}
