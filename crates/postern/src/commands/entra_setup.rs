//! `postern entra-setup`: prints the app registration for Entra ID as steps and as Microsoft Graph
//! JSON, or creates it.
//!
//! Invariants: a token comes from the terminal, from stdin or from a file, never from an argument,
//! which every process of the user could read. It is never printed.

mod apply;
mod graph;
mod registration;
mod steps;

use bridge::OutboundConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;

use crate::cli::{EntraSetupArgs, EntraSetupCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;
use graph::Graph;
use registration::Registration;

pub(crate) fn run(command: EntraSetupCommand, context: &Context) -> Result<(), CliError> {
    let (registration, args) = match command {
        EntraSetupCommand::Bridge(args) => (Registration::for_bridge(&args), args.setup),
        EntraSetupCommand::Gateway(args) => (Registration::for_gateway(&args)?, args.setup),
    };
    if args.apply {
        let token = token(&args)?;
        return context.block_on(async {
            let graph = Graph::new(&args.graph, token, http(context)?);
            apply::apply(&graph, &registration, args.client_id.as_deref()).await
        });
    }
    if args.json {
        terminal::json(&registration.documents())?;
    } else {
        terminal::print(steps::text(&registration)?);
    }
    Ok(())
}

fn token(args: &EntraSetupArgs) -> Result<SecretString, CliError> {
    let text = match &args.token_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| format!("{} cannot be read: {error}", file.display())),
        None => terminal::secret("Token for Microsoft Graph: ")
            .map_err(|error| format!("the token cannot be read: {error}")),
    };
    let text = text.map_err(CliError::new)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::new(
            "the input is not a token; hint: `az account get-access-token --resource-type ms-graph --query accessToken --output tsv` prints one",
        ));
    }
    Ok(SecretString::from(token))
}

/// Creates a client with the bridge's proxy and CA files.
fn http(context: &Context) -> Result<reqwest::Client, CliError> {
    let way = OutboundConfig::load(&context.home, &context.environment.extra_ca)?;
    auth::http::client(way.roots, &way.proxy).map_err(CliError::new)
}

/// Reads the certificate in a PEM file.
fn certificate(file: &std::path::Path) -> Result<CertificateDer<'static>, CliError> {
    CertificateDer::from_pem_file(file).map_err(|error| {
        CliError::new(format_args!(
            "{} contains no PEM certificate: {error}; hint: pass the gateway's certificate file",
            file.display()
        ))
    })
}
