//! `argos-sync find-cipher`, as a process.

use std::fs::File;
use std::process::Command;

use super::*;

/// `find-cipher` of a project on this simulator.
fn find(simulator: &Simulator, arguments: &[&str], changes: &[(&str, &str)]) -> Command {
    let arguments = [&["find-cipher"], arguments].concat();
    program::command(&arguments, &simulator.base_url(), "postgres://unused/", changes)
}

/// The settings that it printed, once each.
fn printed(ended: &Ended) -> Vec<(String, String)> {
    let lines = ended.stdout.lines().filter(|line| line.starts_with("encryption"));
    let pair = |line: &str| {
        let (key, value) = line.split_once(" = ").unwrap();
        (format!("api.{key}"), value.trim_matches('"').to_owned())
    };
    lines.map(pair).collect()
}

#[track_caller]
fn assert_silent(ended: &Ended) {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.to_lowercase().contains("taint") && !said.contains("simulated-key"), "{said}");
    assert!(!said.contains(HEX_SECRET) && !said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_works() {
    for (words, secret) in [
        ("ecb", None),
        ("cbc-prefixed-iv,key-sha256,hex,data", None),
        ("cbc-zero-iv,key-sha256-hex,base64url,flag-body", Some("some other secret")),
        ("cbc-key-iv,key-hex,hex,body-data", Some(HEX_SECRET)),
        ("cbc-passphrase,quoted", None),
        ("gcm,key-base64,quoted", Some(BASE64_SECRET)),
    ] {
        let simulator = simulator(words, secret).await;
        let given: Vec<_> = secret.map(|secret| ("api.encryption_secret", secret)).into_iter().collect();
        // Settings that are there already, and wrong, do not mislead it.
        let asking = [given.as_slice(), &[("api.encryption", "gcm"), ("api.encryption_key", "sha256")]].concat();
        let ended = program::run(find(&simulator, &[], &asking)).await;
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        assert!(ended.stdout.contains("It opens: 1 submission"), "{words}: {ended:?}");
        assert_silent(&ended);
        assert_eq!(simulator.requests().len(), 1, "{words}");
        assert!(simulator.requests()[0].query == "count=1", "{words}");

        let printed = printed(&ended);
        let lines = if words.starts_with("cbc-passphrase") { 2 } else { 3 };
        assert_eq!(printed.len(), lines, "{words}: one of the variants: {ended:?}");
        let kept = ended.stdout.contains("made from the encryption_secret");
        assert_eq!(kept, secret.is_some(), "{words}: {ended:?}");
        let printed = printed.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let changes: Vec<_> = printed.chain(given.iter().copied()).collect();
        let database = Database::fresh().await;
        let ended = once(&simulator, &database, &changes).await;
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        assert_eq!(database.number("select count(*) from argos.submissions").await, 12, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_a_file_or_standard_input() {
    install_tls();
    let simulator = simulator("ecb,key-sha256", None).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("answer.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, raw(&simulator).await).unwrap();
    let asked = simulator.requests().len();

    let ended = program::run(find(&simulator, &[path], &[])).await;
    assert_eq!((ended.code, printed(&ended).len()), (Some(0), 3), "{ended:?}");
    assert!(ended.stdout.contains("5 submissions") && ended.stdout.contains("Tried 32 settings"), "{ended:?}");
    assert_silent(&ended);
    let mut command = find(&simulator, &["-"], &[]);
    command.stdin(File::open(&file).unwrap());
    assert_eq!(program::run(command).await.stdout, ended.stdout);

    // Not by the API key, but by a secret that is given: the API key is not needed then.
    let right = ("api.encryption_secret", "simulated-key");
    let ended = program::run(find(&simulator, &[path], &[right, ("api.key", "")])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("made from the encryption_secret: keep it"), "{ended:?}");
    assert_eq!(simulator.requests().len(), asked, "nobody was asked");

    // An answer in the clear.
    std::fs::write(&file, r#"{"Items":[{"submission_id":"Taintname7"}]}"#).unwrap();
    let ended = program::run(find(&simulator, &[path], &[])).await;
    let off = ("api.encryption".to_owned(), "off".to_owned());
    assert_eq!((ended.code, printed(&ended)), (Some(0), vec![off]), "{ended:?}");
    assert_silent(&ended);

    // One block: ECB and CBC without an IV come out the same.
    let variant = Variant { mode: CipherMode::Ecb, key: KeyForm::First32, encoding: TextEncoding::Base64 };
    let empty = Cipher::new(variant, "simulated-key").unwrap().encrypt(b"{\"Items\":[]}", [0; 16]);
    std::fs::write(&file, format!("\"{empty}\"")).unwrap();
    let ended = program::run(find(&simulator, &[path], &[])).await;
    assert_eq!((ended.code, printed(&ended).len()), (Some(0), 6), "{ended:?}");
    assert!(ended.stdout.contains("too short to tell these apart"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_5_when_nothing_opens_the_answer() {
    install_tls();
    let simulator = simulator("gcm", Some("a secret that is not given")).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("answer.json");
    let path = file.to_str().unwrap();
    for (what, answer, advice) in [
        ("another secret", raw(&simulator).await, "no setting opens the answer"),
        ("garbage", r#"{"data":"Taintname7 is no base64"}"#.to_owned(), "no setting opens the answer"),
        ("nothing", String::new(), "the answer is no use"),
        ("HTML", "<html>Taintname7</html>".to_owned(), "the answer is no use"),
        ("an error", r#"{"errorCode":"invalid_project","message":"Taintname7"}"#.to_owned(), "the answer is no use"),
        ("a flag alone", r#"{"isEncrypted":true}"#.to_owned(), "the answer is no use"),
    ] {
        std::fs::write(&file, answer).unwrap();
        let ended = program::run(find(&simulator, &[path], &[])).await;
        assert_eq!((ended.code, printed(&ended).len()), (Some(5), 0), "{what}: {ended:?}");
        assert!(ended.stderr.contains(advice), "{what}: {ended:?}");
        assert_silent(&ended);
    }
    for fault in ["status-500", "forbidden-key", "cipher-cut", "cipher-garbled"] {
        simulator.set_faults(Faults::parse(fault).unwrap());
        let ended = program::run(find(&simulator, &[], &[("api.retries", "0")])).await;
        assert_eq!((ended.code, printed(&ended).len()), (Some(5), 0), "{fault}: {ended:?}");
        assert_silent(&ended);
    }
    let missing = directory.path().join("missing");
    let ended = program::run(find(&simulator, &[missing.to_str().unwrap()], &[])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = program::run(find(&simulator, &[], &[("api.key", "")])).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    // A secret that is not of the form that the settings ask for is told before anything is asked.
    let wrong = [("api.encryption", "ecb"), ("api.encryption_key", "hex")];
    let database = Database::fresh().await;
    let ended = once(&simulator, &database, &wrong).await;
    assert!(ended.code == Some(3) && ended.stderr.contains("64 hexadecimal digits"), "{ended:?}");
}
