//! Parses the command line, calls it, and turns the result into an exit code.

use std::process::ExitCode;

use argos_sync::chain::chain;
use argos_sync::cli::Cli;
use argos_sync::exit::Exit;
use argos_sync::logging;
use argos_sync::words::harmless;
use clap::Parser;

fn main() -> ExitCode {
    logging::harmless_panics();
    // sqlx and reqwest both use rustls: one provider for the process, before anything else.
    rustls::crypto::ring::default_provider().install_default().expect("nothing has installed a provider before");
    match Cli::parse().execute() {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("argos-sync: {}", harmless(&chain(&error)));
            if let Some(advice) = error.advice() {
                eprintln!("{advice}");
            }
            error.exit().into()
        }
    }
}
