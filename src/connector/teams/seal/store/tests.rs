use std::os::unix::fs::PermissionsExt;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_225_034_123).plus(Duration::from_secs(seconds))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_pair_is_made_private_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys/teams-contoso");
    let store = KeyStore::open(&folder, at(0)).unwrap();
    let id = store.current().id().to_owned();
    assert!(id.strip_prefix("greffier-").is_some_and(|hex| hex.len() == 16), "{id}");
    assert_eq!(names(&folder), [format!("20261121T013714.123Z-{id}.pem")]);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(&names(&folder)[0])), 0o600);
    assert_eq!(store.current_since(), Some(at(0)));
    assert_eq!(store.problems(), []);

    let again = KeyStore::open(&folder, at(10)).unwrap();
    assert_eq!(again.current().id(), id);
    assert_eq!(again.current().certificate_der(), store.current().certificate_der());
    assert_eq!(names(&folder).len(), 1);
}

#[test]
fn rotation_by_another_process_is_found_and_old_pairs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = KeyStore::open(dir.path(), at(0)).unwrap();
    let old = serving.current().id().to_owned();
    assert!(!serving.reload().unwrap());

    let mut other = KeyStore::open(dir.path(), at(5)).unwrap();
    let new = other.rotate(at(5)).unwrap().id().to_owned();
    assert_ne!(old, new);
    assert_eq!(other.current().id(), new);
    assert!(serving.reload().unwrap());
    assert!(!serving.reload().unwrap());
    assert_eq!(serving.current().id(), new);
    assert!(serving.by_id(&old).is_some() && serving.by_id(&new).is_some());
    assert_eq!(serving.len(), 2);
    assert!(serving.by_id("greffier-0000000000000000").is_none());

    // A file that vanishes takes nothing from who has read it.
    fs::remove_file(dir.path().join(&names(dir.path())[0])).unwrap();
    assert!(!serving.reload().unwrap());
    assert!(serving.by_id(&old).is_some());
}

#[test]
fn a_new_pair_is_the_newest_even_when_the_clock_was_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = KeyStore::open(dir.path(), at(1000)).unwrap();
    let new = store.rotate(at(0)).unwrap().id().to_owned();
    assert_eq!(KeyStore::open(dir.path(), at(0)).unwrap().current().id(), new);
    assert_eq!(store.current_since(), Some(at(1000).plus(Duration::from_millis(1))));
}

#[test]
fn damaged_files_are_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = &dir.path().join("keys");
    let mut store = KeyStore::open(folder, at(0)).unwrap();
    let whole = fs::read_to_string(folder.join(&names(folder)[0])).unwrap();
    let damaged = folder.join("20271121T013714.123Z-greffier-0123456789abcdef.pem");
    fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    fs::set_permissions(&damaged, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.join(".20281121T013714.123Z-x.pem.7.new"), "half a draft").unwrap();
    fs::write(folder.join("README"), "not a key").unwrap();

    assert!(!store.reload().unwrap(), "a damaged pair is not current");
    let problems = store.problems();
    let [Problem { path, text }] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(path, &damaged);
    assert!(text.contains("no private key") && text.contains("backup"), "{text}");
    assert!(KeyStore::open(folder, at(9)).is_ok_and(|store| store.problems().len() == 1 && store.len() == 1));
    assert_eq!(fs::read_to_string(&damaged).unwrap(), whole[..whole.len() / 2]);

    // Mended, it is read.
    fs::write(&damaged, &whole).unwrap();
    store.reload().unwrap();
    assert_eq!(store.problems(), []);
}

#[test]
fn pairs_of_any_file_name_open_but_only_dated_ones_are_current() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path(), at(0)).unwrap();
    let (pair, text) = Pair::generate(at(0)).unwrap();
    let path = dir.path().join("restored-from-tape.pem");
    fs::write(&path, text.expose()).unwrap();
    let again = KeyStore::open(dir.path(), at(0)).unwrap();
    assert_eq!(again.current().id(), store.current().id());
    assert!(again.by_id(pair.id()).is_some());
}

#[test]
fn keys_that_others_may_read_are_used_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let store = KeyStore::open(&folder, at(0)).unwrap();
    let file = folder.join(&names(&folder)[0]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let again = KeyStore::open(&folder, at(0)).unwrap();
    assert_eq!(again.current().id(), store.current().id());
    let said: Vec<String> = again.problems().into_iter().map(|problem| problem.text).collect();
    assert_eq!(said.len(), 2);
    assert!(said.iter().any(|text| text.contains("chmod 700")) && said.iter().any(|text| text.contains("chmod 600")));
}

#[test]
fn a_folder_that_cannot_be_made_or_read_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for folder in [file.clone(), file.join("below")] {
        let error = KeyStore::open(&folder, at(0)).err().map(|error| error.to_string()).unwrap();
        assert!(error.contains("file"), "{error}");
    }
}

#[test]
fn nothing_of_a_key_shows_in_debug() {
    let (pair, text) = Pair::generate(at(0)).unwrap();
    assert_eq!(format!("{pair:?}"), format!("Pair({:?})", pair.id()));
    assert_eq!(format!("{text:?}"), "[secret]");
}
