//! `postern secrets`.
//!
//! Invariant: a secret comes from the terminal or from stdin, never from an argument, which every
//! process of the user could read.

use control::api::{HeaderSecret, Reply, Request, SecretView};

use crate::cli::SecretsCommand;
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal::{self, table};

pub(crate) fn run(command: SecretsCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SecretsCommand::List(args) => context.block_on(list(args.json, context)),
        SecretsCommand::Set { name } => {
            let value = read(&name)?;
            context.block_on(set(name, value, context))
        }
        SecretsCommand::Remove { name } => context.block_on(remove(name, context)),
    }
}

fn read(name: &str) -> Result<HeaderSecret, CliError> {
    let text = terminal::secret(&format!("Value of {name}: ")).map_err(|error| {
        CliError::new(format_args!(
            "the secret cannot be read: {error}; hint: type it at a terminal or pass it on stdin"
        ))
    })?;
    Ok(HeaderSecret::from(text))
}

async fn set(name: String, value: HeaderSecret, context: &Context) -> Result<(), CliError> {
    let request = Request::SetSecret {
        name: name.clone(),
        value,
    };
    context.call(&request).await?;
    terminal::print(format_args!("Stored {name}."));
    let listed = secrets(context).await?;
    if listed
        .iter()
        .any(|view| view.name == name && view.servers.is_empty())
    {
        terminal::note(format_args!(
            "No server uses it yet.\nhint: write `X-Api-Key = {{ secret = \"{name}\" }}` under [servers.NAME.headers] in config.toml to send it"
        ));
    }
    Ok(())
}

async fn remove(name: String, context: &Context) -> Result<(), CliError> {
    context
        .call(&Request::RemoveSecret { name: name.clone() })
        .await?;
    terminal::print(format_args!("Removed {name}."));
    let listed = secrets(context).await?;
    if let Some(view) = listed.iter().find(|view| view.name == name) {
        terminal::note(format_args!("Still used by {}.", view.servers.join(", ")));
    }
    Ok(())
}

async fn list(json: bool, context: &Context) -> Result<(), CliError> {
    let listed = secrets(context).await?;
    if json {
        terminal::json(&listed)?;
    } else if listed.is_empty() {
        terminal::print("No secrets yet.\nhint: store one with `postern secrets set NAME`");
    } else {
        terminal::print(text(&listed));
    }
    Ok(())
}

async fn secrets(context: &Context) -> Result<Vec<SecretView>, CliError> {
    match context.call(&Request::ListSecrets).await? {
        Reply::Secrets(listed) => Ok(listed),
        other => Err(unexpected(&other)),
    }
}

fn text(listed: &[SecretView]) -> String {
    let rows: Vec<_> = listed
        .iter()
        .map(|view| {
            let state = if view.stored { "stored" } else { "missing" };
            let servers = match view.servers.as_slice() {
                [] => "used by no server".to_owned(),
                servers => format!("used by {}", servers.join(", ")),
            };
            [view.name.clone(), state.to_owned(), servers]
        })
        .collect();
    table(&rows)
}

#[cfg(test)]
mod tests {
    use control::api::SecretView;

    use super::text;

    #[test]
    fn secret_is_listed_with_its_servers_and_without_value() {
        let view = |name: &str, stored, servers: &[&str]| SecretView {
            name: name.to_owned(),
            stored,
            servers: servers.iter().map(|&name| name.to_owned()).collect(),
        };
        let listed = [
            view("crm-key", true, &["crm", "crm-2"]),
            view("lost", false, &["crm"]),
            view("old", true, &[]),
        ];
        let expected = "  crm-key  stored   used by crm, crm-2
  lost     missing  used by crm
  old      stored   used by no server";
        assert_eq!(text(&listed), expected);
    }
}
