//! The simulated pool, asked over real sockets by a client that shares nothing with the connector.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod counterpart;
mod faults;
mod flows;
mod shapes;
mod teams;

use greffier::simulate::{Options, Parameters, Scenario, SimulatedPool};

/// Starts a pool on free ports.
async fn start(scenario: Scenario) -> SimulatedPool {
    SimulatedPool::start(Options::default(), scenario).await.unwrap()
}

/// Starts a pool with a scenario written in the test.
async fn start_text(text: &str) -> SimulatedPool {
    start(Scenario::parse(text, &Parameters::new()).unwrap_or_else(|e| panic!("{e}"))).await
}

/// Starts a pool with one of the embedded scenarios.
async fn start_named(name: &str, parameters: &[(&str, u64)]) -> SimulatedPool {
    let parameters = parameters.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    start(Scenario::embedded(name, &parameters).unwrap().unwrap()).await
}
