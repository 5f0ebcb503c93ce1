//! What the app asks of the system: a screen, the bundled command line, the clipboard.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Whether there is a desktop to show anything on.
///
/// # Errors
/// Says what to use instead where there is none.
#[cfg(target_os = "linux")]
pub(crate) fn present() -> Result<()> {
    // Tauri would panic. GTK may be initialised twice.
    gtk::init().ok().context(
        "there is no desktop to show a window on: neither DISPLAY nor WAYLAND_DISPLAY leads to one; \
         hint: `postern ui` shows the same window in a browser, `postern status` works in a terminal",
    )
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn present() -> Result<()> {
    Ok(())
}

/// The bundled `postern`: beside this program, where every package puts it, else on the PATH.
pub(crate) fn command_line() -> PathBuf {
    let name = format!("postern{}", std::env::consts::EXE_SUFFIX);
    std::env::current_exe()
        .ok()
        .and_then(|app| Some(app.parent()?.join(&name)))
        .filter(|beside| beside.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// The clipboard. It is kept as long as the app runs: on X11 its owner serves what was copied.
#[derive(Default)]
pub(crate) struct Clipboard(Option<arboard::Clipboard>);

impl Clipboard {
    /// Puts `text` into the clipboard.
    ///
    /// # Errors
    /// What the system says.
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
