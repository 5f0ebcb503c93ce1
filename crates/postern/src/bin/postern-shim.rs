//! The shim executable, which `postern connect` replaces itself by.
//!
//! Owns: parsing the arguments of `postern connect`. Does not own: the command line for users, which
//! is `postern`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use control::Home;
use shim::{Options, print_error};

fn main() -> ExitCode {
    let served = options(std::env::args_os()).and_then(serve);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            print_error(why);
            ExitCode::from(2)
        }
    }
}

fn serve(options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(shim::run(options));
    // Does not wait for the thread that reads stdin, which may be blocked.
    runtime.shutdown_background();
    Ok(())
}

/// Parses `POSTERN connect SERVER [--home DIR]`. POSTERN is the path of the `postern` executable.
fn options(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    const USAGE: &str = "postern-shim is internal; hint: run `postern connect NAME` instead";
    let program = arguments
        .next()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .ok_or(USAGE)?;
    let rest: Vec<OsString> = arguments.collect();
    let (server, home) = match rest.as_slice() {
        [connect, server] if connect == "connect" => (server, Home::of_user()),
        [connect, server, flag, root] if connect == "connect" && flag == "--home" => {
            (server, Home::under(Path::new(root)))
        }
        _ => return Err(USAGE.to_owned()),
    };
    Ok(Options {
        home: home.map_err(|error| error.to_string())?,
        program,
        version: env!("CARGO_PKG_VERSION"),
        server: server.to_str().ok_or(USAGE)?.to_owned(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::options;

    #[test]
    fn arguments_of_postern_connect_are_parsed() {
        let read = |arguments: &[&str]| options(arguments.iter().map(Into::into));
        let given = read(&["/usr/bin/postern", "connect", "x", "--home", "/h"]).unwrap();
        assert_eq!(
            (given.program.as_path(), given.server.as_str()),
            (Path::new("/usr/bin/postern"), "x")
        );
        assert_eq!(given.home.root(), Some(Path::new("/h")));
        assert_eq!(
            read(&["/usr/bin/postern", "connect", "x"])
                .unwrap()
                .home
                .root(),
            None
        );
        for wrong in [
            &["postern-shim", "connect", "x"][..],
            &["/p", "connect"],
            &["/p", "x", "y"],
            &["/p", "connect", "x", "y"],
        ] {
            assert!(
                read(wrong).unwrap_err().contains("postern connect"),
                "{wrong:?}"
            );
        }
    }
}
