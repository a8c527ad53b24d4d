//! A scenario of the tenant: its manner, a cast, and steps in order (`docs/SCENARIOS.md`).

use toml::de::DeTable;

use super::super::scenario::reader::{
    Parameters, Reader, ScenarioError, Source, read_parameters, sub_table, sub_tables,
};
use super::cast::Member;
use super::options::TenantOptions;
use super::steps::{self, Step};

/// The scenarios that come with the program: name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("teams-demo", include_str!("scenarios/teams-demo.toml")),
    ("quiet", include_str!("scenarios/quiet.toml")),
    ("burst", include_str!("scenarios/burst.toml")),
    ("policy", include_str!("scenarios/policy.toml")),
];

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct TeamsScenario {
    /// One line about it.
    pub title: String,
    /// How the tenant behaves.
    pub tenant: TenantOptions,
    /// The people.
    pub cast: Vec<Member>,
    pub(super) steps: Vec<Step>,
}

impl TeamsScenario {
    /// Parses a scenario; `parameters` take the place of those in its `[parameters]`.
    ///
    /// # Errors
    /// The text is not TOML, or a key is unknown, missing or of the wrong kind; the error names line and key.
    pub fn parse(text: &str, parameters: &Parameters) -> Result<Self, ScenarioError> {
        let bare = Source { text, parameters: Parameters::new() };
        let document = DeTable::parse(text).map_err(|e| ScenarioError {
            line: bare.line(e.span().map_or(0, |s| s.start)),
            message: e.message().to_owned(),
        })?;
        let root = document.get_ref();
        let source = Source { text, parameters: read_parameters(&bare, root, parameters)? };
        let file = Reader::new(&source, root, 0, "scenario");
        let title = file.text("title")?;
        file.value("parameters");
        let tenant = match sub_table(&source, &file, "tenant")? {
            Some(reader) => TenantOptions::read(&reader)?,
            None => TenantOptions::default(),
        };
        let mut cast: Vec<Member> = Vec::new();
        for reader in sub_tables(&source, &file, "person", "person")? {
            let member = Member::read(&reader, &tenant.tenant_id)?;
            if cast.iter().any(|p| p.id == member.id) {
                return Err(reader.error(format!("there are two people with the id \"{}\"", member.id)));
            }
            cast.push(member);
        }
        let mut steps = Vec::new();
        for reader in sub_tables(&source, &file, "step", "step")? {
            steps::read(&source, reader, &cast, &mut steps)?;
        }
        file.finish()?;
        Ok(TeamsScenario { title, tenant, cast, steps })
    }

    /// One of the scenarios that come with the program; `None` if there is none of this name.
    ///
    /// # Errors
    /// As [`TeamsScenario::parse`], for wrong parameters.
    pub fn embedded(name: &str, parameters: &Parameters) -> Option<Result<Self, ScenarioError>> {
        EMBEDDED.iter().find(|(n, _)| *n == name).map(|(_, text)| TeamsScenario::parse(text, parameters))
    }

    /// Shortens every pause between steps to one part in `by`; waits for events and faults keep their length.
    pub fn hurry(&mut self, by: u32) {
        for step in &mut self.steps {
            step.after /= by.max(1);
        }
    }

    /// How many steps there are, repeats unrolled.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_scenario_parses() {
        for (name, _) in EMBEDDED {
            let scenario =
                TeamsScenario::embedded(name, &Parameters::new()).unwrap().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!scenario.title.is_empty(), "{name}");
        }
    }

    #[test]
    fn errors_name_line_and_key_and_the_nearest_known_one() {
        let failure = |text: &str| TeamsScenario::parse(text, &Parameters::new()).expect_err("must fail").to_string();
        let text = "title = \"x\"\n[tenant]\nanswer = 3\n";
        assert_eq!(failure(text), "scenario line 3: [tenant]: unknown key \"answer\"; did you mean \"answer_ms\"?");
        let text = "title = \"x\"\n[[step]]\ndo = \"say\"\nin = \"a\"\nby = \"nobody\"\ntext = \"t\"\n";
        assert!(failure(text).contains("line 2: step \"say\": \"nobody\" is not in the cast"), "{}", failure(text));
        let text = "title = \"x\"\n[[step]]\ndo = \"fault\"\nkind = \"token\"\ntoken = \"expird\"\n";
        assert!(failure(text).ends_with("did you mean \"expired\"?"), "{}", failure(text));
    }
}
