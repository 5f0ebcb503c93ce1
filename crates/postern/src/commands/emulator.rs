//! `postern emulator`.

use std::net::{Ipv4Addr, SocketAddr};

use emulator::{Options, Tenant, demo};
use model::Clock;

use super::listen;
use crate::cli::EmulatorArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::{logging, signals, terminal};

/// Serves the demo tenant until a signal.
pub(crate) fn run(args: &EmulatorArgs, context: &Context) -> Result<(), Failure> {
    logging::to_stderr(context.environment.log.as_deref());
    let options = Options {
        others: demo::others(),
        data_dir: args.data_dir.clone(),
        ..Options::new(Tenant::demo(&args.gateway_callback), Clock::system())
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    context.block_on_all_cores(async {
        let listener = listen(address, "another --port").await?;
        let base = emulator::base_url(listener.local_addr().map_err(Failure::new)?);
        terminal::say(announcement(&base));
        Ok(emulator::serve(options, listener, signals::shutdown()).await?)
    })
}

fn announcement(base: &str) -> String {
    format!(
        "The Entra ID emulator listens on {base}. Any password is right.\n\n\
         \x20 authority        {base}/{tenant}/v2.0\n\
         \x20 users            {adele}, {grady}\n\
         \x20 public client    {bridge}\n\
         \x20 gateway client   {gateway}\n\
         \x20 gateway secret   {secret}",
        tenant = demo::TENANT_ID,
        adele = demo::ADELE,
        grady = demo::GRADY,
        bridge = demo::BRIDGE_CLIENT_ID,
        gateway = demo::GATEWAY_CLIENT_ID,
        secret = demo::GATEWAY_SECRET,
    )
}
