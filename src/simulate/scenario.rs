//! A scenario: the pool's manner, a cast of people, and steps in order (`docs/SCENARIOS.md`).

mod options;
pub(super) mod reader;
mod steps;

use toml::de::DeTable;

pub use self::options::{Detour, PoolOptions, Titles};
pub use self::reader::{Parameters, ScenarioError};
use self::reader::{Reader, Source, read_parameters, sub_table, sub_tables};
pub(super) use self::steps::{Act, Condition, ConditionKind, Step, Words};

/// The scenarios that come with the program: name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("demo", include_str!("scenarios/demo.toml")),
    ("seed-409", include_str!("scenarios/seed-409.toml")),
    ("quiet", include_str!("scenarios/quiet.toml")),
    ("burst", include_str!("scenarios/burst.toml")),
    ("many", include_str!("scenarios/many.toml")),
];

/// Somebody in the cast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Short name by which steps call the person.
    pub id: String,
    /// `sip:…`
    pub address: String,
    /// Display name; may be empty.
    pub name: String,
    /// `Leader` or `Attendee` in meetings.
    pub role: &'static str,
    /// `SameEnterprise`, `Federated`, `PublicCloud`, `Everyone` or `Unknown`.
    pub network: &'static str,
    /// Came without an account.
    pub anonymous: bool,
}

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// One line about it.
    pub title: String,
    /// How the pool behaves.
    pub pool: PoolOptions,
    /// The people.
    pub cast: Vec<Person>,
    pub(super) steps: Vec<Step>,
}

impl Scenario {
    /// Parses a scenario; `parameters` take the place of those in its `[parameters]`.
    ///
    /// # Errors
    /// The text is not TOML, or a key is unknown, missing or of the wrong kind; the error names line and key.
    pub fn parse(text: &str, parameters: &Parameters) -> Result<Self, ScenarioError> {
        let document = DeTable::parse(text).map_err(|e| ScenarioError {
            line: Source { text, parameters: Parameters::new() }.line(e.span().map_or(0, |s| s.start)),
            message: e.message().to_owned(),
        })?;
        let root = document.get_ref();
        let bare = Source { text, parameters: Parameters::new() };
        let declared = read_parameters(&bare, root, parameters)?;
        let source = Source { text, parameters: declared };
        let file = Reader::new(&source, root, 0, "scenario");
        let title = file.text("title")?;
        file.value("parameters");
        let pool = match sub_table(&source, &file, "pool")? {
            Some(reader) => PoolOptions::read(&reader)?,
            None => PoolOptions::default(),
        };
        let mut cast: Vec<Person> = Vec::new();
        for reader in sub_tables(&source, &file, "person", "person")? {
            let person = read_person(&reader)?;
            if cast.iter().any(|p| p.id == person.id) {
                return Err(reader.error(format!("there are two people with the id \"{}\"", person.id)));
            }
            cast.push(person);
        }
        let mut steps = Vec::new();
        for reader in sub_tables(&source, &file, "step", "step")? {
            steps::read(&source, reader, &cast, &mut steps)?;
        }
        file.finish()?;
        Ok(Scenario { title, pool, cast, steps })
    }

    /// One of the scenarios that come with the program; `None` if there is none of this name.
    ///
    /// # Errors
    /// As [`Scenario::parse`], for wrong parameters.
    pub fn embedded(name: &str, parameters: &Parameters) -> Option<Result<Self, ScenarioError>> {
        EMBEDDED.iter().find(|(n, _)| *n == name).map(|(_, text)| Scenario::parse(text, parameters))
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

fn read_person(reader: &Reader<'_>) -> Result<Person, ScenarioError> {
    let address = reader.text("address")?;
    if !address.starts_with("sip:") || !address.contains('@') {
        return Err(reader.error("key \"address\" must look like sip:name@domain"));
    }
    let person = Person {
        id: reader.text("id")?,
        name: reader.text("name")?,
        address,
        role: reader.word("role", &["Leader", "Attendee"], "Attendee")?,
        network: reader.word(
            "network",
            &["SameEnterprise", "Federated", "PublicCloud", "Everyone", "Unknown"],
            "SameEnterprise",
        )?,
        anonymous: reader.flag("anonymous", false)?,
    };
    reader.finish()?;
    Ok(person)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> String {
        Scenario::parse(text, &Parameters::new()).expect_err("must fail").to_string()
    }

    #[test]
    fn every_embedded_scenario_parses() {
        for (name, _) in EMBEDDED {
            let scenario =
                Scenario::embedded(name, &Parameters::new()).unwrap().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(scenario.steps() > 0, "{name}");
        }
    }

    #[test]
    fn errors_name_line_and_key_and_the_nearest_known_one() {
        let text = "title = \"x\"\n[pool]\npoll_timeout = 3\n";
        assert_eq!(
            failure(text),
            "scenario line 3: [pool]: unknown key \"poll_timeout\"; did you mean \"poll_timeout_ms\"?"
        );
        let text = "title = \"x\"\n\n[[step]]\ndo = \"sya\"\n";
        assert!(failure(text).starts_with("scenario line 4: step: key \"do\" is \"sya\""), "{}", failure(text));
        assert!(failure(text).ends_with("did you mean \"say\"?"));
        let text = "title = \"x\"\n[[step]]\ndo = \"say\"\nin = \"a\"\nby = \"nobody\"\ntext = \"t\"\n";
        assert!(failure(text).contains("line 2: step \"say\": \"nobody\" is not in the cast"), "{}", failure(text));
        assert!(failure("title = 3").contains("line 1: scenario: key \"title\" must be a text, not integer"));
        assert!(
            failure("title = \"x\"\n[[person]]\nid = \"a\"").contains("line 2: person: key \"address\" is missing")
        );
        assert!(failure("title = \"x\"\nzz = [").starts_with("scenario line 2: "));
    }

    #[test]
    fn parameters_replace_numbers_and_unknown_ones_are_refused() {
        let text = "title = \"x\"\n[parameters]\nn = 3\n[[step]]\ndo = \"repeat\"\ntimes = \"$n\"\n[[step.step]]\ndo = \"narrate\"\ntext = \"{i}\"\n";
        let steps = |p: &Parameters| Scenario::parse(text, p).map(|s| s.steps());
        assert_eq!(steps(&Parameters::new()), Ok(3));
        assert_eq!(steps(&Parameters::from([("n".to_owned(), 5)])), Ok(5));
        assert!(steps(&Parameters::from([("m".to_owned(), 5)])).unwrap_err().message.contains("did you mean \"n\"?"));
    }
}
