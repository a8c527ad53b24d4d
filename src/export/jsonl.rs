//! JSON Lines: one event, version 1, per line, in the order of the log.

use std::io::Write;

use super::{ExportError, Format, Seen, Source};

/// The format `jsonl`.
pub struct JsonLines;

impl Format for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn extension(&self) -> &'static str {
        "jsonl"
    }

    fn media_type(&self) -> &'static str {
        "application/jsonl; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "one event as JSON on each line, in order of capture: everything, proven word by word"
    }

    fn provable(&self) -> bool {
        true
    }

    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let mut line = Vec::new();
        for event in source.events() {
            let event = event?;
            line.clear();
            serde_json::to_writer(&mut line, &event).map_err(|e| ExportError::output(e.into()))?;
            line.push(b'\n');
            out.write_all(&line).map_err(ExportError::output)?;
            seen(&event)?;
        }
        Ok(())
    }
}
