//! `postern connect`: becomes the small program that lies beside this one.
//!
//! Hosts run it by the dozen. This program is large because it is everything; `postern-shim` holds
//! nothing but the shim, and a fraction of the memory.

use crate::cli::ConnectArgs;
use crate::context::{Context, VERSION};
use crate::error::CliError;

/// Serves the host until it ends the conversation.
pub(crate) fn run(args: ConnectArgs, context: &Context) -> Result<(), CliError> {
    context.refuse_in_flatpak(&format!("connect {}", args.server))?;
    exec_shim(&args, context);
    let options = shim::Options {
        home: context.home.clone(),
        program: context.program.clone(),
        version: VERSION,
        server: args.server,
    };
    context.block_on(async {
        shim::run(options).await;
        Ok(())
    })
}

/// Returns only where the small program is not there, as after `cargo run`, or where no process
/// can become another.
#[cfg(unix)]
fn exec_shim(args: &ConnectArgs, context: &Context) {
    use std::os::unix::process::CommandExt;

    let Some(program) = std::env::current_exe()
        .ok()
        .and_then(|this| this.canonicalize().ok())
    else {
        return;
    };
    let mut command = std::process::Command::new(program.with_file_name("postern-shim"));
    // By its first argument it knows what to start a bridge with.
    command
        .arg0(&context.program)
        .args(["connect", &args.server]);
    if let Some(root) = context.home.root() {
        command.arg("--home").arg(root);
    }
    let reason = command.exec();
    tracing::debug!(%reason, "the shim runs in the large program");
}

#[cfg(windows)]
fn exec_shim(_args: &ConnectArgs, _context: &Context) {}
