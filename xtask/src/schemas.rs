//! `cargo xtask schemas`: writes the JSON schemas of the configuration files from the types.

use std::fs;

use anyhow::{Context, Result, bail};
use model::config::{BridgeConfig, emulator::EmulatorConfig, gateway::GatewayConfig};
use schemars::{JsonSchema, schema_for};

use crate::{only_flag, tree};

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    if only_flag(arguments, "--check")? {
        return check();
    }
    for (path, text) in generated()? {
        let target = tree::root().join(path);
        fs::create_dir_all(target.with_file_name(""))?;
        fs::write(&target, text).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Compares the committed files with the types.
///
/// # Errors
///
/// If they differ. The error names the file.
pub(crate) fn check() -> Result<()> {
    for (path, text) in generated()? {
        let committed = fs::read_to_string(tree::root().join(path))
            .with_context(|| format!("cannot read {path}; hint: cargo xtask schemas"))?;
        if committed != text {
            bail!("{path} differs from the types; hint: cargo xtask schemas");
        }
    }
    Ok(())
}

fn generated() -> Result<[(&'static str, String); 3]> {
    Ok([
        ("docs/schemas/config.schema.json", schema::<BridgeConfig>()?),
        (
            "docs/schemas/gateway.schema.json",
            schema::<GatewayConfig>()?,
        ),
        (
            "docs/schemas/emulator.schema.json",
            schema::<EmulatorConfig>()?,
        ),
    ])
}

fn schema<T: JsonSchema>() -> Result<String> {
    let mut text = serde_json::to_string_pretty(&schema_for!(T))?;
    text.push('\n');
    Ok(text)
}
