//! `postern gateway`.

use std::path::Path;

use gateway::{Options, Secrets};
use model::Clock;
use model::config::gateway::GatewayConfig;

use super::{listen, return_free_memory};
use crate::cli::GatewayArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::{environment, fd_limit, logging, signals, terminal};

/// Serves until a signal. Active requests may finish.
pub(crate) fn run(args: &GatewayArgs, context: &Context) -> Result<(), CliError> {
    logging::to_stderr(context.environment.log.as_deref());
    let mut options = options(args)?;
    context.block_on_all_cores(async {
        // Read here, because the runtime has raised the limit only now.
        options.descriptors = fd_limit::limit();
        let (address, public_url) = (options.config.listen, options.config.public_url.clone());
        let listener = listen(address, "another address as `listen` in the configuration")?;
        let address = listener.local_addr().map_err(CliError::new)?;
        let ready = || {
            terminal::print(format_args!(
                "The gateway {public_url} listens on {address}."
            ));
        };
        tokio::spawn(return_free_memory());
        let shutdown = signals::shutdown();
        if args.exit_on_stdin_eof {
            signals::on_stdin_eof(shutdown.clone());
        }
        Ok(gateway::serve(options, listener, ready, shutdown).await?)
    })
}

/// Reads the configuration file and the secrets that it refers to.
pub(crate) fn options(args: &GatewayArgs) -> Result<Options, CliError> {
    let file = std::path::absolute(&args.config).map_err(CliError::new)?;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        CliError::new(format_args!(
            "{} cannot be read: {error}; hint: pass an existing file with --config FILE",
            file.display()
        ))
    })?;
    let config = GatewayConfig::parse(&text)
        .map_err(|error| CliError::new(format_args!("{}, {error}", file.display())))?;
    let base = file.parent().unwrap_or(Path::new("/"));
    let secrets = Secrets::resolve(&config, base, environment::secret).map_err(CliError::new)?;
    Ok(Options {
        data_dir: args.data_dir.clone().unwrap_or_else(|| base.join("data")),
        config,
        secrets,
        clock: Clock::system(),
        descriptors: None,
    })
}

#[cfg(test)]
mod tests {
    use super::options;
    use crate::cli::GatewayArgs;

    #[test]
    fn configuration_error_names_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gateway.toml");
        let args = GatewayArgs {
            config: config.clone(),
            data_dir: None,
            exit_on_stdin_eof: false,
        };
        let error = options(&args).unwrap_err().to_string();
        assert!(error.contains("gateway.toml cannot be read"), "{error}");
        std::fs::write(&config, "public_url = 'https://g.example'\nprot = 1\n").unwrap();
        let error = options(&args).unwrap_err().to_string();
        assert!(error.contains("gateway.toml, line 2: `prot`"), "{error}");
    }
}
