//! One project or several.

use secrecy::ExposeSecret as _;

use super::*;

#[test]
fn projects_may_be_listed() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("kr"), "kr-key\n").unwrap();
    let text = "
        [api]
        count = 50
        timeout = '20s'
        [[projects]]
        id = 'kr'
        name = 'Korea'
        key_file = 'DIR/kr'
        dialect = 'v3'
        [[projects]]
        id = 'jp'
        key = 's3cr3t-M4RK3R'
        count = 7
    ";
    let settings = Given::file(text).env("ARGOS_SYNC__API__TIMEOUT", "25s").load_in(&dir).unwrap();
    let [kr, jp] = settings.projects.as_slice() else { panic!("{settings:?}") };
    assert_eq!((kr.id.as_str(), kr.name.as_str(), jp.id.as_str(), jp.name.as_str()), ("kr", "Korea", "jp", "jp"));
    assert_eq!((kr.api.count, jp.api.count), (50, 7));
    assert_eq!((kr.api.dialect, jp.api.dialect), (Dialect::V3, Dialect::Idcheck));
    assert_eq!((kr.api.timeout.as_secs(), jp.api.timeout.as_secs()), (25, 25));
    assert_eq!(kr.api.key.as_ref().unwrap().expose_secret(), "kr-key");
    assert_eq!(jp.api.key.as_ref().unwrap().expose_secret(), MARKER);
    settings.require_keys().unwrap();

    let file = dir.path().join("settings.toml");
    let file = file.to_str().unwrap();
    assert_eq!(effective(&settings, "projects.kr.count"), ("50", file));
    assert_eq!(effective(&settings, "projects.kr.timeout"), ("25s", "ARGOS_SYNC__API__TIMEOUT"));
    assert_eq!(effective(&settings, "projects.kr.retries"), ("5", "default"));
    assert_eq!(effective(&settings, "projects.kr.name"), ("Korea", file));
    assert_eq!(effective(&settings, "projects.jp.name"), ("jp", "default"));
    assert_eq!(effective(&settings, "projects.jp.key"), ("<redacted>", file));
    assert!(!settings.effective().iter().any(|effective| effective.key.starts_with("api.")));
    assert!(!format!("{settings:?}").contains(MARKER));
}

#[test]
fn mistakes_in_the_list_are_named() {
    Given::file("api.key = 's3cr3t-M4RK3R'\napi.project_id = 'x'\n[[projects]]\nid = 'a'\nkey = 'k'").fails_with(&[
        "api.key (FILE) belongs into a [[projects]] entry, as key, since there are such entries",
        "api.project_id (FILE) belongs into a [[projects]] entry, as id, since there are such entries",
    ]);
    let text = "
        api.retries = -1
        [[projects]]
        id = 'a'
        keyfile = 'x'
        project_id = 'b'
        [[projects]]
        id = 'a'
        timeout = 5
        [[projects]]
        name = 'c'
        key = 'x'
        key_file = 'y'
        [[projects]]
        id = 'D'
        backoff_initial = '40s'
    ";
    Given::file(text).fails_with(&[
        "unknown setting \"keyfile\" in [[projects]] entry 1 of FILE: did you mean \"key_file\"?",
        "unknown setting \"project_id\" in [[projects]] entry 1 of FILE: did you mean \"id\"?",
        "api.retries = \"-1\" (FILE) must be a whole number from 0 to 100",
        "[[projects]] entry 2 repeats the id \"a\": each project needs its own",
        "projects.a.timeout = \"5\" (FILE) needs a unit: write 5s for seconds",
        "[[projects]] entry 3 has no id: 1 to 64 of a-z, 0-9, \"_\" and \"-\"",
        "projects.3.key (FILE) and projects.3.key_file (FILE) are both set: keep one",
        "projects.4.id = \"D\" (FILE) must be 1 to 64 of a-z, 0-9, \"_\" and \"-\"",
        "projects.4.backoff_initial (FILE) must not be longer than api.backoff_max (default)",
    ]);
    Given::file("[projects]\nid = 'a'")
        .fails_with(&["[projects] in FILE must be [[projects]], with two brackets, once per project"]);
    Given::file("projects = 'a'").fails_with(&["projects in FILE must be [[projects]] entries, one for each project"]);
    none()
        .flag("projects.kr.key", MARKER)
        .fails_with(&["flag --set projects.kr.key cannot be used: projects can only be listed in the settings file"]);
}

#[test]
fn missing_keys_are_told_when_they_are_needed() {
    let one = Settings::default().require_keys().unwrap_err();
    assert_eq!(
        one.to_string(),
        "project \"default\" has no API key: let api.key_file (ARGOS_SYNC__API__KEY_FILE) name a file that holds it, \
         or put it into ARGOS_SYNC__API__KEY"
    );
    let listed = Given::file("[[projects]]\nid = 'a'\n[[projects]]\nid = 'b'\nkey = 'k'").settings();
    assert_eq!(
        listed.require_keys().unwrap_err().to_string(),
        "project \"a\" has no API key: give its [[projects]] entry a key_file that names a file with the key"
    );
}

#[test]
fn each_project_has_its_encryption() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("secret"), "s3cr3t-M4RK3R\n").unwrap();
    let text = "
        api.encryption = 'gcm'
        [[projects]]
        id = 'kr'
        key = 'k'
        encryption_secret_file = 'DIR/secret'
        encryption_requests = true
        [[projects]]
        id = 'jp'
        key = 'k'
        encryption = 'cbc-zero-iv'
        encryption_key = 'sha256-hex'
        encryption_encoding = 'hex'
        [[projects]]
        id = 'us'
        key = 'k'
        encryption = 'off'
    ";
    let settings = Given::file(text).load_in(&dir).unwrap();
    let [kr, jp, us] = [0, 1, 2].map(|place: usize| &settings.projects[place].api.encryption);
    assert_eq!((kr.mode, kr.key, kr.requests), (Some(CipherMode::Gcm), KeyForm::First32, true));
    assert_eq!(kr.secret.as_ref().unwrap().expose_secret(), MARKER);
    assert_eq!((jp.mode, jp.key), (Some(CipherMode::CbcZeroIv), KeyForm::Sha256Hex));
    assert_eq!((jp.encoding, jp.secret.is_none(), us.mode), (TextEncoding::Hex, true, None));
    assert_eq!(effective(&settings, "projects.kr.encryption_secret").0, "<redacted>");
    assert!(!format!("{settings:?} {:?}", settings.effective()).contains(MARKER));
}

#[test]
fn mistakes_about_encryption_are_named() {
    Given::file("api.encryption = 'aes'\napi.encryption_requests = true").fails_with(&[
        "api.encryption = \"aes\" (FILE) must be \"off\" or \"ecb\" or \"cbc-prefixed-iv\" or \"cbc-zero-iv\" or \"cbc-key-iv\" \
         or \"cbc-passphrase\" or \"gcm\"",
    ]);
    Given::file("api.encryption_requests = true").fails_with(&[
        "api.encryption_requests (FILE) is true although api.encryption (default) is \"off\": say how requests are encrypted",
    ]);
    Given::file("api.encryption_secret = 's3cr3t-M4RK3R'\n[[projects]]\nid = 'a'\nkey = 'k'").fails_with(&[
        "api.encryption_secret (FILE) belongs into a [[projects]] entry, as encryption_secret, since there are such entries",
    ]);
}
