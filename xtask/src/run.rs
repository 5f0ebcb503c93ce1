//! `cargo xtask run`: starts the demo and the desktop app in it.

use anyhow::Result;

use crate::{
    environment, install, need,
    node::{self, Node},
    only_flag,
    steps::{Steps, run},
    tree::{self, built, cargo},
};

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let headless = only_flag(arguments, "--headless")? || !environment::has_display();
    build()?;
    let mut demo = tree::command(built("postern")?, "");
    demo.arg("demo");
    if headless {
        println!("\nThere is no display, so the demo runs without the app.\n");
    } else {
        demo.arg("--app").arg(built("postern-desktop")?);
    }
    run(&mut demo)
}

fn build() -> Result<()> {
    let mut steps = Steps::new("xtask run");
    let node = steps.step("system", "what the build needs", || {
        install::ensure(need::DESKTOP)?;
        Node::at_least(node::FOR_UI)
    })?;
    steps.command(
        "ui packages",
        &mut node.npm("ui", &["ci", "--no-audit", "--no-fund"]),
    )?;
    steps.command("ui build", &mut node.npm("ui", &["run", "build"]))?;
    steps.command(
        "build",
        &mut cargo(&["build", "-p", "postern", "-p", "postern-desktop"]),
    )?;
    steps.finish();
    Ok(())
}
