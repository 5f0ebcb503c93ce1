//! Rebuilds when the window's build changes, which `tauri-build` does not do. Provides a
//! placeholder page if the build is missing, so that the app compiles without Node.js.

use std::path::Path;
use std::{env, fs, io};

/// The commands of the page, which `capabilities/window.json` allows by name.
const COMMANDS: &[&str] = &["call", "state"];

const MISSING: &str = "<!doctype html><title>Postern</title><body style=\"font: 16px system-ui; padding: 3rem\">\
    <h1>The window was not built</h1>\
    <p>Run <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code>, then build the app again.</p>";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=../ui/dist");
    println!("cargo:rerun-if-changed=../icons");
    println!("cargo:rerun-if-changed=capabilities");
    if !Path::new("../ui/dist/index.html").exists() {
        // Cargo reruns the script at every build while this file is missing.
        println!("cargo:rerun-if-changed=../ui/dist/index.html");
        stand_in()?;
    }
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest))
        .map_err(|error| io::Error::other(format!("{error:#}")))
}

/// Points `generate_context!` to a placeholder page in the build folder.
fn stand_in() -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is how cargo speaks to build scripts"
    )]
    let (out, profile) = (env::var("OUT_DIR"), env::var("PROFILE"));
    if profile.as_deref() == Ok("release") {
        return Err(io::Error::other(
            "ui/dist is missing; hint: run `npm ci && npm run build` in ui/",
        ));
    }
    let folder = Path::new(&out.map_err(io::Error::other)?).join("window");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("index.html"), MISSING)?;
    println!(
        "cargo:rustc-env=TAURI_CONFIG={{\"build\":{{\"frontendDist\":{:?}}}}}",
        folder.display().to_string()
    );
    Ok(())
}
