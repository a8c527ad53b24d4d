//! The file as users write it, and the errors they get.

use super::*;
use crate::connector::ucwa::config::{ResolvedUcwa, UcwaConfig};

mod teams;

/// A folder with a configuration and a password file beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Place {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::write(dir.path().join("greffier.toml"), text).expect("write");
        Place { dir }
    }

    fn file(&self, name: &str, content: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, content).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("greffier.toml")
    }

    fn load(&self) -> Result<Config, String> {
        Config::load(&self.path()).map_err(|error| self.shorten(&error))
    }

    fn resolve_all(&self, env: Environment<'_>) -> Result<Vec<Resolved>, String> {
        let loaded = Config::load_resolved(&self.path(), env);
        loaded.map(|(_, connectors)| connectors).map_err(|error| self.shorten(&error))
    }

    /// The connectors of kind `ucwa`.
    fn resolve(&self, env: Environment<'_>) -> Result<Vec<ResolvedUcwa>, String> {
        let ucwa = |one| match one {
            Resolved::Ucwa(one) => Some(*one),
            Resolved::Teams(_) => None,
        };
        self.resolve_all(env).map(|all| all.into_iter().filter_map(ucwa).collect())
    }

    fn shorten(&self, error: &ConfigError) -> String {
        error.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn no_env(_: &str) -> Option<String> {
    None
}

const LEAST: &str = r#"
[[connector]]
name = "sfb"
kind = "ucwa"
sign_in = "SIP:Recorder@Contoso.com"
password_file = "secrets/sfb"
"#;

#[test]
fn an_empty_file_is_a_configuration_with_defaults() {
    let place = Place::new("");
    let config = place.load().expect("config");
    assert_eq!(config.archive.directory, place.dir.path().join("archive"));
    assert_eq!(config.viewer.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.notice.text, "This conversation is being recorded and archived.");
    assert!(config.connectors.is_empty());
}

#[test]
fn a_connector_needs_four_keys_and_the_rest_has_defaults() {
    let place = Place::new(LEAST);
    place.file("secrets/sfb", "geheim \n", 0o600);
    let connectors = place.resolve(&no_env).expect("config");
    let [sfb] = connectors.as_slice() else { panic!("one connector") };
    assert_eq!(sfb.sign_in, "sip:recorder@contoso.com");
    assert_eq!(sfb.domain, "contoso.com");
    assert_eq!(sfb.username, "Recorder@Contoso.com");
    assert_eq!(sfb.password.expose(), "geheim ");
    assert_eq!(sfb.accept_from, ["*@contoso.com"]);
    assert_eq!((sfb.leave_after.as_secs(), sfb.activity.as_secs(), sfb.rejoin), (60, 180, true));
    assert_eq!((&sfb.autodiscover, &sfb.ca_pem), (&None, &None));
}

fn ucwa(config: &Config) -> &UcwaConfig {
    match config.connectors.as_slice() {
        [ConnectorConfig::Ucwa(one), ..] => one,
        _ => panic!("the first is of kind ucwa"),
    }
}

#[test]
fn the_sample_parses_and_its_commented_keys_are_known() {
    let place = Place::new(SAMPLE);
    let config = place.load().expect("sample");
    assert_eq!(ucwa(&config).username, "contoso\\recorder");
    let everything = SAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if key.split(" = ").next().is_some_and(|word| !word.contains(' ') && word != key) => key,
        Some(table) if table.starts_with("[[") => table,
        _ => line,
    });
    let place = Place::new(&everything.collect::<Vec<_>>().join("\n"));
    let config = place.load().expect("sample with every key");
    assert_eq!(ucwa(&config).trusted_hosts, ["*.fabrikam.com"]);
    assert!(ucwa(&config).ca_file.is_some());
    let ConnectorConfig::Teams(teams) = &config.connectors[1] else { panic!("the second is of kind teams") };
    assert_eq!(teams.chat_scopes.len(), 5);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let place = Place::new(
        r#"[archive]
directroy = "x"
[viewer]
listen = "0.0.0.0:8080"
[notices]
text = 3
[[connector]]
name = "sfb"
kind = "ucwa"
sign_in = "recorder"
password = "hunter2"
acept_from = ["*@contoso.com"]
accept_from = ["contoso.com"]
activity_seconds = 500
autodiscover = "http://lyncdiscover.contoso.com/"
trusted_hosts = ["*", "https://a.b/", "[::1]", "*.ok.example"]
[[connector]]
name = "sfb"
kind = "ucwa"
sign_in = "sip:other@contoso.com"
password_env = "A"
password_file = "b"
rejoin = "yes"
[[connector]]
kind = "teams"
[[connector]]
kind = "ucaw"
[[connector]]
name = "x"
"#,
    );
    insta::assert_snapshot!(place.load().expect_err("problems"), @r#"
    greffier.toml:2:1: unknown key `directroy` in [archive]; did you mean `directory`?
    greffier.toml:4:10: `listen` in [viewer]: plain HTTP is served on loopback only; listen on 127.0.0.1 and put a TLS proxy in front
    greffier.toml:5:2: unknown key `notices`; did you mean `notice`?
    greffier.toml:10:11: `sign_in` of [[connector]]: not an address; write for example "sip:recorder@contoso.com"
    greffier.toml:11:1: `password` in [[connector]]: put the password into a file of mode 0600 and name that with `password_file`, or name an environment variable with `password_env`
    greffier.toml:12:1: unknown key `acept_from` in [[connector]]; did you mean `accept_from`?
    greffier.toml:13:16: `accept_from` of [[connector]]: `contoso.com` is not a pattern; write alice@contoso.com, *@contoso.com, *@*.contoso.com, or * for everybody
    greffier.toml:14:20: `activity_seconds` in [[connector]] must be from 10 to 230
    greffier.toml:15:16: `autodiscover` of [[connector]]: plain http:// is accepted to loopback addresses only; write https://
    greffier.toml:16:18: `trusted_hosts` of [[connector]]: `*`: `*` may only stand before a suffix, as in `*.contoso.com`; credentials must not go to any host there is
    greffier.toml:16:23: `trusted_hosts` of [[connector]]: `https://a.b/` is not a host; write a name, `*.contoso.com`, or an IP address, without scheme, port or path
    greffier.toml:18:8: `name` of [[connector]]: `sfb` is taken by another connector
    greffier.toml:21:16: `password_file` and `password_env` are both given; keep one of them
    greffier.toml:23:10: `rejoin` in [[connector]] must be true or false, not a text
    greffier.toml:24:1: [[connector]] needs `name`: a name of your choice, for example name = "sfb"
    greffier.toml:24:1: [[connector]] needs `tenant_id`: the GUID of the customer's tenant
    greffier.toml:24:1: [[connector]] needs `client_id`: the GUID of the app registration
    greffier.toml:24:1: [[connector]] does not say how the application proves itself: put the client secret into a file of mode 0600 and name that with `client_secret_file`, or name an environment variable with `client_secret_env`; or name a certificate with `certificate_file` and `private_key_file`
    greffier.toml:24:1: [[connector]] needs `callback_url`: where Teams reaches the recorder, for example callback_url = "https://recorder.contoso.com"
    greffier.toml:26:1: [[connector]] needs `name`: a name of your choice, for example name = "sfb"
    greffier.toml:27:8: `kind` of [[connector]]: unknown kind `ucaw`; did you mean `ucwa`?
    greffier.toml:28:1: [[connector]] needs `kind`: write kind = "ucwa" (Skype for Business) or kind = "teams" (Microsoft Teams)
    "#);
}

#[test]
fn a_syntax_error_has_line_and_column_and_quotes_nothing() {
    let place = Place::new("[archive]\ndirectory = \"a\"\npassword = hunter2\n");
    insta::assert_snapshot!(place.load().expect_err("problem"), @"greffier.toml:3:12: not TOML: string values must be quoted, expected literal string");
}

#[test]
fn a_value_of_the_wrong_type_is_not_quoted() {
    let place = Place::new("[[connector]]\nname = \"a\"\nkind = \"ucwa\"\nsign_in = 5\npassword_env = \"hunter 2\"\n");
    insta::assert_snapshot!(place.load().expect_err("problem"), @r#"
    greffier.toml:4:11: `sign_in` in [[connector]] must be a text in quotes, not a whole number
    greffier.toml:5:16: `password_env` must be the name of an environment variable, for example "SFB_PASSWORD"
    "#);
}

#[test]
fn names_must_be_unique() {
    let one = "[[connector]]\nname = \"a\"\nkind = \"ucwa\"\nsign_in = \"r@c.de\"\npassword_env = \"P\"\n";
    let place = Place::new(&format!("{one}{one}"));
    insta::assert_snapshot!(place.load().expect_err("problem"), @"greffier.toml:7:8: `name` of [[connector]]: `a` is taken by another connector");
}

#[test]
fn a_password_file_that_others_can_read_is_refused_with_the_command_to_run() {
    let place = Place::new(LEAST);
    place.file("secrets/sfb", "geheim", 0o640);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:6:17: `password_file`: secrets/sfb has mode 0640 and may be read by others; run: chmod 600 secrets/sfb");
    place.file("secrets/sfb", "geheim", 0o400);
    assert!(place.resolve(&no_env).is_ok());
}

#[test]
fn an_empty_or_absent_password_file_is_refused() {
    let place = Place::new(LEAST);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:6:17: `password_file`: cannot read secrets/sfb: No such file or directory (os error 2)");
    place.file("secrets/sfb", "\n", 0o600);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:6:17: `password_file`: secrets/sfb is empty; write the password into it");
}

#[test]
fn one_trailing_newline_is_not_part_of_the_password() {
    let place = Place::new(LEAST);
    for (content, password) in [("a\n\n", "a\n"), ("a\r\n", "a"), ("a", "a"), (" a\t", " a\t")] {
        place.file("secrets/sfb", content, 0o600);
        assert_eq!(place.resolve(&no_env).expect("config")[0].password.expose(), password);
    }
}

#[test]
fn a_password_from_the_environment_is_taken_or_asked_for() {
    let place = Place::new(&LEAST.replace("password_file = \"secrets/sfb\"", "password_env = \"SFB\""));
    let env = |name: &str| (name == "SFB").then(|| "geheim".to_owned());
    let connectors = place.resolve(&env).expect("config");
    assert_eq!(connectors[0].password.expose(), "geheim");
    assert!(!format!("{connectors:?}").contains("geheim"));
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:6:16: the environment variable named by `password_env` is not set (or not UTF-8); set it where greffier is started");
}

#[test]
fn the_private_certificate_authority_is_read_and_checked() {
    let place = Place::new(&format!("{LEAST}ca_file = \"pki.pem\"\n"));
    place.file("secrets/sfb", "x", 0o600);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:7:11: `ca_file`: cannot read pki.pem: No such file or directory (os error 2)");
    place.file("pki.pem", "nothing", 0o644);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:7:11: `ca_file`: pki.pem holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed");
    place.file("pki.pem", "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n", 0o644);
    insta::assert_snapshot!(place.resolve(&no_env).expect_err("problem"), @"greffier.toml:7:11: `ca_file`: certificate 1 in pki.pem is damaged");
    let good = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    place.file("pki.pem", good, 0o644);
    assert_eq!(place.resolve(&no_env).expect("config")[0].ca_pem.as_deref(), Some(good.as_bytes()));
}

#[test]
fn a_missing_file_says_what_to_do() {
    let place = Place::new("");
    let error = Config::load(&place.dir.path().join("other.toml")).expect_err("absent");
    insta::assert_snapshot!(place.shorten(&error), @"no configuration file at other.toml: write one (see `greffier serve --help`), or name it with --config FILE or $GREFFIER_CONFIG");
}

#[test]
fn the_viewer_has_names_and_a_zone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("greffier.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    };
    let config = read("[viewer]\nhosts = [\"Archive.Contoso.com\", \"10.0.0.7\"]\nzone = \"Europe/Berlin\"\n").unwrap();
    assert_eq!(config.viewer.hosts, ["archive.contoso.com", "10.0.0.7"]);
    assert_eq!(config.viewer.zone, chrono_tz::Tz::Europe__Berlin);
    let config = read("").unwrap();
    assert_eq!((config.viewer.hosts.len(), config.viewer.zone), (0, chrono_tz::Tz::UTC));
    for wrong in ["https://archive.contoso.com", "archive.contoso.com:443", "*.contoso.com", ""] {
        let error = read(&format!("[viewer]\nhosts = [\"{wrong}\"]\n")).unwrap_err().to_string();
        assert!(error.contains("greffier.toml:2:10: `hosts` in [viewer] takes names alone"), "{error}");
    }
    let error = read("[viewer]\nzone = \"Berlin\"\n").unwrap_err().to_string();
    assert!(error.contains("greffier.toml:2:8: `zone` in [viewer] is no name of a time zone"), "{error}");
}
