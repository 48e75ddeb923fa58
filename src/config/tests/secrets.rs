//! Where secrets come from, and that they stay there.

use secrecy::ExposeSecret as _;

use super::*;

#[test]
fn secrets_come_from_their_own_place_or_a_file() {
    let dir = TempDir::new().unwrap();
    let hash = "0123456789abcdefABCDEF".repeat(3)[..64].to_owned();
    for (name, text) in [("key", "k3y\r\n"), ("url", "postgres:///d?host=/run\n"), ("hash", hash.as_str())] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text = "api.key_file = 'DIR/key'\n[database]\nurl_file = 'DIR/url'\nhash_secret_file = 'DIR/hash'";
    let settings = Given::file(text).load_in(&dir).unwrap();
    assert_eq!(settings.projects[0].api.key.as_ref().unwrap().expose_secret(), "k3y");
    assert_eq!(settings.database.url.as_ref().unwrap().expose_secret(), "postgres:///d?host=/run");
    assert_eq!(settings.database.hash_secret.as_ref().unwrap().expose_secret(), hash);
    let key = dir.path().join("key");
    assert_eq!(effective(&settings, "api.key"), ("<redacted>", key.to_str().unwrap()));
    assert_eq!(effective(&settings, "api.key_file").0, key.to_str().unwrap());
    // An all-digit key stays text, zeros and all.
    let settings = none().env("ARGOS_SYNC__API__KEY", "0042").settings();
    assert_eq!(settings.projects[0].api.key.as_ref().unwrap().expose_secret(), "0042");
    assert_eq!(effective(&settings, "api.key"), ("<redacted>", "ARGOS_SYNC__API__KEY"));
    assert_eq!(effective(&Settings::default(), "api.key"), ("<not set>", "default"));
}

#[test]
fn bad_secret_files_are_named() {
    let dir = TempDir::new().unwrap();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", b"\n".to_vec(), "the secret in DIR/empty is empty"),
        (
            "two",
            format!("{MARKER}\n\n").into_bytes(),
            "the secret in DIR/two holds a control character, such as a line break: it must be one line",
        ),
        (
            "middle",
            format!("a\n{MARKER}").into_bytes(),
            "the secret in DIR/middle holds a control character, such as a line break: it must be one line",
        ),
        (
            "space",
            format!("{MARKER} ").into_bytes(),
            "the secret in DIR/space begins or ends with a space: take it away",
        ),
        (
            "inside",
            format!("{MARKER} {MARKER}").into_bytes(),
            "the secret in DIR/inside holds a space or a letter outside ASCII: it could not be sent",
        ),
        (
            "bearer",
            format!("Bearer {MARKER}").into_bytes(),
            "the secret in DIR/bearer begins with \"Bearer\": write the key alone, which is sent as x-api-key",
        ),
        (
            "mark",
            format!("\u{feff}{MARKER}").into_bytes(),
            "the secret in DIR/mark begins with a byte-order mark: save the file as UTF-8 without one",
        ),
        ("binary", vec![0xff, 0xfe], "the secret in DIR/binary is not UTF-8 text"),
        ("long", vec![b'x'; 70_000], "the secret in DIR/long is too long for a secret: more than 65536 bytes"),
    ];
    for (name, content, sentence) in cases {
        std::fs::write(dir.path().join(name), content).unwrap();
        let problems = Given::file(&format!("api.key_file = 'DIR/{name}'")).load_in(&dir).unwrap_err();
        assert_eq!(problems, [format!("api.key_file (FILE): {sentence}")]);
    }
    let problems = Given::file("api.key_file = 'DIR/none'").load_in(&dir).unwrap_err();
    assert_eq!(
        problems,
        ["api.key_file (FILE): the secret cannot be read from DIR/none: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_stronger_layer_replaces_either_form_of_a_secret() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let key = |settings: &Settings| settings.projects[0].api.key.as_ref().unwrap().expose_secret().to_owned();
    let (one, two) = ("postgres://h/one", "postgres://h/two");
    let (low, high) = ("01".repeat(32), "02".repeat(32));
    for (name, text) in [("key", "from-file"), ("key2", "from-other-file"), ("url", one), ("hash", low.as_str())] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text = "api.key_file = 'DIR/key'\ndatabase.url_file = 'DIR/url'\ndatabase.hash_secret_file = 'DIR/hash'";
    let environment = || {
        Given::file(text)
            .env("ARGOS_SYNC__API__KEY", "from-env")
            .env("ARGOS_SYNC__DATABASE__URL", two)
            .env("ARGOS_SYNC__DATABASE__HASH_SECRET", &high)
    };
    let settings = environment().load_in(&dir).unwrap();
    assert_eq!(key(&settings), "from-env");
    assert_eq!(settings.database.url.as_ref().unwrap().expose_secret(), two);
    assert_eq!(settings.database.hash_secret.as_ref().unwrap().expose_secret(), high);
    assert_eq!(effective(&settings, "api.key"), ("<redacted>", "ARGOS_SYNC__API__KEY"));
    // What is not in force does not look as if it were.
    assert_eq!(effective(&settings, "api.key_file"), ("<not set>", "default"));
    assert_eq!(effective(&settings, "database.url_file"), ("<not set>", "default"));
    // Flags over both, in the other form.
    let settings = environment().flag("api.key_file", &at("key2")).load_in(&dir).unwrap();
    assert_eq!(key(&settings), "from-other-file");
    assert_eq!(effective(&settings, "api.key"), ("<redacted>", at("key2").as_str()));
    assert_eq!(effective(&settings, "api.key_file"), (at("key2").as_str(), "flag --set api.key_file"));
    // A replaced file need not even be there.
    let settings = Given::file("api.key_file = '/nowhere'").env("ARGOS_SYNC__API__KEY", "k").load_in(&dir).unwrap();
    assert_eq!(key(&settings), "k");
    // The same form in two layers: as for any other key.
    let settings = Given::file("api.key = 'a'").env("ARGOS_SYNC__API__KEY", "b").load_in(&dir).unwrap();
    assert_eq!(key(&settings), "b");
}

#[test]
fn both_forms_of_a_secret_in_one_layer_are_refused() {
    Given::file("api.key_file = 'DIR/key'\napi.key = 's3cr3t-M4RK3R'")
        .fails_with(&["api.key (FILE) and api.key_file (FILE) are both set: keep one"]);
    none().env("ARGOS_SYNC__DATABASE__URL", "postgres://h/d").env("ARGOS_SYNC__DATABASE__URL_FILE", "/x").fails_with(&[
        "database.url (ARGOS_SYNC__DATABASE__URL) and database.url_file (ARGOS_SYNC__DATABASE__URL_FILE) are both set: \
         keep one",
    ]);
    none().flag("api.key", MARKER).flag("api.key_file", "x").fails_with(&[
        "api.key (flag --set api.key) and api.key_file (flag --set api.key_file) are both set: keep one",
    ]);
}

#[test]
fn secrets_never_show() {
    let url = format!("postgres://user:{MARKER}@host/d?password={MARKER}");
    let hash = "0badc0de".repeat(8);
    let settings = none()
        .env("ARGOS_SYNC__API__KEY", MARKER)
        .env("ARGOS_SYNC__DATABASE__URL", &url)
        .env("ARGOS_SYNC__DATABASE__HASH_SECRET", &hash)
        .settings();
    let shown = format!("{settings:?} {settings:#?} {:?}", settings.effective());
    assert!(!shown.contains(MARKER) && !shown.contains("0badc0de"), "{shown}");

    let api = "api.key (flag --set api.key) holds a space or a letter outside ASCII: it could not be sent";
    none().flag("api.key", "s3cr3t-M4RK3R é").fails_with(&[api]);
    none().flag("api.key", "").fails_with(&["api.key (flag --set api.key) is empty"]);
    let url = "database.url (flag --set database.url) is not a URL such as postgres://user:password@host:5432/database \
               (a \"/\", \"?\", \"#\" or \"@\" in the password must be written as %2F, %3F, %23 or %40)";
    none().flag("database.url", "mysql://u:s3cr3t-M4RK3R@h/d").fails_with(&[url]);
    none().flag("database.url", "postgres://u:s3cr3t-M4RK3R#@h/d").fails_with(&[url]);
    none()
        .flag("database.hash_secret", MARKER)
        .fails_with(&["database.hash_secret (flag --set database.hash_secret) must be 64 hexadecimal digits"]);
    Given::file("api.key = 12345").fails_with(&["api.key (FILE) must be text, in quotes"]);
}

#[test]
fn mistakes_in_toml_are_placed_and_not_quoted() {
    let cases = [
        ("[api]\nkey = \"s3cr3t-M4RK3R", "FILE is not valid TOML: see line 2, column 21"),
        ("[api]\nkey = s3cr3t-M4RK3R", "FILE is not valid TOML: see line 2, column 7"),
        ("[api]\nkey = 's3cr3t-M4RK3R'\nkey = 's3cr3t-M4RK3R'", "FILE is not valid TOML: see line 3, column 1"),
        ("s3cr3t-M4RK3R", "FILE is not valid TOML: see line 1, column 14"),
        ("api.key = 99999999999999999999", "FILE is not valid TOML"),
    ];
    for (text, sentence) in cases {
        assert_eq!(Given::file(text).load().unwrap_err(), [sentence], "{text}");
    }
}

#[test]
fn files_that_hold_secrets_are_known() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "k3y").unwrap();
    let given = Given::file("api.key_file = 'DIR/key'\ndatabase.url = 'postgres://h/d'")
        .env("ARGOS_SYNC__DATABASE__HASH_SECRET", &"01".repeat(32))
        .flag("http.token", "sixteen-letters-");
    let settings = given.load_in(&dir).unwrap();
    let files: Vec<_> = settings.effective().iter().filter_map(Effective::secret_file).collect();
    assert_eq!(files, [key.as_path(), &dir.path().join("settings.toml")]);
    let shown: Vec<_> = settings.effective().iter().filter(|one| one.shows_secret()).map(|one| &one.key).collect();
    assert_eq!(shown, ["http.token"]);
}
