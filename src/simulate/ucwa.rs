//! The entry point of `simulate ucwa`: finds the scenario by name or file and starts the pool.

use std::net::SocketAddr;

use super::{EMBEDDED, Options, Parameters, Scenario, SimulateError, SimulatedPool};

/// Reads a scenario: the name of one that comes with the program, or else a file.
///
/// # Errors
/// No such file and no such name, or the scenario is wrong.
pub async fn scenario(name_or_file: &str, parameters: &Parameters) -> Result<Scenario, SimulateError> {
    if let Some(embedded) = Scenario::embedded(name_or_file, parameters) {
        return Ok(embedded?);
    }
    let read = tokio::fs::read_to_string(name_or_file).await;
    let text = read.map_err(|source| SimulateError::Read {
        path: name_or_file.to_owned(),
        known: EMBEDDED.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
        source,
    })?;
    Ok(Scenario::parse(&text, parameters)?)
}

/// Starts a pool that plays the scenario of this name or file. Prints nothing: follow [`SimulatedPool::events`], and show
/// [`SimulatedPool::config_snippet`] with [`SimulatedPool::password`] so that a recorder can be pointed at it.
///
/// # Errors
/// The scenario cannot be read, or the address not listened on.
pub async fn serve(
    listen: SocketAddr,
    name_or_file: &str,
    parameters: &Parameters,
) -> Result<SimulatedPool, SimulateError> {
    let scenario = scenario(name_or_file, parameters).await?;
    SimulatedPool::start(Options { listen, public_host: None }, scenario).await
}
