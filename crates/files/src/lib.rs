//! Replaces files in one step, and creates files and folders that only their owner can access.
//!
//! Owns: temporary files, access modes, and that content is on the disk before its name is.
//! Does not own: what a file contains, and where a symbolic link leads. A link that is replaced is
//! a file afterwards, so a caller that keeps links passes the path behind them.
//!
//! All functions block.

mod draft;
mod private;

use std::io;
use std::path::Path;

pub use draft::{Draft, remove_abandoned, sync_folder};
pub use private::{create_private_folder, is_private, make_folder_private, private_options};

/// Replaces the file at `path`, or creates it and its folder. A crash leaves either the old content
/// or the new one. The file then has mode 0600, whatever mode the old one had.
///
/// # Errors
/// If the file cannot be written. The old one is then unchanged.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    Draft::new(path, content)?.replace()?;
    Ok(())
}
