//! A running recorder: archive, connectors, checkpoints and the viewer, and the order in which they stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archive::{Archive, CheckpointSigner, Readers};
use crate::capture::supervise::{Pauses, Supervised, Supervisor};
use crate::clock::{Clock, SystemClock};
use crate::health::Vitals;
use crate::health::meter::Meter;
use crate::index::Indexer;
use crate::integrity::checkpoint::{self, SigningKey};
use crate::viewer::{self, Viewer};

/// Time for connectors to leave; the rest of the 10 seconds is for the last checkpoint.
const LEAVING: Duration = Duration::from_millis(8_500);

/// Time for pages that are being made.
const LAST_PAGES: Duration = Duration::from_millis(250);

pub(super) struct Recorder {
    archive: Arc<Archive>,
    signer: Arc<dyn CheckpointSigner>,
    supervisor: Supervisor,
    vitals: Vitals,
    indexer: Indexer,
    background: CancellationToken,
    checkpoints: JoinHandle<()>,
    pages: Option<JoinHandle<std::io::Result<()>>>,
}

impl Recorder {
    /// Opens the archive in `directory`, starts the connectors, signs the log as it grows, and serves the viewer and
    /// the health pages on `listener`. Must be called within a tokio runtime; blocks while the archive opens.
    pub(super) fn start(
        directory: &Path,
        connectors: Vec<Supervised>,
        listener: Option<tokio::net::TcpListener>,
        options: viewer::Options,
    ) -> anyhow::Result<Recorder> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let archive = Arc::new(Archive::open(directory, Arc::clone(&clock))?);
        let signer = signer(&archive)?;
        let meter = Arc::new(Meter::default());
        let sink = meter.around(archive.sink());
        let readers = Readers::open(&archive.layout().database, Viewer::READERS)?;
        let supervisor = Supervisor::start(connectors, sink, Arc::clone(&clock), Pauses::default());
        let indexer = Indexer::start(archive.layout(), archive.subscribe());
        let vitals = Vitals {
            connectors: supervisor.watched().to_vec(),
            log_size: archive.subscribe(),
            meter,
            index: Some(indexer.index()),
        };
        let background = CancellationToken::new();
        let checkpoints = tokio::spawn(sign_as_it_grows(Arc::clone(&archive), Arc::clone(&signer), background.clone()));
        let index = indexer.index();
        let pages = listener.map(|listener| {
            let stop = background.clone().cancelled_owned();
            let viewer = Arc::new(Viewer::new(readers, vitals.clone(), clock, options).with_index(index));
            tokio::spawn(viewer::serve(listener, viewer, stop))
        });
        Ok(Recorder { archive, signer, supervisor, vitals, indexer, background, checkpoints, pages })
    }

    pub(super) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Signs the log as it stands, without waiting for the next round.
    pub(super) async fn sign(&self) -> anyhow::Result<()> {
        self.archive.checkpoint(Arc::clone(&self.signer)).await.context("cannot sign the log")?;
        Ok(())
    }

    /// Waits until recording cannot go on.
    pub(super) async fn failure(&self) -> anyhow::Error {
        let mut log_size = self.vitals.log_size.clone();
        let writer_ended = async { while log_size.changed().await.is_ok() {} };
        tokio::select! {
            error = self.supervisor.fatal() => error.into(),
            () = writer_ended => anyhow::anyhow!("the archive's writer has ended; the log above says why"),
        }
    }

    /// Leaves every conversation, signs the log as it stands, and gives the archive free; within 10 seconds.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let late = self.supervisor.stop(LEAVING).await;
        self.background.cancel();
        self.indexer.stop().await;
        // The archive can only be closed when the task that shares it has gone.
        let _ = self.checkpoints.await;
        let signed = self.archive.checkpoint(self.signer).await.context("cannot sign the log at the end");
        if let Some(mut pages) = self.pages
            && tokio::time::timeout(LAST_PAGES, &mut pages).await.is_err()
        {
            // A client that never finishes its request has no say in when we stop.
            pages.abort();
        }
        if let Some(archive) = Arc::into_inner(self.archive) {
            archive.close().await.context("cannot close the archive")?;
        }
        signed?;
        match late.as_slice() {
            [] => Ok(()),
            late => {
                tracing::warn!("abandoned without an orderly leave: {}", late.join(", "));
                Ok(())
            }
        }
    }
}

async fn sign_as_it_grows(archive: Arc<Archive>, signer: Arc<dyn CheckpointSigner>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(checkpoint::INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        match archive.checkpoint(Arc::clone(&signer)).await {
            Ok(Some(checkpoint)) => tracing::debug!(checkpoint.size = checkpoint.size, "log signed"),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot sign the log; trying again in a while"),
        }
    }
}

/// The log's signing key, made at the first start (mode 0600).
fn signer(archive: &Archive) -> anyhow::Result<Arc<dyn CheckpointSigner>> {
    Ok(Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin())?))
}
