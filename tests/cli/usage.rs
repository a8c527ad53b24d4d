//! Usage, help, configuration.

use crate::{greffier, run};

fn here() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary folder")
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let dir = here();
    for args in
        [&[][..], &["nonsense"], &["show"], &["list", "--since", "yesterday"], &["export"], &["--frobnicate", "list"]]
    {
        let ran = run(dir.path(), args);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["help", "serve"], &["--version"]] {
        let ran = run(dir.path(), args);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn every_verb_teaches_with_examples() {
    let dir = here();
    for verb in [
        "demo",
        "serve",
        "check",
        "list",
        "show",
        "search",
        "reindex",
        "export",
        "verify",
        "backup",
        "rotate-keys",
        "simulate",
        "completions",
    ] {
        let ran = run(dir.path(), &["help", verb]);
        assert_eq!(ran.status, 0, "{verb}");
        assert!(ran.stdout.contains("Examples:") && ran.stdout.contains("greffier"), "{verb}: {}", ran.stdout);
    }
}

#[test]
fn a_missing_configuration_is_one_line_that_says_what_to_do() {
    let dir = here();
    for verb in ["serve", "check", "list"] {
        let ran = run(dir.path(), &[verb]);
        assert_eq!(ran.status, 1, "{verb}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @"greffier: no configuration file at greffier.toml: write one (see `greffier serve --help`), or name it with --config FILE or $GREFFIER_CONFIG");
        }
    }
}

#[test]
fn the_configuration_comes_from_option_then_environment_then_folder() {
    let dir = here();
    std::fs::write(dir.path().join("greffier.toml"), "[archive]\ndirectory = \"folder\"\n").expect("write");
    std::fs::write(dir.path().join("env.toml"), "[archive]\ndirectory = \"environment\"\n").expect("write");
    std::fs::write(dir.path().join("option.toml"), "[archive]\ndirectory = \"option\"\n").expect("write");
    let stderr = |environment: Option<&str>, args: &[&str]| {
        let mut command = greffier(dir.path());
        environment.map(|file| command.env("GREFFIER_CONFIG", file));
        let output = command.args(args).output().expect("starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("utf-8")
    };
    assert!(stderr(None, &["list"]).contains("no archive at folder/"));
    assert!(stderr(Some(""), &["list"]).contains("no archive at folder/"));
    assert!(stderr(Some("env.toml"), &["list"]).contains("no archive at environment/"));
    assert!(stderr(Some("env.toml"), &["--config", "option.toml", "list"]).contains("no archive at option/"));
    assert!(stderr(Some("env.toml"), &["list", "--config", "option.toml"]).contains("no archive at option/"));
    assert!(stderr(None, &["list", "--archive", "elsewhere"]).contains("no archive at elsewhere/"));
    assert!(stderr(None, &["list", "--archive", "option.toml"]).contains("no archive at option.toml/"));
}

#[test]
fn a_wrong_configuration_is_told_whole_and_without_its_secrets() {
    let dir = here();
    let text = "[[connector]]\nname = \"sfb\"\nkind = \"ucwa\"\nsign_in = \"sip:r@contoso.com\"\npasword = \"hunter2\"\n\
                password_env = \"GREFFIER_TEST_UNSET\"\n[veiwer]\n";
    std::fs::write(dir.path().join("greffier.toml"), text).expect("write");
    let ran = run(dir.path(), &["check"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stderr, @r#"
    greffier: greffier.toml:5:1: unknown key `pasword` in [[connector]]; did you mean `password_env`?
    greffier: greffier.toml:6:16: the environment variable named by `password_env` is not set (or not UTF-8); set it where greffier is started
    greffier: greffier.toml:7:2: unknown key `veiwer`; did you mean `viewer`?
    "#);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let dir = here();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(dir.path(), &["completions", shell]);
        assert_eq!(ran.status, 0, "{shell}");
        assert!(ran.stdout.contains("verify"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn an_archive_that_may_not_be_looked_into_is_not_called_missing() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("temporary folder");
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).expect("folder");
    let allow = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).expect("chmod");
    allow(0o000);
    // The superuser may look everywhere.
    if std::fs::read_dir(&closed).is_ok() {
        println!("skipped: run as root");
        return;
    }
    let ran = run(dir.path(), &["list", "--archive", "closed"]);
    allow(0o700);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("Permission denied") && !ran.stderr.contains("no archive"), "{}", ran.stderr);
}
