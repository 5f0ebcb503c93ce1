//! `postern snippets`.

use snippets::Options;

use super::listen;
use crate::cli::SnippetsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::{logging, signals, terminal};

/// Serves until a signal.
pub(crate) fn run(args: &SnippetsArgs, context: &Context) -> Result<(), CliError> {
    logging::to_stderr(context.environment.log.as_deref());
    let file = &args.functions_key_file;
    let key = std::fs::read_to_string(file).map_err(|error| {
        CliError::new(format_args!(
            "the functions key cannot be read from {}: {error}; hint: write a long random text to a file and pass its path",
            file.display()
        ))
    })?;
    let options = Options {
        functions_key: key.trim_end_matches(['\r', '\n']).into(),
        data_dir: args.data_dir.clone(),
    };
    context.block_on_all_cores(async {
        let listener = listen(args.listen(), "another --port")?;
        let address = listener.local_addr().map_err(CliError::new)?;
        terminal::print(format_args!(
            "The snippets server listens on http://{address}/mcp and http://{address}/sse."
        ));
        Ok(snippets::serve(options, listener, signals::shutdown()).await?)
    })
}
