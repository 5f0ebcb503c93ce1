//! Logs: to stderr in the foreground, to a file of bounded size in the background.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// The size in bytes at which the file is rotated. The previous rotated file is replaced.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// The filter without `POSTERN_LOG`.
const DEFAULT_FILTER: &str = "info";

/// Limits for libraries that would log headers, and so credentials, at more verbose levels. h2 would
/// also log a warning for each invalid frame of a client.
const QUIET_LIBRARIES: [&str; 6] = [
    "h2=error",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "rustls=info",
    "tower_http=info",
];

/// Logs to stderr.
pub(crate) fn to_stderr(filter: Option<&str>) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(env_filter(filter))
        .with_writer(io::stderr)
        // If stderr cannot be written, it would report that on stderr and panic.
        .log_internal_errors(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    // In tests this is called several times. Later calls have no effect.
    let _ = subscriber.try_init();
}

/// Logs to a file that only its owner can read. Panics are logged too.
pub(crate) fn to_file(path: &Path, filter: Option<&str>) -> io::Result<()> {
    let file = BoundedFile::open(path)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(env_filter(filter))
        .with_writer(Mutex::new(file))
        .log_internal_errors(false)
        .with_ansi(false);
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

fn env_filter(filter: Option<&str>) -> EnvFilter {
    let filter = EnvFilter::builder()
        .parse(filter.unwrap_or(DEFAULT_FILTER))
        .unwrap_or_else(|error| {
            shim::print_error(format_args!("POSTERN_LOG is not a valid filter ({error}); hint: write it as in `debug` or `bridge=trace`"));
            EnvFilter::new(DEFAULT_FILTER)
        });
    QUIET_LIBRARIES
        .iter()
        .filter_map(|quiet| quiet.parse().ok())
        .fold(filter, EnvFilter::add_directive)
}

struct BoundedFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl BoundedFile {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            files::create_private_folder(dir)?;
        }
        let mut options = files::private_options();
        let file = options.append(true).create(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, self.path.with_extension("log.old"))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= MAX_SIZE {
            self.rotate()?;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{BoundedFile, MAX_SIZE, env_filter};

    #[test]
    fn full_log_file_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/bridge.log");
        let mut log = BoundedFile::open(&path).unwrap();
        log.size = MAX_SIZE;
        log.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        assert!(path.with_extension("log.old").exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn filter_cannot_enable_logging_of_headers() {
        let filter = env_filter(Some("trace")).to_string();
        assert!(
            filter.contains("hyper=info") && filter.contains("trace"),
            "{filter}"
        );
        assert!(
            !env_filter(Some("hyper=trace"))
                .to_string()
                .contains("hyper=trace")
        );
    }
}
