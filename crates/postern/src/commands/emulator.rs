//! `postern emulator`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use emulator::{Certificate, Emulator, Options, Tenant, Transport, demo};
use model::Clock;
use model::config::emulator::EmulatorConfig;

use super::listen;
use crate::cli::EmulatorArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::{logging, signals, terminal};

/// Serves the demo's tenants, or the tenants of a file, until a signal.
pub(crate) fn run(args: &EmulatorArgs, context: &Context) -> Result<(), CliError> {
    logging::to_stderr(context.environment.log.as_deref());
    let options = options(args)?;
    let tenants = tenant_ids(&options);
    let authority_file = options.transport.authority_file();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    context.block_on_all_cores(async {
        let listener = listen(address, "another --port")?;
        let emulator = Emulator::open(options, listener).await?;
        let base = emulator.base_url();
        let shown = match args.config {
            Some(_) => announcement_of_file(base, &tenants),
            None => announcement(base),
        };
        terminal::print(shown + &trust(authority_file.as_deref()));
        Ok(emulator.serve(signals::shutdown()).await?)
    })
}

fn options(args: &EmulatorArgs) -> anyhow::Result<Options> {
    let transport = match (&args.data_dir, args.tls) {
        (Some(folder), true) => Transport::Https {
            folder: folder.clone(),
        },
        (Some(_) | None, _) => Transport::Http,
    };
    let (tenant, others) = match &args.config {
        Some(file) => read(file)?,
        None => (tenant(args)?, demo::others()),
    };
    Ok(Options {
        others,
        transport,
        data_dir: args.data_dir.clone(),
        ..Options::new(tenant, Clock::system())
    })
}

/// Reads the tenants of a file.
fn read(file: &Path) -> anyhow::Result<(Tenant, Vec<Tenant>)> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| anyhow::anyhow!("{shown} cannot be read: {error}"))?;
    let config =
        EmulatorConfig::parse(&text).map_err(|error| anyhow::anyhow!("{shown}, {error}"))?;
    let base = file.parent().unwrap_or(Path::new(""));
    emulator::tenants(&config, base).map_err(|error| anyhow::anyhow!("{shown}: {error:#}"))
}

fn tenant_ids(options: &Options) -> Vec<String> {
    std::iter::once(&options.tenant)
        .chain(&options.others)
        .map(|tenant| tenant.id.to_string())
        .collect()
}

/// Returns the demo's tenant, changed by the arguments.
fn tenant(args: &EmulatorArgs) -> anyhow::Result<Tenant> {
    let mut tenant = Tenant::demo(&args.gateway_callback);
    if let Some(file) = &args.gateway_certificate {
        let shown = || format!("the certificate in {} cannot be used", file.display());
        let certificate = std::fs::read(file).map_err(anyhow::Error::from);
        let certificate = certificate.and_then(|pem| Certificate::from_pem(&pem));
        demo::trust_certificate(&mut tenant, &certificate.with_context(shown)?);
    }
    Ok(tenant)
}

fn announcement_of_file(base: &str, tenants: &[String]) -> String {
    let mut text = format!("The Entra ID emulator listens on {base} and accepts any password.\n\n");
    for tenant in tenants {
        text.push_str(&format!("  authority          {base}/{tenant}/v2.0\n"));
    }
    text + &format!("  switches           {base}/admin")
}

fn trust(authority_file: Option<&Path>) -> String {
    authority_file.map_or_else(String::new, |file| {
        format!("\n  authority to trust {}", file.display())
    })
}

fn announcement(base: &str) -> String {
    format!(
        "The Entra ID emulator listens on {base} and accepts any password.\n\n\
         \x20 authority          {base}/{tenant}/v2.0\n\
         \x20 users              {adele}, {grady}\n\
         \x20 public client      {bridge}\n\
         \x20 gateway client     {gateway}\n\
         \x20 gateway secret     {secret}\n\n\
         \x20 any tenant         {base}/common/v2.0\n\
         \x20 more users         {megan}, {lee}\n\
         \x20 client for them    {notes}\n\n\
         \x20 codes of devices   {base}/devicelogin\n\
         \x20 managed identity   {host} at AZURE_POD_IDENTITY_AUTHORITY_HOST={base}\n\
         \x20 switches           {base}/admin",
        tenant = demo::TENANT_ID,
        adele = demo::ADELE,
        grady = demo::GRADY,
        bridge = demo::BRIDGE_CLIENT_ID,
        gateway = demo::GATEWAY_CLIENT_ID,
        secret = demo::GATEWAY_SECRET,
        megan = demo::MEGAN,
        lee = demo::LEE,
        notes = demo::NOTES_CLIENT_ID,
        host = demo::HOST_CLIENT_ID,
    )
}
