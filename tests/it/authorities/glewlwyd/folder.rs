//! The folder of the program: its configuration, its database and its pages.

use std::{
    fs::{self, File},
    path::Path,
};

use tokio::process::Command;

use crate::harness::within;

const TABLES: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PAGES: &str = "/usr/share/glewlwyd/webapp";
const SETTINGS_OF_PAGES: &str = "/usr/share/glewlwyd/templates/config.json";

/// Writes everything that the program reads and writes.
pub(super) async fn prepare_folder(folder: &Path, port: u16) {
    let tables = File::open(TABLES).expect("its tables");
    let database = folder.join("database");
    let mut sqlite = Command::new("sqlite3");
    run(sqlite.arg(&database).stdin(tables)).await;
    // The program serves no symbolic links, and half of its pages are links to other packages.
    let pages = folder.join("pages");
    fs::create_dir(&pages).expect("a folder");
    let parts = ["login.html", "login.js", "css", "js", "img", "locales"];
    let mut copy = Command::new("cp");
    copy.args(["-r", "--dereference"])
        .args(parts.map(|part| format!("{PAGES}/{part}")));
    run(copy.arg(&pages)).await;
    fs::copy(SETTINGS_OF_PAGES, pages.join("config.json")).expect("the settings of its pages");
    let config = configuration(port, &database, &pages);
    fs::write(folder.join("glewlwyd.conf"), config).expect("its configuration");
}

async fn run(command: &mut Command) {
    let status = within("a command", command.status()).await;
    assert!(status.expect("it starts").success(), "{command:?}");
}

fn configuration(port: u16, database: &Path, pages: &Path) -> String {
    format!(
        r#"
        port = {port}
        bind_address = "127.0.0.1"
        external_url = "http://127.0.0.1:{port}"
        api_prefix = "api"
        login_url = "login.html"
        cookie_secure = 0
        session_key = "session"
        admin_scope = "g_admin"
        profile_scope = "g_profile"
        hash_algorithm = "SHA512"
        log_mode = "console"
        user_module_path = "/usr/lib/glewlwyd/user"
        client_module_path = "/usr/lib/glewlwyd/client"
        user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
        plugin_module_path = "/usr/lib/glewlwyd/plugin"
        static_files_path = "{pages}"
        static_files_mime_types = (
          {{ extension = ".html" mime_type = "text/html" }},
          {{ extension = ".css" mime_type = "text/css" }},
          {{ extension = ".js" mime_type = "application/javascript" }},
          {{ extension = ".json" mime_type = "application/json" }}
        )
        database = {{ type = "sqlite3" path = "{database}" }}
        "#,
        pages = pages.display(),
        database = database.display(),
    )
}
