//! Counts what passes into the archive: a [`Sink`] around the sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::capture::{
    Alias, Append, Appended, EnvelopeId, Kept, Known, PortFuture, Restored, Sink, Source, StoredEnvelope,
};

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Meter {
    events: AtomicU64,
    duplicates: AtomicU64,
    envelopes: AtomicU64,
    envelope_bytes: AtomicU64,
    appends: AtomicU64,
    failures: AtomicU64,
    attachments: AtomicU64,
    attachment_bytes: AtomicU64,
    attachment_failures: AtomicU64,
    append_us: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len()],
}

impl Meter {
    /// The same sink, with every append counted and timed.
    pub fn around(self: &Arc<Self>, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Metered { meter: Arc::clone(self), inner })
    }

    fn count(&self, envelopes: u64, bytes: u64, appended: &Appended, took: Duration) {
        let duplicates = appended.events.iter().filter(|event| event.duplicate).count() as u64;
        self.events.fetch_add(appended.events.len() as u64 - duplicates, Ordering::Relaxed);
        self.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        self.envelopes.fetch_add(envelopes, Ordering::Relaxed);
        self.envelope_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.appends.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.append_us.fetch_add(micros, Ordering::Relaxed);
        for (bound, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            if micros <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Adds its families to a page in the Prometheus text format.
    pub fn render(&self, page: &mut Page) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.counter("greffier_events_total", "Events logged since the start.", read(&self.events));
        page.counter(
            "greffier_duplicates_total",
            "Facts delivered again and not logged twice.",
            read(&self.duplicates),
        );
        page.counter("greffier_envelopes_total", "Envelopes stored since the start.", read(&self.envelopes));
        page.counter(
            "greffier_envelope_bytes_total",
            "Bytes of those envelopes, uncompressed.",
            read(&self.envelope_bytes),
        );
        page.counter("greffier_append_failures_total", "Appends the archive refused.", read(&self.failures));
        page.counter(
            "greffier_attachments_total",
            "Files handed over and kept, each time they came.",
            read(&self.attachments),
        );
        page.counter("greffier_attachment_bytes_total", "Bytes of those files.", read(&self.attachment_bytes));
        page.counter(
            "greffier_attachment_failures_total",
            "Files the archive could not keep when they came.",
            read(&self.attachment_failures),
        );
        page.family("greffier_append_seconds", "histogram", "From handing over a batch until it is durable.");
        for (bound, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            let bound = *bound as f64 / 1e6;
            page.sample(&format!("greffier_append_seconds_bucket{{le=\"{bound}\"}}"), read(bucket));
        }
        page.sample("greffier_append_seconds_bucket{le=\"+Inf\"}", read(&self.appends));
        page.sample("greffier_append_seconds_sum", read(&self.append_us) as f64 / 1e6);
        page.sample("greffier_append_seconds_count", read(&self.appends));
    }
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample of the family begun last; `name` with its labels.
    pub fn sample(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!("{name} {value}\n"));
    }

    /// A family with one counter.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, value);
    }

    /// A family with one gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, value);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

struct Metered {
    meter: Arc<Meter>,
    inner: Arc<dyn Sink>,
}

impl Sink for Metered {
    fn append<'a>(&'a self, source: &'a Source, batch: Append) -> PortFuture<'a, Appended> {
        Box::pin(async move {
            let envelopes = batch.envelopes.len() as u64;
            let bytes = batch.envelopes.iter().map(|envelope| envelope.body.len() as u64).sum();
            let began = Instant::now();
            let answer = self.inner.append(source, batch).await;
            match &answer {
                Ok(appended) => self.meter.count(envelopes, bytes, appended, began.elapsed()),
                Err(_) => {
                    self.meter.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
            answer
        })
    }

    fn conversation_of<'a>(&'a self, source: &'a Source, aliases: &'a [Alias]) -> PortFuture<'a, Option<Known>> {
        self.inner.conversation_of(source, aliases)
    }

    fn restore<'a>(&'a self, source: &'a Source) -> PortFuture<'a, Restored> {
        self.inner.restore(source)
    }

    fn pending<'a>(
        &'a self,
        source: &'a Source,
        after: Option<EnvelopeId>,
        most: usize,
    ) -> PortFuture<'a, Vec<StoredEnvelope>> {
        self.inner.pending(source, after, most)
    }

    fn recall<'a>(&'a self, source: &'a Source, keys: Vec<String>) -> PortFuture<'a, Vec<Option<Vec<u8>>>> {
        self.inner.recall(source, keys)
    }

    fn keep(&self, bytes: Bytes) -> PortFuture<'_, Kept> {
        Box::pin(async move {
            let answer = self.inner.keep(bytes).await;
            match &answer {
                Ok(kept) => {
                    self.meter.attachments.fetch_add(1, Ordering::Relaxed);
                    self.meter.attachment_bytes.fetch_add(kept.size, Ordering::Relaxed);
                }
                Err(_) => {
                    self.meter.attachment_failures.fetch_add(1, Ordering::Relaxed);
                }
            }
            answer
        })
    }
}
