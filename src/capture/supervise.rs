//! Starts, watches and stops connectors.
