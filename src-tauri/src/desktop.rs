//! What the app needs of the system: a screen, the bundled command line, the clipboard.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Checks that there is a desktop.
///
/// # Errors
/// If there is none. The hint names the alternatives.
#[cfg(target_os = "linux")]
pub(crate) fn present() -> Result<()> {
    // Tauri would panic otherwise. GTK may be initialised twice.
    gtk::init().ok().context(
        "there is no desktop: neither DISPLAY nor WAYLAND_DISPLAY is usable; \
         hint: `postern ui` shows the same window in a browser, `postern status` works in a terminal",
    )
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn present() -> Result<()> {
    Ok(())
}

/// Returns the bundled `postern` beside this program, where every package installs it, or its name
/// for a search in PATH.
pub(crate) fn command_line() -> PathBuf {
    let name = format!("postern{}", std::env::consts::EXE_SUFFIX);
    std::env::current_exe()
        .ok()
        .and_then(|app| Some(app.parent()?.join(&name)))
        .filter(|beside| beside.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// The clipboard, kept open while the app runs: on X11 the owner serves the copied text.
#[derive(Default)]
pub(crate) struct Clipboard(Option<arboard::Clipboard>);

impl Clipboard {
    /// Copies `text` to the clipboard.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn copy(&mut self, text: &str) -> Result<()> {
        if self.0.is_none() {
            self.0 = Some(arboard::Clipboard::new()?);
        }
        match &mut self.0 {
            Some(clipboard) => Ok(clipboard.set_text(text)?),
            None => Ok(()),
        }
    }
}
