//! The simulated tenant, asked over real sockets by a recorder that shares nothing with the connector.

mod calls;
mod chats;
mod faults;
mod foreign;
mod login;
mod recorder;
mod shapes;

use std::time::Duration;

use greffier::simulate::Parameters;
use greffier::simulate::teams::{SimulatedTenant, TeamsOptions, TeamsScenario};

/// Long enough for anything that comes at all.
const LONG: Duration = Duration::from_secs(20);

/// A scenario of the cast of `quiet` with these lines in `[tenant]`.
fn quiet(options: &str) -> TeamsScenario {
    let cast = ["alice", "bob", "carol"]
        .map(|id| format!("[[person]]\nid = \"{id}\"\nname = \"{} Example\"\n", id.to_uppercase()))
        .join("\n");
    let text = format!(
        "title = \"t\"\n[tenant]\nretry_first_ms = 100\n{options}\n{cast}\n\
         [[person]]\nid = \"eve\"\nname = \"Eve\"\nkind = \"external\"\n\
         [[person]]\nid = \"guest\"\nname = \"Alex (Guest)\"\nkind = \"guest\"\n\
         [[person]]\nid = \"phone\"\nkind = \"phone\"\n"
    );
    TeamsScenario::parse(&text, &Parameters::new()).unwrap_or_else(|e| panic!("{e}"))
}

async fn start(scenario: TeamsScenario, callback: &str) -> SimulatedTenant {
    let options = TeamsOptions { callback: callback.to_owned(), ..TeamsOptions::default() };
    SimulatedTenant::start(options, scenario).await.unwrap()
}
