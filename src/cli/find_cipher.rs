//! `argos-sync find-cipher`: which settings open an encrypted answer?

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::project;
use crate::app::AppError;
use crate::argos::cipher::{Cipher, Variant};
use crate::argos::client::Client;
use crate::argos::decode::Refusal;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::Query;
use crate::argos::sealed::Sealed;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{Api, CipherMode, ENCODINGS, KEY_FORMS, MODES, Project, Settings};
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::sync::error::SyncError;

/// Options of `find-cipher`.
#[derive(Args)]
#[command(
    after_help = "Prints settings and numbers, nothing of what an answer holds. Ends with 5 if no setting opens it."
)]
pub(super) struct FindCipher {
    /// The body of an answer, as it came ("-": standard input). Without it, the vendor is asked for one submission
    file: Option<PathBuf>,
    /// Which project, where several are configured
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

impl FindCipher {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        let project = project(&settings, self.project.as_deref())?;
        let secrets = secrets(&project.api);
        if secrets.is_empty() || self.file.is_none() {
            settings.require_keys()?;
        }
        let answer = match &self.file {
            Some(path) => read(path, project.api.max_response_bytes)?,
            None => ask(&settings, project).await?,
        };
        // Only what is no ciphertext could be lost by that.
        let answer = String::from_utf8_lossy(&answer);
        let page_items = settings.limits.page_items;
        let no_use = |error: ApiError| failed(format!("the answer is no use: {}. {}", chain(&error), error.advice()));
        let Some(sealed) = Sealed::find(&answer).map_err(no_use)? else {
            let page = Page::split(answer.into_owned().into_bytes(), None, page_items, false).map_err(no_use)?;
            println!("The answer is not encrypted ({}). This is right for it:\n", submissions(&page));
            println!("encryption = \"off\"");
            return Ok(());
        };
        println!("The answer is encrypted: {} characters ({}).", sealed.text.len(), sealed.place);
        let (mut tried, mut found, mut shortest) = (0, Vec::new(), usize::MAX);
        for (source, secret) in &secrets {
            for variant in Variant::all() {
                // A form that the secret does not have is no key.
                let Ok(cipher) = Cipher::new(variant, secret.expose_secret()) else { continue };
                tried += 1;
                let opened = Page::split(answer.clone().into_owned().into_bytes(), Some(&cipher), page_items, false);
                let inside = match opened {
                    Ok(page) => submissions(&page),
                    Err(ApiError::Undecryptable { .. }) => continue,
                    // It can be read; what it says is another matter.
                    Err(error) => format!("but then, {}", chain(&error)),
                };
                shortest = shortest.min(sealed.open(&cipher).map_or(0, |plain| plain.len()));
                found.push(lines(variant, source, &inside));
            }
        }
        let sources: Vec<&str> = secrets.iter().map(|(source, _)| source.name()).collect();
        println!("Tried {tried} settings, with the key made from {}.", sources.join(" and from "));
        if found.is_empty() {
            return Err(failed(
                "no setting opens the answer: is the secret the one that it was encrypted with? Another way to make the \
                 key, or another padding, is not known here (docs/encryption.md)"
                    .to_owned(),
            ));
        }
        println!("To be set in [api], or in the project's [[projects]] entry:\n\n{}", found.join("\n\n"));
        if found.len() > 1 && shortest < 32 {
            println!("\nThe answer is too short to tell these apart: try one that holds a submission.");
        }
        Ok(())
    }
}

/// What a key is made from.
#[derive(Clone, Copy)]
enum Source {
    ApiKey,
    Secret,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "the API key",
            Self::Secret => "api.encryption_secret",
        }
    }
}

fn secrets(api: &Api) -> Vec<(Source, &SecretString)> {
    let secret = api.encryption.secret.as_ref().map(|secret| (Source::Secret, secret));
    secret.into_iter().chain(api.key.as_ref().map(|key| (Source::ApiKey, key))).collect()
}

fn submissions(page: &Page) -> String {
    match page.len() {
        1 => "1 submission".to_owned(),
        many => format!("{many} submissions"),
    }
}

/// The settings of a variant, as they stand in a file.
fn lines(variant: Variant, source: &Source, inside: &str) -> String {
    let word = |found: Option<&'static str>| found.expect("every variant is made of the settings' words");
    let mode = word(MODES.iter().find(|(_, mode)| *mode == Some(variant.mode)).map(|(word, _)| *word));
    let key = word(KEY_FORMS.iter().find(|(_, key)| *key == variant.key).map(|(word, _)| *word));
    let encoding = word(ENCODINGS.iter().find(|(_, encoding)| *encoding == variant.encoding).map(|(word, _)| *word));
    let from = match source {
        Source::ApiKey => "# The key is made from the API key: no encryption_secret.",
        Source::Secret => "# The key is made from the encryption_secret: keep it.",
    };
    let key = match variant.mode {
        // The secret is the passphrase; no form of the key is used.
        CipherMode::CbcPassphrase => String::new(),
        _ => format!("encryption_key = \"{key}\"\n"),
    };
    format!("# It opens: {inside}.\nencryption = \"{mode}\"\n{key}encryption_encoding = \"{encoding}\"\n{from}")
}

/// Reads a file, or standard input, up to the largest answer.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let most = most as u64;
    let result = if path == Path::new("-") {
        std::io::stdin().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    match result {
        Ok(length) if length as u64 <= most => Ok(bytes),
        Ok(_) => Err(failed(format!("{} is larger than api.max_response_bytes", path.display()))),
        Err(error) => {
            Err(AppError::Other { message: format!("cannot read {}: {error}", path.display()), exit: Exit::Failure })
        }
    }
}

/// Asks the vendor for one submission. The answer is not decrypted; the request is encrypted if the settings say so.
async fn ask(settings: &Settings, project: &Project) -> Result<Vec<u8>, AppError> {
    let mut api = project.api.clone();
    if !api.encryption.requests {
        api.encryption.mode = None;
    }
    let metrics = Metrics::new(&ApiError::KINDS, &Refusal::REASONS).map_err(AppError::Metrics)?.project(&project.id);
    let client = Client::new(&api, &settings.limits, Clock::system(), metrics, Heartbeat::new());
    let client = client.map_err(AppError::Client)?;
    // A person asks: the day's budget, which lives in the database, is not touched.
    client.pace.grant(u64::from(api.retries) + 1, Duration::from_secs(3600));
    let query = Query { count: Some(1), ..Query::default() };
    let failed = |error| AppError::Sync { project: project.id.clone(), source: SyncError::Api(error) };
    client.raw(&query).await.map_err(failed)
}

fn failed(message: String) -> AppError {
    AppError::Other { message, exit: Exit::Api }
}
