//! `greffier check` for a Teams connector.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::config::ResolvedTeams;
use crate::clock::Clock;
use crate::connector::CheckLine;

/// Tries every step; sends one line each.
pub async fn check(_config: ResolvedTeams, _clock: Arc<dyn Clock>, _lines: Sender<CheckLine>) {}
