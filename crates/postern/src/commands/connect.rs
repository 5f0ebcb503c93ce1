//! `postern connect`: replaces this process by `postern-shim` from the same folder.
//!
//! Hosts run many shims. This executable contains everything and is large. `postern-shim` contains
//! only the shim and needs a fraction of the memory.

use crate::cli::ConnectArgs;
use crate::context::{Context, VERSION};
use crate::error::CliError;

/// Serves the host until it ends the session.
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

/// Replaces this process by `postern-shim`. Returns only if that is missing, as after `cargo run`, or
/// if the system cannot replace a process.
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
    // The shim starts a bridge with the path in its first argument.
    command
        .arg0(&context.program)
        .args(["connect", &args.server]);
    if let Some(root) = context.home.root() {
        command.arg("--home").arg(root);
    }
    let reason = command.exec();
    tracing::debug!(%reason, "postern-shim cannot be run; the shim runs in this process");
}

#[cfg(windows)]
fn exec_shim(_args: &ConnectArgs, _context: &Context) {}
